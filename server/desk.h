/* SPDX-License-Identifier: Apache-2.0 */
/* The desk: one thread for what workers may not do, because it blocks: asking the residency, reading files, reading
 * the configuration again. It runs errands one after the other; what lasts (an event stream, a followed log, a load
 * that is waited for) stays as a vigil, which hears of every event and of the time.
 *
 *   workers ── desk_take() ──► queue ──► route's function ──► answer
 *                                            └─ desk_keep() ──► vigils ◄── events of the residency, ticks */
#ifndef VGW_SERVER_DESK_H
#define VGW_SERVER_DESK_H

#include "errand.h"

#include <vllmgw/event.h>
#include <vllmgw/gateway.h>

struct desk_options {
	vgw_gateway *gateway;
	/* Read the configuration again, on the desk's thread. 0, or -1 with what is wrong with it. */
	int (*reload)(void *user, char *why, size_t size);
	void *reload_user;
	struct adhoc *adhoc; /* NULL: there are no such models */
	/* Publish the configuration's models once more, with the ad-hoc one as it is now; on the desk's thread. 0, or -1. */
	int (*publish)(void *user, char *why, size_t size);
};

/* Starts the thread and listens to the residency. NULL without memory or a thread. */
struct desk *desk_new(const struct desk_options *options);
/* End what is there with an error or the end of its stream, take nothing any more, join the thread. Once more, or of
 * NULL, does nothing. */
void desk_stop(struct desk *desk);
/* After desk_stop() and after the workers are gone. NULL is allowed. */
void desk_free(struct desk *desk);

/* Have the errand's route answer it. False: stopped, or too many are waiting; the caller must answer it. */
bool desk_take(struct desk *desk, struct errand *errand);

/* --- on the desk's thread, for routes ------------------------------------------------------------------------- */

/* An event as vigils hear it; its texts are borrowed meanwhile. */
struct desk_event {
	const vgw_event *event;
	const char *json; /* NULL: no memory */
};

/* What stays. It lives in memory of errand_alloc(). */
struct vigil {
	struct link link;
	struct errand *errand;
	bool (*hear)(struct vigil *vigil, const struct desk_event *event); /* NULL: deaf. False: it has been answered */
	bool (*tick)(struct vigil *vigil, int64_t now_ms);                 /* ten times a second */
	void (*drop)(struct vigil *vigil); /* it goes unanswered: the client has left, or the desk stops. NULL: nothing */
};

/* False: there are too many, and it has been answered so. */
bool desk_keep(struct desk *desk, struct vigil *vigil);
/* Back to whoever kept it, unanswered. Not from inside hear and tick. */
void desk_let_go(struct desk *desk, struct vigil *vigil);

vgw_gateway *desk_get_gateway(struct desk *desk);
vgw_residency *desk_get_residency(struct desk *desk);
int desk_reload(struct desk *desk, char *why, size_t size);
struct adhoc *desk_get_adhoc(struct desk *desk);
int desk_publish(struct desk *desk, char *why, size_t size);

#endif
