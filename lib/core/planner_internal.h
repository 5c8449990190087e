/* SPDX-License-Identifier: Apache-2.0 */
/* The planner's inside. One block of memory, indices instead of pointers, so that a copy is a memcpy. Files:
 *   planner.c         new, step, the planning pass, the timer
 *   planner_events.c  what each event means
 *   planner_commands.c what the operator and the configuration say
 *   planner_waiters.c who waits for what, and until when
 *   planner_budget.c  bytes, counts, groups: held now, and projected once everything under way is done
 *   planner_choose.c  who must leave so that another can come
 *   planner_place.c   on which devices it comes up
 *   planner_swap.c    claiming: one wanted replica after the other, by urgency
 *   planner_passes.c  revoke, idle TTL, device locks: the other parts of the planning pass
 *   planner_view.c    ETA, journal, views
 *   planner_check.c   invariants
 *   machine.c         the [state][input] table and the only writer of the state
 */
#ifndef VGW_CORE_PLANNER_INTERNAL_H
#define VGW_CORE_PLANNER_INTERNAL_H

#include "core/planner.h"
#include "core/policy.h"

/* The operation whose answer is awaited. */
enum vgw__pending {
	VGW__PENDING_NONE,
	VGW__PENDING_DRAIN,
	VGW__PENDING_ACTIVATE,
	VGW__PENDING_DEACTIVATE,
	VGW__PENDING_SETTLE,
};

/* Parts of LEAVING. */
enum vgw__phase {
	VGW__PHASE_NONE,
	VGW__PHASE_QUEUED,   /* waits for the lock of its devices */
	VGW__PHASE_STOPPING, /* DEACTIVATE runs */
	VGW__PHASE_SETTLING, /* WAIT_SETTLE runs */
};

/* Bits of `holds`. LEAVING or STUCK without the AWAKE bit was a sleeper. */
#define VGW__HOLDS_AWAKE 1u
#define VGW__HOLDS_ASLEEP 2u
#define VGW__HOLDS_UNCHANGED 4u /* in machine.c's table: as in the state before */

/* What follows once a stopped replica's memory is back. */
enum vgw__verdict {
	VGW__VERDICT_ABSENT,
	VGW__VERDICT_BACKOFF,
};

struct vgw__replica {
	bool exists;
	bool is_removed;      /* the slot becomes free at ABSENT */
	bool has_next_config; /* applied at ABSENT */
	bool is_pinned;
	struct vgw__model_config config; /* defaults filled in */
	struct vgw__model_config next_config;

	/* the machine; written in machine.c only */
	enum vgw__state state;
	enum vgw__cause cause;
	enum vgw__pending pending;
	enum vgw__phase phase;
	enum vgw__depth depth;    /* how deep it shall leave */
	enum vgw__depth op_depth; /* how deep the running DEACTIVATE goes */
	enum vgw__verdict verdict;
	uint32_t generation;
	uint32_t ticket;
	int64_t since_ms;
	int64_t deadline_ms; /* of the state; VGW__NEVER: none */
	int64_t op_began_ms;
	int64_t ready_since_ms;
	uint8_t holds;            /* VGW__HOLDS_*: what the budgets are charged for */
	bool is_surplus;          /* adopted without room: leaves at once, counts nowhere but in bytes */
	bool is_final;            /* this drain cannot be revoked */
	bool is_cancelling;       /* CANCEL_ACTIVATION was said */
	bool is_overdue;          /* ... because the deadline passed */
	bool is_unload;           /* ... because it must leave again */
	bool is_retry_due;        /* STUCK: stop it again as soon as the device is free */
	bool has_drained;         /* the gate was seen idle, cut or dead: LEAVING is allowed */
	enum vgw__failure doomed; /* died while its activation still runs */
	uint32_t doomed_ref;
	uint64_t evict_seq;  /* order of operations on a device */
	int32_t beneficiary; /* for whom it leaves, or VGW__NOBODY */

	/* wishes */
	bool is_wanted_admin;
	bool is_wanted_preload;
	int64_t wanted_since_ms;
	bool is_claimed; /* victims are chosen, room is promised: starts when the room is there */
	uint64_t claim_seq;
	bool is_retried;  /* the one retry after OOM or DISTURBED is used up */
	bool is_shedding; /* retry: everything evictable on its devices goes first */
	int64_t again_ms; /* when planning it again may give another answer */

	/* failures */
	int32_t failures; /* in a row */
	enum vgw__failure failure;
	uint32_t ref;
	int64_t until_ms;
	int32_t sleep_failures; /* in a row; 2: sleeps no more until a reset */

	/* use */
	int64_t last_used_ms;
	int64_t next_use_ms;
	uint32_t in_flight;
	uint64_t arrivals;
	bool is_watched;
	struct vgw__rate rate;
	uint64_t cold_starts;
	uint64_t wakes;
	int64_t progress_eta_ms; /* absolute; 0: none reported */
	struct vgw__times start, wake, sleep, stop, drain;

	/* waiters, oldest first */
	int32_t first_waiter;
	int32_t last_waiter;
	int32_t waiting;
	double weight;           /* sum of priorities' weights */
	double weighted_arrival; /* sum of weight x arrival */

	/* places and bytes; vgw__place_put() keeps the first five in step */
	uint32_t devices;                /* its set; chosen with the claim, kept until the next choice */
	int64_t need[VGW__DEVICES_MAX];  /* awake, on each device it may run on; unknown ones resolved */
	int64_t rest[VGW__DEVICES_MAX];  /* the same asleep */
	int64_t awake[VGW__DEVICES_MAX]; /* in force: `need` on its set */
	int64_t asleep[VGW__DEVICES_MAX];
	int64_t learned[VGW__DEVICES_MAX]; /* takes force at ABSENT; VGW__UNKNOWN_BYTES: nothing learned */
	int64_t held[VGW__DEVICES_MAX];    /* what the budget is charged now */
};

struct vgw__waiter {
	bool is_waiting;
	bool may_not_swap;
	enum vgw__priority priority;
	int32_t model;
	int32_t previous;
	int32_t next;
	int32_t place; /* in the heap */
	int64_t arrived_ms;
	int64_t deadline_ms;
};

struct vgw__device {
	int64_t budget_bytes;
	int64_t used_bytes;
	int32_t holder; /* whose operation runs, or VGW__NOBODY */
	bool is_host;
};

struct vgw__planner {
	struct vgw__planner_limits limits;
	struct vgw__residency_config config; /* defaults filled in */
	size_t state_bytes; /* what a copy must take along; the journal and the actions follow */
	int64_t now_ms;
	int64_t timer_ms; /* as last said by SET_TIMER */
	uint64_t seq;     /* claims and evictions */
	uint64_t random;
	uint64_t stale;
	uint64_t decisions; /* ever journalled */
	const char *broken; /* the first VGW__MUST that did not hold; NULL: none */
	bool is_shutdown;
	bool is_leaving_engines;
	bool is_shutdown_done;
	bool has_changed; /* the planning pass must go round again */
	bool is_trimming; /* limits shrank below what is resident */
	int32_t waiting;  /* = heap_count */
	size_t action_count;
	size_t action_room;
	struct vgw__device devices[VGW__DEVICES_MAX];

	/* inside the same block */
	struct vgw__replica *replicas;
	struct vgw__waiter *waiters;
	int32_t *heap;                 /* waiters by deadline */
	struct vgw__decision *journal; /* a ring of VGW__DECISIONS_KEPT */
	int8_t *marks;                 /* scratch of choosing: enum vgw__mark per replica */
	struct vgw__action *actions;
};

enum vgw__mark {
	VGW__MARK_NONE,
	VGW__MARK_SLEEP,
	VGW__MARK_STOP,
};

/* What a feed of the machine may need beside the input. */
struct vgw__feed {
	enum vgw__cause cause;
	enum vgw__failure failure;
	uint32_t ref;
	enum vgw__depth depth;
	bool is_force;
	bool is_final;
	int32_t beneficiary;
};

/* Our own bugs, in every build: remembered, told by vgw__planner_check(), and survived. */
#define VGW__MUST(p, condition, sentence)                                                                    \
	do {                                                                                                 \
		if (!(condition) && !(p)->broken)                                                            \
			(p)->broken = sentence;                                                              \
	} while (0)

static inline int32_t vgw__replica_index(const struct vgw__planner *p, const struct vgw__replica *r)
{
	return (int32_t)(r - p->replicas);
}

/* machine.c */
void vgw__machine_feed(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__input input, const struct vgw__feed *feed);
bool vgw__machine_accepts(enum vgw__state state, enum vgw__input input); /* has the cell an action? */

/* planner.c */
struct vgw__action *vgw__planner_act(
	struct vgw__planner *p, enum vgw__action_kind kind, struct vgw__replica *r);
uint64_t vgw__planner_random(struct vgw__planner *p);
void vgw__planner_apply_config(struct vgw__planner *p, struct vgw__replica *r);
void vgw__planner_fill_defaults(struct vgw__residency_config *config);
void vgw__planner_set_config(
	struct vgw__replica *r, const struct vgw__model_config *config); /* with defaults */

/* planner_events.c */
enum vgw__reason vgw__events_digest(struct vgw__planner *p, const struct vgw__event *event);

/* planner_commands.c: one per command; r exists unless the event names no model */
typedef enum vgw__reason vgw__handler_fn(
	struct vgw__planner *p, struct vgw__replica *r, const struct vgw__event *event);
vgw__handler_fn vgw__commands_load;
vgw__handler_fn vgw__commands_preload;
vgw__handler_fn vgw__commands_unload;
vgw__handler_fn vgw__commands_sleep;
vgw__handler_fn vgw__commands_pin;
vgw__handler_fn vgw__commands_reset;
vgw__handler_fn vgw__commands_adopt;
vgw__handler_fn vgw__commands_add;
vgw__handler_fn vgw__commands_change;
vgw__handler_fn vgw__commands_remove;
vgw__handler_fn vgw__commands_configure;
vgw__handler_fn vgw__commands_shutdown;

/* planner_waiters.c */
void vgw__waiters_add(struct vgw__planner *p, const struct vgw__event *event);
void vgw__waiters_remove(struct vgw__planner *p, int32_t waiter);
void vgw__waiters_grant_all(struct vgw__planner *p, struct vgw__replica *r);
void vgw__waiters_grant(struct vgw__planner *p, struct vgw__replica *r, int32_t waiter);
void vgw__waiters_refuse(struct vgw__planner *p, int32_t model, int32_t waiter, enum vgw__reason reason);
/* all that arrived before `before_ms`; returns how many */
int32_t vgw__waiters_refuse_all(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__reason reason, int64_t before_ms);
void vgw__waiters_expire(struct vgw__planner *p);
int64_t vgw__waiters_next_deadline(const struct vgw__planner *p);

/* planner_budget.c */
struct vgw__projection {
	int64_t free[VGW__DEVICES_MAX];
	int64_t residents_left;
	int64_t sleepers_left;
	uint64_t groups; /* of everything that will be awake */
};

/* What `r` lacks: all zero when it fits. */
struct vgw__shortage {
	uint32_t devices; /* bit mask of those short of bytes */
	uint64_t groups;
	bool residents;
};

void vgw__budget_charge(struct vgw__planner *p, struct vgw__replica *r); /* after each change of state */
void vgw__budget_charge_of(const struct vgw__planner *p, const struct vgw__replica *r, int64_t *bytes);
bool vgw__budget_is_resident(const struct vgw__replica *r);
bool vgw__budget_is_sleeper(const struct vgw__replica *r);
void vgw__budget_project(const struct vgw__planner *p, const int8_t *marks,
	const struct vgw__replica *without, struct vgw__projection *projection);
/* ... on that set of devices */
bool vgw__budget_lacks(const struct vgw__planner *p, const struct vgw__replica *r, uint32_t devices,
	const struct vgw__projection *projection, struct vgw__shortage *shortage);
bool vgw__budget_fits_now(const struct vgw__planner *p, const struct vgw__replica *r);
bool vgw__budget_may_sleep_now(const struct vgw__planner *p, const struct vgw__replica *r);
uint32_t vgw__budget_locked(const struct vgw__planner *p); /* devices on which an operation runs */
void vgw__budget_lock(struct vgw__planner *p, const struct vgw__replica *r);
void vgw__budget_unlock(struct vgw__planner *p, const struct vgw__replica *r);

/* planner_swap.c */
bool vgw__swap_is_wanted(const struct vgw__replica *r); /* somebody or something wants it awake */
int64_t vgw__swap_due_ms(const struct vgw__planner *p, const struct vgw__replica *r);
/* planner_choose.c. NONE: marks names the victims. BUSY: not now, *again_ms says when. Else: never. */
enum vgw__reason vgw__choose_victims(const struct vgw__planner *p, const struct vgw__replica *r,
	uint32_t devices, int8_t *marks, int64_t *again_ms, struct vgw__decision *decision);
/* What the policy says its going costs. */
double vgw__choose_cost(const struct vgw__planner *p, const struct vgw__replica *r, enum vgw__depth depth);

/* planner_place.c */
bool vgw__place_is_set(const struct vgw__planner *p, const struct vgw__replica *r, uint32_t devices);
bool vgw__place_is_open(const struct vgw__replica *r); /* its next start may be on another set */
void vgw__place_put(struct vgw__replica *r, uint32_t devices);
void vgw__place_believe(struct vgw__planner *p, struct vgw__replica *r); /* bytes by what is known; any set */
/* What it takes on a device while awake, as far as is known without a look at what is free. */
int64_t vgw__place_expect(const struct vgw__planner *p, const struct vgw__replica *r, int32_t d);
bool vgw__place_is_too_big(const struct vgw__planner *p, const struct vgw__replica *r);
/* Its set, or one of its possible sets on which it fits; 0: none. */
uint32_t vgw__place_fitting(const struct vgw__planner *p, const struct vgw__replica *r,
	const struct vgw__projection *projection);
/* As vgw__choose_victims(), and where: decision->devices. */
enum vgw__reason vgw__place_choose(const struct vgw__planner *p, const struct vgw__replica *r, int8_t *marks,
	int64_t *again_ms, struct vgw__decision *decision);

/* planner_swap.c */
void vgw__swap_pass(struct vgw__planner *p);
enum vgw__reason vgw__swap_admit(struct vgw__planner *p, struct vgw__replica *r); /* may it ever come up? */

/* planner_passes.c */
void vgw__passes_deadlines(struct vgw__planner *p);
void vgw__passes_unclaim(struct vgw__planner *p);
void vgw__passes_revoke(struct vgw__planner *p);
void vgw__passes_idle_ttl(struct vgw__planner *p);
void vgw__passes_trim(struct vgw__planner *p);
void vgw__passes_watch(struct vgw__planner *p);
void vgw__passes_operations(struct vgw__planner *p);
int64_t vgw__passes_next_ttl(const struct vgw__planner *p, const struct vgw__replica *r);

/* planner_view.c */
int64_t vgw__eta_ms(const struct vgw__planner *p, const struct vgw__replica *r, int percent);
int64_t vgw__eta_activation_ms(
	const struct vgw__replica *r, int percent); /* of a wake or a start from here */
int64_t vgw__eta_departure_ms(const struct vgw__replica *r, enum vgw__depth depth, int percent);
struct vgw__decision *vgw__journal_add(
	struct vgw__planner *p, enum vgw__decision_kind kind, const struct vgw__replica *r, const char *why);
void vgw__decision_choose(
	struct vgw__decision *decision, int32_t model, enum vgw__depth depth, const char *why, double cost);
void vgw__decision_reject(struct vgw__decision *decision, int32_t model, const char *why, double cost);

#endif
