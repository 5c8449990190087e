/* SPDX-License-Identifier: Apache-2.0 */
/* Devices told about by NVML, the library of the NVIDIA driver, loaded when it is there. Its calls cannot be
 * interrupted; they take milliseconds while the driver is well. The types are its binary interface, written out. */
#include "backend/settle.h"

#include "util/alloc.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { NVML_SUCCESS = 0, NVML_ERROR_INSUFFICIENT_SIZE = 7 };

struct nvml_memory {
	unsigned long long total;
	unsigned long long free;
	unsigned long long used;
};

struct nvml_process {
	unsigned int pid;
	unsigned long long used;
	unsigned int gpu_instance;
	unsigned int compute_instance;
};

struct nvml {
	struct vgw__settle base;
	void *library;
	bool is_open;
	int (*init)(void);
	int (*shutdown)(void);
	const char *(*describe)(int result);
	int (*by_index)(unsigned int index, void **device);
	int (*by_uuid)(const char *uuid, void **device);
	int (*memory)(void *device, struct nvml_memory *memory);
	int (*count)(unsigned int *count);                  /* may be NULL */
	int (*uuid)(void *device, char *uuid, unsigned int size); /* may be NULL */
	int (*processes)(void *device, unsigned int *count, struct nvml_process *processes); /* may be NULL */
};

static vgw_status fail(const struct nvml *nvml, const char *what, int result, vgw_error *err)
{
	const char *text = nvml->describe ? nvml->describe(result) : NULL;

	return vgw_error_set(err, VGW_BACKEND, 0, "%s: %.100s (NVML %d)", what, text ? text : "failed", result);
}

static vgw_status find_device(const struct nvml *nvml, const char *device, void **out, vgw_error *err)
{
	char name[VGW__DEVICE_NAME], *end;
	unsigned long index;
	int result;

	vgw__settle_name_device(name, device);
	index = strtoul(name, &end, 10);
	if (end != name && *end == '\0')
		result = nvml->by_index((unsigned int)index, out);
	else
		result = nvml->by_uuid(name, out);
	return result == NVML_SUCCESS ? VGW_OK : fail(nvml, "no such device", result, err);
}

static vgw_status nvml_read(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	struct vgw__device_memory *out, vgw_error *err)
{
	const struct nvml *nvml = (const struct nvml *)settle;
	struct nvml_memory memory = { 0, 0, 0 };
	void *handle = NULL;
	vgw_status status = find_device(nvml, device, &handle, err);
	int result;

	(void)deadline_ms;
	(void)cancel_fd;
	if (status != VGW_OK)
		return status;
	result = nvml->memory(handle, &memory);
	if (result != NVML_SUCCESS)
		return fail(nvml, "its memory cannot be read", result, err);
	out->free_bytes = memory.free;
	out->total_bytes = memory.total;
	return VGW_OK;
}

static vgw_status nvml_list(struct vgw__settle *settle, const char *device, int64_t deadline_ms, int cancel_fd,
	int64_t pids[VGW__DEVICE_PIDS], size_t *count, vgw_error *err)
{
	const struct nvml *nvml = (const struct nvml *)settle;
	struct nvml_process processes[VGW__DEVICE_PIDS];
	unsigned int found = VGW__DEVICE_PIDS;
	void *handle = NULL;
	vgw_status status = find_device(nvml, device, &handle, err);
	int result;

	(void)deadline_ms;
	(void)cancel_fd;
	if (status != VGW_OK)
		return status;
	if (!nvml->processes)
		return vgw_error_set(err, VGW_INVALID, 0, "this NVML does not tell who uses a device");
	result = nvml->processes(handle, &found, processes);
	if (result != NVML_SUCCESS && result != NVML_ERROR_INSUFFICIENT_SIZE)
		return fail(nvml, "its processes cannot be listed", result, err);
	if (result != NVML_SUCCESS)
		found = 0; /* more than anybody wants to read */
	for (*count = 0; *count < found && *count < VGW__DEVICE_PIDS; (*count)++)
		pids[*count] = processes[*count].pid;
	return VGW_OK;
}

/* A device that does not answer is left out: it is broken, or not ours. */
static vgw_status nvml_discover(struct vgw__settle *settle, struct vgw__device_found *out, size_t *count, vgw_error *err)
{
	const struct nvml *nvml = (const struct nvml *)settle;
	unsigned int there = 0;
	int result;

	if (!nvml->count)
		return vgw_error_set(err, VGW_INVALID, 0, "this NVML does not tell how many devices there are");
	result = nvml->count(&there);
	if (result != NVML_SUCCESS)
		return fail(nvml, "devices cannot be counted", result, err);
	for (unsigned int i = 0; i < there && *count < VGW__DEVICES_FOUND; i++) {
		struct vgw__device_found *found = &out[*count];
		struct nvml_memory memory = { 0, 0, 0 };
		void *handle = NULL;

		memset(found, 0, sizeof(*found));
		if (nvml->by_index(i, &handle) != NVML_SUCCESS || nvml->memory(handle, &memory) != NVML_SUCCESS)
			continue;
		if (nvml->uuid && nvml->uuid(handle, found->uuid, sizeof(found->uuid)) != NVML_SUCCESS)
			found->uuid[0] = '\0';
		found->number = i;
		found->total_bytes = memory.total;
		++*count;
	}
	return VGW_OK;
}

static void nvml_destroy(struct vgw__settle *settle)
{
	struct nvml *nvml = (struct nvml *)settle;

	if (nvml->is_open)
		(void)nvml->shutdown();
	if (nvml->library)
		(void)dlclose(nvml->library);
	vgw__free(nvml);
}

static const struct vgw__settle_ops nvml_ops = {
	.name = "nvml", .read = nvml_read, .list = nvml_list, .discover = nvml_discover, .destroy = nvml_destroy
};

/* ISO C has no way from an object pointer to a function; POSIX says copying the bits is one. */
static bool bind_symbol(const struct nvml *nvml, void *slot, const char *name)
{
	void *symbol = dlsym(nvml->library, name);

	memcpy(slot, &symbol, sizeof(symbol));
	return symbol != NULL;
}

static bool bind_all(struct nvml *nvml)
{
	if (!bind_symbol(nvml, &nvml->processes, "nvmlDeviceGetComputeRunningProcesses_v3"))
		(void)bind_symbol(nvml, &nvml->processes, "nvmlDeviceGetComputeRunningProcesses_v2");
	(void)bind_symbol(nvml, &nvml->describe, "nvmlErrorString");
	(void)bind_symbol(nvml, &nvml->count, "nvmlDeviceGetCount_v2");
	(void)bind_symbol(nvml, &nvml->uuid, "nvmlDeviceGetUUID");
	return bind_symbol(nvml, &nvml->init, "nvmlInit_v2") &&
		bind_symbol(nvml, &nvml->shutdown, "nvmlShutdown") &&
		bind_symbol(nvml, &nvml->by_index, "nvmlDeviceGetHandleByIndex_v2") &&
		bind_symbol(nvml, &nvml->by_uuid, "nvmlDeviceGetHandleByUUID") &&
		bind_symbol(nvml, &nvml->memory, "nvmlDeviceGetMemoryInfo");
}

vgw_status vgw__settle_new_nvml(struct vgw__settle **out, vgw_error *err)
{
	const char *path = getenv("VLLMGW_NVML");
	vgw_status status = VGW_OK;
	struct nvml *nvml;
	int result;

	*out = NULL;
	nvml = vgw__alloc(sizeof(*nvml));
	if (!nvml)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch devices");
	nvml->base.ops = &nvml_ops;
	nvml->library = dlopen(path && path[0] ? path : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!nvml->library || !bind_all(nvml)) {
		const char *why = dlerror();

		status = vgw_error_set(err, VGW_NOT_FOUND, 0, "NVML cannot be loaded: %.150s", why ? why : "?");
	}
	if (status == VGW_OK) {
		result = nvml->init();
		nvml->is_open = result == NVML_SUCCESS;
		if (!nvml->is_open) {
			(void)fail(nvml, "NVML cannot be started", result, err);
			status = VGW_NOT_FOUND;
		}
	}
	if (status != VGW_OK) {
		nvml_destroy(&nvml->base);
		return status;
	}
	*out = &nvml->base;
	return VGW_OK;
}
