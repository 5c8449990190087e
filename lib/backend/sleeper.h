/* SPDX-License-Identifier: Apache-2.0 */
/* The sleep decorator from the inside: what its files share.
 *
 *   sleep.c         the operations, and what the state file remembers
 *   sleep_calls.c   the engine's routes: /sleep, /wake_up and the exact order of a level-2 wake
 *   sleep_memory.c  did the device's memory come back?
 */
#ifndef VGW_BACKEND_SLEEPER_H
#define VGW_BACKEND_SLEEPER_H

#include "backend/host.h"
#include "backend/sleep.h"

#include <stdatomic.h>

enum { VGW__SLEEP_DEVICES = 16 };

/* One device the engine computes on. */
struct vgw__sleep_device {
	char name[VGW__DEVICE_NAME];
	uint64_t free_before_bytes; /* of the start under way, then of the sleep; 0: not read */
	uint64_t total_bytes;       /* 0: not told */
	uint64_t footprint_bytes;   /* what the start took */
	bool is_measured;           /* the start was watched: footprint_bytes is known */
};

struct vgw__sleeper {
	const struct vgw__sleep_kind *kind; /* const after create, down to api_key */
	vgw_host *host;
	void *inner;
	char *model;
	char *served_name;
	char *api_key;                /* NULL: none */
	atomic_uint level;            /* asleep at, as far as we know; 0: awake or gone */
	atomic_uint_least64_t canary; /* hash of the remembered answer; 0: none */
	bool is_fresh;                /* brought up cold, not looked at yet; operations only */
	size_t device_count;
	struct vgw__sleep_device devices[VGW__SLEEP_DEVICES];
};

/* --- sleep_calls.c; all of them for every endpoint of the replica --- */

/* POST /sleep, then until /is_sleeping says so. */
vgw_status vgw__sleep_post(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err);
/* From that level: until /is_sleeping says no; level 2: the weights reloaded, warmed up, the canary asked. */
vgw_status vgw__sleep_wake(struct vgw__sleeper *sleeper, uint32_t level, int64_t deadline_ms, vgw_error *err);
/* *is_asleep: any endpoint is. BACKEND: one does not answer. An engine without the route is awake. */
vgw_status vgw__sleep_ask(struct vgw__sleeper *sleeper, bool *is_asleep, int64_t deadline_ms, vgw_error *err);
/* The default probe: every endpoint serves. */
vgw_status vgw__sleep_probe(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err);
/* Ask the canary for the first time. Without an answer there is none, and the log says so. */
void vgw__sleep_remember_canary(struct vgw__sleeper *sleeper, int64_t deadline_ms);

/* --- sleep_memory.c --- */

/* "0,1"; "": 0; NULL: as they are. What was measured on those it had before is kept. */
void vgw__sleep_list_devices(struct vgw__sleeper *sleeper, const char *devices);
void vgw__sleep_note_free(struct vgw__sleeper *sleeper);      /* before a start, before a sleep */
void vgw__sleep_note_footprint(struct vgw__sleeper *sleeper); /* after a start */
/* After a sleep: until enough is free. TIMEOUT: it answered and kept its memory. */
vgw_status vgw__sleep_await_free(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err);

#endif
