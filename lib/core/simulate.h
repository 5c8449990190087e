/* SPDX-License-Identifier: Apache-2.0 */
/* Replays a trace of arrivals against a policy in virtual time: the planner that runs in production, with
 * engines that take the times they are said to take. Pure; reading traces from files is the caller's
 * business. */
#ifndef VGW_CORE_SIMULATE_H
#define VGW_CORE_SIMULATE_H

#include "core/planner.h"

/* XX(NAME, name, what it is) */
#define VGW__CONTENDER_MAP(XX)                                                                               \
	XX(LRU, "lru", "the planner, policy lru")                                                            \
	XX(COST, "cost", "the planner, policy cost")                                                         \
	XX(FIRST_COME, "first-come",                                                                         \
		"one queue, one lock: who is not in memory swaps while all others wait")                     \
	XX(CLAIRVOYANT, "clairvoyant", "the best schedule found by one that knows every arrival to come")

enum vgw__contender {
#define XX(name, text, what) VGW__CONTENDER_##name,
	VGW__CONTENDER_MAP(XX)
#undef XX
		VGW__CONTENDER_COUNT
};

struct vgw__arrival {
	int64_t at_ms; /* ascending */
	int32_t model;
	int64_t service_ms; /* how long its lease lasts */
};

/* What operations take; the settle gate is part of stop and sleep. */
struct vgw__engine_times {
	int64_t start_ms;
	int64_t stop_ms;
	int64_t sleep_ms;
	int64_t wake_ms;
};

struct vgw__simulation {
	struct vgw__residency_config config; /* policy is set by the contender */
	int32_t device_count;
	const struct vgw__device_config *devices;
	int32_t model_count;
	const struct vgw__model_config *models;
	const struct vgw__engine_times *times; /* one per model */
	size_t arrival_count;
	const struct vgw__arrival *arrivals;
};

struct vgw__simulated {
	uint64_t cold_starts;
	uint64_t wakes;
	uint64_t served;
	uint64_t refused; /* counted with a wait of max_wait in the percentiles */
	double goodput;   /* share of the arrivals served within max_wait */
	int64_t wait_p50_ms;
	int64_t wait_p95_ms;
	int64_t wait_p99_ms;
	int64_t wait_max_ms;
	double wait_mean_ms;
	double device_hours; /* sum over devices of the time in which an engine was awake on it */
	int64_t span_ms;     /* first arrival to last release */
};

const char *vgw__contender_name(enum vgw__contender contender);
const char *vgw__contender_text(enum vgw__contender contender);

/*
 * CLAIRVOYANT, precisely: the planner's own mechanics with an oracle of each model's next arrival (the victim
 * is the one needed furthest in the future; a resident needed again within a horizon stays), run for a ladder
 * of horizons from zero to many round trips, and the schedules of lru, cost and first-come beside them; the
 * one with the smallest p95 wait counts (ties: mean). So it is a schedule that can be had, not an unreachable
 * bound, and never worse than any other contender.
 *
 * Errors: NOMEM; INVALID when an arrival names no model or goes back in time.
 */
vgw_status vgw__simulate(struct vgw__simulated *out, const struct vgw__simulation *simulation,
	enum vgw__contender contender, vgw_error *err);

#endif
