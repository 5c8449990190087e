/* SPDX-License-Identifier: Apache-2.0 */
/* Is the memory of a device back? An engine that has ended may hold it a while longer, and the next start would fail
 * or measure wrongly. Where the answer comes from is an interface:
 *
 *   nvml      the driver's library, loaded at run time ($VLLMGW_NVML: another file)
 *   smi       the nvidia-smi command
 *   command   a configured command that prints "FREE [TOTAL]" in bytes; ${DEVICE} in it is the device
 *   none      nobody knows: a while after the exit has to do
 *
 * All of it blocks: for executor threads. A device is a number ("0", "gpu0") or a UUID ("GPU-..."). */
#ifndef VGW_BACKEND_SETTLE_H
#define VGW_BACKEND_SETTLE_H

#include <vllmgw/status.h>

#include "util/strings.h"

struct vgw__settle;

struct vgw__device_memory {
	uint64_t free_bytes;
	uint64_t total_bytes; /* 0: not told */
};

enum { VGW__DEVICE_PIDS = 64, VGW__DEVICE_NAME = 96, VGW__DEVICES_FOUND = 64 };

struct vgw__device_found {
	uint32_t number;
	uint64_t total_bytes;
	char uuid[VGW__DEVICE_NAME]; /* "": not told */
};

struct vgw__settle_ops {
	const char *name;
	/* NULL: it cannot tell. */
	vgw_status (*read)(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
		struct vgw__device_memory *out, vgw_error *err);
	/* Who computes on it. NULL: it cannot tell. */
	vgw_status (*list)(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
		int64_t pids[VGW__DEVICE_PIDS], size_t *count, vgw_error *err);
	/* Which devices there are, at most VGW__DEVICES_FOUND. NULL: it cannot tell. */
	vgw_status (*discover)(struct vgw__settle *settle, struct vgw__device_found *out, size_t *count, vgw_error *err);
	void (*destroy)(struct vgw__settle *settle);
};

/* First member of each implementation. */
struct vgw__settle {
	const struct vgw__settle_ops *ops;
	int64_t settle_ms; /* how long to wait when `read` is NULL */
};

vgw_status vgw__settle_new_nvml(struct vgw__settle **out, vgw_error *err); /* NOT_FOUND: no driver here */
vgw_status vgw__settle_new_smi(struct vgw__settle **out, vgw_error *err);
vgw_status vgw__settle_new_command(struct vgw__settle **out, const struct vgw__strings *command, vgw_error *err);
vgw_status vgw__settle_new_none(struct vgw__settle **out, int64_t settle_ms, vgw_error *err);
/* The best of nvml, smi and none that works here. */
vgw_status vgw__settle_new_best(struct vgw__settle **out, int64_t settle_ms, vgw_error *err);
void vgw__settle_free(struct vgw__settle *settle); /* NULL is allowed */

/* INVALID when this source cannot tell. */
vgw_status vgw__settle_read(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	struct vgw__device_memory *out, vgw_error *err);
vgw_status vgw__settle_list(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	int64_t pids[VGW__DEVICE_PIDS], size_t *count, vgw_error *err);

vgw_status vgw__settle_discover(struct vgw__settle *settle, struct vgw__device_found found[VGW__DEVICES_FOUND],
	size_t *count, vgw_error *err);

/* Wait until so much is free. TIMEOUT: it does not come back, the text says how much is there and who holds it, or
 * why nothing can be read; CANCELLED. A source that fails is asked again until the deadline. */
vgw_status vgw__settle_wait(struct vgw__settle *settle, const char *device, uint64_t wanted_bytes,
	int64_t deadline_ms, int cancel_fd, vgw_error *err);

/* "gpu3" and "3" are "3"; else as it is. */
void vgw__settle_name_device(char out[VGW__DEVICE_NAME], const char *device);

#endif
