/* SPDX-License-Identifier: Apache-2.0 */
/* A world around the residency planner: gates, leases, engines, operations, waiters, a clock. It does what
 * the shell does, in one thread and with a clock that the test owns, and at each step compares what the
 * planner says with a naive account of its own: plain lists, recounted every time. The first difference is
 * kept in world->broken. */
#ifndef VGW_TESTS_WORLD_H
#define VGW_TESTS_WORLD_H

#include "core/planner.h"

#include <stdbool.h>
#include <stdint.h>

#define WORLD_MODELS 6
#define WORLD_WAITERS 64

enum world_op {
	WORLD_OP_NONE,
	WORLD_OP_ACTIVATE,
	WORLD_OP_DEACTIVATE,
	WORLD_OP_SETTLE,
};

struct world_model {
	enum world_op op;
	uint32_t op_ticket;
	enum vgw__depth op_depth;
	bool op_is_wake;
	bool op_is_cancelled;
	bool op_is_orphan; /* the operator forgot the replica while it ran */
	bool has_engine;   /* a process exists */
	bool is_awake;
	bool is_dead;         /* its process exited; the planner was told */
	uint32_t generation;
	bool is_gate_open;
	bool is_idle_due; /* CLOSE_GATE without its IDLE yet */
	uint32_t gate_ticket;
	bool is_watched;
	bool was_cut; /* leases no longer hold the replica */
	uint32_t leases;
	uint64_t arrivals;
	int64_t last_used_ms;
	uint32_t devices; /* where its engine runs, by the ACTIVATE that began it */
	bool holds_awake; /* memory, as an observer of the device would count it */
	bool holds_asleep;
	enum vgw__state state; /* by the TRANSITION actions */
	uint32_t activations;
};

struct world_waiter {
	bool is_waiting;
	int32_t model;
	int64_t arrived_ms;
	int64_t deadline_ms;
	enum vgw__reason refused; /* of the last one on this index */
	bool was_granted;
	int64_t answered_ms;
};

struct world {
	struct vgw__planner *planner;
	struct vgw__planner_limits limits;
	struct vgw__device_config devices[VGW__DEVICES_MAX];
	struct vgw__residency_config config;
	struct vgw__model_config models[WORLD_MODELS];
	struct world_model model[WORLD_MODELS];
	struct world_waiter waiter[WORLD_WAITERS];
	int64_t now_ms;
	int64_t timer_ms;
	bool is_shutdown_done;
	uint64_t steps;
	uint64_t grants;
	uint64_t refusals;
	uint64_t transitions;
	int64_t longest_wait_ms;
	bool is_unchecked;         /* skip the recount: for measuring */
	bool has_footprints_moved; /* measured footprints: bytes are no longer compared */
	const char *broken;        /* NULL: all is well */
};

/* limits, devices, config and models must be filled in; adds limits.models models. */
bool world_begin(struct world *world);
void world_end(struct world *world);

enum vgw__reason world_step(struct world *world, const struct vgw__event *event);

/* Conversation. */
int32_t world_ask(struct world *world, int32_t model, int64_t patience_ms); /* the waiter's index */
void world_cancel(struct world *world, int32_t waiter);
bool world_use(struct world *world, int32_t model);     /* a lease by the open gate; false: it is closed */
void world_release(struct world *world, int32_t model); /* one lease of the model comes back */
void world_answer(struct world *world, int32_t model, bool is_success); /* the running operation returns */
void world_fail(struct world *world, int32_t model, enum vgw__failure failure);
void world_die(struct world *world, int32_t model, enum vgw__failure failure);
enum vgw__reason world_command(struct world *world, enum vgw__event_kind kind, int32_t model, bool force);
void world_advance(struct world *world, int64_t ms); /* TIMER is sent whenever it is due on the way */
/* Lets every operation succeed, leases stay; until nothing runs. */
void world_settle(struct world *world);
enum vgw__state world_state(const struct world *world, int32_t model);

#endif
