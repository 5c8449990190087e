/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a call: lease, send, fail, report. What comes back from the engine is in relay.c. */
#include "gateway/call.h"

#include "gateway/allowance.h"
#include "gateway/fallback.h"
#include "gateway/fault.h"
#include "gateway/head.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/error.h"

#include <string.h>

enum { EVENT_MAX_BYTES = 2048, LEASE_GRACE_MS = 1000 };

vgw_call *vgw__call_of_link(struct vgw__list *link)
{
	return VGW__CONTAINER(link, vgw_call, link);
}

/* The only writer of the state. */
void vgw__call_enter(vgw_call *call, enum vgw__call_state state)
{
	vgw__gauge(&call->seat->shard->waiting, (state == VGW__CALL_LEASE) - (call->state == VGW__CALL_LEASE));
	call->state = state;
}

/* --- letting go ----------------------------------------------------------------------------------------------- */

void vgw__call_drop_upstream(vgw_call *call)
{
	if (call->upstream)
		vgw__upstream_cancel(call->upstream);
	call->upstream = NULL;
	if (call->adapter.site)
		vgw__adapters_let_go(call);
	vgw__attempt_end(call);
}

void vgw__call_release_lease(vgw_call *call)
{
	if (call->waiter)
		vgw__waiter_cancel(call->waiter);
	call->waiter = NULL;
	if (call->has_lease) {
		atomic_store_explicit(&call->seat->resident->last_used_ms, vgw_loop_now_ms(call->worker->loop),
			memory_order_relaxed);
		vgw__gate_leave(call->seat->resident);
	}
	call->has_lease = false;
}

void vgw__call_discard(vgw_call *call)
{
	struct vgw__shard *shard = call->seat->shard;

	vgw__call_drop_upstream(call);
	vgw__call_release_lease(call);
	vgw_timer_cancel(call->worker->loop, &call->deadline);
	vgw_defer_cancel(call->worker->loop, &call->answer);
	vgw__list_remove(&call->link);
	vgw__gauge(&shard->in_flight, -1);
	vgw__gauge(&shard->waiting, -(call->state == VGW__CALL_LEASE));
	if (call->is_counted)
		vgw__gauge(&shard->open_streams, -1);
	vgw__allowance_free(call);
	vgw__fallback_free(call);
	vgw__call_end_concealing(call);
	vgw__targets_unref(call->targets);
	vgw__view_unref(call->view);
	vgw__buf_fini(&call->scratch);
	vgw__buf_fini(&call->held);
	vgw__free(call->outgoing);
	vgw__head_free(call->worker, call->head);
	vgw__free(call->fault_text);
	vgw__free(call);
}

/* --- the end -------------------------------------------------------------------------------------------------- */

/* The front may do anything in on_end but touch the call: it is out of its worker's sight already. */
void vgw__call_finish(vgw_call *call, vgw_fault fault, bool is_clean)
{
	struct vgw__usage usage = vgw__call_get_usage(call);
	vgw_call_report report = vgw__call_report(call, fault, is_clean, &usage);

	if (call->is_cancelled) {
		vgw__call_discard(call);
		return;
	}
	vgw__call_record(call, fault, &usage);
	vgw_timer_cancel(call->worker->loop, &call->deadline);
	call->events.on_end(call->user, &report);
	vgw__call_discard(call);
}

static void ignore_head(void *user, const vgw_answer_head *head)
{
	(void)user;
	(void)head;
}

static vgw_flow ignore_data(void *user, const void *data, size_t len)
{
	(void)user;
	(void)data;
	(void)len;
	return VGW_FLOW_GO;
}

static void on_forget(vgw_defer *defer)
{
	vgw__call_discard(defer->user);
}

/* From inside a callback: our own frames and the transport's below still hold the call. It falls silent, and goes at
 * the end of the turn if they do not end it before. */
static void forget_later(vgw_call *call)
{
	vgw_timer_cancel(call->worker->loop, &call->deadline);
	call->is_cancelled = true;
	call->events.on_sent = NULL;
	call->events.on_head = ignore_head;
	call->events.on_data = ignore_data;
	call->answer.user = call;
	vgw_defer_call(call->worker->loop, &call->answer, on_forget);
}

void vgw_call_cancel(vgw_call *call)
{
	struct vgw__usage usage = vgw__call_get_usage(call);

	vgw__call_record(call, VGW_FAULT_CLIENT_CLOSED, &usage);
	if (call->is_telling)
		forget_later(call);
	else
		vgw__call_discard(call);
}

/* --- an answer of our own ------------------------------------------------------------------------------------- */

void vgw__call_give_head(vgw_call *call)
{
	struct vgw__held_head *held = call->head;
	vgw_answer_head head = {
		.status = held->status,
		.is_stream = held->is_sse,
		.headers = held->headers,
		.header_count = held->header_count,
		.content_length = held->content_length,
	};

	call->head = NULL;
	call->status = held->status;
	if (held->is_sse) {
		call->is_counted = true;
		vgw__gauge(&call->seat->shard->open_streams, 1);
	}
	call->is_telling = true;
	call->events.on_head(call->user, &head);
	call->is_telling = false;
	vgw__head_free(call->worker, held);
}

enum vgw__flow vgw__call_deliver(vgw_call *call, const void *data, size_t len)
{
	if (!call->first_byte_ns)
		call->first_byte_ns = vgw__now_ns();
	call->bytes_out += len;
	call->is_telling = true;
	call->is_paused = call->events.on_data(call->user, data, len) == VGW_FLOW_FULL && !call->is_cancelled;
	call->is_telling = false;
	return call->is_paused ? VGW__FLOW_FULL : VGW__FLOW_GO;
}

/* Too late for a status: an error event, at a place where the client's parser takes it for one, and a bad end. The
 * bytes that made an event too long were read and not delivered: then nobody knows where the client is. */
static void break_off(vgw_call *call)
{
	bool is_between = vgw__sse_at_boundary(&call->sse) && !call->sse.is_too_long;
	struct vgw__buf event;

	vgw__buf_init(&event, EVENT_MAX_BYTES);
	if (call->is_sse && vgw__buf_append(&event, "\n\n", is_between ? 0 : 2) &&
		vgw__fault_print_event(&event, call->fault, call->fault_text))
		(void)vgw__call_deliver(call, event.data, event.len);
	vgw__buf_fini(&event);
	vgw__call_finish(call, call->fault, false);
}

static void give_answer(vgw_defer *defer)
{
	vgw_call *call = defer->user;
	char *body;

	if (call->status) {
		break_off(call);
		return;
	}
	body = vgw_fault_dup_body(call->fault, call->fault_text, NULL);
	vgw__head_free(call->worker, call->head);
	call->head = vgw__head_new_own(call, vgw_fault_get_info(call->fault)->http, body ? strlen(body) : 0);
	if (!call->head || !body) {
		vgw__free(body);
		vgw__call_finish(call, VGW_FAULT_OUT_OF_MEMORY, false);
		return;
	}
	if (call->retry_after || call->retry_after_ms)
		vgw__head_add_retry_after(call->head, call->retry_after, call->retry_after_ms);
	vgw__call_give_head(call);
	(void)vgw__call_deliver(call, body, strlen(body));
	vgw__free(body);
	vgw__call_finish(call, call->fault, true);
}

/* What it waited for may come in this very turn: nobody wants it any more. */
void vgw__call_fail(vgw_call *call, vgw_fault fault, const char *text)
{
	vgw__call_drop_upstream(call);
	vgw__call_release_lease(call);
	vgw__allowance_leave(call);
	vgw__call_enter(call, VGW__CALL_ANSWER);
	call->fault = fault;
	call->fault_text = text ? vgw__strdup(text) : NULL;
	vgw_timer_cancel(call->worker->loop, &call->deadline);
	call->answer.user = call;
	vgw_defer_call(call->worker->loop, &call->answer, give_answer);
}

/* --- deadlines ------------------------------------------------------------------------------------------------ */

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t total_due_ms(const vgw_call *call)
{
	return call->begun_ns / 1000000 + call->worker->gateway->options.total_timeout_ms;
}

/* When the present state has lasted too long. One timer a call; progress only moves `last_data_ms`, and the timer
 * looks at it when it fires. */
static int64_t due_ms(const vgw_call *call)
{
	const vgw_gateway_options *options = &call->worker->gateway->options;
	int64_t total = total_due_ms(call);

	switch (call->state) {
	case VGW__CALL_ADAPTER:
		return earlier(total, call->sent_ns / 1000000 + call->seat->model->lora_timeout_ms);
	case VGW__CALL_HEAD:
		return earlier(total, call->sent_ns / 1000000 + options->first_byte_timeout_ms);
	case VGW__CALL_HOLD:
	case VGW__CALL_RELAY:
	case VGW__CALL_DIGEST:
		return call->is_paused ? total : earlier(total, call->last_data_ms + options->idle_timeout_ms);
	case VGW__CALL_LEASE:
		return total + LEASE_GRACE_MS; /* the residency, which knows more, refuses first */
	default:
		return total;
	}
}

static void on_deadline(vgw_timer *timer)
{
	vgw_call *call = timer->user;
	char text[200];

	if (due_ms(call) > vgw_loop_now_ms(call->worker->loop)) {
		vgw__call_watch_deadline(call);
		return;
	}
	if (call->state == VGW__CALL_ADAPTER) {
		vgw__adapters_explain(call, text, sizeof(text));
		vgw__call_fail(call, VGW_FAULT_QUEUE_TIMEOUT, text);
		return;
	}
	if (vgw_loop_now_ms(call->worker->loop) < total_due_ms(call))
		vgw__attempt_fail(call, "it took too long");
	if (call->state == VGW__CALL_LEASE || call->state == VGW__CALL_LIMIT)
		vgw__call_fail(call, VGW_FAULT_QUEUE_TIMEOUT, NULL);
	else if (call->state == VGW__CALL_HEAD)
		vgw__call_fail(call, VGW_FAULT_UPSTREAM_TIMEOUT, "the engine sent no answer in time");
	else
		vgw__call_fail(call, VGW_FAULT_UPSTREAM_TIMEOUT, "the engine stopped sending in the middle of its answer");
}

void vgw__call_watch_deadline(vgw_call *call)
{
	call->deadline.user = call;
	if (vgw_timer_start(call->worker->loop, &call->deadline, due_ms(call), on_deadline) != VGW_OK)
		vgw__call_fail(call, VGW_FAULT_OUT_OF_MEMORY, NULL);
}

/* --- sending -------------------------------------------------------------------------------------------------- */

static vgw_status start(vgw_call *call, vgw_error *err)
{
	const vgw_worker *worker = call->worker;
	struct vgw__upstream_request request = {
		.endpoint = call->target->endpoint,
		.method = call->outgoing->method,
		.path = call->outgoing->path,
		.headers = call->outgoing->headers,
		.header_count = call->outgoing->header_count,
		.body = call->outgoing->body,
		.body_count = call->outgoing->body_count,
		.has_body = call->outgoing->has_body,
		.connect_timeout_ms = worker->gateway->options.connect_timeout_ms,
	};
	struct vgw__transport *transport = vgw__worker_get_transport(call->worker, call->target->endpoint, err);

	if (!transport)
		return err->status;
	return vgw__upstream_start(transport, &call->upstream, &request, &vgw__call_upstream_events, call, err);
}

void vgw__call_start(vgw_call *call)
{
	vgw_error err = VGW_ERROR_INIT;

	vgw__call_enter(call, VGW__CALL_HEAD);
	call->sent_ns = vgw__now_ns();
	if (start(call, &err) != VGW_OK) {
		vgw__call_fail(call, VGW_FAULT_UPSTREAM_UNAVAILABLE, err.text);
		return;
	}
	vgw__call_watch_deadline(call);
}

void vgw__call_send(vgw_call *call, const char *why)
{
	struct vgw__target *failed = call->target;

	if (!vgw__attempt_begin(call)) {
		call->target = failed;
		if (vgw__fallback_take(call))
			return;
		vgw__call_fail(call, VGW_FAULT_UPSTREAM_UNAVAILABLE, why ? why : "every replica of the model is being drained");
		return;
	}
	if (call->seat->adapter && !vgw__adapters_claim(call))
		return;
	vgw__call_start(call);
}

/* --- questions ------------------------------------------------------------------------------------------------ */

void vgw_call_resume(vgw_call *call)
{
	if (!call->is_paused)
		return;
	call->is_paused = false;
	call->last_event_ns = 0; /* the pause was the client's */
	call->last_data_ms = vgw_loop_now_ms(call->worker->loop);
	if (call->upstream)
		vgw__upstream_resume(call->upstream);
}

void vgw_call_get_report(vgw_call *call, vgw_call_report *report)
{
	struct vgw__usage usage = vgw__call_get_usage(call);

	*report = vgw__call_report(call, VGW_FAULT_NONE, false, &usage);
}

bool vgw_call_is_stream(const vgw_call *call)
{
	return call->is_stream;
}

bool vgw_call_is_waiting(const vgw_call *call)
{
	return call->state == VGW__CALL_LEASE || call->state == VGW__CALL_ADAPTER;
}

bool vgw_call_get_wait(const vgw_call *call, vgw_call_wait *wait)
{
	struct vgw__place_in_line place;

	if (call->state != VGW__CALL_LEASE || !call->waiter || wait->size < sizeof(*wait))
		return false;
	vgw__waiter_get_place(call->waiter, &place);
	wait->model = call->seat->model->name;
	wait->position = place.position;
	wait->eta_ms = place.eta_ms;
	return true;
}

void vgw_call_fail(vgw_call *call, vgw_fault fault, const char *text)
{
	if (call->state != VGW__CALL_ANSWER)
		vgw__call_fail(call, fault, text);
}
