/* SPDX-License-Identifier: Apache-2.0 */
/* A target's circuit breaker: it learns from the requests themselves.
 *
 *   CLOSED ── 5 failures in a row, or half of at least 20 within a minute ──► OPEN ── its time is up ──► one trial
 *      ▲                                                                       ▲                          │   │
 *      │                                                                       └── twice as long ── fails ┘   │
 *      └────────────────────────── a while with less than its share (slow start) ◄──────────────── succeeds ──┘
 *
 * Workers share it: a success reads two words, everything else takes its lock. Time is given by the caller. */
#ifndef VGW_BACKEND_CIRCUIT_H
#define VGW_BACKEND_CIRCUIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	VGW__CIRCUIT_IN_A_ROW = 5,
	VGW__CIRCUIT_SAMPLE = 20,
	VGW__CIRCUIT_WINDOW_MS = 60000,
	VGW__CIRCUIT_OPEN_MS = 30000,      /* doubled with each opening in a row, */
	VGW__CIRCUIT_OPEN_MAX_MS = 300000, /* up to here */
	VGW__CIRCUIT_WARM_MS = 30000,      /* slow start */
	VGW__CIRCUIT_WHOLE = 16,           /* a full share, in vgw__circuit_get_share()'s measure */
	VGW__CIRCUIT_REASON_SIZE = 160,
};

/* XX(NAME, text) */
#define VGW__CIRCUIT_MAP(XX) \
	XX(CLOSED, "closed") \
	XX(OPEN, "open")     \
	XX(HALF_OPEN, "half-open")

enum vgw__circuit_state {
#define XX(name, text) VGW__CIRCUIT_##name,
	VGW__CIRCUIT_MAP(XX)
#undef XX
};

struct vgw__circuit {
	atomic_int state;              /* OPEN until until_ms; HALF_OPEN: a trial is under way */
	atomic_uint in_a_row;          /* failures since the last success */
	atomic_int_fast64_t until_ms;  /* of OPEN */
	atomic_int_fast64_t warm_from_ms; /* 0: it gets its full share */
	atomic_uint_fast64_t failures; /* ever */
	atomic_uint_fast64_t openings; /* ever */
	pthread_mutex_t lock;
	uint32_t openings_in_a_row;    /* guarded by lock, as all below */
	int64_t window_from_ms;        /* 0: no window */
	uint64_t window_failures;
	uint64_t window_ended;         /* requests that had ended when it began */
	char reason[VGW__CIRCUIT_REASON_SIZE]; /* of the last opening */
};

/* What became of a report. */
enum vgw__circuit_news { VGW__CIRCUIT_SAME, VGW__CIRCUIT_HAS_OPENED, VGW__CIRCUIT_HAS_CLOSED };

bool vgw__circuit_init(struct vgw__circuit *circuit); /* of a zeroed one; false: no memory */
void vgw__circuit_fini(struct vgw__circuit *circuit);

/* May a request go there? *is_trial: it would be the one that decides; vgw__circuit_claim() it then. */
bool vgw__circuit_admits(const struct vgw__circuit *circuit, int64_t now_ms, bool *is_trial);
bool vgw__circuit_claim(struct vgw__circuit *circuit, int64_t now_ms); /* false: somebody was faster */
void vgw__circuit_abandon(struct vgw__circuit *circuit);               /* the trial ended without telling anything */

/* A request that failed. */
struct vgw__circuit_failure {
	const char *why;
	uint64_t ended; /* requests that ever ended on the target */
	bool may_open;  /* false: it is the last one, and stays */
	bool is_trial;  /* it was the one that decides */
};

enum vgw__circuit_news vgw__circuit_fail(struct vgw__circuit *circuit, const struct vgw__circuit_failure *failure,
	int64_t now_ms);
enum vgw__circuit_news vgw__circuit_recover(struct vgw__circuit *circuit, bool is_trial, int64_t now_ms);

/* A success; cheap where nothing was wrong. */
static inline enum vgw__circuit_news vgw__circuit_succeed(struct vgw__circuit *circuit, bool is_trial, int64_t now_ms)
{
	if (!atomic_load_explicit(&circuit->in_a_row, memory_order_relaxed) &&
		atomic_load_explicit(&circuit->state, memory_order_relaxed) == VGW__CIRCUIT_CLOSED)
		return VGW__CIRCUIT_SAME;
	return vgw__circuit_recover(circuit, is_trial, now_ms);
}

/* Begin a slow start. */
void vgw__circuit_warm_up(struct vgw__circuit *circuit, int64_t now_ms);

/* 1 to VGW__CIRCUIT_WHOLE: how much of its share it should get. */
uint32_t vgw__circuit_get_share(const struct vgw__circuit *circuit, int64_t now_ms);

const char *vgw__circuit_state_name(enum vgw__circuit_state state);
void vgw__circuit_get_reason(struct vgw__circuit *circuit, char out[VGW__CIRCUIT_REASON_SIZE]);

#endif
