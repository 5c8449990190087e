/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of kind "docker", checked as far as it can be before anything runs. */
#ifndef VGW_BACKEND_DOCKER_CONFIG_H
#define VGW_BACKEND_DOCKER_CONFIG_H

#include <vllmgw/controller.h>

#include "util/strings.h"

enum vgw__docker_pull { VGW__PULL_NEVER, VGW__PULL_MISSING, VGW__PULL_ALWAYS };

struct vgw__docker_config {
	char *model;
	char *served_name;
	char *replica;         /* "big/0" */
	char *devices;         /* those it may run on, "": any; they hold when the host names none */
	char *api_key;         /* for the probe; NULL: none */
	char *log_path;        /* "": in memory */
	char *state_dir;       /* NULL: none */
	char *socket;          /* NULL: the usual one */
	char *image;
	char *container_name;  /* NULL: made from the model's name */
	char *network;         /* NULL: the engine's default, with a published port */
	char *publish_address; /* where the port is published; NULL: it is not */
	char *ipc;             /* NULL: the engine's default */
	char *user;            /* NULL: the image's */
	char *runtime;         /* NULL: the engine's default */
	char *hash;            /* of all that makes it another container */
	struct vgw__strings args;
	struct vgw__strings entrypoint;
	struct vgw__strings env;     /* NAME=template */
	struct vgw__strings mounts;  /* SOURCE:TARGET[:OPTIONS] */
	struct vgw__strings gpu_ids; /* of `gpus` itself: they come before the placement */
	int64_t gpu_count;     /* 0: none, or those of gpu_ids; -1: all; with a placement: those of the placement */
	bool is_gpu_auto;      /* `gpus` is not given: those of the placement, if it has one */
	bool is_share_wanted;  /* tell it how much of its devices' memory it may take */
	int64_t shm_bytes;     /* 0: the engine's default */
	int64_t memory_bytes;  /* 0: no limit */
	int64_t start_timeout_ms;
	int64_t stop_timeout_ms;
	enum vgw__docker_pull pull;
	bool can_sleep;        /* as in the kind process: development routes, and it may be found asleep */
	bool has_init;
	bool shares_host;      /* the container listens on an address of the engine's machine itself */
	bool has_port;         /* `port` was configured */
	uint16_t port;         /* inside the container */
};

vgw_status vgw__docker_config_read(struct vgw__docker_config *config, const vgw_replica_spec *spec,
	vgw_error *err);
void vgw__docker_config_fini(struct vgw__docker_config *config); /* also of a zeroed one */
/* Do arguments or environment want to be told a port? */
bool vgw__docker_config_uses_port(const struct vgw__docker_config *config);

/* What one start fills in. */
struct vgw__docker_launch {
	uint16_t port;
	const char *instance; /* which gateway */
	const char *nonce;    /* which start */
	const char *devices;  /* its placement; NULL: nobody said */
	uint32_t share;       /* as vgw_host_get_memory_share() */
};

/* The body of POST /containers/create, from malloc(); what was filled in is appended to argv and env, where the
 * secrets are found. INVALID (a variable that does not exist), NOMEM. */
vgw_status vgw__docker_config_make_body(const struct vgw__docker_config *config,
	const struct vgw__docker_launch *launch, char **out, struct vgw__strings *argv, struct vgw__strings *env,
	vgw_error *err);

/* Does its container ask for GPUs? `devices` as in a launch. */
bool vgw__docker_config_wants_gpus(const struct vgw__docker_config *config, const char *devices);

#define VGW__LABEL_INSTANCE "vllmgw.instance"
#define VGW__LABEL_MODEL "vllmgw.model"
#define VGW__LABEL_REPLICA "vllmgw.replica"
#define VGW__LABEL_SPEC "vllmgw.spec"
#define VGW__LABEL_NONCE "vllmgw.nonce"

#endif
