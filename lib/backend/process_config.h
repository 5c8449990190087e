/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of kind "process", checked as far as it can be before anything runs. */
#ifndef VGW_BACKEND_PROCESS_CONFIG_H
#define VGW_BACKEND_PROCESS_CONFIG_H

#include <vllmgw/controller.h>

#include "util/strings.h"

struct vgw__process_config {
	char *model;
	char *served_name;
	char *devices;   /* those it may run on, "": any; they hold when the host names none */
	char *host;      /* numeric address the engine listens on */
	char *cwd;       /* NULL: ours */
	char *api_key;   /* NULL: none; for the probe of an engine that wants one */
	char *log_path;  /* "": in memory */
	struct vgw__strings command; /* templates */
	struct vgw__strings env;     /* NAME=template */
	struct vgw__strings inherit; /* names to pass on, a '*' at the end stands for anything; empty: the default */
	int64_t start_timeout_ms;
	int64_t stop_timeout_ms;
	bool is_share_wanted; /* tell it how much of its devices' memory it may take */
	bool can_sleep;     /* it is to be put to sleep: its development routes are needed, and it may be found asleep */
	uint16_t port;      /* 0: a fresh one at each start */
	char args_hash[17]; /* of all that makes it another engine */
};

vgw_status vgw__process_config_read(struct vgw__process_config *config, const vgw_replica_spec *spec,
	vgw_error *err);
void vgw__process_config_fini(struct vgw__process_config *config);

/* What one start fills into the templates. */
struct vgw__launch {
	const char *port;
	const char *nonce;
	const char *devices; /* NULL: those of the configuration */
	uint32_t share;      /* as vgw_host_get_memory_share() */
};

/* The arguments and the environment of one start. INVALID (a variable that does not exist), NOMEM. */
vgw_status vgw__process_config_expand(const struct vgw__process_config *config, const struct vgw__launch *launch,
	struct vgw__strings *argv, struct vgw__strings *env, vgw_error *err);

#endif
