/* SPDX-License-Identifier: Apache-2.0 */
/* Where an engine runs, in the words of those who need it: numbers for engines, names for files and people, and for
 * engines that reserve memory (vLLM) their share of each device.
 *
 *   planner: a set of devices ──► order ──► "0,1" and 812 thousandths ──► host ──► controller ──► environment, arguments
 */
#include "residency/internal.h"

#include "backend/settle.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { HOST_PLACE = VGW__DEVICES_MAX - 1, WHOLE = 1000, MOST_UNSEEN = 950 };

/* --- names ---------------------------------------------------------------------------------------------------- */

/* "gpu0", "gpu3" are 0 and 3 to an engine; other names are its own business. */
static bool append(char *out, size_t size, const char *name)
{
	bool is_gpu = strncmp(name, "gpu", 3) == 0 && name[3] && strspn(name + 3, "0123456789") == strlen(name + 3);
	size_t len = strlen(out);
	int more = snprintf(out + len, size - len, "%s%s", len ? "," : "", is_gpu ? name + 3 : name);

	return more >= 0 && (size_t)more < size - len;
}

/* In the order in which the model lists them, since rank 0 runs on the first. */
bool vgw__placement_print(const vgw_residency *residency, const vgw_model *model, uint32_t devices, char *out,
	size_t size)
{
	bool fits = true;

	out[0] = '\0';
	for (size_t i = 0; fits && i < model->devices.count; i++) {
		int32_t place = vgw__configure_find_device(residency, model->devices.items[i]);

		if (place != HOST_PLACE && (place < 0 || ((devices >> place) & 1u)))
			fits = append(out, size, model->devices.items[i]);
	}
	if (model->devices.count || residency->is_naming_devices || devices == ~0u)
		return fits;
	for (int32_t d = 0; fits && d < HOST_PLACE; d++) {
		if (((devices >> d) & 1u) && residency->device_names[d][0])
			fits = append(out, size, residency->device_names[d]);
	}
	return fits;
}

json_t *vgw__placement_pack(const vgw_residency *residency, uint32_t devices)
{
	json_t *names = json_array();

	for (int32_t d = 0; d < HOST_PLACE; d++) {
		if (((devices >> d) & 1u) && residency->device_names[d][0])
			(void)json_array_append_new(names, json_string(residency->device_names[d]));
	}
	return names;
}

uint32_t vgw__placement_read(const vgw_residency *residency, const json_t *names)
{
	uint32_t devices = 0;

	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		int32_t place = name ? vgw__configure_find_device(residency, name) : -1;

		if (place < 0 || place == HOST_PLACE)
			return 0; /* it is called otherwise now: nobody knows which it was */
		devices |= 1u << place;
	}
	return devices;
}

/* --- the share of the memory ---------------------------------------------------------------------------------- */

/* What the model is configured to take, else all there is: what was measured is not asked, or each start would add
 * what engines take beside their reservation to the last one's. 0: nothing is known. */
static int64_t allowance(const vgw_residency *residency, const vgw_model *model, int32_t device)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < model->memory_count; i++) {
		if (strcmp(model->memory[i].device, residency->device_names[device]) == 0)
			return (int64_t)model->memory[i].bytes;
		if (strcmp(model->memory[i].device, "each") == 0)
			bytes = model->memory[i].bytes;
	}
	return bytes ? (int64_t)bytes : residency->device_budgets[device];
}

/* In thousandths, rounded down; 0: not known. An engine refuses to start where less is free than it is told to take. */
static uint32_t share_of(const struct vgw__operation *operation, int32_t device)
{
	const vgw_residency *residency = operation->engine->residency;
	int64_t bytes = allowance(residency, operation->instance->model, device);
	struct vgw__device_memory memory;
	uint64_t size, share, most = MOST_UNSEEN;

	if (!vgw__memory_read(operation, device, &memory))
		memory = (struct vgw__device_memory){ 0, 0 };
	size = memory.total_bytes ? memory.total_bytes : (uint64_t)residency->device_budgets[device];
	if (!size)
		return 0;
	if (memory.total_bytes)
		most = memory.free_bytes >= size ? WHOLE : (uint64_t)((double)memory.free_bytes / (double)size * WHOLE);
	share = bytes <= 0 || (uint64_t)bytes >= size ? WHOLE : (uint64_t)((double)bytes / (double)size * WHOLE);
	share = share < most ? share : most;
	return share ? (uint32_t)share : 1;
}

vgw_status vgw__placement_tell(const struct vgw__operation *operation, vgw_error *err)
{
	const struct vgw__instance *instance = operation->instance;
	uint32_t share = 0;

	for (int32_t d = 0; d < HOST_PLACE && !operation->order.is_wake; d++) {
		uint32_t one = ((operation->order.devices >> d) & 1u) ? share_of(operation, d) : 0;

		share = one && (!share || one < share) ? one : share;
	}
	if (vgw__host_place(instance->host, operation->engine->placement, share))
		return VGW_OK;
	return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for the names of its devices",
		instance->model->name);
}
