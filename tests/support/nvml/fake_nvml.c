/* SPDX-License-Identifier: Apache-2.0 */
/* A driver library without a driver: the file $VGW_FAKE_NVML, read at each call, describes one device a line: "TOTAL
 * FREE [PID...]" in bytes. Device 0 has the UUID "GPU-fake", device N "GPU-fake-N". "error N" instead: every call
 * fails so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { DEVICES = 16, SUCCESS = 0, INVALID = 2, NOT_FOUND = 6, NO_DRIVER = 9 };

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
EXPORT int nvmlDeviceGetCount_v2(unsigned int *count);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device);
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, void **device);
EXPORT int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int size);
EXPORT int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory);
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, struct process *processes);

static char handles[DEVICES];

/* The line of a device, or of device 0 when it asks for none. */
static int read_line(const void *device, char *text, size_t size)
{
	const char *path = getenv("VGW_FAKE_NVML");
	FILE *file = path ? fopen(path, "re") : NULL;
	long number = device ? (const char *)device - handles : 0;
	int result = INVALID;

	if (!file)
		return NO_DRIVER;
	if (number < 0 || number >= DEVICES)
		number = DEVICES;
	for (long i = 0; fgets(text, (int)size, file); i++) {
		if (strncmp(text, "error ", 6) == 0) {
			result = (int)strtol(text + 6, NULL, 10);
			break;
		}
		if (i == number) {
			result = SUCCESS;
			break;
		}
	}
	(void)fclose(file);
	return result;
}

int nvmlInit_v2(void)
{
	char text[256];

	return read_line(NULL, text, sizeof(text)) == NO_DRIVER ? NO_DRIVER : SUCCESS;
}

int nvmlShutdown(void)
{
	return SUCCESS;
}

const char *nvmlErrorString(int result)
{
	return result == NO_DRIVER ? "Driver Not Loaded" : result == NOT_FOUND ? "Not Found" : "GPU is lost";
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
	char text[256];

	for (*count = 0; *count < DEVICES && read_line(&handles[*count], text, sizeof(text)) == SUCCESS;)
		++*count;
	return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device)
{
	char text[256];
	int result;

	if (index >= DEVICES)
		return INVALID;
	*device = &handles[index];
	result = read_line(*device, text, sizeof(text));
	return result == INVALID ? INVALID : SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device)
{
	char name[64], text[256];

	for (int i = 0; i < DEVICES; i++) {
		(void)nvmlDeviceGetUUID(&handles[i], name, sizeof(name));
		*device = &handles[i];
		if (strcmp(uuid, name) == 0 && read_line(*device, text, sizeof(text)) != INVALID)
			return SUCCESS;
	}
	return NOT_FOUND;
}

int nvmlDeviceGetUUID(void *device, char *uuid, unsigned int size)
{
	long number = (char *)device - handles;

	if (number)
		(void)snprintf(uuid, size, "GPU-fake-%ld", number);
	else
		(void)snprintf(uuid, size, "GPU-fake");
	return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory)
{
	char text[256], *end;
	int result = read_line(device, text, sizeof(text));

	if (result != SUCCESS)
		return result;
	memory->total = strtoull(text, &end, 10);
	memory->free = strtoull(end, NULL, 10);
	memory->used = memory->total - memory->free;
	return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned int *count, struct process *processes)
{
	char text[256], *at = text;
	int result = read_line(device, text, sizeof(text));
	unsigned int n = 0;

	if (result != SUCCESS)
		return result;
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
	return SUCCESS;
}
