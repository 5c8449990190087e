/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a body: one pass for the keys the gateway knows, a second one only for models with lists of their
 * own. */
#include "gateway/reading.h"
#include "gateway/fault.h"
#include "util/error.h"

#include <string.h>

vgw_status vgw__reading_scan(struct vgw__reading *reading, const vgw_gateway_options *limits,
	const vgw_request *request, vgw_error *err)
{
	struct vgw__scan_options options = {.max_values = limits->max_json_tokens};
	vgw_status status;

	if (request->body_len > limits->max_body_bytes)
		return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_REQUEST_TOO_LARGE,
			"the body has %zu bytes, the limit is %llu", request->body_len,
			(unsigned long long)limits->max_body_bytes);
	reading->is_form = vgw_operation_is_form(request->operation);
	if (reading->is_form) {
		reading->scan = (struct vgw__scan){ .data = "" };
		status = vgw__form_scan(&reading->form, request->content_type ? request->content_type : "",
			request->body, request->body_len, err);
		reading->is_stream = reading->form.is_stream;
		return status;
	}
	status = vgw__scan_body(&reading->scan, request->body, request->body_len, &options, err);
	if (status == VGW_OK)
		status = vgw__scan_get_stream(&reading->scan, &reading->is_stream, err);
	return status;
}

static bool names_model(const struct vgw__reading *reading)
{
	return reading->is_form ? reading->form.has_model : reading->scan.body[VGW__BODY_MODEL].kind != 0;
}

static vgw_status read_name(struct vgw__reading *reading, vgw_error *err)
{
	if (reading->is_form)
		return vgw__form_get_model(&reading->form, reading->name, &reading->name_len, err);
	return vgw__scan_get_name(&reading->scan, VGW__BODY_MODEL, reading->name, &reading->name_len, err);
}

vgw_status vgw__reading_take_name(struct vgw__reading *reading, vgw_error *err)
{
	return names_model(reading) ? read_name(reading, err) : VGW_OK;
}

/* The front has told the model. What the body says of it is read all the same: it may have to be replaced. */
static vgw_status take_model(struct vgw__reading *reading, vgw_registry *registry, const char *name,
	const vgw_model **model, vgw_error *err)
{
	vgw_status status = vgw__reading_take_name(reading, err);

	if (status != VGW_OK)
		return status;
	*model = vgw_registry_find(registry, name, strlen(name));
	if (!*model)
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND,
			"the model '%.200s' does not exist", name);
	return VGW_OK;
}

/* A body that names no model gets the default model, if there is one. */
static vgw_status look_up_model(
	struct vgw__reading *reading, struct vgw__view *view, const vgw_model **model, vgw_error *err)
{
	vgw_registry *registry = view->snapshot->registry;
	vgw_status status;

	*model = names_model(reading) ? NULL : vgw_registry_find(registry, NULL, 0);
	if (*model)
		return VGW_OK;
	status = read_name(reading, err);
	if (status != VGW_OK)
		return status;
	*model = vgw_registry_find(registry, reading->name, reading->name_len);
	if (!*model)
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND,
			"the model '%.200s' does not exist", reading->name);
	return VGW_OK;
}

/* What is asked about is the configured name: the model that would run, whatever the client called it. */
vgw_status vgw__reading_find_model(struct vgw__reading *reading, struct vgw__view *view,
	const vgw_request *request, const vgw_model **model, vgw_error *err)
{
	vgw_status status =
		request->model ? take_model(reading, view->snapshot->registry, request->model, model, err)
			       : look_up_model(reading, view, model, err);

	if (status != VGW_OK || vgw_principal_may_use(request->principal, (*model)->name))
		return status;
	return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_MODEL_NOT_ALLOWED,
		"this key may not use the model '%.200s'", (*model)->name);
}

/* Keys of the model's own lists are looked for in a second pass, which only models with such lists pay for.
 */
vgw_status vgw__reading_scan_again(struct vgw__reading *reading, const vgw_gateway_options *limits,
	const vgw_model *model, vgw_error *err)
{
	struct vgw__scan_options options = {
		.max_values = limits->max_json_tokens,
		.extra_names = reading->names,
		.extra = reading->spans,
	};

	if (reading->is_form || (!model->default_count && !model->strip.count))
		return VGW_OK;
	if (model->default_count + model->strip.count > VGW__EXTRA_NAMES)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%s' has more than %d defaults and stripped keys", model->name,
			VGW__EXTRA_NAMES);
	for (size_t i = 0; i < model->default_count; i++)
		reading->names[options.extra_count++] =
			(struct vgw__json_name){model->defaults[i].name, strlen(model->defaults[i].name)};
	for (size_t i = 0; i < model->strip.count; i++)
		reading->names[options.extra_count++] =
			(struct vgw__json_name){model->strip.items[i], strlen(model->strip.items[i])};
	return vgw__scan_body(&reading->scan, reading->scan.data, reading->scan.len, &options, err);
}
