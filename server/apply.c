/* SPDX-License-Identifier: Apache-2.0 */
/* Field by field: the configuration's names on one side, the library's on the other. */
#include "apply.h"

#include <stdio.h>
#include <stdlib.h>

enum { MODELS_ROOM = 128, MODELS_MAX = 4096 };

vgw_status apply_model(vgw_registry *registry, const struct config_model *model, vgw_error *err)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_memory *memory = calloc(model->memory.count + 1, sizeof(*memory));
	vgw_status status;

	if (!memory)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%s'", model->name);
	for (size_t i = 0; i < model->memory.count; i++)
		memory[i] = (vgw_memory){ model->memory.items[i].device, (uint64_t)model->memory.items[i].bytes };
	options.name = model->name;
	options.served_name = model->served_name;
	options.aliases = model->aliases.items;
	options.alias_count = model->aliases.count;
	options.kind = model->backend_kind;
	options.backend_json = model->backend_json;
	options.defaults_json = model->request_defaults_json;
	options.strip = model->request_strip.items;
	options.strip_count = model->request_strip.count;
	options.memory = memory;
	options.memory_count = model->memory.count;
	options.groups = model->groups.items;
	options.group_count = model->groups.count;
	options.devices = model->devices.items;
	options.device_count = model->devices.count;
	options.tensor_parallel = model->tensor_parallel > 0 ? (uint32_t)model->tensor_parallel : 0;
	options.is_unlisted = model->is_unlisted;
	options.is_pinned = model->is_pinned;
	options.sleep_level = (uint32_t)model->sleep_level;
	options.sleep_timeout_ms = (uint32_t)model->sleep_timeout_ms;
	options.wake_timeout_ms = (uint32_t)model->wake_timeout_ms;
	options.sleep_mode = model->sleep_mode == CONFIG_SLEEP_MODE_WAIT ? "wait" : "abort";
	options.sleep_canary = model->sleep_canary;
	options.balance = (vgw_balance)model->balance;
	options.max_loras = (uint32_t)model->max_loras;
	options.lora_timeout_ms = (uint32_t)model->lora_timeout_ms;
	options.usage = (vgw_usage)model->usage;
	options.fallback = model->fallback_model;
	options.fallback_after_ms = model->fallback_after_ms;
	status = vgw_registry_add(registry, &options, err);
	free(memory);
	return status;
}

static vgw_status apply_adapters(vgw_registry *registry, const struct config_model *model, vgw_error *err)
{
	vgw_status status = VGW_OK;

	for (size_t i = 0; status == VGW_OK && i < model->adapters.count; i++) {
		const struct config_adapter *adapter = &model->adapters.items[i];
		vgw_adapter_options options = VGW_ADAPTER_OPTIONS_INIT;

		options.name = adapter->name;
		options.base = model->name;
		options.path = adapter->path;
		options.aliases = adapter->aliases.items;
		options.alias_count = adapter->aliases.count;
		options.is_unlisted = adapter->is_unlisted;
		status = vgw_registry_add_adapter(registry, &options, err);
	}
	return status;
}

static vgw_status tell_place(const struct config_model *model, vgw_error *err)
{
	vgw_error found = *err;
	char place[160];

	*err = (vgw_error)VGW_ERROR_INIT;
	return vgw_error_set(err, found.status, found.sys_errno, "%s: models.%s: %s",
		config_place_print(&model->place, place, sizeof(place)), model->name, found.text);
}

vgw_status apply_registry(vgw_registry **out, const struct config *config, vgw_error *err)
{
	vgw_status status = vgw_registry_new(out, err);

	for (size_t i = 0; status == VGW_OK && i < config->models.count; i++) {
		status = apply_model(*out, &config->models.items[i], err);
		if (status == VGW_OK)
			status = apply_adapters(*out, &config->models.items[i], err);
		if (status != VGW_OK)
			(void)tell_place(&config->models.items[i], err);
	}
	if (status == VGW_OK && config->default_model)
		status = vgw_registry_set_default(*out, config->default_model, err);
	if (status != VGW_OK) {
		vgw_registry_unref(*out);
		*out = NULL;
	}
	return status;
}

/* -1 is "never" in the configuration, 0 in the library. */
static int64_t never_is_zero(int64_t ms)
{
	return ms < 0 ? 0 : ms;
}

/* With room for those that a reload brings while earlier ones are still leaving. */
static uint32_t count_room(const struct config *config)
{
	size_t room = 2 * config->models.count + MODELS_ROOM;

	return room < MODELS_MAX ? (uint32_t)room : MODELS_MAX;
}

static vgw_status fill_residency(struct apply_room *room, const struct config *config, vgw_error *err)
{
	vgw_residency_options *options = &room->residency;

	*options = (vgw_residency_options)VGW_RESIDENCY_OPTIONS_INIT;
	room->devices = calloc(config->devices.count + 1, sizeof(*room->devices));
	if (!room->devices)
		return vgw_error_set(err, VGW_NOMEM, 0, "devices");
	for (size_t i = 0; i < config->devices.count; i++)
		room->devices[i] = (vgw_memory){ config->devices.items[i].device,
			(uint64_t)never_is_zero(config->devices.items[i].bytes) };
	options->devices = room->devices;
	options->device_count = config->devices.count;
	options->discover_devices = 1;
	options->preload = config->residency.preload.items;
	options->preload_count = config->residency.preload.count;
	options->memory_command = config->residency.memory_command.items;
	options->memory_command_count = config->residency.memory_command.count;
	options->deny = config->upstreams.deny.items;
	options->deny_count = config->upstreams.deny.count;
	options->allow_link_local = config->upstreams.allow_link_local;
	options->max_resident = (uint32_t)config->residency.max_resident;
	options->max_asleep = (uint32_t)config->residency.max_asleep;
	options->policy = config->residency.policy == CONFIG_POLICY_COST ? VGW_POLICY_COST : VGW_POLICY_LRU;
	options->on_exit = config->residency.on_exit == CONFIG_ON_EXIT_LEAVE ? VGW_ON_EXIT_LEAVE : VGW_ON_EXIT_STOP;
	options->max_models = count_room(config);
	options->max_waiters = (uint32_t)config->limits.queue_requests;
	options->max_wait_ms = config->residency.max_wait_ms;
	options->min_resident_ms = config->residency.min_resident_ms;
	options->idle_sleep_ms = never_is_zero(config->residency.idle_sleep_ms);
	options->idle_stop_ms = never_is_zero(config->residency.idle_stop_ms);
	options->drain_timeout_ms = config->timeouts.drain_ms;
	options->resolve_ms = config->timeouts.resolve_ms;
	return VGW_OK;
}

vgw_status apply_gateway_options(vgw_gateway_options *options, struct apply_room *room, const struct config *config,
	vgw_logger logger, vgw_error *err)
{
	*options = (vgw_gateway_options)VGW_GATEWAY_OPTIONS_INIT;
	options->logger = logger;
	options->state_dir = config->state_dir;
	options->connect_timeout_ms = config->timeouts.connect_ms;
	options->first_byte_timeout_ms = config->timeouts.first_byte_ms;
	options->idle_timeout_ms = config->timeouts.idle_ms;
	options->total_timeout_ms = config->timeouts.total_ms;
	options->health_interval_ms = config->timeouts.health_ms;
	options->address_rpm = (uint64_t)config->auth.per_ip_rpm;
	options->metrics_naming = (vgw_metrics_naming)config->metrics.naming;
	options->max_body_bytes = (uint64_t)config->limits.body_bytes;
	options->residency = &room->residency;
	return fill_residency(room, config, err);
}

void apply_room_free(struct apply_room *room)
{
	free(room->devices);
	room->devices = NULL;
}
