/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/simulate.h
 * What would this policy have done with that traffic? Audience: callers.  Stability: stable since 0.1.
 *
 * Replays arrivals in virtual time against the planner that runs in production, with engines that take the times they
 * are said to take. Nothing is started; an hour of traffic takes milliseconds.
 */
#ifndef VLLMGW_SIMULATE_H
#define VLLMGW_SIMULATE_H

#include <vllmgw/common.h>
#include <vllmgw/model.h>
#include <vllmgw/residency.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

/** XX(NAME, value, name, what it is) */
#define VGW_CONTENDER_MAP(XX)                                                                                    \
	XX(LRU, 0, "lru", "the planner, policy lru")                                                             \
	XX(COST, 1, "cost", "the planner, policy cost")                                                          \
	XX(FIRST_COME, 2, "first-come", "one queue, one lock: who is not in memory swaps while all others wait") \
	XX(CLAIRVOYANT, 3, "clairvoyant", "the best schedule found by one that knows every arrival to come")

typedef enum vgw_contender {
#define XX(name, value, text, what) VGW_CONTENDER_##name = value,
	VGW_CONTENDER_MAP(XX)
#undef XX
	VGW_CONTENDER_COUNT,
	VGW_CONTENDER_FORCE_INT32 = 0x7fffffff
} vgw_contender;

/** One request of a trace. */
typedef struct vgw_arrival {
	int64_t at_ms;      /* not before the one before it */
	int64_t service_ms; /* how long it uses its model */
	const char *model;  /* a name or an alias */
} vgw_arrival;

/** What a model's operations take, the wait for its memory included. 0: 60 s, 5 s, 5 s, 3 s. */
typedef struct vgw_engine_times {
	const char *model; /* its configured name */
	int64_t start_ms;
	int64_t stop_ms;
	int64_t sleep_ms;
	int64_t wake_ms;
} vgw_engine_times;

/** A question. Everything is borrowed during the call. */
typedef struct vgw_simulation {
	size_t size; /* set by VGW_SIMULATION_INIT */
	const vgw_registry *registry;
	const vgw_residency_options *options; /* limits and durations; its policy is the contender's */
	const vgw_engine_times *times;        /* of models that are not in it: the defaults */
	size_t time_count;
	const vgw_arrival *arrivals;
	size_t arrival_count;
} vgw_simulation;

#define VGW_SIMULATION_INIT { .size = sizeof(vgw_simulation) }

/** The answer. */
typedef struct vgw_simulated {
	size_t size; /* set by vgw_simulate() */
	uint64_t cold_starts;
	uint64_t wakes;
	uint64_t served;
	uint64_t refused; /* counted with a wait of max_wait in the percentiles */
	int64_t wait_p50_ms;
	int64_t wait_p95_ms;
	int64_t wait_p99_ms;
	int64_t wait_max_ms;
	int64_t span_ms;     /* from the first arrival to the last release */
	double wait_mean_ms;
	double goodput;      /* share of the arrivals served within max_wait */
	double device_hours; /* sum over devices of the time in which an engine was awake on it */
} vgw_simulated;

/**
 * Replay the arrivals under one contender. The same question has the same answer.
 *
 * CLAIRVOYANT is the best of: the other three, and the planner with an oracle of each model's next arrival, over a
 * ladder of how long an idle model is kept. It is a schedule that can be had, and never worse than another contender.
 *
 * Owns:    *out is the caller's.
 * Threads: any.
 * Blocks:  for the time it takes to compute: about a microsecond for each arrival, CLAIRVOYANT some ten times that.
 * Errors:  INVALID (the text names the arrival or the model), NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_simulate(vgw_simulated *out, const vgw_simulation *simulation,
	vgw_contender contender, vgw_error *err);

/** "lru", "cost", "first-come", "clairvoyant"; "?" for a number that is none.
 *  Owns: borrowed for ever.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_contender_get_name(vgw_contender contender);

VGW_END_DECLS

#endif
