/* SPDX-License-Identifier: Apache-2.0 */
/* The library's side of one controller instance: what stands behind the vgw_host_* functions. The residency owns
 * it and fills the upward table; tests fill it with their own.
 *
 *   controller ── vgw_host_set_endpoint(), ... ──► host ── events ──► residency
 *   controller ◄── is_cancelled(), cancel fd ───── host ◄── cancel() ─┘
 */
#ifndef VGW_BACKEND_HOST_H
#define VGW_BACKEND_HOST_H

#include <vllmgw/controller.h>

#include "backend/targets.h"
#include "net/deny.h"

/* Called on whatever thread the controller runs, never under a lock of the host. Every entry may be NULL. */
struct vgw__host_events {
	/* The endpoints are borrowed: take references of those you keep. */
	void (*on_endpoints)(void *user, struct vgw__endpoint *const *endpoints, size_t count);
	void (*on_progress)(void *user, int percent, const char *text);
	void (*on_death)(void *user, const char *reason);
	void (*on_absence)(void *user, const char *reason);  /* somebody else took it down */
	void (*on_presence)(void *user, const char *reason); /* somebody else brought it up */
};

/* What a controller said during the operation that just returned. */
struct vgw__host_report {
	vgw_failure failure;
	char failure_text[240]; /* the decisive line of the log, "" if nothing was said */
	bool has_depth;         /* deactivate went to `depth` */
	vgw_depth depth;
};

vgw_status vgw__host_new(vgw_host **out, const struct vgw__host_events *events, void *user,
	const vgw_logger *logger, vgw_error *err);
void vgw__host_free(vgw_host *host); /* after destroy() of the controller; NULL is allowed */

/* Addresses that no endpoint may have; borrowed for the host's life. NULL, as at first: all may. */
void vgw__host_set_deny(vgw_host *host, const struct vgw__deny *deny);
/* An endpoint that a controller made for itself: INVALID if it may not be reached. */
vgw_status vgw__host_check_endpoint(const vgw_host *host, struct vgw__endpoint *endpoint, vgw_error *err);

/* Forget the last operation: its cancellation and its report. Call it where you decide upon an operation, before
 * handing it to an executor, so that a cancel() that follows cannot be lost. */
void vgw__host_begin(vgw_host *host);
void vgw__host_cancel(vgw_host *host); /* any thread, idempotent */
/* Where the operation about to run on this thread has its engine; NULL is allowed. False: no memory. */
bool vgw__host_place(vgw_host *host, const char *devices, uint32_t share);
void vgw__host_get_report(vgw_host *host, struct vgw__host_report *out);

/* The endpoints told last, as a new reference; NULL: none yet. Any thread. */
struct vgw__targets *vgw__host_ref_targets(vgw_host *host);

#endif
