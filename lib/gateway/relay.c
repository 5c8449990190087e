/* SPDX-License-Identifier: Apache-2.0 */
/* What the transport tells about an engine's answer, and what becomes of it.
 *
 *   head ── acceptable ──┬── event stream ──► RELAY: each piece goes on as it came
 *     │                  └── anything else ─► HOLD: complete? then head and body in one go
 *     └── error page ────► DIGEST: a sentence of it goes into our own error body */
#include "gateway/call.h"
#include "gateway/fallback.h"
#include "gateway/head.h"
#include "util/alloc.h"
#include "util/clock.h"

#include <assert.h>
#include <string.h>

static void let_request_go(vgw_call *call)
{
	vgw__free(call->outgoing);
	call->outgoing = NULL;
	vgw__buf_fini(&call->scratch);
	if (!call->events.on_sent)
		return;
	call->is_telling = true;
	call->events.on_sent(call->user);
	call->is_telling = false;
}

/* A request for an adapter is kept until the engine has shown that it knows the adapter. */
static void on_sent(void *user)
{
	vgw_call *call = user;

	call->is_sent = true;
	if (!call->seat->adapter || call->head_ns)
		let_request_go(call);
}

static void on_head(void *user, const struct vgw__response_head *head)
{
	vgw_call *call = user;
	const char *why = NULL;
	enum vgw__verdict verdict;

	assert(call->state == VGW__CALL_HEAD);
	call->head_ns = vgw__now_ns();
	call->last_data_ms = vgw_loop_now_ms(call->worker->loop);
	vgw__attempt_judge(call, head->status);
	if (call->seat->adapter) {
		if (head->status == 404 && vgw__adapters_retry(call))
			return;
		if (call->is_sent)
			let_request_go(call);
	}
	verdict = vgw__head_judge(&call->head, call, head, &why);
	switch (verdict) {
	case VGW__VERDICT_NOMEM:
		vgw__call_fail(call, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	case VGW__VERDICT_REFUSE:
		vgw__call_fail(call, VGW_FAULT_BAD_UPSTREAM_RESPONSE, why);
		return;
	case VGW__VERDICT_DIGEST:
		vgw__call_enter(call, VGW__CALL_DIGEST);
		call->status = 0;
		vgw__buf_init(&call->held, VGW__DIGEST_MAX_BYTES);
		call->digested_status = head->status;
		return;
	case VGW__VERDICT_FORWARD:
		break;
	}
	call->is_sse = call->head->is_sse;
	if (!call->is_sse && call->operation == VGW_OPERATION_PASSTHROUGH && head->content_length < 0) {
		vgw__call_enter(call, VGW__CALL_RELAY); /* it may be a stream of any kind */
		vgw__usage_start(&call->sse.finder);
		vgw__call_give_head(call);
		return;
	}
	if (!call->is_sse) {
		vgw__call_enter(call, VGW__CALL_HOLD);
		vgw__buf_init(&call->held, VGW__HOLD_MAX_BYTES);
		return;
	}
	vgw__call_enter(call, VGW__CALL_RELAY);
	vgw__sse_init(&call->sse, call->worker->gateway->options.max_event_bytes);
	if (!vgw__call_begin_concealing(call)) {
		vgw__call_fail(call, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	vgw__call_give_head(call);
}

/* Bytes of an answer under way. The usage of one that is not held whole is looked for as it passes, for those whose
 * tokens are counted. */
static enum vgw__flow deliver(vgw_call *call, const char *data, size_t len)
{
	if (call->is_sse)
		return vgw__call_deliver_stream(call, data, len);
	if (call->allowance)
		vgw__usage_feed(&call->sse.finder, data, len, &call->usage);
	return vgw__call_deliver(call, data, len);
}

/* The answer outgrew what is held back: from here on it is relayed, and can only break off. */
static enum vgw__flow stop_holding(vgw_call *call, const char *data, size_t len)
{
	vgw__call_enter(call, VGW__CALL_RELAY);
	vgw__call_give_head(call);
	vgw__usage_start(&call->sse.finder);
	if (call->held.len)
		(void)deliver(call, call->held.data, call->held.len);
	vgw__buf_fini(&call->held);
	return deliver(call, data, len);
}

/* The whole of an answer in one piece, which most are: nothing is held, nothing copied. */
static enum vgw__flow deliver_whole(vgw_call *call, const char *data, size_t len)
{
	(void)vgw__usage_find(data, len, &call->usage);
	vgw__call_enter(call, VGW__CALL_RELAY);
	vgw__call_give_head(call);
	return vgw__call_deliver(call, data, len);
}

static enum vgw__flow on_data(void *user, const char *data, size_t len)
{
	vgw_call *call = user;

	call->last_data_ms = vgw_loop_now_ms(call->worker->loop);
	switch (call->state) {
	case VGW__CALL_RELAY:
		if (call->is_sse) {
			uint64_t before = call->sse.events;

			vgw__sse_feed(&call->sse, data, len);
			vgw__call_time_events(call, call->sse.events - before);
			if (call->sse.is_too_long) {
				vgw__call_fail(call, VGW_FAULT_UPSTREAM_ABORTED,
					"the engine sent an event that is too long");
				return VGW__FLOW_GO;
			}
		}
		return deliver(call, data, len);
	case VGW__CALL_HOLD:
		if (!call->held.len && call->head->content_length == (int64_t)len)
			return deliver_whole(call, data, len);
		if (vgw__buf_append(&call->held, data, len))
			return VGW__FLOW_GO;
		return stop_holding(call, data, len);
	case VGW__CALL_DIGEST:
		if (len > call->held.ceiling - call->held.len)
			len = call->held.ceiling - call->held.len;
		(void)vgw__buf_append(&call->held, data, len); /* without memory the message is shorter */
		return VGW__FLOW_GO;
	default:
		return VGW__FLOW_GO;
	}
}

static void fail_digested(vgw_call *call)
{
	char text[256];

	vgw__head_digest(text, sizeof(text), call->held.data, call->held.len, call->digested_status);
	vgw__call_fail(call, VGW_FAULT_UPSTREAM_ERROR, text);
}

static void complete(vgw_call *call)
{
	if (call->state == VGW__CALL_DIGEST) {
		fail_digested(call);
		return;
	}
	if (call->is_sse && call->state == VGW__CALL_RELAY && vgw__sse_is_broken_off(&call->sse)) {
		vgw__call_fail(call, VGW_FAULT_UPSTREAM_ABORTED, NULL); /* a server before the engine lost it */
		return;
	}
	if (call->state == VGW__CALL_HOLD) {
		if (!call->is_head)
			call->head->content_length = (int64_t)call->held.len;
		(void)vgw__usage_find(call->held.data, call->held.len, &call->usage);
		vgw__call_give_head(call);
		if (call->held.len)
			(void)vgw__call_deliver(call, call->held.data, call->held.len);
	}
	vgw__call_end_stream(call);
	vgw__call_finish(call, VGW_FAULT_NONE, true);
}

static void fail_before_head(vgw_call *call, const struct vgw__upstream_result *result)
{
	enum vgw__repeat repeat = vgw__attempt_may_repeat(call, result);

	if (repeat != VGW__REPEAT_UNSAFE) {
		if (repeat == VGW__REPEAT_GO)
			vgw__call_send(call, result->why);
		else if (!vgw__fallback_take(call))
			vgw__call_fail(call, VGW_FAULT_UPSTREAM_UNAVAILABLE, result->why);
		return;
	}
	switch (result->outcome) {
	case VGW__OUTCOME_BAD:
		vgw__call_fail(call, VGW_FAULT_BAD_UPSTREAM_RESPONSE, result->why);
		break;
	case VGW__OUTCOME_FAILED:
		call->retry_after = 1; /* descriptors or memory are short for a moment */
		vgw__call_fail(call, VGW_FAULT_SERVER_OVERLOADED, result->why);
		break;
	default:
		vgw__call_fail(call, VGW_FAULT_UPSTREAM_CONNECTION_LOST, NULL);
		break;
	}
}

static void on_end(void *user, const struct vgw__upstream_result *result)
{
	vgw_call *call = user;

	call->upstream = NULL;
	if (result->outcome == VGW__OUTCOME_COMPLETE) {
		complete(call);
		return;
	}
	vgw__attempt_conclude(call, result);
	if (call->state == VGW__CALL_HEAD) {
		vgw__call_drop_upstream(call);
		fail_before_head(call, result);
	} else if (call->state == VGW__CALL_DIGEST) {
		fail_digested(call);
	} else if (result->outcome == VGW__OUTCOME_BAD) {
		vgw__call_fail(call, VGW_FAULT_BAD_UPSTREAM_RESPONSE, result->why);
	} else {
		vgw__call_fail(call, VGW_FAULT_UPSTREAM_ABORTED, NULL);
	}
}

const struct vgw__upstream_events vgw__call_upstream_events = {
	.on_sent = on_sent,
	.on_head = on_head,
	.on_data = on_data,
	.on_end = on_end,
};
