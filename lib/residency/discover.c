/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices the machine has, when the configuration names none: what the driver's library says, in its order, as
 * gpu0, gpu1, ... with all of their memory as budgets. A gateway that was itself confined to some of them
 * (CUDA_VISIBLE_DEVICES) keeps to those. */
#include "residency/internal.h"

#include "backend/settle.h"
#include "util/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_listed(const char *list, const struct vgw__device_found *found)
{
	char number[16];

	(void)snprintf(number, sizeof(number), "%u", (unsigned)found->number);
	for (size_t len; *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		if (strlen(number) == len && strncmp(number, list, len) == 0)
			return true;
		/* as the driver does: any beginning of a UUID */
		if (len > 4 && strncmp(found->uuid, list, len) == 0)
			return true;
	}
	return false;
}

static void add(vgw_residency *residency, const struct vgw__device_found *found)
{
	char name[VGW__NAME_SIZE];
	int32_t place;

	(void)snprintf(name, sizeof(name), "gpu%u", (unsigned)found->number);
	place = vgw__configure_add_device(residency, name);
	if (place < 0) {
		vgw__log(&residency->options.logger, VGW_LOG_WARN, "residency", NULL,
			"%s is not used: there are more devices than can be managed", name);
		return;
	}
	residency->device_budgets[place] = found->total_bytes > INT64_MAX ? INT64_MAX : (int64_t)found->total_bytes;
	(void)snprintf(residency->device_uuids[place], VGW__UUID_SIZE, "%s", found->uuid);
	residency->is_naming_devices = false;
	vgw__log(&residency->options.logger, VGW_LOG_INFO, "residency", NULL, "found %s, %.1f GiB, %s", name,
		(double)found->total_bytes / (1024.0 * 1024.0 * 1024.0), found->uuid);
}

void vgw__discover_devices(vgw_residency *residency)
{
	const char *visible = getenv("CUDA_VISIBLE_DEVICES");
	struct vgw__device_found found[VGW__DEVICES_FOUND];
	struct vgw__settle *driver;
	size_t count = 0;

	if (vgw__settle_new_nvml(&driver, NULL) != VGW_OK)
		return;
	if (vgw__settle_discover(driver, found, &count, NULL) != VGW_OK)
		count = 0;
	for (size_t i = 0; i < count; i++) {
		if (!visible || !visible[0] || is_listed(visible, &found[i]))
			add(residency, &found[i]);
	}
	vgw__settle_free(driver);
}
