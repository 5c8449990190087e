/* SPDX-License-Identifier: Apache-2.0 */
/* Placement in the words of engines and of container engines. */
#include "backend/placed.h"

#include "util/alloc.h"

#include <stdio.h>
#include <string.h>

enum { WHOLE = 1000, UNKNOWN_SHARE = 900 };

static const char option[] = "--gpu-memory-utilization";

const char *vgw__placed_print_share(char out[VGW__SHARE_TEXT], uint32_t share)
{
	uint32_t told = share > WHOLE ? WHOLE : share ? share : UNKNOWN_SHARE;

	(void)snprintf(out, VGW__SHARE_TEXT, "%u.%03u", told / WHOLE % 10, told % WHOLE);
	return out;
}

vgw_status vgw__placed_read_auto(const struct vgw__settings *settings, bool *is_auto, vgw_error *err)
{
	const char *word = "none";
	vgw_status status = vgw__settings_get_text(settings, "gpu_memory_utilization", &word, err);

	*is_auto = strcmp(word, "auto") == 0;
	if (status != VGW_OK || *is_auto || strcmp(word, "none") == 0)
		return status;
	return vgw_error_set(err, VGW_INVALID, 0,
		"model '%.60s': backend.gpu_memory_utilization is '%.40s'; expected auto or none "
		"(a number goes into the engine's arguments)", settings->model, word);
}

bool vgw__placed_add_share(struct vgw__strings *argv, const char *share)
{
	for (size_t i = 0; i < argv->count; i++) {
		const char *rest = argv->items[i] + sizeof(option) - 1;

		if (strncmp(argv->items[i], option, sizeof(option) - 1) == 0 && (*rest == '\0' || *rest == '='))
			return true;
	}
	return vgw__strings_add(argv, option) && vgw__strings_add(argv, share);
}

bool vgw__placed_split(struct vgw__strings *out, const char *devices)
{
	while (*devices) {
		size_t len = strcspn(devices, ",");
		char *id = len ? vgw__strndup(devices, len) : NULL;

		if (len && (!id || !vgw__strings_take(out, id)))
			return false;
		devices += len;
		devices += *devices == ',';
	}
	return true;
}
