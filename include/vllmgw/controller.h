/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/controller.h
 * How engines are brought up and taken down. Audience: implementers of controllers.  Stability: stable since 0.1.
 *
 * A controller kind is a table of operations. The built-in kinds (static, process, docker, ...) are registered
 * through the same door as yours. One instance exists per replica.
 *
 * The contract of the operations:
 *  - called on the library's executor threads, *one at a time per instance, never under a library lock*;
 *  - they may block until `deadline_ms` (vgw_now_ms() time); long ones poll vgw_host_is_cancelled();
 *  - activate is idempotent; deactivate(VGW_DEPTH_SLEEP) may go deeper and says so through vgw_host_set_depth();
 *  - after a failed operation deactivate(VGW_DEPTH_STOP) is called once, and must leave nothing running;
 *  - a death nobody asked for is reported with vgw_host_report_death(), from any thread.
 */
#ifndef VLLMGW_CONTROLLER_H
#define VLLMGW_CONTROLLER_H

#include <vllmgw/common.h>
#include <vllmgw/log.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

/** How far a replica leaves: its memory moved to the host, or the engine gone. */
typedef enum vgw_depth {
	VGW_DEPTH_AWAKE = 0,
	VGW_DEPTH_SLEEP = 1,
	VGW_DEPTH_STOP = 2,
	VGW_DEPTH_FORCE_INT32 = 0x7fffffff
} vgw_depth;

/** Why an activation failed, as far as the controller can tell: it decides what happens next. */
typedef enum vgw_failure {
	VGW_FAILURE_UNKNOWN = 0,   /* back off, try again */
	VGW_FAILURE_MEMORY = 1,    /* did not fit: evict more or wait, retry once */
	VGW_FAILURE_USER = 2,      /* wrong argument, missing or gated model: permanent until the config changes */
	VGW_FAILURE_DISTURBED = 3, /* a neighbour on the device spoiled the start: retry alone */
	VGW_FAILURE_RUNTIME = 4,   /* the container runtime or cluster API does not answer */
	VGW_FAILURE_FORCE_INT32 = 0x7fffffff
} vgw_failure;

/** What an instance is made for. Borrowed during create(). */
typedef struct vgw_replica_spec {
	size_t size;
	const char *model;        /* the model's name */
	const char *served_name;  /* what the engine calls it */
	const char *replica;      /* "big/0": unique, stable across restarts */
	const char *backend_json; /* the `backend:` mapping as a JSON object, `kind` included */
	const char *state_dir;    /* where logs may be written; NULL: nowhere */
	const char *devices;      /* those it may run on, "0,1"; "" or NULL: any; see vgw_host_get_devices() */
	uint32_t sleep_level;     /* 0: it never sleeps; adopt() may find it asleep otherwise */
	uint32_t reserved;
} vgw_replica_spec;

/** The library's side of one instance: what a controller may ask and tell. Opaque. */
typedef struct vgw_host vgw_host;

/** A process, container or workload behind a replica, for people and for the state file. Zeroed by the library;
 *  fields that do not apply stay empty. */
typedef struct vgw_replica_facts {
	size_t size;
	int64_t pid;          /* 0: none */
	char container[72];   /* container id, or "" */
	char log_path[512];   /* file with the engine's output, or "" */
	char identity[1024];  /* JSON object by which adopt() finds the engine again after a restart, or "" */
} vgw_replica_facts;

typedef struct vgw_controller_ops {
	size_t size;      /* sizeof(vgw_controller_ops) */
	const char *kind; /* "process", "docker", "slurm": used in configuration, logs and metrics */
	uint32_t flags;   /* VGW_CONTROLLER_... */
	uint32_t reserved;

	/** Check the configuration and make an instance; nothing is started. Must not block. */
	vgw_status (*create)(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user, vgw_error *err);
	/** After the last operation returned; leaves a running engine alone. */
	void (*destroy)(void *self);
	/** Bring it up until the engine listens; call vgw_host_set_endpoint(). The library probes after it. */
	vgw_status (*activate)(void *self, int64_t deadline_ms, vgw_error *err);
	/** Take it down to `depth`; returns when its memory is free as far as the controller can tell. */
	vgw_status (*deactivate)(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err);
	/** Does it serve? NULL: GET /health, then GET /v1/models must name the served model. */
	vgw_status (*probe)(void *self, int64_t deadline_ms, vgw_error *err);
	/** Take over an engine that survived our restart: `identity` is what describe() said then. VGW_NOT_FOUND when
	 *  it is gone or not ours. NULL: this kind cannot. */
	vgw_status (*adopt)(void *self, const char *identity, int64_t deadline_ms, vgw_error *err);
	/** Fill *facts. Called from any thread, must be quick. NULL: nothing to say. */
	void (*describe)(void *self, vgw_replica_facts *facts);
} vgw_controller_ops;

/** The engine is somebody else's: it takes no memory of ours, is always up and is never evicted. */
#define VGW_CONTROLLER_UNMANAGED 0x1u
/** deactivate(VGW_DEPTH_SLEEP) is possible. */
#define VGW_CONTROLLER_CAN_SLEEP 0x2u
/** The engine may be up without our doing (a server that is shared): adopt() is asked for every new model, with ""
 *  when nothing is remembered of it, and presence and absence are reported as they are seen. */
#define VGW_CONTROLLER_SELF_RUNNING 0x4u
/** activate() starts the engine on the devices of vgw_host_get_devices(). Without it a model of this kind takes all of
 *  the devices it may run on. */
#define VGW_CONTROLLER_PLACEABLE 0x8u

/** Tell where the engine listens: a base URL such as "http://127.0.0.1:40001"; may be called again.
 *  Owns: url is copied.  Threads: callback.  Blocks: on DNS, if the host is a name.  Errors: INVALID (not a URL),
 *  NOMEM.  Since: 0.1 */
VGW_API vgw_status vgw_host_set_endpoint(vgw_host *host, const char *url, vgw_error *err);

/** Tell several: the replica's requests are spread over them.
 *  Owns: urls are copied.  Threads: callback.  Blocks: on DNS.  Errors: INVALID, NOMEM.  Since: 0.1 */
VGW_API vgw_status vgw_host_set_endpoints(vgw_host *host, const char *const *urls, size_t count, vgw_error *err);

/** Should the running operation give up?
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_host_is_cancelled(const vgw_host *host);

/** A descriptor that becomes readable when the running operation should give up, to put into a poll().
 *  Owns: borrowed until destroy().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API int vgw_host_get_cancel_fd(const vgw_host *host);

/** The devices the running activate() is to use, as engines name them: "0,1"; "": as it likes. In adopt(): those the
 *  engine was started on. NULL: nobody said; then those of the spec hold.
 *  Owns: borrowed until the operation returns.  Threads: callback.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_host_get_devices(const vgw_host *host);

/** How much of each of these devices' memory the engine may take, in thousandths of the device; 0: not known. From the
 *  model's memory, the device's size, and what is free now; rounded down.
 *  Threads: callback.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API uint32_t vgw_host_get_memory_share(const vgw_host *host);

/** Say how far a start has come: percent 0-100 or -1, and a few words ("loading weights").
 *  Owns: text is copied.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_host_set_progress(vgw_host *host, int percent, const char *text);

/** Say why the operation now failing fails, and the decisive line of the engine's log.
 *  Owns: text is copied.  Threads: callback.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_host_set_failure(vgw_host *host, vgw_failure failure, const char *text);

/** Say that deactivate went deeper than asked.
 *  Threads: callback.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_host_set_depth(vgw_host *host, vgw_depth depth);

/** The engine died without being asked to; `reason` is one line for people ("exit code 0 after 12 s").
 *  Owns: reason is copied.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_host_report_death(vgw_host *host, const char *reason);

/** Somebody else took the model down: no failure. It is brought up again at its next use, without a back-off, and
 *  requests that wait or come meanwhile do not notice. Ignored while an operation of ours runs.
 *  Owns: reason is copied.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_host_report_absence(vgw_host *host, const char *reason);

/** Somebody else brought the model up, and vgw_host_set_endpoint() was called: it takes part from now on, as if we
 *  had. Without room for it, it is taken down. Ignored while it is up already or an operation of ours runs.
 *  Owns: reason is copied.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_host_report_presence(vgw_host *host, const char *reason);

/** The gateway's logger, for a controller's own lines.
 *  Owns: borrowed until destroy().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const vgw_logger *vgw_host_get_logger(const vgw_host *host);

VGW_END_DECLS

#endif
