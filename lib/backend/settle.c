/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a device's memory, whatever tells about it; and the source that knows nothing. */
#include "backend/settle.h"

#include "util/alloc.h"
#include "util/buf.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_STEP_MS = 20, LONGEST_STEP_MS = 250, READ_MS = 10000 };

static const double gibibyte = 1024.0 * 1024.0 * 1024.0;

void vgw__settle_name_device(char out[VGW__DEVICE_NAME], const char *device)
{
	if (strncmp(device, "gpu", 3) == 0 && device[3] >= '0' && device[3] <= '9')
		device += 3;
	(void)snprintf(out, VGW__DEVICE_NAME, "%s", device);
}

/* --- the source that knows nothing --- */

static void none_destroy(struct vgw__settle *settle)
{
	vgw__free(settle);
}

static const struct vgw__settle_ops none_ops = { .name = "none", .destroy = none_destroy };

vgw_status vgw__settle_new_none(struct vgw__settle **out, int64_t settle_ms, vgw_error *err)
{
	*out = vgw__alloc(sizeof(**out));
	if (!*out)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch devices");
	(*out)->ops = &none_ops;
	(*out)->settle_ms = settle_ms;
	return VGW_OK;
}

/* --- any source --- */

vgw_status vgw__settle_new_best(struct vgw__settle **out, int64_t settle_ms, vgw_error *err)
{
	if (vgw__settle_new_nvml(out, NULL) == VGW_OK || vgw__settle_new_smi(out, NULL) == VGW_OK)
		return VGW_OK;
	return vgw__settle_new_none(out, settle_ms, err);
}

void vgw__settle_free(struct vgw__settle *settle)
{
	if (settle)
		settle->ops->destroy(settle);
}

vgw_status vgw__settle_read(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	struct vgw__device_memory *out, vgw_error *err)
{
	memset(out, 0, sizeof(*out));
	if (settle->ops->read)
		return settle->ops->read(settle, device, deadline_ms, cancel_fd, out, err);
	return vgw_error_set(err, VGW_INVALID, 0, "nothing here tells the memory of device '%.60s'", device);
}

vgw_status vgw__settle_list(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	int64_t pids[VGW__DEVICE_PIDS], size_t *count, vgw_error *err)
{
	*count = 0;
	if (settle->ops->list)
		return settle->ops->list(settle, device, deadline_ms, cancel_fd, pids, count, err);
	return vgw_error_set(err, VGW_INVALID, 0, "nothing here tells who uses device '%.60s'", device);
}

vgw_status vgw__settle_discover(struct vgw__settle *settle, struct vgw__device_found found[VGW__DEVICES_FOUND],
	size_t *count, vgw_error *err)
{
	*count = 0;
	if (settle->ops->discover)
		return settle->ops->discover(settle, found, count, err);
	return vgw_error_set(err, VGW_INVALID, 0, "nothing here tells which devices there are");
}

/* False: cancelled. */
static bool sleep_unless_cancelled(int64_t ms, int cancel_fd)
{
	int64_t until = vgw_now_ms() + ms;

	do {
		struct pollfd cancel = { .fd = cancel_fd, .events = POLLIN };
		int64_t left_ms = until - vgw_now_ms();

		if (poll(&cancel, 1, left_ms > 0 ? (int)left_ms : 0) == 1)
			return false;
	} while (vgw_now_ms() < until);
	return true;
}

static vgw_status tell_stuck(struct vgw__settle *settle, const char *device, uint64_t wanted_bytes,
	const struct vgw__device_memory *memory, vgw_error *err)
{
	int64_t pids[VGW__DEVICE_PIDS];
	struct vgw__buf holders;
	size_t count = 0;

	vgw__buf_init(&holders, 80);
	(void)vgw__settle_list(settle, device, vgw_now_ms() + READ_MS, -1, pids, &count, NULL);
	for (size_t i = 0; i < count; i++)
		(void)vgw__buf_print(&holders, "%s%lld", i > 0 ? ", " : ", held by pid ", (long long)pids[i]);
	(void)vgw_error_set(err, VGW_TIMEOUT, 0, "device %.60s: %.1f GiB free where %.1f are needed%.*s", device,
		(double)memory->free_bytes / gibibyte, (double)wanted_bytes / gibibyte, (int)holders.len,
		holders.data ? holders.data : "");
	vgw__buf_fini(&holders);
	return VGW_TIMEOUT;
}

vgw_status vgw__settle_wait(struct vgw__settle *settle, const char *device, uint64_t wanted_bytes,
	int64_t deadline_ms, int cancel_fd, vgw_error *err)
{
	int64_t left_ms = deadline_ms - vgw_now_ms();
	int64_t step_ms = FIRST_STEP_MS;

	if (!settle->ops->read) {
		if (sleep_unless_cancelled(left_ms < settle->settle_ms ? left_ms : settle->settle_ms, cancel_fd))
			return VGW_OK;
		return vgw_error_set(err, VGW_CANCELLED, 0, "device %.60s: given up waiting", device);
	}
	for (;;) {
		int64_t read_until = vgw_now_ms() + READ_MS;
		struct vgw__device_memory memory;
		vgw_error why = VGW_ERROR_INIT;
		vgw_status status = vgw__settle_read(settle, device, read_until, cancel_fd, &memory, &why);

		if (status == VGW_OK && memory.free_bytes >= wanted_bytes)
			return VGW_OK;
		left_ms = deadline_ms - vgw_now_ms();
		if (left_ms <= 0 && status == VGW_OK)
			return tell_stuck(settle, device, wanted_bytes, &memory, err);
		if (left_ms <= 0)
			return vgw_error_set(err, VGW_TIMEOUT, 0, "device %.60s: its memory cannot be read: %.120s",
				device, why.text);
		if (!sleep_unless_cancelled(step_ms < left_ms ? step_ms : left_ms, cancel_fd))
			return vgw_error_set(err, VGW_CANCELLED, 0, "device %.60s: given up waiting", device);
		step_ms = step_ms * 2 > LONGEST_STEP_MS ? LONGEST_STEP_MS : step_ms * 2;
	}
}
