/* SPDX-License-Identifier: Apache-2.0 */
/* Did the device's memory come back? Engines have answered 200 and kept it. Known from a start that was watched is
 * what the engine took; half of that must be free again (weights and cache are nearly all of it). Of an engine taken
 * over from an earlier run nothing is known but that a twentieth of its device is less than any model holds. */
#include "backend/sleeper.h"

#include <string.h>

enum { READ_MS = 2000, RETURN_MS = 10000, SHARE_OF_DEVICE = 20, SHARE_OF_FOOTPRINT = 2 };

void vgw__sleep_list_devices(struct vgw__sleeper *sleeper, const char *devices)
{
	const char *p = devices && devices[0] ? devices : "0";
	size_t count = 0;

	if (!devices)
		return;

	while (*p && count < VGW__SLEEP_DEVICES) {
		struct vgw__sleep_device *device = &sleeper->devices[count];
		size_t len = strcspn(p, ",");
		char given[VGW__DEVICE_NAME], name[VGW__DEVICE_NAME];

		if (len > 0 && len < sizeof(given)) {
			memcpy(given, p, len);
			given[len] = '\0';
			vgw__settle_name_device(name, given);
			if (count >= sleeper->device_count || strcmp(device->name, name) != 0) {
				*device = (struct vgw__sleep_device){ .free_before_bytes = 0 };
				memcpy(device->name, name, sizeof(name));
			}
			count++;
		}
		p += len;
		p += *p == ',';
	}
	sleeper->device_count = count;
}

/* False: nobody can tell. */
static bool read_free(struct vgw__sleeper *sleeper, size_t place, struct vgw__device_memory *out)
{
	struct vgw__settle *settle = sleeper->kind->settle;

	return settle && vgw__settle_read(settle, sleeper->devices[place].name, vgw_now_ms() + READ_MS,
		vgw_host_get_cancel_fd(sleeper->host), out, NULL) == VGW_OK;
}

void vgw__sleep_note_free(struct vgw__sleeper *sleeper)
{
	for (size_t i = 0; i < sleeper->device_count; i++) {
		struct vgw__device_memory memory;
		bool is_read = read_free(sleeper, i, &memory);

		sleeper->devices[i].free_before_bytes = is_read ? memory.free_bytes : 0;
		sleeper->devices[i].total_bytes = is_read ? memory.total_bytes : 0;
	}
}

void vgw__sleep_note_footprint(struct vgw__sleeper *sleeper)
{
	for (size_t i = 0; i < sleeper->device_count; i++) {
		struct vgw__sleep_device *device = &sleeper->devices[i];
		struct vgw__device_memory memory;

		device->footprint_bytes = 0;
		device->is_measured = device->free_before_bytes && read_free(sleeper, i, &memory);
		if (device->is_measured && memory.free_bytes < device->free_before_bytes)
			device->footprint_bytes = device->free_before_bytes - memory.free_bytes;
	}
}

vgw_status vgw__sleep_await_free(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err)
{
	int64_t until_ms = vgw_now_ms() + RETURN_MS < deadline_ms ? vgw_now_ms() + RETURN_MS : deadline_ms;
	vgw_status status = VGW_OK;

	for (size_t i = 0; status == VGW_OK && i < sleeper->device_count; i++) {
		const struct vgw__sleep_device *device = &sleeper->devices[i];
		uint64_t wanted = device->is_measured ? device->footprint_bytes / SHARE_OF_FOOTPRINT
			: device->total_bytes / SHARE_OF_DEVICE;
		vgw_error why = VGW_ERROR_INIT;

		if (!device->free_before_bytes)
			continue;
		status = vgw__settle_wait(sleeper->kind->settle, device->name,
			device->free_before_bytes + wanted, until_ms, vgw_host_get_cancel_fd(sleeper->host), &why);
		if (status != VGW_OK)
			(void)vgw_error_set(err, status, 0, "model '%.60s' sleeps without giving its memory back: %.140s",
				sleeper->model, why.text);
	}
	return status;
}
