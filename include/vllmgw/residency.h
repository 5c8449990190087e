/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/residency.h
 * Who is in memory. Audience: callers.  Stability: stable since 0.1.
 *
 * A residency brings models up when they are asked for and takes others down to make room. It never takes a model
 * down while somebody holds a lease on it, unless told to by force or after the drain timeout. The gateway uses one
 * (vgw_gateway_get_residency()); a program without HTTP may use one alone:
 *
 *     vgw_residency_new()  ->  vgw_residency_apply(registry)  ->  acquire ... use the endpoint ... release
 */
#ifndef VLLMGW_RESIDENCY_H
#define VLLMGW_RESIDENCY_H

#include <vllmgw/common.h>
#include <vllmgw/controller.h>
#include <vllmgw/log.h>
#include <vllmgw/model.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

typedef struct vgw_residency vgw_residency;

/** A counted right to use one model. While you hold it the model stays up. */
typedef struct vgw_lease vgw_lease;

/** Who leaves when somebody else must come. */
typedef enum vgw_policy {
	VGW_POLICY_LRU = 0,  /* the least recently used */
	VGW_POLICY_COST = 1, /* who costs least to bring back, weighed with how often it is asked for */
	VGW_POLICY_FORCE_INT32 = 0x7fffffff
} vgw_policy;

/** What becomes of the engines when the residency is freed. */
typedef enum vgw_on_exit {
	VGW_ON_EXIT_STOP = 0,
	VGW_ON_EXIT_LEAVE = 1, /* they run on; the next residency with the same state_dir takes them over */
	VGW_ON_EXIT_FORCE_INT32 = 0x7fffffff
} vgw_on_exit;

/** For max_resident and max_asleep. */
#define VGW_UNLIMITED UINT32_MAX

/** Knobs. Zero is the default of every field. Durations in milliseconds. */
typedef struct vgw_residency_options {
	size_t size;                  /* set by VGW_RESIDENCY_OPTIONS_INIT */
	vgw_logger logger;            /* all zero: silent */
	const char *state_dir;        /* for engine logs and the state file; NULL: nothing is written */
	const vgw_memory *devices;    /* at most 15; bytes 0: no budget. "host" holds the sleepers */
	size_t device_count;          /* 0: discovered; or models name devices as they like, without budgets */
	const char *const *preload;   /* models brought up after the first apply, where there is room */
	size_t preload_count;
	uint32_t max_resident;        /* models in memory at a time; 0 = 1 */
	uint32_t max_asleep;          /* models asleep at a time; 0: nobody sleeps */
	vgw_policy policy;
	vgw_on_exit on_exit;
	uint32_t max_waiters;         /* requests that wait for a model; 0 = 1000 */
	uint32_t max_models;          /* models that are not somebody else's; 0 = 128 */
	uint32_t max_operations;      /* controllers' operations at a time; 0 = 16 */
	uint32_t cancel_unwanted_load; /* 1: a start nobody waits for any more is given up */
	int64_t max_wait_ms;          /* a waiter waits so long, one drain and one load at most; 0 = 20 min */
	int64_t min_resident_ms;      /* a model just loaded stays so long; 0: none */
	int64_t hold_ms;              /* an idle model is kept so long although others wait; 0: none */
	int64_t idle_sleep_ms;        /* idle for so long: sleep; 0: never */
	int64_t idle_stop_ms;         /* idle for so long: stop; 0: never */
	int64_t start_timeout_ms;     /* since the last progress; 0 = 20 min */
	int64_t stop_timeout_ms;      /* 0 = 60 s */
	int64_t drain_timeout_ms;     /* then the leases of a leaving model are cut; 0 = 30 s */
	int64_t settle_ms;            /* waited after an engine has gone before its memory counts as free; 0: none */
	const char *const *memory_command; /* prints "FREE [TOTAL]" bytes of ${DEVICE}; none: NVML, nvidia-smi */
	size_t memory_command_count;
	int64_t backoff_ms;           /* after the first failed start, doubled with each in a row; 0 = 1 s */
	int64_t resolve_ms;           /* names of engines somebody else runs are looked up again so often; 0 = 30 s */
	uint32_t discover_devices;    /* 1: without devices but "host", those that the driver (NVML) tells of */
	uint32_t allow_link_local;    /* 0: link-local and cloud metadata addresses are denied, too */
	const char *const *deny;      /* further addresses no engine may have: "10.0.0.0/8", "fd00::1" */
	size_t deny_count;
} vgw_residency_options;

#define VGW_RESIDENCY_OPTIONS_INIT { .size = sizeof(vgw_residency_options) }

/**
 * Make a residency with the built-in controllers and no models.
 * Owns:    *out belongs to the caller: vgw_residency_free(). NULL on failure. *options is read during the call.
 * Threads: any.
 * Blocks:  on the driver, when it discovers devices.
 * Errors:  INVALID, NOMEM, INTERNAL.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_residency_new(vgw_residency **out, const vgw_residency_options *options,
	vgw_error *err);

/** Stop the engines, or leave them (on_exit), and free. Leases must have been given back, subscriptions ended.
 *  NULL is allowed.
 *  Owns: taken.  Threads: owner.  Blocks: until engines that are ours have stopped.  Errors: none.  Since: 0.1 */
VGW_API void vgw_residency_free(vgw_residency *residency);

/** Make a kind of controller known, before models of that kind are applied.
 *  Owns: ops and user are borrowed until vgw_residency_free().  Threads: init.  Blocks: never.
 *  Errors: INVALID, EXISTS, NOMEM.  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_residency_add_controller(vgw_residency *residency, const vgw_controller_ops *ops,
	void *user, vgw_error *err);

/**
 * Publish a set of models. Those described in the same words keep running, with their leases; changed ones drain and
 * start anew at their next use; those not in it any more drain and stop. The first call also takes over the engines
 * that an earlier residency left behind. On failure nothing changes.
 * Owns:    the residency takes its own reference.
 * Threads: any, one at a time; not from an event handler that another apply waits for.
 * Blocks:  on DNS, for backends given by name; on engines that are taken over (seconds).
 * Errors:  INVALID (the text names the model), NO_CAPACITY (more than max_models), EXISTS (engines are to be run, but
 *          another residency uses the state directory), NOMEM, SHUTDOWN.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_residency_apply(vgw_residency *residency, vgw_registry *registry, vgw_error *err);

/**
 * Change the limits, the policy and the durations; devices, state_dir, on_exit and the maxima of waiters, models and
 * operations stay as they were made. When fewer may be resident, the least recently used leave.
 * Owns:    *options is read during the call.
 * Threads: any.
 * Blocks:  never for long.
 * Errors:  INVALID.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_residency_configure(vgw_residency *residency,
	const vgw_residency_options *options, vgw_error *err);

/**
 * Wait until a model can serve, and keep it there.
 * Owns:    *out belongs to the caller: give it back with vgw_lease_release(). NULL on failure.
 *          `model`, a name or an alias, is read during the call only.
 * Threads: any but a loop's: it may block for minutes.
 * Blocks:  until ready, failure, or deadline_ms (vgw_now_ms() time).
 * Errors:  NOT_FOUND, TIMEOUT, NO_CAPACITY, BACKEND (the text holds the decisive line of the engine's log),
 *          BUSY (too many wait), CANCELLED (unloaded meanwhile), SHUTDOWN, NOMEM; err->fault, err->retry_after.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_residency_acquire(vgw_lease **out, vgw_residency *residency, const char *model,
	int64_t deadline_ms, vgw_error *err);

/** The same without waiting and without causing a load: BUSY when the model does not serve at this moment.
 *  Owns: *out belongs to the caller: vgw_lease_release(); NULL on failure. model is read during the call.
 *  Threads: any.  Blocks: never.  Errors: NOT_FOUND, BUSY, NOMEM.  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_residency_try_acquire(vgw_lease **out, vgw_residency *residency,
	const char *model, vgw_error *err);

/** Give a lease back. NULL is allowed.
 *  Owns: taken.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_lease_release(vgw_lease *lease);

/** Base URL of the engine, e.g. "http://127.0.0.1:8101"; of several, each lease gets the next. "" when the
 *  controller named none.
 *  Owns: borrowed until vgw_lease_release().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_lease_get_endpoint(const vgw_lease *lease);

/** Was the lease cut (unloaded by force, drain timeout)? Then the engine is going away: stop using it.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_lease_is_cut(const vgw_lease *lease);

/*
 * The operator's commands. Each says at once whether it is obeyed; with a deadline it also waits for the end of what
 * it began. deadline_ms 0: do not wait. A name or an alias will do. What a command began goes on when its caller
 * stopped waiting.
 */

/**
 * Bring a model up as if somebody waited for it, evicting others if need be; wakes a sleeper.
 * Owns:    model is read during the call.
 * Threads: any but a loop's when it waits.
 * Blocks:  until it serves, failed, or deadline_ms; 0: never for long.
 * Errors:  NOT_FOUND, NO_CAPACITY, BACKEND, TIMEOUT (it goes on loading), CANCELLED, SHUTDOWN, NOMEM.
 * Since:   0.1
 */
VGW_API vgw_status vgw_residency_load(vgw_residency *residency, const char *model, int64_t deadline_ms,
	vgw_error *err);

/**
 * Take a model down. Leases are waited for (drain timeout); `force` 1: they are cut at once.
 * Owns:    model is read during the call.
 * Threads: any but a loop's when it waits.
 * Blocks:  until its memory is back or deadline_ms; 0: never for long.
 * Errors:  NOT_FOUND, INVALID (somebody else runs it), NO_CAPACITY (stuck), TIMEOUT (it goes on), SHUTDOWN, NOMEM.
 * Since:   0.1
 */
VGW_API vgw_status vgw_residency_unload(vgw_residency *residency, const char *model, uint32_t force,
	int64_t deadline_ms, vgw_error *err);

/** Put a model to sleep after its leases are back.
 *  Owns: model is read during the call.  Threads: any but a loop's when it waits.
 *  Blocks: until it sleeps or deadline_ms; 0: never for long.
 *  Errors: NOT_FOUND, INVALID (it cannot sleep), BUSY (it is not up), BACKEND (it had to be stopped), TIMEOUT,
 *  SHUTDOWN, NOMEM.  Since: 0.1 */
VGW_API vgw_status vgw_residency_sleep(vgw_residency *residency, const char *model, int64_t deadline_ms,
	vgw_error *err);

/** Wake a sleeper; a model that does not sleep is refused.
 *  Owns: model is read during the call.  Threads: any but a loop's when it waits.
 *  Blocks: until it serves or deadline_ms; 0: never for long.
 *  Errors: as vgw_residency_load(), and BUSY (it does not sleep).  Since: 0.1 */
VGW_API vgw_status vgw_residency_wake(vgw_residency *residency, const char *model, int64_t deadline_ms,
	vgw_error *err);

/** Pin a model (1: it is never chosen to leave) or unpin it (0), until the next apply says otherwise.
 *  Owns: model is read during the call.  Threads: any.  Blocks: never for long.
 *  Errors: NOT_FOUND, INVALID (somebody else runs it), SHUTDOWN.  Since: 0.1 */
VGW_API vgw_status vgw_residency_pin(vgw_residency *residency, const char *model, uint32_t pin, vgw_error *err);

/** Give a replica no new requests (1), those it has go on; or give it some again (0). With its last replica drained
 *  a model refuses requests. Lasts until the replica's address goes.
 *  Owns: model is read during the call.  Threads: any.  Blocks: never for long.
 *  Errors: NOT_FOUND (no such model, no replica of that number).  Since: 0.1 */
VGW_API vgw_status vgw_residency_drain_replica(vgw_residency *residency, const char *model, uint32_t replica,
	uint32_t drain, vgw_error *err);

/** Forgive a model's failures, so that it is tried again. `force` 1: believe that nothing is left of a stuck one.
 *  Owns: model is read during the call.  Threads: any.  Blocks: never for long.
 *  Errors: NOT_FOUND, INVALID (somebody else runs it), SHUTDOWN.  Since: 0.1 */
VGW_API vgw_status vgw_residency_reset(vgw_residency *residency, const char *model, uint32_t force, vgw_error *err);

/** What a load of the model would do now, as JSON: {"model","state","why","eta_ms","chosen":[..],"rejected":[..]}.
 *  Owns: returned to the caller: vgw_free(). NULL on failure. model is read during the call.  Threads: any.
 *  Blocks: never for long.  Errors: NOT_FOUND, INVALID (somebody else runs it), NOMEM, in *err.  Since: 0.1 */
VGW_API char *vgw_residency_dup_explanation(vgw_residency *residency, const char *model, vgw_error *err);

/** All models, replicas and devices as JSON: what GET /admin/state shows.
 *  Owns: returned to the caller: vgw_free(); NULL without memory.  Threads: any.  Blocks: never for long.
 *  Errors: none.  Since: 0.1 */
VGW_API char *vgw_residency_dup_state(vgw_residency *residency);

/** How long the residency's own thread has been silent: 0 while it answers, else the milliseconds since it was first
 *  asked in vain. Each call asks anew, so call it from time to time.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API int64_t vgw_residency_get_silence_ms(vgw_residency *residency);

/** The last decisions as a JSON array, newest first: what GET /admin/decisions shows.
 *  Owns: returned to the caller: vgw_free(); NULL without memory.  Threads: any.  Blocks: never for long.
 *  Errors: none.  Since: 0.1 */
VGW_API char *vgw_residency_dup_decisions(vgw_residency *residency);

/** "loaded", "loading", "asleep", "unloaded" or "failed"; NULL: no such model.
 *  Owns: borrowed for ever; model is read during the call.  Threads: any.  Blocks: never for long.  Errors: none.
 *  Since: 0.1 */
VGW_API const char *vgw_residency_get_standing(vgw_residency *residency, const char *model);

/** The file with the engine's output. NULL: no such model, it has none, or no memory (*err tells).
 *  Owns: returned to the caller: vgw_free(); model is read during the call.  Threads: any.
 *  Blocks: never for long.  Errors: NOT_FOUND, NOMEM, in *err.  Since: 0.1 */
VGW_API char *vgw_residency_dup_log_path(vgw_residency *residency, const char *model, vgw_error *err);

VGW_END_DECLS

#endif
