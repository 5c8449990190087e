/* SPDX-License-Identifier: Apache-2.0 */
/* Options and models in the planner's words: devices and groups become bits, names become places. */
#include "residency/internal.h"

#include "util/alloc.h"
#include "util/duration.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { HOST_PLACE = VGW__DEVICES_MAX - 1, SWEEP_MS = 30000 };

static const char host_name[] = "host";
static const char each_name[] = "each"; /* in a model's memory: on every device not named */

/* --- limits and policy ---------------------------------------------------------------------------------------- */

static int32_t to_limit(uint32_t given)
{
	return given > INT32_MAX ? INT32_MAX : (int32_t)given;
}

void vgw__configure_planner(struct vgw__residency_config *config, const vgw_residency_options *options)
{
	uint32_t resident = options->max_resident ? options->max_resident : 1;

	*config = (struct vgw__residency_config){
		.max_resident = resident == VGW_UNLIMITED ? 0 : to_limit(resident),
		.max_asleep = to_limit(options->max_asleep),
		.policy = options->policy == VGW_POLICY_COST ? VGW__POLICY_COST : VGW__POLICY_LRU,
		.max_wait_ms = options->max_wait_ms,
		.min_resident_ms = options->min_resident_ms,
		.hold_ms = options->hold_ms,
		.backoff_ms = options->backoff_ms,
		.cancel_unwanted_load = options->cancel_unwanted_load != 0,
		.seed = (uint64_t)vgw_now_ms(),
	};
	/* Waiting for the memory is bounded by more than what is always waited. */
	if (options->settle_ms > 0)
		config->settle_timeout_ms = options->settle_ms + 30000;
}

/* --- devices -------------------------------------------------------------------------------------------------- */

int32_t vgw__configure_find_device(const vgw_residency *residency, const char *name)
{
	for (int32_t i = 0; i < VGW__DEVICES_MAX; i++) {
		if (residency->device_names[i][0] && strcmp(residency->device_names[i], name) == 0)
			return i;
	}
	return -1;
}

int32_t vgw__configure_add_device(vgw_residency *residency, const char *name)
{
	for (int32_t i = 0; i < HOST_PLACE; i++) {
		if (residency->device_names[i][0])
			continue;
		(void)snprintf(residency->device_names[i], VGW__NAME_SIZE, "%s", name);
		return i;
	}
	return -1;
}

vgw_status vgw__configure_devices(vgw_residency *residency, const vgw_residency_options *options, vgw_error *err)
{
	(void)snprintf(residency->device_names[HOST_PLACE], VGW__NAME_SIZE, "%s", host_name);
	residency->is_naming_devices = true;
	for (size_t i = 0; i < options->device_count; i++) {
		const char *name = options->devices[i].device;
		int32_t place = HOST_PLACE;

		if (!name || !name[0] || strlen(name) >= VGW__NAME_SIZE)
			return vgw_error_set(err, VGW_INVALID, 0, "device %zu: its name must have 1 to %d bytes", i + 1,
				VGW__NAME_SIZE - 1);
		if (strcmp(name, each_name) == 0)
			return vgw_error_set(err, VGW_INVALID, 0, "a device cannot be called '%s': it stands for all",
				name);
		if (strcmp(name, host_name) != 0) {
			if (vgw__configure_find_device(residency, name) >= 0)
				return vgw_error_set(err, VGW_INVALID, 0, "device '%s' is given twice", name);
			place = vgw__configure_add_device(residency, name);
			residency->is_naming_devices = false;
		}
		if (place < 0)
			return vgw_error_set(err, VGW_INVALID, 0, "more than %d devices", HOST_PLACE);
		residency->device_budgets[place] = options->devices[i].bytes > INT64_MAX
			? INT64_MAX : (int64_t)options->devices[i].bytes;
	}
	if (residency->is_naming_devices && options->discover_devices)
		vgw__discover_devices(residency);
	return VGW_OK;
}

/* --- a model -------------------------------------------------------------------------------------------------- */

static vgw_status place_of(vgw_residency *residency, const vgw_model *model, const char *device, int32_t *place,
	vgw_error *err)
{
	*place = vgw__configure_find_device(residency, device);
	if (*place < 0 && residency->is_naming_devices && strlen(device) < VGW__NAME_SIZE)
		*place = vgw__configure_add_device(residency, device);
	if (*place >= 0)
		return VGW_OK;
	return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': there is no device '%.60s'; name it under devices",
		model->name, device);
}

/* Which devices it may run on: as listed; else those it says it takes memory on; else any. Of an engine that nobody can
 * tell where to run, the first is believed. */
static vgw_status choose_devices(vgw_residency *residency, const vgw_model *model, uint32_t flags, uint32_t *mask,
	vgw_error *err)
{
	vgw_status status = VGW_OK;
	uint32_t named;
	bool is_placed;
	int32_t place;

	*mask = 0;
	for (size_t i = 0; status == VGW_OK && i < model->devices.count; i++) {
		status = place_of(residency, model, model->devices.items[i], &place, err);
		if (status == VGW_OK && place != HOST_PLACE)
			*mask |= 1u << place;
	}
	for (size_t i = 0; status == VGW_OK && !model->devices.count && i < model->memory_count; i++) {
		if (strcmp(model->memory[i].device, each_name) == 0)
			continue;
		status = place_of(residency, model, model->memory[i].device, &place, err);
		if (status == VGW_OK && place != HOST_PLACE)
			*mask |= 1u << place;
	}
	named = *mask;
	if (status == VGW_OK && !named && residency->is_naming_devices && !residency->device_names[0][0])
		(void)vgw__configure_add_device(residency, "gpu0");
	is_placed = (flags & VGW_CONTROLLER_PLACEABLE) && !residency->is_naming_devices;
	for (int32_t i = 0; status == VGW_OK && !named && i < HOST_PLACE && residency->device_names[i][0]; i++)
		*mask |= is_placed || i == 0 ? 1u << i : 0;
	return status;
}

static int32_t count_devices(uint32_t mask)
{
	int32_t count = 0;

	for (; mask; mask &= mask - 1)
		count++;
	return count;
}

/* How many of them it takes. Where nobody tells the engine on which to run, or nobody named the machine's devices, it
 * takes all it was given, unless the model says otherwise. */
static vgw_status choose_width(const vgw_residency *residency, const vgw_model *model, uint32_t flags,
	struct vgw__model_config *config, vgw_error *err)
{
	int32_t count = count_devices(config->devices);
	bool is_placed = flags & VGW_CONTROLLER_PLACEABLE;

	if (!is_placed && model->tensor_parallel && (int32_t)model->tensor_parallel != count)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': tensor_parallel is %u, but nobody can tell an "
			"engine of kind '%.20s' which devices to use; name those it does under devices", model->name,
			(unsigned)model->tensor_parallel, model->kind);
	if (!is_placed || model->width == VGW__WIDTH_ALL ||
		(residency->is_naming_devices && !model->tensor_parallel))
		return VGW_OK;
	if (model->width > (uint32_t)count)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s' takes %u devices (%s), but there %s only %d it may run on", model->name,
			(unsigned)model->width, model->tensor_parallel ? "tensor_parallel" : "as its backend says",
			count == 1 ? "is" : "are", (int)count);
	config->devices_needed = (int32_t)model->width;
	return VGW_OK;
}

static int64_t to_bytes(uint64_t bytes)
{
	return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

static vgw_status measure(vgw_residency *residency, const vgw_model *model, struct vgw__model_config *config,
	vgw_error *err)
{
	int64_t each = VGW__UNKNOWN_BYTES;

	for (size_t i = 0; i < model->memory_count; i++) {
		if (strcmp(model->memory[i].device, each_name) == 0)
			each = to_bytes(model->memory[i].bytes);
	}
	for (int32_t i = 0; i < HOST_PLACE; i++)
		config->awake_bytes[i] = (config->devices >> i) & 1u ? each : 0;
	for (size_t i = 0; i < model->memory_count; i++) {
		int64_t bytes = to_bytes(model->memory[i].bytes);
		int32_t place;
		vgw_status status;

		if (strcmp(model->memory[i].device, each_name) == 0)
			continue;
		status = place_of(residency, model, model->memory[i].device, &place, err);
		if (status != VGW_OK)
			return status;
		if (place == HOST_PLACE)
			config->asleep_bytes[place] = bytes;
		else if (config->devices_needed && !((config->devices >> place) & 1u))
			return vgw_error_set(err, VGW_INVALID, 0,
				"model '%.60s': memory on '%.60s', which is none of its devices", model->name,
				model->memory[i].device);
		else
			config->awake_bytes[place] = bytes;
	}
	return VGW_OK;
}

static vgw_status join_groups(vgw_residency *residency, const vgw_model *model, uint64_t *groups, vgw_error *err)
{
	for (size_t i = 0; i < model->groups.count; i++) {
		const char *name = model->groups.items[i];
		int32_t bit = 0;

		while (bit < VGW__GROUPS_MAX && residency->group_names[bit] &&
			strcmp(residency->group_names[bit], name) != 0)
			bit++;
		if (bit == VGW__GROUPS_MAX)
			return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': more than %d groups", model->name,
				VGW__GROUPS_MAX);
		if (!residency->group_names[bit])
			residency->group_names[bit] = vgw__strdup(name);
		if (!residency->group_names[bit])
			return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s'", model->name);
		*groups |= UINT64_C(1) << bit;
	}
	return VGW_OK;
}

/* The controller's own timeouts, if it has any: the planner's must not be shorter. */
static int64_t timeout_of(const json_t *backend, const char *key, int64_t otherwise)
{
	const json_t *value = json_object_get(backend, key);
	int64_t ms = 0;

	if (json_is_integer(value))
		ms = json_integer_value(value);
	else if (json_is_string(value) && !vgw__parse_duration(json_string_value(value), &ms))
		ms = 0;
	return ms > 0 ? ms : otherwise;
}

vgw_status vgw__configure_model(vgw_residency *residency, const vgw_model *model, uint32_t flags,
	struct vgw__model_config *config, vgw_error *err)
{
	const vgw_residency_options *options = &residency->given;
	json_t *backend = model->backend_json ? json_loads(model->backend_json, 0, NULL) : NULL;
	int64_t stop_ms = timeout_of(backend, "stop_timeout", 0);
	vgw_status status;

	*config = (struct vgw__model_config){
		.can_sleep = (flags & VGW_CONTROLLER_CAN_SLEEP) && model->sleep_level > 0,
		.is_pinned = model->is_pinned,
		.start_timeout_ms = timeout_of(backend, "start_timeout", options->start_timeout_ms),
		.stop_timeout_ms = stop_ms ? stop_ms + SWEEP_MS : options->stop_timeout_ms,
		.sleep_timeout_ms = model->sleep_timeout_ms,
		.wake_timeout_ms = model->wake_timeout_ms,
		.drain_timeout_ms = options->drain_timeout_ms,
		.ttl_sleep_ms = options->idle_sleep_ms,
		.ttl_stop_ms = options->idle_stop_ms,
	};
	json_decref(backend);
	status = choose_devices(residency, model, flags, &config->devices, err);
	if (status == VGW_OK)
		status = choose_width(residency, model, flags, config, err);
	if (status == VGW_OK)
		status = measure(residency, model, config, err);
	if (status == VGW_OK)
		status = join_groups(residency, model, &config->groups, err);
	return status;
}
