/* SPDX-License-Identifier: Apache-2.0 */
/* The residency planner: who is in memory, who leaves, who waits. Pure: (state, event, now) in, actions out.
 * No threads, no clock, no allocation after vgw__planner_new(), no I/O. One thread owns it and calls the
 * functions.
 *
 *      shell (threads, gates, executors)                planner (this)
 *      ---------------------------------                --------------------------------------------
 *      vgw__planner_observe(model, usage)  ---------->  remembers in_flight, last use, arrivals
 *      vgw__planner_step(event, now)       ---------->  state machine, then one planning pass
 *      for each action: perform it         <----------  actions, in the order in which they must be done
 *      ... an operation returns            ---------->  the completion as the next event
 *
 * The gate contract. Each replica has a gate in the shell: an atomic word with a lease count and flags.
 *  - While the gate is open the shell grants leases without asking, and counts them.
 *  - Before each step the shell tells, for every replica whose gate is open, what the gate has seen
 *    (vgw__planner_observe). The planner believes these numbers for LRU, rates and idleness, never for
 * safety.
 *  - CLOSE_GATE(ticket): from now on no lease is granted. When the count is zero (at once or at the last
 * release) the shell sends IDLE with that ticket, exactly once per close. Only IDLE, the drain deadline,
 * force or a crash lets a replica leave.
 *  - OPEN_GATE: leases flow again (also after a CLOSE_GATE whose IDLE is still on its way: it is stale then).
 *  - GRANT(waiter): the shell counts one lease on the gate, whatever the flags say, and hands it over.
 *  - WATCH_IDLE: once, when the count of the open gate is zero (at once or later), the shell sends QUIET.
 *
 * Operations. ACTIVATE, DEACTIVATE and WAIT_SETTLE carry a ticket; the shell answers each exactly once with
 * ACTIVATED | FAILED, DEACTIVATED | KEPT, SETTLED | UNSETTLED carrying the same ticket. A replica has at most
 * one operation at a time. CANCEL_ACTIVATION asks the running one to return soon (FAILED with CANCELLED, or
 * ACTIVATED when it was too late); it still answers. Answers with another ticket are dropped. DIED carries
 * the generation of the engine's process: ACTIVATE begins a new generation when it is cold.
 *
 * Waiters. The shell names a waiter by an index below limits.waiters that is not in use; the planner answers
 * with exactly one GRANT or REFUSE, or the shell takes it back with CANCELLED. From then on the index is
 * free.
 *
 * Time. int64 milliseconds on any monotonic clock, never negative. SET_TIMER names the one moment at which
 * the shell sends TIMER (replacing the earlier one; VGW__NEVER: none). A late or spurious TIMER does no harm.
 */
#ifndef VGW_CORE_PLANNER_H
#define VGW_CORE_PLANNER_H

#include "core/states.h"
#include "core/times.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VGW__DEVICES_MAX 16
#define VGW__NEVER INT64_MAX
#define VGW__NOBODY (-1)        /* in a model or waiter index */
#define VGW__UNKNOWN_BYTES (-1) /* a footprint not yet learned: counts as the device's whole budget */
#define VGW__DECISIONS_KEPT 128
#define VGW__DECISION_ROWS 8

enum vgw__policy {
	VGW__POLICY_LRU,
	VGW__POLICY_COST,
	VGW__POLICY_ORACLE, /* the simulator's: believes usage.next_use_ms */
};

enum vgw__priority {
	VGW__PRIORITY_BATCH,
	VGW__PRIORITY_NORMAL,
	VGW__PRIORITY_INTERACTIVE,
	VGW__PRIORITY_COUNT
};

/* What the planner is made for; memory is taken once. */
struct vgw__planner_limits {
	int32_t models;  /* slots; a removed model's slot can be used again */
	int32_t devices; /* <= VGW__DEVICES_MAX */
	int32_t waiters;
};

struct vgw__device_config {
	int64_t budget_bytes; /* 0: no budget */
	bool is_host;         /* memory of sleepers; operations on it need no lock */
};

/* Durations: 0 in a *_ms that is a timeout means the default given beside it. */
struct vgw__residency_config {
	int32_t max_resident; /* 0: no limit */
	int32_t max_asleep;   /* 0: nobody sleeps */
	enum vgw__policy policy;
	int64_t max_wait_ms;     /* 1200000 */
	int64_t min_resident_ms; /* taken as it is: 0 is none */
	int64_t hold_ms;         /* taken as it is: an idle replica is kept this long although others wait */
	int64_t settle_timeout_ms; /* 30000: until the memory must be back */
	int64_t cancel_grace_ms;   /* 30000: until a cancelled or overdue operation must have returned */
	int64_t backoff_ms;        /* 1000: doubled with each failure in a row, +-20 % */
	int64_t backoff_max_ms;    /* 300000 */
	int32_t breaker_failures;  /* 5: failures in a row that open the breaker */
	int64_t breaker_ms;        /* 600000: then one attempt */
	int64_t stable_ms;         /* 60000: READY for so long forgives earlier failures */
	int64_t stuck_retry_ms;    /* 30000 */
	int64_t rate_half_life_ms; /* 300000: memory of arrival rates */
	bool cancel_unwanted_load; /* a start that nobody waits for any more is cancelled */
	uint64_t seed;             /* of the jitter */
};

struct vgw__model_config {
	uint32_t devices;                       /* bit mask of those it may run on */
	int32_t devices_needed;                 /* how many of them an engine takes; 0: all */
	int64_t awake_bytes[VGW__DEVICES_MAX];  /* on each it runs on, while awake, or VGW__UNKNOWN_BYTES */
	int64_t asleep_bytes[VGW__DEVICES_MAX]; /* while asleep: residue on the devices, weights on the host
						 */
	uint64_t groups; /* two replicas with a bit in common are never awake together */
	bool can_sleep;
	bool is_pinned;
	int64_t start_timeout_ms;  /* 1200000: since the last progress */
	int64_t wake_timeout_ms;   /* 300000 */
	int64_t sleep_timeout_ms;  /* 120000 */
	int64_t stop_timeout_ms;   /* 60000 */
	int64_t drain_timeout_ms;  /* 30000: then the leases are cut */
	int64_t ttl_sleep_ms;      /* 0: never; idle for so long: sleep */
	int64_t ttl_stop_ms;       /* 0: never; idle for so long: stop */
	int64_t expected_start_ms; /* until measured; 0: 60000 */
	int64_t expected_wake_ms;  /* until measured; 0: 5000 */
};

/* What the shell's gate has seen; see the contract above. */
struct vgw__usage {
	int64_t last_used_ms; /* last grant or release */
	uint32_t in_flight;   /* leases now */
	uint64_t arrivals;    /* leases granted by the open gate itself, ever; GRANTs do not count */
	int64_t next_use_ms;  /* POLICY_ORACLE only */
};

/* XX(NAME, fields beside `kind` that are read) */
#define VGW__EVENT_MAP(XX)                                                                                   \
	XX(REQUEST, "model waiter deadline_ms priority may_not_swap")                                        \
	XX(CANCELLED, "waiter: its client is gone; ignored when the waiter is not waiting")                  \
	XX(IDLE, "model ticket: the closed gate has no lease")                                               \
	XX(QUIET, "model: a watched open gate has no lease")                                                 \
	XX(ACTIVATED, "model ticket")                                                                        \
	XX(FAILED, "model ticket failure ref")                                                               \
	XX(PROGRESS, "model ticket eta_ms: the activation lives; eta_ms left, or -1")                        \
	XX(DEACTIVATED, "model ticket")                                                                      \
	XX(KEPT, "model ticket: the deactivation failed")                                                    \
	XX(SETTLED, "model ticket: the memory is back")                                                      \
	XX(UNSETTLED, "model ticket: it is not")                                                             \
	XX(DIED, "model generation failure ref")                                                             \
	XX(FOOTPRINT, "model depth bytes: measured while awake (STOP) or asleep (SLEEP)")                    \
	XX(TIMER, "")                                                                                        \
	XX(LOAD, "model: bring it up as if somebody waited (also: wake)")                                    \
	XX(PRELOAD, "model: bring it up, but only where there is room")                                      \
	XX(UNLOAD, "model force: drain and stop; force: do not drain")                                       \
	XX(SLEEP, "model")                                                                                   \
	XX(PIN, "model")                                                                                     \
	XX(UNPIN, "model")                                                                                   \
	XX(RESET, "model force: forgive failures; force: STUCK becomes ABSENT")                              \
	XX(ADOPT, "model depth devices (0: not known): found running (STOP) or asleep (SLEEP), gate closed")  \
	XX(MODEL_ADDED, "model config: the slot must be free")                                               \
	XX(MODEL_CHANGED, "model config force: restart at its next use; force false: policy fields only")    \
	XX(MODEL_REMOVED, "model: drain, stop, free the slot")                                               \
	XX(CONFIGURED, "residency: limits and policy change from now on")                                    \
	XX(SHUTDOWN, "force: leave the engines running (force) or drain and stop them")

enum vgw__event_kind {
#define XX(name, fields) VGW__EVENT_##name,
	VGW__EVENT_MAP(XX)
#undef XX
		VGW__EVENT_COUNT
};

struct vgw__event {
	enum vgw__event_kind kind;
	int32_t model;
	int32_t waiter;
	uint32_t ticket;
	uint32_t generation;
	enum vgw__failure failure;
	enum vgw__depth depth;
	enum vgw__priority priority;
	uint32_t devices;
	bool may_not_swap; /* the request may use what is up or coming, not cause a load */
	bool force;
	uint32_t ref; /* the shell's handle of the failure's text; handed back in REFUSE */
	int64_t deadline_ms;
	int64_t eta_ms;
	const int64_t *bytes;                          /* limits.devices values; read during the call */
	const struct vgw__model_config *config;        /* copied */
	const struct vgw__residency_config *residency; /* copied */
};

#define VGW__ACTION_MAP(XX)                                                                                  \
	XX(ACTIVATE, "model ticket generation is_wake devices deadline_ms")                                  \
	XX(CANCEL_ACTIVATION, "model ticket")                                                                \
	XX(DEACTIVATE, "model ticket generation depth deadline_ms")                                          \
	XX(WAIT_SETTLE,                                                                                      \
		"model ticket generation depth devices deadline_ms: until the devices report it free")       \
	XX(OPEN_GATE, "model generation")                                                                    \
	XX(CLOSE_GATE, "model ticket generation: answer IDLE")                                               \
	XX(CUT_LEASES,                                                                                       \
		"model generation: the drain deadline passed or force; end its exchanges with an error")     \
	XX(WATCH_IDLE, "model generation: answer QUIET")                                                     \
	XX(GRANT, "model generation waiter")                                                                 \
	XX(REFUSE, "model waiter reason failure ref eta_ms (-1: unknown)")                                   \
	XX(SET_TIMER, "deadline_ms or VGW__NEVER")                                                           \
	XX(TRANSITION, "model generation from to cause: for events and logs")                                \
	XX(DECISION, "decision: valid until the next step")                                                  \
	XX(MODEL_GONE, "model: a removed model's slot is free")                                              \
	XX(SHUTDOWN_DONE, "everything is stopped (or left running)")

enum vgw__action_kind {
#define XX(name, fields) VGW__ACTION_##name,
	VGW__ACTION_MAP(XX)
#undef XX
		VGW__ACTION_COUNT
};

struct vgw__action {
	enum vgw__action_kind kind;
	int32_t model;
	int32_t waiter;
	uint32_t ticket;
	uint32_t generation;
	uint32_t devices;
	enum vgw__depth depth;
	enum vgw__state from;
	enum vgw__state to;
	enum vgw__cause cause;
	enum vgw__reason reason;
	enum vgw__failure failure;
	uint32_t ref;
	bool is_wake;
	int64_t deadline_ms;
	int64_t eta_ms;
	const struct vgw__decision *decision;
};

/* One row of a decision: a candidate, and what it would have cost. */
struct vgw__decision_row {
	int32_t model;
	enum vgw__depth depth; /* of a chosen one */
	const char *why;       /* static text */
	double cost;           /* the policy's number; smaller leaves first */
};

struct vgw__decision {
	uint64_t number; /* 1, 2, 3... */
	int64_t at_ms;
	enum vgw__decision_kind kind;
	int32_t model;
	const char *why; /* static text */
	int64_t eta_ms;  /* -1: none */
	int32_t chosen_count;
	int32_t rejected_count;
	uint32_t devices;        /* of a load: where it is to run */
	const char *devices_why; /* static text; NULL: nothing was placed */
	struct vgw__decision_row chosen[VGW__DECISION_ROWS];
	struct vgw__decision_row rejected[VGW__DECISION_ROWS];
};

/* What is known of a model's replica; a copy. */
struct vgw__replica_view {
	enum vgw__state state;
	enum vgw__cause cause; /* of the last transition */
	uint32_t generation;
	int64_t since_ms;
	int64_t last_used_ms;
	int64_t until_ms;   /* end of BACKOFF; VGW__NEVER: until a reset */
	uint32_t in_flight; /* as last observed */
	int32_t waiting;
	uint32_t devices; /* where it runs, sleeps, or is to come up; else where it was last */
	bool is_pinned;
	bool is_wanted;   /* a load is asked for or under way */
	int32_t failures; /* in a row */
	enum vgw__failure failure;
	uint32_t ref;   /* of the last failure */
	int64_t eta_ms; /* until it could serve a request that came now; 0: at once; -1: unknown or never */
	int64_t bytes[VGW__DEVICES_MAX];           /* held now */
	int64_t footprint_bytes[VGW__DEVICES_MAX]; /* while awake, learned or configured */
	uint64_t cold_starts;
	uint64_t wakes;
	struct vgw__times start, wake, sleep, stop, drain; /* sleep and stop include the settle gate */
};

struct vgw__planner;

/* NULL: no memory, or limits that make no sense. All memory the planner will ever use. */
struct vgw__planner *vgw__planner_new(const struct vgw__planner_limits *limits,
	const struct vgw__device_config *devices, const struct vgw__residency_config *config);
void vgw__planner_free(struct vgw__planner *planner); /* NULL is fine */
/* Copies `from` over `to`, made with the same limits: for searches and what-if questions. */
void vgw__planner_copy(struct vgw__planner *to, const struct vgw__planner *from);

/* What the open gate of `model` has seen; call it before a step for each replica whose gate is open. */
void vgw__planner_observe(struct vgw__planner *planner, int32_t model, const struct vgw__usage *usage);

/* Digest one event. Returns VGW__REASON_NONE, or why a command (LOAD and all after it) is not obeyed; a
 * refused REQUEST is answered by a REFUSE action instead (FULL: its waiter index is in use or none). The
 * actions are read with vgw__planner_get_actions() until the next step. */
enum vgw__reason vgw__planner_step(
	struct vgw__planner *planner, const struct vgw__event *event, int64_t now_ms);
const struct vgw__action *vgw__planner_get_actions(const struct vgw__planner *planner, size_t *count);

/* Questions; they change nothing. */
void vgw__planner_view(
	const struct vgw__planner *planner, int32_t model, int64_t now_ms, struct vgw__replica_view *view);
bool vgw__planner_is_free(
	const struct vgw__planner *planner, int32_t model); /* may MODEL_ADDED use the slot? */
int64_t vgw__planner_used_bytes(const struct vgw__planner *planner, int32_t device);
/* What a load of `model` would do now: the decision as the journal would hold it. Observe the gates first. */
void vgw__planner_explain(
	const struct vgw__planner *planner, int32_t model, int64_t now_ms, struct vgw__decision *decision);
/* The n-th newest journal entry, NULL past the end. Valid until the next step. */
const struct vgw__decision *vgw__planner_get_decision(const struct vgw__planner *planner, size_t nth);
uint64_t vgw__planner_stale_count(const struct vgw__planner *planner); /* answers that came too late, ever */

/* What a restart may bring back: learned times and use. Only for a replica that is ABSENT. */
void vgw__planner_restore(
	struct vgw__planner *planner, int32_t model, const struct vgw__replica_view *learned);

/* Recounts everything from scratch. 0, or the number of the first broken invariant (TESTING: I1 budgets, I2
 * release of memory, I3 leases, I4 one engine, I5 grants, I6 groups, I7 counts, I17 no lost wake-up, 26
 * something that cannot happen did) with a sentence in *what (may be NULL). */
int vgw__planner_check(const struct vgw__planner *planner, int64_t now_ms, const char **what);

#endif
