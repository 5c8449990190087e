/* SPDX-License-Identifier: Apache-2.0 */
/* One model's replica as the residency runs it: its resident (gate, endpoints), its controller's instance, the
 * operation under way, and what the controller says meanwhile.
 *
 *   planner slot ──► engine ──► resident      what workers see
 *                       ├─────► instance      controller, host; replaced when the configuration changed
 *                       └─────► operation     on an executor, one at a time
 *
 * Counted: the residency holds one reference, and so does every message and operation in flight. */
#ifndef VGW_RESIDENCY_ENGINE_H
#define VGW_RESIDENCY_ENGINE_H

#include "backend/host.h"
#include "backend/registry.h"
#include "backend/sleep.h"
#include "core/model.h"
#include "core/planner.h"
#include "residency/executors.h"
#include "residency/resident.h"

struct vgw__engine;

/* A controller's instance made for one model of one registry. */
struct vgw__instance {
	struct vgw__job job; /* to destroy it where that may block */
	struct vgw__engine *engine;
	const vgw_model *model;
	vgw_registry *registry; /* holds the model */
	const struct vgw__controller_kind *kind;
	struct vgw__sleep_kind sleep; /* `kind` of a model that sleeps, over the kind of its controller */
	vgw_host *host;
	void *self;
};

/* XX(NAME): what an operation does. */
#define VGW__OPERATION_MAP(XX) \
	XX(ACTIVATE)           \
	XX(DEACTIVATE)         \
	XX(SETTLE)             \
	XX(RESOLVE) /* look up the endpoint's name once more */

enum vgw__operation_kind {
#define XX(name) VGW__OPERATION_##name,
	VGW__OPERATION_MAP(XX)
#undef XX
};

struct vgw__order {
	enum vgw__operation_kind kind;
	enum vgw__depth depth;
	uint32_t ticket;
	uint32_t devices;
	int64_t deadline_ms;
	int64_t settle_ms;
	bool is_wake;      /* ACTIVATE of a sleeper */
	bool is_cancelled; /* before it began */
};

struct vgw__operation {
	struct vgw__job job;
	vgw_message done;
	struct vgw__engine *engine;
	struct vgw__instance *instance;
	struct vgw__order order;
	bool has_footprint;                  /* measured, in bytes; the others are unknown */
	int64_t footprint[VGW__DEVICES_MAX];
	vgw_status status; /* the outcome, read when `done` arrives */
	vgw_error error;
	struct vgw__host_report report;
};

/* What a device told of an engine's memory; the executor's that runs its operation. */
struct vgw__device_share {
	bool has_baseline;
	int64_t free_before;   /* when it last began to come up */
	int64_t others_before; /* what others of ours took then */
	int64_t free_leaving;  /* when it began to go; -1: not known */
	int64_t taken;         /* since it is up; 0: not known */
	int64_t charged;       /* in the ledger; guarded by its lock */
};

struct vgw__engine {
	struct vgw__list link; /* among residency->unmanaged */
	atomic_uint refs;
	vgw_residency *residency;
	struct vgw__resident *resident;
	struct vgw__instance *instance; /* the residency's thread only, as all down to `words` */
	struct vgw__instance *next;     /* of the new configuration, when nothing of the old one runs */
	int32_t slot;                   /* in the planner; VGW__NOBODY: unmanaged, or gone */
	bool is_unmanaged;
	bool is_busy;                   /* `operation` is under way */
	bool has_waiting_order;         /* given while it was */
	bool is_swap_due;               /* `next` takes over as soon as no operation runs */
	bool is_adopted;                /* holds an engine of an earlier life; const once published */
	bool is_adopted_asleep;
	uint32_t adopted_devices;       /* where it runs; 0: not known */
	bool is_dead_early;             /* it died before the planner knew of it */
	bool is_sweep_due;              /* a start was given up at the very end */
	bool is_idle_wanted;            /* the closed gate's IDLE has not been sent yet */
	bool is_quiet_wanted;
	uint32_t idle_ticket;
	struct vgw__order waiting_order;
	struct vgw__operation operation;
	char placement[VGW__DEVICES_MAX * 64]; /* of its operation, for the engine: "0,1" */
	bool is_dead;                   /* died unasked; const while an operation runs */
	struct vgw__device_share memory[VGW__DEVICES_MAX];
	char failure[240];              /* the decisive line of the last failure, "" */
	vgw_fault failure_fault;        /* what it is to a client */
	bool is_runtime_failure;        /* the last failure was the container runtime's */

	pthread_mutex_t words;          /* guards what the controller says, from any thread */
	int progress_percent;
	char progress_text[80];
	char death_reason[200];
	char notice_reason[200];
	bool is_notice_of_presence;
	uint32_t death_generation;
	bool has_names;                 /* an endpoint is given by name: looked up again now and then */
	atomic_uint generation;         /* of the engine's process */
	atomic_bool is_progress_posted;
	atomic_bool is_death_posted;
	atomic_bool is_notice_posted;
	vgw_message progress;
	vgw_message death;
	vgw_message notice;             /* somebody else brought it up or took it down */
};

/* Make an instance for a model: create() runs, nothing is started. */
vgw_status vgw__instance_new(struct vgw__instance **out, vgw_residency *residency, struct vgw__engine *engine,
	vgw_registry *registry, const vgw_model *model, vgw_error *err);
void vgw__instance_free(struct vgw__instance *instance);  /* destroy(); may block; NULL is allowed */
void vgw__instance_retire(struct vgw__instance *instance); /* the same on an executor */

/* One reference for the caller; `instance` is its first. */
vgw_status vgw__engine_new(struct vgw__engine **out, vgw_residency *residency, const char *name, vgw_error *err);
struct vgw__engine *vgw__engine_ref(struct vgw__engine *engine);
void vgw__engine_unref(struct vgw__engine *engine); /* NULL is allowed */

/* The residency's thread. Begin an operation, or remember it until the one under way has returned. */
void vgw__engine_order(struct vgw__engine *engine, const struct vgw__order *order);
/* Ask the operation under way to return soon. */
void vgw__engine_cancel_order(struct vgw__engine *engine);
/* The last words of the controller, copied; any thread. */
void vgw__engine_get_progress(struct vgw__engine *engine, int *percent, char *text, size_t size);

#endif
