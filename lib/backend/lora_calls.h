/* SPDX-License-Identifier: Apache-2.0 */
/* vLLM's routes for adapters. They block: for executor threads. */
#ifndef VGW_BACKEND_LORA_CALLS_H
#define VGW_BACKEND_LORA_CALLS_H

#include "net/endpoint.h"
#include "util/strings.h"

#include <vllmgw/status.h>

struct vgw__lora_engine {
	const struct vgw__endpoint *endpoint;
	const char *api_key; /* NULL: none */
	int cancel_fd;       /* -1: none */
};

/* Load an adapter and try it with one token: success has been told for paths that do not exist. One that is there
 * already counts as loaded.
 * BACKEND with the fault UPSTREAM_UNAVAILABLE: nobody answered; MODEL_START_FAILED: the engine said no, and *err has its
 * words and what helps. TIMEOUT; CANCELLED; NOMEM. */
vgw_status vgw__lora_load(const struct vgw__lora_engine *engine, const char *name, const char *path, int64_t deadline_ms,
	vgw_error *err);

/* One that is not there counts as unloaded. */
vgw_status vgw__lora_unload(const struct vgw__lora_engine *engine, const char *name, int64_t deadline_ms,
	vgw_error *err);

/* The adapters on the engine whose names `fits` says are ours. */
vgw_status vgw__lora_list(const struct vgw__lora_engine *engine, bool (*fits)(void *user, const char *name), void *user,
	struct vgw__strings *names, int64_t deadline_ms, vgw_error *err);

#endif
