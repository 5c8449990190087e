/* SPDX-License-Identifier: Apache-2.0 */
/* Error bodies: {"error":{"message","type","param","code"}}. */
#include "gateway/fault.h"

#include "util/alloc.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Well-formed UTF-8 or not, it becomes a JSON string: what jansson refuses is replaced byte by byte. */
static json_t *text(const char *bytes)
{
	json_t *json = json_string(bytes);
	char *copy;

	if (json)
		return json;
	copy = vgw__strdup(bytes);
	for (char *c = copy; c && *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	json = copy ? json_string(copy) : NULL;
	vgw__free(copy);
	return json;
}

/* The field of the request that the fault is about, where it is always the same one. */
static const char *usual_param(vgw_fault fault)
{
	switch (fault) {
	case VGW_FAULT_MISSING_MODEL:
	case VGW_FAULT_INVALID_MODEL:
	case VGW_FAULT_MODEL_NOT_FOUND:
	case VGW_FAULT_MODEL_NOT_ALLOWED:
		return "model";
	case VGW_FAULT_INVALID_STREAM:
		return "stream";
	default:
		return NULL;
	}
}

char *vgw_fault_dup_body(vgw_fault fault, const char *message, const char *param)
{
	const vgw_fault_info *info = vgw_fault_get_info(fault);
	json_t *message_json = text(message && *message ? message : info->text);
	json_t *param_json;
	json_t *json = NULL;
	char *dumped = NULL, *body = NULL;

	param = param ? param : usual_param(fault);
	param_json = param ? text(param) : json_null();
	if (message_json && param_json)
		json = json_pack("{s:{s:O,s:s,s:O,s:s}}", "error", "message", message_json, "type", info->type, "param",
			param_json, "code", info->code);
	if (json)
		dumped = json_dumps(json, JSON_COMPACT);
	if (dumped)
		body = vgw__strdup(dumped);
	free(dumped);
	json_decref(json);
	json_decref(message_json);
	json_decref(param_json);
	return body;
}

bool vgw__fault_print_event(struct vgw__buf *out, vgw_fault fault, const char *message)
{
	char *body = vgw_fault_dup_body(fault, message, NULL);
	bool is_ok = body && vgw__buf_print(out, "data: %s\n\n", body);

	vgw__free(body);
	return is_ok;
}
