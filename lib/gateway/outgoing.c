/* SPDX-License-Identifier: Apache-2.0 */
/* What goes upstream: the client's bytes with a few values spliced, and the few headers that go on. */
#include "gateway/allowance.h"
#include "gateway/reading.h"
#include "util/alloc.h"
#include "util/error.h"

#include <string.h>

enum { SCRATCH_MAX_BYTES = 1024 * 1024, TRACESTATE_MAX_BYTES = 512 };

/* A stream of these says what it cost only when asked to; who is limited or billed by tokens must be counted.
 */
static bool must_tell_usage(const vgw_call *call)
{
	const vgw_model *model = call->seat->model;

	if (!call->allowance || !call->is_stream || model->usage == VGW_USAGE_OFF ||
		(call->operation != VGW_OPERATION_CHAT_COMPLETIONS &&
			call->operation != VGW_OPERATION_COMPLETIONS))
		return false;
	for (size_t i = 0; i < model->strip.count; i++) {
		if (strcmp(model->strip.items[i], "stream_options") == 0)
			return false;
	}
	return true;
}

/* Ids and priorities are the gateway's to give: two users' equal ids break an engine. */
static vgw_status splice(
	vgw_call *call, struct vgw__reading *reading, struct vgw__splice *out, vgw_error *err)
{
	const struct vgw__scan *scan = &reading->scan;
	const vgw_model *model = call->seat->model;
	const char *served_name = call->seat->adapter ? call->seat->adapter->slot : model->served_name;
	struct vgw__usage_asked asked;
	vgw_status status = VGW_OK;

	if (strcmp(served_name, "*") != 0 &&
		(scan->body[VGW__BODY_MODEL].kind == 0 || strcmp(reading->name, served_name) != 0))
		status = vgw__splice_set_string(out, "model", served_name, strlen(served_name), err);
	if (status == VGW_OK && scan->body[VGW__BODY_REQUEST_ID].kind != 0)
		status = vgw__splice_remove(out, "request_id", err);
	if (status == VGW_OK && scan->body[VGW__BODY_PRIORITY].kind != 0)
		status = vgw__splice_remove(out, "priority", err);
	if (status == VGW_OK && must_tell_usage(call)) {
		status = vgw__splice_include_usage(out, model->usage == VGW_USAGE_CONTINUOUS, &asked, err);
		call->hides_usage = !asked.at_end;
		call->hides_running = model->usage == VGW_USAGE_CONTINUOUS && !asked.in_each;
	}
	for (size_t i = 0; status == VGW_OK && i < model->strip.count; i++)
		status = vgw__splice_remove(out, model->strip.items[i], err);
	for (size_t i = 0; status == VGW_OK && i < model->default_count; i++)
		status = vgw__splice_add_default(out, model->defaults[i].name, model->defaults[i].text,
			strlen(model->defaults[i].text), err);
	return status;
}

/* "*": the engine knows models by their clients' names. */
static vgw_status splice_form(vgw_call *call, struct vgw__reading *reading, struct vgw__segment *segments, size_t *count,
	vgw_error *err)
{
	const char *served = call->seat->adapter ? call->seat->adapter->slot : call->seat->model->served_name;
	bool stays = strcmp(served, "*") == 0 || (reading->form.has_model && strcmp(reading->name, served) == 0);

	return vgw__form_set_model(&reading->form, stays ? NULL : served, &call->scratch, segments, count, err);
}

static vgw_status splice_json(vgw_call *call, struct vgw__reading *reading, struct vgw__segment *segments, size_t *count,
	vgw_error *err)
{
	struct vgw__splice edits;
	vgw_status status;

	vgw__splice_init(&edits, &reading->scan, &call->scratch);
	status = splice(call, reading, &edits, err);
	return status == VGW_OK ? vgw__splice_finish(&edits, segments, count, err) : status;
}

static void add_header(struct vgw__outgoing *out, const char *name, const char *value)
{
	if (value)
		out->headers[out->header_count++] =
			(struct vgw__header){{name, strlen(name)}, {value, strlen(value)}};
}

static bool is_hex(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") >= len && strspn(text, "0") < len;
}

/* "00-<32 digits>-<16 digits>-<2 digits>", no id all zeros (W3C Trace Context). What is malformed does not go
 * on: it would be the engine's, or its tracer's, to stumble over. */
static bool is_traceparent(const char *text)
{
	return text && strlen(text) == 55 && memcmp(text, "00-", 3) == 0 && is_hex(text + 3, 32) &&
	       text[35] == '-' && is_hex(text + 36, 16) && text[52] == '-' &&
	       strspn(text + 53, "0123456789abcdef") == 2;
}

/* The client's own body, or with a few values replaced. */
static vgw_status make_body(vgw_call *call, struct vgw__reading *reading, const vgw_request *request,
	struct vgw__segment *segments, size_t *count, vgw_error *err)
{
	vgw__buf_init(&call->scratch, SCRATCH_MAX_BYTES);
	if (call->operation == VGW_OPERATION_PASSTHROUGH) {
		segments[0] = (struct vgw__segment){request->body, request->body_len};
		*count = request->body_len ? 1 : 0;
		return VGW_OK;
	}
	return reading->is_form ? splice_form(call, reading, segments, count, err)
				: splice_json(call, reading, segments, count, err);
}

static void address(struct vgw__outgoing *out, const struct vgw__reading *reading, const vgw_request *request)
{
	bool is_passthrough = request->operation == VGW_OPERATION_PASSTHROUGH;

	out->method = is_passthrough ? request->method : "POST";
	out->path = is_passthrough ? request->path : vgw__operation_path(request->operation);
	out->has_body = !is_passthrough || request->body_len;
	if (reading->is_form)
		vgw__form_print_type(&reading->form, out->form_type);
	if (!is_passthrough)
		add_header(out, "content-type", reading->is_form ? out->form_type : "application/json");
	else if (request->body_len)
		add_header(out, "content-type", request->content_type);
}

vgw_status vgw__outgoing_prepare(
	vgw_call *call, struct vgw__reading *reading, const vgw_request *request, vgw_error *err)
{
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS];
	size_t count = 0;
	vgw_status status = make_body(call, reading, request, segments, &count, err);

	if (status != VGW_OK)
		return status;
	call->outgoing = vgw__alloc(sizeof(*call->outgoing) + count * sizeof(call->outgoing->body[0]));
	if (!call->outgoing)
		return vgw_error_set(err, VGW_NOMEM, 0, "request");
	for (size_t i = 0; i < count; i++)
		call->outgoing->body[i] = (struct vgw__span){segments[i].data, segments[i].len};
	call->outgoing->body_count = count;
	address(call->outgoing, reading, request);
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
