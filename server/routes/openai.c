/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/models and /v1/models/{id}. Inference routes need no handler: the front hands them to the gateway. */
#include "routes/routes.h"

void answer_fault(struct route_answer *answer, vgw_fault fault, const char *message)
{
	answer->status = vgw_fault_get_info(fault)->http;
	answer->type = "application/json";
	answer->free_fn = vgw_free;
	answer->body = vgw_fault_dup_body(fault, message, NULL);
}

void answer_models(const struct route_view *view, struct route_answer *answer)
{
	answer->status = 200;
	answer->type = "application/json";
	answer->free_fn = vgw_free;
	answer->body = vgw_gateway_dup_models_of(view->gateway, view->principal);
}

void answer_model(const struct route_view *view, struct route_answer *answer)
{
	vgw_error err = VGW_ERROR_INIT;

	answer->status = 200;
	answer->type = "application/json";
	answer->free_fn = vgw_free;
	answer->body = vgw_gateway_dup_model_of(view->gateway, view->principal, view->tail, view->tail_len, &err);
	if (!answer->body)
		answer_fault(answer, vgw_error_get_fault(&err), err.text);
}
