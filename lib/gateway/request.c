/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a call: read the body once, find the model, splice, ask for a lease. What is wrong with
 * the request is told by the return value, before anything was begun. */
#include "gateway/allowance.h"
#include "gateway/call.h"
#include "gateway/fallback.h"
#include "gateway/fault.h"
#include "gateway/reading.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/opts.h"

#include <string.h>

static const char *const paths[VGW_OPERATION_COUNT] = {
#define XX(name, path) [VGW_OPERATION_##name] = path,
	VGW_OPERATION_MAP(XX)
#undef XX
};

const char *vgw__operation_path(vgw_operation operation)
{
	return paths[operation];
}

bool vgw_operation_is_form(vgw_operation operation)
{
	switch (operation) {
#define XX(name, path) case VGW_OPERATION_##name:
	VGW_FORM_OPERATION_MAP(XX)
#undef XX
		return true;
	default:
		return false;
	}
}

static void make_request_id(vgw_call *call, const char *given)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = given ? strlen(given) : 0;
	uint64_t number = call->worker->id_next++;

	if (len && len < sizeof(call->request_id)) {
		memcpy(call->request_id, given, len + 1);
		return;
	}
	memcpy(call->request_id, "req-", 4);
	memcpy(call->request_id + 4, call->worker->id_prefix, 8);
	for (size_t i = 0; i < 8; i++)
		call->request_id[12 + i] = digits[(number >> (28 - 4 * i)) & 15];
	call->request_id[20] = '\0';
}

/* --- leasing
 * -------------------------------------------------------------------------------------------------- */

static void go_on(vgw_call *call)
{
	struct vgw__targets *targets = vgw__seat_get_targets(call->seat);

	call->has_lease = true;
	call->leased_ns = vgw__now_ns();
	if (!targets || !targets->count) {
		if (!vgw__fallback_take(call))
			vgw__call_fail(call, VGW_FAULT_UPSTREAM_UNAVAILABLE, "the model has no endpoint");
		return;
	}
	call->targets = vgw__targets_ref(targets);
	vgw__call_send(call, NULL);
}

static void on_granted(void *user, vgw_status status, uint64_t cuts, const vgw_error *why)
{
	vgw_call *call = user;

	call->waiter = NULL;
	if (status == VGW_OK) {
		call->cuts = cuts;
		go_on(call);
		return;
	}
	if (vgw_error_get_fault(why) != VGW_FAULT_SHUTTING_DOWN && vgw__fallback_take(call))
		return;
	call->retry_after = why->retry_after;
	vgw__call_fail(call, vgw_error_get_fault(why), why->text);
}

static int get_wish(const vgw_principal *principal)
{
	switch (principal ? principal->priority : VGW_PRIORITY_NORMAL) {
	case VGW_PRIORITY_BATCH:
		return VGW__WISH_BATCH;
	case VGW_PRIORITY_INTERACTIVE:
		return VGW__WISH_INTERACTIVE;
	default:
		return VGW__WISH_NORMAL;
	}
}

vgw_status vgw__call_ask_for_lease(vgw_call *call, vgw_error *err)
{
	const vgw_principal *principal = call->allowance ? call->allowance->principal : NULL;
	const struct vgw__wish wish = {
		.deadline_ms = call->begun_ns / 1000000 + call->worker->gateway->options.total_timeout_ms,
		.priority = get_wish(principal),
		.may_not_swap = principal && principal->may_not_swap,
	};

	call->cuts = vgw__resident_cuts(call->seat->resident);
	if (vgw__gate_enter(call->seat->resident)) {
		go_on(call);
		if (call->state == VGW__CALL_HEAD && !(call->fallback && call->fallback->count))
			call->leased_ns = call->begun_ns; /* an open gate is no wait */
		return VGW_OK;
	}
	vgw__call_enter(call, VGW__CALL_LEASE);
	call->waiter =
		vgw__residency_wait(call->worker->port, call->seat->resident, &wish, on_granted, call, err);
	if (!call->waiter)
		return err->status;
	vgw__call_watch_deadline(call);
	vgw__fallback_watch(call);
	return VGW_OK;
}

/* The limits' store said yes. */
static void on_permit(vgw_call *call)
{
	vgw_error err = VGW_ERROR_INIT;

	if (vgw__call_ask_for_lease(call, &err) == VGW_OK)
		return;
	call->retry_after = err.retry_after;
	vgw__call_fail(call, vgw_error_get_fault(&err), err.text);
}

/* --- the public door
 * ------------------------------------------------------------------------------------------ */

static vgw_call *new_call(
	vgw_worker *worker, const vgw_request *request, const vgw_call_events *events, void *user)
{
	vgw_call *call = vgw__alloc(sizeof(*call));

	if (!call)
		return NULL;
	vgw__list_init(&call->link);
	call->worker = worker;
	call->events = *events;
	call->user = user;
	call->operation = request->operation;
	call->begun_ns = vgw__now_ns();
	call->is_head = request->operation == VGW_OPERATION_PASSTHROUGH && strcmp(request->method, "HEAD") == 0;
	call->bytes_in = request->body_len;
	call->usage = (struct vgw__usage)VGW__USAGE_INIT;
	call->sse.usage = call->usage;
	return call;
}

/* A request that never became a call still counts. */
static vgw_status refuse(vgw_worker *worker, vgw_error *err)
{
	vgw__count_code(worker->unrouted, vgw_fault_get_info(vgw_error_get_fault(err))->http);
	return err->status;
}

static vgw_status check(
	const vgw_request *given, vgw_request *request, const vgw_call_events *events, vgw_error *err)
{
	vgw_status status = vgw__opts_copy(request, sizeof(*request), given, "vgw_request", err);

	if (status == VGW_OK &&
		((unsigned)request->operation >= VGW_OPERATION_COUNT ||
			(!request->body && request->body_len) || events->size < sizeof(*events)))
		status = vgw_error_set(err, VGW_INVALID, 0, "the request or its events are incomplete");
	return status;
}

static vgw_status read_body(struct vgw__reading *reading, const vgw_gateway_options *options, struct vgw__view *view,
	const vgw_request *request, const vgw_model **model, vgw_error *err)
{
	vgw_status status = vgw__reading_scan(reading, options, request, err);

	if (status == VGW_OK)
		status = vgw__reading_find_model(reading, view, request, model, err);
	if (status == VGW_OK)
		status = vgw__reading_scan_again(reading, options, *model, err);
	return status;
}

vgw_status vgw_worker_call(vgw_call **out, vgw_worker *worker, const vgw_request *given,
	const vgw_call_events *events, void *user, vgw_error *err)
{
	vgw_error local;
	vgw_request request;
	struct vgw__view *view = vgw__worker_get_view(worker);
	const vgw_model *model = NULL;
	struct vgw__reading reading;
	vgw_call *call;
	vgw_status status;

	*out = NULL;
	err = err ? err : &local;
	vgw__error_reset(err);
	reading.is_stream = false;
	reading.is_form = false;
	status = check(given, &request, events, err);
	if (status == VGW_OK && !view)
		status = vgw_error_set_fault(
			err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND, "no models are configured");
	if (status == VGW_OK && request.operation == VGW_OPERATION_PASSTHROUGH)
		status = vgw__passthrough_read(&reading, &worker->gateway->options, view, &request, &model, err);
	else if (status == VGW_OK)
		status = read_body(&reading, &worker->gateway->options, view, &request, &model, err);
	if (status != VGW_OK)
		return refuse(worker, err);
	call = new_call(worker, &request, events, user);
	if (!call) {
		(void)vgw_error_set(err, VGW_NOMEM, 0, "call");
		return refuse(worker, err);
	}
	call->view = vgw__view_ref(view);
	call->seat = vgw__view_get_seat(view, model);
	call->is_stream = reading.is_stream;
	vgw__list_append(&worker->calls, &call->link);
	vgw__gauge(&call->seat->shard->in_flight, 1);
	make_request_id(call, request.request_id);
	status = vgw__allowance_begin(call, &request, &reading.scan, err);
	if (status == VGW_OK)
		status = vgw__outgoing_prepare(call, &reading, &request, err);
	if (status == VGW_OK)
		status = vgw__fallback_begin(call, &request, err);
	vgw__attempt_prepare(call, &reading.scan, request.session);
	if (status == VGW_OK && vgw__allowance_ask(call, &request, on_permit) == VGW__PERMIT_GO)
		status = vgw__call_ask_for_lease(call, err);
	if (status != VGW_OK) {
		vgw__count_code(call->seat->shard, vgw_fault_get_info(vgw_error_get_fault(err))->http);
		vgw__call_discard(call);
		return status;
	}
	*out = call;
	return VGW_OK;
}
