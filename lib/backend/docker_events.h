/* SPDX-License-Identifier: Apache-2.0 */
/* Notices at once that a container has died: one thread per daemon reads its events, and looks at every watched
 * container again whenever the stream had to be opened anew (the daemon was restarted, say), and every half minute.
 *
 *   daemon ── events ──► thread ── descriptor of the watch becomes readable ──► who waits for it
 */
#ifndef VGW_BACKEND_DOCKER_EVENTS_H
#define VGW_BACKEND_DOCKER_EVENTS_H

#include "backend/docker_client.h"

#include "util/list.h"

struct vgw__docker_events;

/* Lives inside the watching object. Zero it before first use. */
struct vgw__docker_watch {
	int fd;                /* readable once the container has ended; valid while added */
	struct vgw__list link; /* private from here */
	char container[VGW__DOCKER_ID];
	int exit_code;         /* -1: not told */
	bool is_added;
};

/* The client must outlive it; the thread starts with the first watch. */
vgw_status vgw__docker_events_new(struct vgw__docker_events **out, struct vgw__docker_client *client,
	const vgw_logger *logger, vgw_error *err);
void vgw__docker_events_free(struct vgw__docker_events *events); /* after the last watch; NULL is allowed */

/* What happened before this call may have been missed: inspect after it. */
vgw_status vgw__docker_watch_add(struct vgw__docker_events *events, struct vgw__docker_watch *watch,
	const char *container, vgw_error *err);
void vgw__docker_watch_remove(struct vgw__docker_events *events,
	struct vgw__docker_watch *watch); /* idempotent */
int vgw__docker_watch_get_exit(struct vgw__docker_events *events, const struct vgw__docker_watch *watch);

#endif
