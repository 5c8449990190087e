/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine is told of its placement: the devices' numbers, and how much of their memory is its own. */
#ifndef VGW_BACKEND_PLACED_H
#define VGW_BACKEND_PLACED_H

#include <vllmgw/controller.h>

#include "backend/settings.h"
#include "util/strings.h"

enum { VGW__SHARE_TEXT = 8 };

/* For `--gpu-memory-utilization`: "0.812"; vLLM's own default where the share is not known. */
const char *vgw__placed_print_share(char out[VGW__SHARE_TEXT], uint32_t share);

/* The key `gpu_memory_utilization`: none or auto. */
vgw_status vgw__placed_read_auto(const struct vgw__settings *settings, bool *is_auto, vgw_error *err);

/* Append the option and its value, unless it is there. False: no memory. */
bool vgw__placed_add_share(struct vgw__strings *argv, const char *share);

/* "0,1" as a list, appended. False: no memory. */
bool vgw__placed_split(struct vgw__strings *out, const char *devices);

#endif
