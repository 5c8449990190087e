/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the residency share.
 *
 *   any thread ── messages ──► residency thread ── steps ──► planner
 *                                  │    ▲                       │
 *                                  │    └──── actions ──────────┘
 *                orders ──► executors (controllers)   answers ──► ports (workers), sleepers (acquire)
 *
 *   manager.c     the thread, steps and actions, new and free
 *   configure.c   options and models as the planner wants them
 *   engine.c      a controller's instance and what it says
 *   operations.c  what executors do
 *   memory.c      what the devices tell of engines' memory
 *   discover.c    which devices there are
 *   placement.c   where an engine runs, in the words of engines and of files
 *   waiters.c     who waits, and the ports through which workers hear
 *   refusal.c     why somebody is refused, in words
 *   lease.c       leases for programs
 *   commands.c    the operator's commands
 *   reload.c      apply: which models stay, change, come and go
 *   adopt.c       engines of an earlier life
 *   store.c       the state file
 *   replicas.c    replicas as JSON, and drained
 *   state_json.c  the state and the decisions as JSON
 *
 * Everything in struct vgw_residency belongs to the residency's thread but for what says otherwise. */
#ifndef VGW_RESIDENCY_INTERNAL_H
#define VGW_RESIDENCY_INTERNAL_H

#include "observe/events.h"
#include "residency/engine.h"
#include "residency/residency.h"
#include "util/strings.h"

enum { VGW__GROUPS_MAX = 64, VGW__NAME_SIZE = 64, VGW__UUID_SIZE = 96 };

struct vgw__device_memory;
struct vgw__settle;
struct vgw__store;

/* The set of models published last: engines by place in the registry. */
struct vgw__table {
	vgw_registry *registry;
	struct vgw__engine **engines; /* one reference each */
	size_t count;
};

/* What the devices tell, and what ours take on them: the ledger. */
struct vgw__memory {
	pthread_mutex_t lock;        /* guards all of it; the source itself is for any thread */
	struct vgw__settle *source;
	bool is_sought;
	int64_t used[VGW__DEVICES_MAX];
	int64_t foreign[VGW__DEVICES_MAX]; /* 1 + what others took when somebody last looked; 0: nobody has */
	int64_t warned[VGW__DEVICES_MAX];  /* of how much of it the log was told */
};

struct vgw_residency {
	vgw_residency_options options;  /* const after new, texts in it are not ours; see the copies below */
	char *state_dir;                /* const after new, down to events; NULL: none */
	struct vgw__strings preload;
	struct vgw__strings memory_command; /* tells a device's free bytes; empty: what the machine has */
	struct vgw__controllers *controllers;
	struct vgw__planner_limits limits;
	vgw_loop *loop;
	struct vgw__executors *executors;
	struct vgw__events *events;
	pthread_t thread;
	bool has_thread;
	int64_t started_ms;
	vgw_message pulse;              /* pulse.c */
	_Atomic int64_t pulse_asked_ms; /* when the one under way was posted; 0: none is */
	pthread_mutex_t apply_lock;     /* held by apply from beginning to end, and by free */
	struct vgw__store *store;       /* guarded by apply_lock until the thread has it; see store.h */

	pthread_mutex_t lock;           /* short: table, ports, and which waiters have been answered */
	struct vgw__table table;        /* guarded by lock */
	struct vgw__list ports;         /* guarded by lock */
	struct vgw__memory memory;
	struct vgw__deny deny;          /* const after new */

	struct vgw__planner *planner;   /* the residency's thread from here */
	struct vgw__residency_config config;
	vgw_residency_options given;    /* the options in force; texts in it are not to be touched */
	struct vgw__engine **slots;     /* by planner slot; NULL: free */
	struct vgw__list unmanaged;     /* engines that are somebody else's, one reference each */
	struct vgw__waiter **waiters;   /* by planner index; NULL: free */
	int32_t *free_waiters;          /* a stack */
	int32_t free_waiter_count;
	struct vgw__list asks;          /* answered later */
	vgw_timer timer;                /* the planner's */
	vgw_timer resolve;
	char device_names[VGW__DEVICES_MAX][VGW__NAME_SIZE];
	int64_t device_budgets[VGW__DEVICES_MAX];
	char device_uuids[VGW__DEVICES_MAX][VGW__UUID_SIZE]; /* discovered ones: const after new */
	bool is_naming_devices;         /* none were configured: models name them */
	char *group_names[VGW__GROUPS_MAX];
	bool is_preloaded;
	bool is_shut_down;              /* the planner said so */
	bool is_closed;                 /* no step and no operation begins any more */
};

/* --- manager.c --- */

/* One event to the planner; performs its actions. */
enum vgw__reason vgw__manager_step(vgw_residency *residency, const struct vgw__event *event);
void *vgw__manager_run(void *residency); /* the thread */
void vgw__manager_heard_idle(vgw_message *message);
/* The engine behind a name or an alias; a new reference. NULL: *err tells. Any thread. */
struct vgw__engine *vgw__manager_find(vgw_residency *residency, const char *name, vgw_error *err);

/* --- configure.c --- */

void vgw__configure_planner(struct vgw__residency_config *config, const vgw_residency_options *options);
vgw_status vgw__configure_devices(vgw_residency *residency, const vgw_residency_options *options, vgw_error *err);
/* flags: the controller's. The residency's thread. INVALID: a device that does not exist, too many groups. */
vgw_status vgw__configure_model(vgw_residency *residency, const vgw_model *model, uint32_t flags,
	struct vgw__model_config *config, vgw_error *err);
int32_t vgw__configure_find_device(const vgw_residency *residency, const char *name); /* its place; -1: none */
/* -1: there are too many. */
int32_t vgw__configure_add_device(vgw_residency *residency, const char *name);

/* --- discover.c --- */

/* Devices that the driver knows, with all of their memory as budgets. None is no error. */
void vgw__discover_devices(vgw_residency *residency);

/* --- placement.c --- */

/* "0,1"; "": nothing is said of where it runs. False: too long. */
bool vgw__placement_print(const vgw_residency *residency, const vgw_model *model, uint32_t devices, char *out,
	size_t size);
/* Tell the host of the operation's instance. On its executor, before the controller. */
vgw_status vgw__placement_tell(const struct vgw__operation *operation, vgw_error *err);
struct json_t *vgw__placement_pack(const vgw_residency *residency, uint32_t devices); /* a list of names */
uint32_t vgw__placement_read(const vgw_residency *residency, const struct json_t *names); /* 0: not known */

/* --- operations.c --- */

void vgw__operation_run(struct vgw__job *job);
/* Name lookups and the like for an engine that is somebody else's; on the caller's thread. */
vgw_status vgw__operation_activate_unmanaged(struct vgw__engine *engine, vgw_error *err);

/* Let some time pass on an executor; true: the operation was cancelled meanwhile. */
bool vgw__operation_pause(const struct vgw__operation *operation, int64_t ms);

/* --- memory.c, on executors --- */

void vgw__memory_before(struct vgw__operation *operation);  /* it is about to come up */
void vgw__memory_after(struct vgw__operation *operation);   /* it is up */
void vgw__memory_leaving(struct vgw__operation *operation); /* it is about to go */
vgw_status vgw__memory_settle(struct vgw__operation *operation, vgw_error *err); /* until its memory is back */
/* An engine of an earlier life takes what it took then. The residency's thread. */
void vgw__memory_adopted(struct vgw__engine *engine, uint32_t devices);
/* False: nobody tells. */
bool vgw__memory_read(const struct vgw__operation *operation, int32_t device, struct vgw__device_memory *out);
int64_t vgw__memory_get_foreign(vgw_residency *residency, int32_t device); /* -1: not known */
void vgw__memory_fini(struct vgw__memory *memory);
/* What tells the devices' free memory; NULL: nothing here does. Also on the thread of apply. */
struct vgw__settle *vgw__memory_get_source(vgw_residency *residency);

/* --- waiters.c --- */

void vgw__waiters_answer(vgw_residency *residency, int32_t index, const struct vgw__action *action);
void vgw__waiters_cut(vgw_residency *residency, struct vgw__resident *resident);
/* Wait on the caller's own thread. OK: the gate has been entered. */
vgw_status vgw__waiters_block(vgw_residency *residency, struct vgw__engine *engine, int64_t deadline_ms,
	uint64_t *cuts, vgw_error *err);

/* --- refusal.c --- */

/* Why, in words for the one who asked; returns the status. The residency's thread. */
vgw_status vgw__refuse(const struct vgw__resident *resident, enum vgw__reason reason, int64_t eta_ms, vgw_error *err);

/* --- commands.c: a question to the residency's thread, whose answer is waited for --- */

struct vgw__ask {
	struct vgw__list link;  /* among residency->asks while it is answered later */
	vgw_message message;
	vgw_timer timer;
	vgw_residency *residency;
	void (*run)(struct vgw__ask *ask);      /* on the residency's thread; sets is_over, or begins to watch */
	bool (*is_settled)(struct vgw__ask *ask); /* after each step while it is watched */
	bool is_over;
	vgw_status status;
	vgw_error *err;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool is_answered;       /* guarded by lock */
};

/* Blocks until the ask has been answered; returns its status. Not on the residency's thread. */
vgw_status vgw__ask(vgw_residency *residency, struct vgw__ask *ask);
/* Leave the ask unanswered until is_settled() says so or the deadline passes. */
void vgw__ask_watch(struct vgw__ask *ask, bool (*is_settled)(struct vgw__ask *ask), int64_t deadline_ms);
void vgw__asks_look(vgw_residency *residency); /* after each step */
void vgw__asks_refuse(vgw_residency *residency); /* at the end */

/* --- replicas.c --- */

/* A JSON array; the residency's thread. */
struct json_t *vgw__replicas_pack(const vgw_residency *residency, struct vgw__engine *engine,
	const struct vgw__replica_view *view);

/* --- reload.c --- */

/* The planner has nothing of a slot any more. */
void vgw__reload_forget(vgw_residency *residency, int32_t slot);
/* Nothing of the old configuration runs: the new instance takes over. */
void vgw__reload_swap(struct vgw__engine *engine);
/* The planner takes over an engine that its controller has found. The residency's thread. */
void vgw__reload_adopt(struct vgw__engine *engine, enum vgw__depth depth);
/* Durations changed: every model's configuration is told anew. */
void vgw__reload_refresh(vgw_residency *residency);
void vgw__table_fini(struct vgw__table *table); /* also of a zeroed one */

/* --- adopt.c, on the thread of apply, before engines are published --- */

/* True: an engine of an earlier life is held. */
bool vgw__adopt_engine(vgw_residency *residency, struct vgw__engine *engine);
/* Engines whose models are no more are stopped. */
void vgw__adopt_stop_strays(vgw_residency *residency, const vgw_registry *registry);
/* What was learned of a model: for the planner, on the residency's thread. */
void vgw__adopt_restore(vgw_residency *residency, struct vgw__engine *engine);

#endif
