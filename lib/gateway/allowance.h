/* SPDX-License-Identifier: Apache-2.0 */
/* What one call may do and has taken: asked for before the lease, settled when the call ends, told in x-ratelimit-*
 * headers.
 *
 *   begin ── ask ──┬─ GO ──────────────────────────► lease ... ── settle
 *                  ├─ WAIT: the store is asked ─────► on_answer ─┬─► lease ... ── settle
 *                  └─ REFUSED: 429 at the turn's end ◄───────────┘ */
#ifndef VGW_GATEWAY_ALLOWANCE_H
#define VGW_GATEWAY_ALLOWANCE_H

#include "gateway/limits.h"
#include "json/scan.h"
#include "json/usage.h"

struct vgw__held_head;

struct vgw__allowance {
	vgw_principal *principal;  /* reference */
	vgw_limit_ticket *ticket;  /* while the store is asked */
	bool is_held;              /* something was taken and is not settled yet */
	bool is_told;              /* the answer holds numbers for headers */
	uint64_t prompt_estimate;
	int64_t asked_ns;          /* of the store; 0: it was not */
	int64_t answered_ns;
	vgw_limit_ask ask;
	vgw_limit_answer answer;
};

enum vgw__permit { VGW__PERMIT_GO, VGW__PERMIT_WAIT, VGW__PERMIT_REFUSED };

/* Remember who asks, and how much it may become. The scan is read during the call. NOMEM. */
vgw_status vgw__allowance_begin(vgw_call *call, const vgw_request *request, const struct vgw__scan *scan,
	vgw_error *err);

/* Ask. WAIT: `go_on` is called when the store said yes. REFUSED: the call answers 429 by itself. */
enum vgw__permit vgw__allowance_ask(vgw_call *call, const vgw_request *request, void (*go_on)(vgw_call *call));

/* It does not wait for the store any more: what that grants is given back. Idempotent. */
void vgw__allowance_leave(vgw_call *call);

/* The call ended and used so much: counted and settled, once. */
void vgw__allowance_settle(vgw_call *call, const struct vgw__usage *usage);
void vgw__allowance_free(vgw_call *call); /* what is not settled was not used */

/* x-ratelimit-* */
void vgw__allowance_add_headers(struct vgw__held_head *head, const vgw_call *call);

#endif
