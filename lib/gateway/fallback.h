/* SPDX-License-Identifier: Apache-2.0 */
/* Another model answers when the one asked for would not soon: its wait would take too long or has, it cannot be
 * started, or none of its replicas can be reached. Only while no engine can have seen the request.
 *
 *   LEASE (big) ──┬─ expected after more than `after`, or `after` is over ─┐
 *                 ├─ refused ──────────────────────────────────────────────┼─► LEASE (small), the body spliced anew
 *   HEAD (big) ───┴─ no replica can be reached ────────────────────────────┘
 */
#ifndef VGW_GATEWAY_FALLBACK_H
#define VGW_GATEWAY_FALLBACK_H

#include "core/model.h"
#include "gateway/call.h"

/* Of a call whose model has one. */
struct vgw__fallback {
	vgw_request request; /* texts borrowed, as the call borrows them, until it was sent */
	char *session;       /* our own */
	size_t count;        /* models left behind, oldest first; */
	const vgw_model *left[VGW__FALLBACKS_MAX]; /* they live as long as the call's view */
	vgw_timer look;
	int64_t waits_since_ms; /* for the present model */
};

/* Keeps what is needed to splice the body again. NOMEM. */
vgw_status vgw__fallback_begin(vgw_call *call, const vgw_request *request, vgw_error *err);
/* The call waits for its model from now on. */
void vgw__fallback_watch(vgw_call *call);
/* On to the next model if there is one that may be used: true, and the call went on with it, whatever came of that. */
bool vgw__fallback_take(vgw_call *call);
void vgw__fallback_free(vgw_call *call);

/* "big -> small", cut to `size`; "" when nothing was left behind. */
void vgw__fallback_print(const vgw_call *call, char *out, size_t size);

#endif
