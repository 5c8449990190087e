/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway needs of the residency beyond the public functions: the resident behind a model, and a way to
 * wait for a lease on a worker's loop without blocking it.
 *
 *   worker: gate closed ── wait() ──► residency thread ── planner: grant or refuse ──► the worker's port ──► fn
 */
#ifndef VGW_RESIDENCY_RESIDENCY_H
#define VGW_RESIDENCY_RESIDENCY_H

#include "residency/resident.h"

#include <vllmgw/event.h>
#include <vllmgw/loop.h>
#include <vllmgw/residency.h>

struct vgw__waiter;
struct vgw__port;

/* Tell those who listen to the residency; texts are copied. Any thread, never blocks. */
void vgw__residency_tell(vgw_residency *residency, const vgw_event *event);

/* The resident of a model of the set applied last; a new reference, NULL when there is none. Any thread. */
struct vgw__resident *vgw__residency_find(vgw_residency *residency, const char *model);

/* Some resident's leases were cut: whoever holds a lease whose number of cuts is not resident->cuts any more ends
 * what it does with it. On the loop's thread. */
typedef void (*vgw__cut_fn)(void *user);

/* One loop's ear. Owner of the loop; freed after its last waiter was answered or cancelled. */
vgw_status vgw__port_new(struct vgw__port **out, vgw_residency *residency, vgw_loop *loop, vgw__cut_fn on_cut,
	void *user, vgw_error *err);
void vgw__port_free(struct vgw__port *port); /* NULL is allowed */

/* The planner's priorities, for those who only wait. */
enum { VGW__WISH_BATCH, VGW__WISH_NORMAL, VGW__WISH_INTERACTIVE };

struct vgw__wish {
	int64_t deadline_ms;
	int priority;      /* VGW__WISH_... */
	bool may_not_swap; /* use what is up or coming; do not cause a load */
};

/* The end of a wait, on the loop's thread: OK, and the gate has been entered once for the caller, or why not. `cuts`
 * is the number of cuts the lease began with. */
typedef void (*vgw__granted_fn)(void *user, vgw_status status, uint64_t cuts, const vgw_error *err);

/* Queue for a lease, after the gate was found closed. `fn` is called exactly once unless cancelled.
 * NULL: *err tells; fn is not called. On the port's loop; never blocks. */
struct vgw__waiter *vgw__residency_wait(struct vgw__port *port, struct vgw__resident *resident,
	const struct vgw__wish *wish, vgw__granted_fn fn, void *user, vgw_error *err);

/* The client went away. `fn` will not be called; a lease granted in the meantime is given back. On the loop's
 * thread, before fn was called. */
void vgw__waiter_cancel(struct vgw__waiter *waiter);

/* Where a waiter stands. */
struct vgw__place_in_line {
	uint32_t position; /* 1: no other request for this model is before it */
	int64_t eta_ms;    /* until the model is expected to serve, by what was measured; -1: unknown */
};

/* On the loop's thread, before fn was called; a short lock. */
void vgw__waiter_get_place(const struct vgw__waiter *waiter, struct vgw__place_in_line *place);

/* How often the resident's leases have been cut: to be read before the gate is entered. */
static inline uint64_t vgw__resident_cuts(const struct vgw__resident *resident)
{
	return atomic_load_explicit(&resident->cuts, memory_order_acquire);
}

#endif
