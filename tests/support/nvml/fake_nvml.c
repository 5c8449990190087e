/* SPDX-License-Identifier: Apache-2.0 */
/* A driver library without a driver: device 0 (UUID "GPU-fake") is described by the file $VGW_FAKE_NVML, read at each
 * call: "TOTAL FREE [PID...]" in bytes, or "error N". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct memory {
	unsigned long long total;
	unsigned long long free;
	unsigned long long used;
};

struct process {
	unsigned int pid;
	unsigned long long used;
	unsigned int gpu_instance;
	unsigned int compute_instance;
};

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT const char *nvmlErrorString(int result);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device);
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, void **device);
EXPORT int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory);
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, struct process *processes);

static int the_device;

static int read_state(char *text, size_t size)
{
	const char *path = getenv("VGW_FAKE_NVML");
	FILE *file = path ? fopen(path, "re") : NULL;
	size_t len;

	if (!file)
		return 9; /* driver not loaded */
	len = fread(text, 1, size - 1, file);
	text[len] = '\0';
	(void)fclose(file);
	return strncmp(text, "error ", 6) == 0 ? (int)strtol(text + 6, NULL, 10) : 0;
}

int nvmlInit_v2(void)
{
	char text[256];

	return read_state(text, sizeof(text)) == 9 ? 9 : 0;
}

int nvmlShutdown(void)
{
	return 0;
}

const char *nvmlErrorString(int result)
{
	return result == 9 ? "Driver Not Loaded" : result == 6 ? "Not Found" : "GPU is lost";
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
	*device = &the_device;
	return index == 0 ? 0 : 2;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device)
{
	*device = &the_device;
	return strcmp(uuid, "GPU-fake") == 0 ? 0 : 6;
}

int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory)
{
	char text[256], *end;
	int result = read_state(text, sizeof(text));

	if (device != &the_device)
		return 2;
	memory->total = strtoull(text, &end, 10);
	memory->free = strtoull(end, NULL, 10);
	memory->used = memory->total - memory->free;
	return result;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, struct process *processes)
{
	char text[256], *at = text;
	int result = read_state(text, sizeof(text));
	unsigned int n = 0;

	if (device != &the_device || result != 0)
		return result ? result : 2;
	(void)strtoull(at, &at, 10);
	(void)strtoull(at, &at, 10);
	for (char *end; n < *count; at = end) {
		unsigned long pid = strtoul(at, &end, 10);

		if (end == at)
			break;
		memset(&processes[n], 0, sizeof(processes[n]));
		processes[n++].pid = (unsigned int)pid;
	}
	*count = n;
	return 0;
}
