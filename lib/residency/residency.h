/* SPDX-License-Identifier: Apache-2.0 */
/* What the gateway needs of the residency beyond the public functions: the resident behind a model, and a way to
 * wait for a lease on a worker's loop without blocking it. */
#ifndef VGW_RESIDENCY_RESIDENCY_H
#define VGW_RESIDENCY_RESIDENCY_H

#include "residency/resident.h"

#include <vllmgw/loop.h>
#include <vllmgw/residency.h>

struct vgw__waiter;

/* The end of a wait, on the loop's thread: OK, and the gate has been entered once for the caller, or why not. */
typedef void (*vgw__granted_fn)(void *user, vgw_status status, const vgw_error *err);

/* The resident of a model of the set applied last; a new reference, NULL when there is none. Any thread. */
struct vgw__resident *vgw__residency_find(vgw_residency *residency, const char *model);

/* Queue for a lease, after the gate was found closed. `fn` is called exactly once unless cancelled.
 * NULL: *err tells; fn is not called. Any thread that owns `loop`; never blocks. */
struct vgw__waiter *vgw__residency_wait(vgw_residency *residency, struct vgw__resident *resident, vgw_loop *loop,
	int64_t deadline_ms, vgw__granted_fn fn, void *user, vgw_error *err);

/* The client went away. `fn` will not be called; a lease granted in the meantime is given back. On the loop's
 * thread, before fn was called. */
void vgw__waiter_cancel(struct vgw__waiter *waiter);

#endif
