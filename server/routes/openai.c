/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/models and /v1/models/{id}. Inference routes need no handler: the front hands them to the gateway. */
#include "routes/routes.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void answer_fault(struct route_answer *answer, vgw_fault fault, const char *message)
{
	answer->status = vgw_fault_get_info(fault)->http;
	answer->type = "application/json";
	answer->free_fn = vgw_free;
	answer->body = vgw_fault_dup_body(fault, message, NULL);
}

/* Only those whose status.value is the given one. */
static char *filter(const char *text, const char *status)
{
	json_t *json = text ? json_loads(text, 0, NULL) : NULL, *data = json_object_get(json, "data");
	char *filtered;

	for (size_t i = json_array_size(data); i > 0; i--) {
		const json_t *value = json_object_get(json_object_get(json_array_get(data, i - 1), "status"), "value");

		if (!json_is_string(value) || strcmp(json_string_value(value), status) != 0)
			(void)json_array_remove(data, i - 1);
	}
	filtered = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return filtered;
}

void answer_models(const struct route_view *view, struct route_answer *answer)
{
	const char *status = view->query[ROUTE_QUERY_STATUS];
	char *all = vgw_gateway_dup_models_of(view->gateway, view->principal);

	if (!status && view->is_model_router)
		status = "loaded";
	answer->status = 200;
	answer->type = "application/json";
	answer->free_fn = status ? free : vgw_free;
	answer->body = status ? filter(all, status) : all;
	if (status)
		vgw_free(all);
}

void answer_model(const struct route_view *view, struct route_answer *answer)
{
	vgw_error err = VGW_ERROR_INIT;

	answer->status = 200;
	answer->type = "application/json";
	answer->free_fn = vgw_free;
	answer->body = vgw_gateway_dup_model_of(view->gateway, view->principal, view->name, view->name_len, &err);
	if (!answer->body)
		answer_fault(answer, vgw_error_get_fault(&err), err.text);
}
