/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a call: read the body once, find the model, splice, ask for a lease. What is wrong with the
 * request is told by the return value, before anything was begun. */
#include "gateway/allowance.h"
#include "gateway/call.h"
#include "gateway/fault.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/opts.h"

#include <string.h>

enum { EXTRA_NAMES = 64, SCRATCH_MAX_BYTES = 1024 * 1024, TRACESTATE_MAX_BYTES = 512 };

static const char *const paths[VGW_OPERATION_COUNT] = {
#define XX(name, path) [VGW_OPERATION_##name] = path,
	VGW_OPERATION_MAP(XX)
#undef XX
};

const char *vgw__operation_path(vgw_operation operation)
{
	return paths[operation];
}

/* --- the body ------------------------------------------------------------------------------------------------- */

/* What was learned of a body; on the stack of vgw_worker_call(). */
struct reading {
	struct vgw__scan scan;
	struct vgw__json_name names[EXTRA_NAMES]; /* the model's defaults and stripped keys */
	struct vgw__json_span spans[EXTRA_NAMES];
	bool is_stream;
	size_t name_len;
	char name[VGW__NAME_MAX_BYTES + 1];
};

static vgw_status read_body(struct reading *reading, const vgw_gateway_options *limits, const vgw_request *request,
	vgw_error *err)
{
	struct vgw__scan_options options = { .max_values = limits->max_json_tokens };
	vgw_status status;

	if (request->body_len > limits->max_body_bytes)
		return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_REQUEST_TOO_LARGE,
			"the body has %zu bytes, the limit is %llu", request->body_len,
			(unsigned long long)limits->max_body_bytes);
	status = vgw__scan_body(&reading->scan, request->body, request->body_len, &options, err);
	if (status == VGW_OK)
		status = vgw__scan_get_stream(&reading->scan, &reading->is_stream, err);
	return status;
}

/* The front has told the model. What the body says of it is read all the same: it may have to be replaced. */
static vgw_status take_model(struct reading *reading, vgw_registry *registry, const char *name, const vgw_model **model,
	vgw_error *err)
{
	vgw_status status = VGW_OK;

	if (reading->scan.body[VGW__BODY_MODEL].kind != 0)
		status = vgw__scan_get_name(&reading->scan, VGW__BODY_MODEL, reading->name, &reading->name_len, err);
	if (status != VGW_OK)
		return status;
	*model = vgw_registry_find(registry, name, strlen(name));
	if (!*model)
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND,
			"the model '%.200s' does not exist", name);
	return VGW_OK;
}

/* A body that names no model gets the default model, if there is one. */
static vgw_status look_up_model(struct reading *reading, struct vgw__view *view, const vgw_model **model, vgw_error *err)
{
	bool is_named = reading->scan.body[VGW__BODY_MODEL].kind != 0;
	vgw_registry *registry = view->snapshot->registry;
	vgw_status status;

	*model = is_named ? NULL : vgw_registry_find(registry, NULL, 0);
	if (*model)
		return VGW_OK;
	status = vgw__scan_get_name(&reading->scan, VGW__BODY_MODEL, reading->name, &reading->name_len, err);
	if (status != VGW_OK)
		return status;
	*model = vgw_registry_find(registry, reading->name, reading->name_len);
	if (!*model)
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND,
			"the model '%.200s' does not exist", reading->name);
	return VGW_OK;
}

/* What is asked about is the configured name: the model that would run, whatever the client called it. */
static vgw_status find_model(struct reading *reading, struct vgw__view *view, const vgw_request *request,
	const vgw_model **model, vgw_error *err)
{
	vgw_status status = request->model ? take_model(reading, view->snapshot->registry, request->model, model, err)
					   : look_up_model(reading, view, model, err);

	if (status != VGW_OK || vgw_principal_may_use(request->principal, (*model)->name))
		return status;
	return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_MODEL_NOT_ALLOWED, "this key may not use the model '%.200s'",
		(*model)->name);
}

/* Keys of the model's own lists are looked for in a second pass, which only models with such lists pay for. */
static vgw_status scan_again(struct reading *reading, const vgw_gateway_options *limits, const vgw_model *model,
	vgw_error *err)
{
	struct vgw__scan_options options = {
		.max_values = limits->max_json_tokens,
		.extra_names = reading->names,
		.extra = reading->spans,
	};

	if (!model->default_count && !model->strip.count)
		return VGW_OK;
	if (model->default_count + model->strip.count > EXTRA_NAMES)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s' has more than %d defaults and stripped keys",
			model->name, EXTRA_NAMES);
	for (size_t i = 0; i < model->default_count; i++)
		reading->names[options.extra_count++] = (struct vgw__json_name){ model->defaults[i].name,
			strlen(model->defaults[i].name) };
	for (size_t i = 0; i < model->strip.count; i++)
		reading->names[options.extra_count++] = (struct vgw__json_name){ model->strip.items[i],
			strlen(model->strip.items[i]) };
	return vgw__scan_body(&reading->scan, reading->scan.data, reading->scan.len, &options, err);
}

/* A stream of these says what it cost only when asked to; who is limited or billed by tokens must be counted. */
static bool must_tell_usage(const vgw_call *call)
{
	const vgw_model *model = call->seat->model;

	if (!call->allowance || !call->is_stream || (call->operation != VGW_OPERATION_CHAT_COMPLETIONS &&
		call->operation != VGW_OPERATION_COMPLETIONS))
		return false;
	for (size_t i = 0; i < model->strip.count; i++) {
		if (strcmp(model->strip.items[i], "stream_options") == 0)
			return false;
	}
	return true;
}

/* Ids and priorities are the gateway's to give: two users' equal ids break an engine. */
static vgw_status splice(vgw_call *call, struct reading *reading, struct vgw__splice *out, vgw_error *err)
{
	const struct vgw__scan *scan = &reading->scan;
	const vgw_model *model = call->seat->model;
	bool was_wanted = false;
	vgw_status status = VGW_OK;

	if (strcmp(model->served_name, "*") != 0 &&
		(scan->body[VGW__BODY_MODEL].kind == 0 || strcmp(reading->name, model->served_name) != 0))
		status = vgw__splice_set_string(out, "model", model->served_name, strlen(model->served_name), err);
	if (status == VGW_OK && scan->body[VGW__BODY_REQUEST_ID].kind != 0)
		status = vgw__splice_remove(out, "request_id", err);
	if (status == VGW_OK && scan->body[VGW__BODY_PRIORITY].kind != 0)
		status = vgw__splice_remove(out, "priority", err);
	if (status == VGW_OK && must_tell_usage(call)) {
		status = vgw__splice_include_usage(out, &was_wanted, err);
		call->hides_usage = !was_wanted;
	}
	for (size_t i = 0; status == VGW_OK && i < model->strip.count; i++)
		status = vgw__splice_remove(out, model->strip.items[i], err);
	for (size_t i = 0; status == VGW_OK && i < model->default_count; i++)
		status = vgw__splice_add_default(out, model->defaults[i].name, model->defaults[i].text,
			strlen(model->defaults[i].text), err);
	return status;
}

/* --- what goes upstream --------------------------------------------------------------------------------------- */

static void add_header(struct vgw__outgoing *out, const char *name, const char *value)
{
	if (value)
		out->headers[out->header_count++] =
			(struct vgw__header){ { name, strlen(name) }, { value, strlen(value) } };
}

static bool is_hex(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") >= len && strspn(text, "0") < len;
}

/* "00-<32 digits>-<16 digits>-<2 digits>", no id all zeros (W3C Trace Context). What is malformed does not go on: it
 * would be the engine's, or its tracer's, to stumble over. */
static bool is_traceparent(const char *text)
{
	return text && strlen(text) == 55 && memcmp(text, "00-", 3) == 0 && is_hex(text + 3, 32) && text[35] == '-' &&
	       is_hex(text + 36, 16) && text[52] == '-' && strspn(text + 53, "0123456789abcdef") == 2;
}

static vgw_status prepare(vgw_call *call, struct reading *reading, const vgw_request *request, vgw_error *err)
{
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS];
	struct vgw__splice edits;
	size_t count = 0;
	vgw_status status;

	vgw__buf_init(&call->scratch, SCRATCH_MAX_BYTES);
	vgw__splice_init(&edits, &reading->scan, &call->scratch);
	status = splice(call, reading, &edits, err);
	if (status == VGW_OK)
		status = vgw__splice_finish(&edits, segments, &count, err);
	if (status != VGW_OK)
		return status;
	call->outgoing = vgw__alloc(sizeof(*call->outgoing) + count * sizeof(call->outgoing->body[0]));
	if (!call->outgoing)
		return vgw_error_set(err, VGW_NOMEM, 0, "request");
	for (size_t i = 0; i < count; i++)
		call->outgoing->body[i] = (struct vgw__span){ segments[i].data, segments[i].len };
	call->outgoing->body_count = count;
	add_header(call->outgoing, "content-type", "application/json");
	add_header(call->outgoing, "accept", request->accept);
	add_header(call->outgoing, "x-request-id", call->request_id);
	if (is_traceparent(request->traceparent)) {
		add_header(call->outgoing, "traceparent", request->traceparent);
		if (request->tracestate && strlen(request->tracestate) <= TRACESTATE_MAX_BYTES)
			add_header(call->outgoing, "tracestate", request->tracestate);
	}
	add_header(call->outgoing, "authorization", call->seat->model->upstream_auth);
	return VGW_OK;
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

/* --- leasing -------------------------------------------------------------------------------------------------- */

static void go_on(vgw_call *call)
{
	struct vgw__targets *targets = vgw__seat_get_targets(call->seat);

	call->has_lease = true;
	call->leased_ns = vgw__now_ns();
	if (!targets || !targets->count) {
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

static vgw_status ask_for_lease(vgw_call *call, vgw_error *err)
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
		call->leased_ns = call->begun_ns; /* an open gate is no wait */
		return VGW_OK;
	}
	vgw__call_enter(call, VGW__CALL_LEASE);
	call->waiter = vgw__residency_wait(call->worker->port, call->seat->resident, &wish, on_granted, call, err);
	if (!call->waiter)
		return err->status;
	vgw__call_watch_deadline(call);
	return VGW_OK;
}

/* The limits' store said yes. */
static void on_permit(vgw_call *call)
{
	vgw_error err = VGW_ERROR_INIT;

	if (ask_for_lease(call, &err) == VGW_OK)
		return;
	call->retry_after = err.retry_after;
	vgw__call_fail(call, vgw_error_get_fault(&err), err.text);
}

/* --- the public door ------------------------------------------------------------------------------------------ */

static vgw_call *new_call(vgw_worker *worker, const vgw_request *request, const vgw_call_events *events, void *user)
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

static vgw_status check(const vgw_request *given, vgw_request *request, const vgw_call_events *events, vgw_error *err)
{
	vgw_status status = vgw__opts_copy(request, sizeof(*request), given, "vgw_request", err);

	if (status == VGW_OK && ((unsigned)request->operation >= VGW_OPERATION_COUNT ||
		(!request->body && request->body_len) || events->size < sizeof(*events)))
		status = vgw_error_set(err, VGW_INVALID, 0, "the request or its events are incomplete");
	return status;
}

vgw_status vgw_worker_call(vgw_call **out, vgw_worker *worker, const vgw_request *given,
	const vgw_call_events *events, void *user, vgw_error *err)
{
	vgw_error local;
	vgw_request request;
	struct vgw__view *view = vgw__worker_get_view(worker);
	const vgw_model *model = NULL;
	struct reading reading;
	vgw_call *call;
	vgw_status status;

	*out = NULL;
	err = err ? err : &local;
	vgw__error_reset(err);
	reading.is_stream = false;
	status = check(given, &request, events, err);
	if (status == VGW_OK && !view)
		status = vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND, "no models are configured");
	if (status == VGW_OK)
		status = read_body(&reading, &worker->gateway->options, &request, err);
	if (status == VGW_OK)
		status = find_model(&reading, view, &request, &model, err);
	if (status == VGW_OK)
		status = scan_again(&reading, &worker->gateway->options, model, err);
	if (status != VGW_OK)
		return refuse(worker, err);
	call = new_call(worker, &request, events, user);
	if (!call) {
		(void)vgw_error_set(err, VGW_NOMEM, 0, "call");
		return refuse(worker, err);
	}
	call->view = vgw__view_ref(view);
	call->seat = &view->seats[model->place];
	call->is_stream = reading.is_stream;
	vgw__list_append(&worker->calls, &call->link);
	vgw__gauge(&call->seat->shard->in_flight, 1);
	make_request_id(call, request.request_id);
	status = vgw__allowance_begin(call, &request, &reading.scan, err);
	if (status == VGW_OK)
		status = prepare(call, &reading, &request, err);
	vgw__attempt_prepare(call, &reading.scan, request.session);
	if (status == VGW_OK && vgw__allowance_ask(call, &request, on_permit) == VGW__PERMIT_GO)
		status = ask_for_lease(call, err);
	if (status != VGW_OK) {
		vgw__count_code(call->seat->shard, vgw_fault_get_info(vgw_error_get_fault(err))->http);
		vgw__call_discard(call);
		return status;
	}
	*out = call;
	return VGW_OK;
}
