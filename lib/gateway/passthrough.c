/* SPDX-License-Identifier: Apache-2.0 */
/* Requests whose path the gateway does not know, for an engine that does.
 *
 *   "/v1/audio/x?y=z" ── each segment decoded once ──┬─ two servers may read it differently ──► 400
 *                                                     ├─ one of the engine's own controls ─────► 403
 *                                                     └─ else ──► as it came, byte for byte
 *
 * An engine decodes a path before it looks for the route: what is compared here is decoded too. */
#include "gateway/reading.h"

#include "gateway/fault.h"
#include "util/error.h"

#include <string.h>
#include <strings.h>

enum { PATH_MAX_BYTES = 8000, SEGMENT_MAX_BYTES = 64 };

/* What an operator does with an engine, none of it guarded by the engine: sleeping, pausing, calls into its workers,
 * its weights, adapters, caches, profiles. */
static const char *const controls[] = {
	"sleep", "wake_up", "pause", "resume", "collective_rpc", "load_lora_adapter", "unload_lora_adapter", "update_weights",
	"start_weight_update", "finish_weight_update", "init_weight_transfer_engine", "init_weights_update_group",
	"start_profile", "stop_profile", "scale_elastic_ep", "abort_requests", "server_info", "shutdown",
};

static bool is_control(const char *name)
{
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		if (strcasecmp(name, controls[i]) == 0)
			return true;
	}
	return strncasecmp(name, "reset_", 6) == 0;
}

/* --- one segment ------------------------------------------------------------------------------------------------ */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte at text[*at], which moves behind it; -1: not one that belongs into a segment. */
static int decode_byte(const char *text, size_t len, size_t *at)
{
	int byte = (unsigned char)text[(*at)++];

	if (byte != '%')
		return strchr("\"<>\\^`{|}#", byte) ? -1 : byte;
	if (*at + 2 > len || hex(text[*at]) < 0 || hex(text[*at + 1]) < 0)
		return -1;
	byte = hex(text[*at]) * 16 + hex(text[*at + 1]);
	*at += 2;
	return byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\' || byte == '%' ? -1 : byte;
}

/* Its beginning, decoded, up to a parameter: longer ones are no control's name. False: ambiguous. */
static bool decode_segment(const char *text, size_t len, char name[SEGMENT_MAX_BYTES])
{
	size_t count = 0;
	bool is_named = true;

	for (size_t at = 0; at < len;) {
		int byte = decode_byte(text, len, &at);

		if (byte < 0)
			return false;
		is_named = is_named && byte != ';';
		if (is_named && count + 1 < SEGMENT_MAX_BYTES)
			name[count++] = (char)byte;
	}
	name[count] = '\0';
	return count > 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

static vgw_status refuse_path(vgw_error *err)
{
	return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_BAD_REQUEST,
		"the path holds an empty, relative or wrongly encoded segment");
}

static vgw_status check_segments(const char *path, size_t len, vgw_error *err)
{
	char name[SEGMENT_MAX_BYTES];

	for (size_t from = 1; from < len;) {
		const char *slash = memchr(path + from, '/', len - from);
		size_t end = slash ? (size_t)(slash - path) : len;

		if (!decode_segment(path + from, end - from, name))
			return refuse_path(err);
		if (is_control(name))
			return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_PERMISSION_DENIED,
				"'%s' is a control of the engine, which clients do not reach", name);
		from = end + 1; /* one slash at the end is no empty segment */
	}
	return VGW_OK;
}

static vgw_status check_path(const char *path, vgw_error *err)
{
	size_t len = strlen(path);

	if (path[0] != '/' || len > PATH_MAX_BYTES)
		return refuse_path(err);
	for (size_t i = 0; i < len; i++) {
		if (path[i] <= 0x20 || path[i] >= 0x7f || path[i] == '#')
			return refuse_path(err);
	}
	return check_segments(path, strcspn(path, "?"), err);
}

static vgw_status check_method(const char *method, vgw_error *err)
{
	static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(method, known[i]) == 0)
			return VGW_OK;
	}
	return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_METHOD_NOT_ALLOWED, "this method is not passed on");
}

static vgw_status find_model(struct vgw__view *view, const vgw_request *request, const vgw_model **model, vgw_error *err)
{
	vgw_registry *registry = view->snapshot->registry;

	*model = vgw_registry_find(registry, request->model, request->model ? strlen(request->model) : 0);
	if (!*model && request->model)
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND,
			"the model '%.200s' does not exist", request->model);
	if (!*model)
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_NO_MODEL_LOADED, "No model loaded");
	if (vgw_principal_may_use(request->principal, (*model)->name))
		return VGW_OK;
	return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_MODEL_NOT_ALLOWED,
		"this key may not use the model '%.200s'", (*model)->name);
}

vgw_status vgw__passthrough_read(struct vgw__reading *reading, const vgw_gateway_options *limits, struct vgw__view *view,
	const vgw_request *request, const vgw_model **model, vgw_error *err)
{
	vgw_status status;

	memset(&reading->scan, 0, sizeof(reading->scan));
	reading->scan.data = "";
	if (request->body_len > limits->max_body_bytes)
		return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_REQUEST_TOO_LARGE, "the body has %zu bytes, the limit is %llu",
			request->body_len, (unsigned long long)limits->max_body_bytes);
	if (!request->method || !request->path)
		return vgw_error_set(err, VGW_INVALID, 0, "what is passed through has a method and a path");
	status = check_method(request->method, err);
	if (status == VGW_OK)
		status = check_path(request->path, err);
	return status == VGW_OK ? find_model(view, request, model, err) : status;
}
