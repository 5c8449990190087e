/* SPDX-License-Identifier: Apache-2.0 */
/* How long things took lately (percentiles of the last few), and how often something happens (a rate that
 * forgets). Fixed memory, no allocation, deterministic, no libm. */
#ifndef VGW_CORE_TIMES_H
#define VGW_CORE_TIMES_H

#include <stdint.h>

#define VGW__TIMES_KEPT 16

/* The last VGW__TIMES_KEPT durations. A zeroed one is empty. */
struct vgw__times {
	int32_t ring[VGW__TIMES_KEPT];   /* in order of arrival */
	int32_t sorted[VGW__TIMES_KEPT]; /* the same, ascending */
	uint32_t kept;
	uint32_t next;  /* place in ring that is overwritten next */
	uint64_t count; /* ever seen */
};

void vgw__times_add(struct vgw__times *times, int64_t duration_ms);
/* Nearest-rank percentile of what is kept, `otherwise` when nothing is. */
int64_t vgw__times_get(const struct vgw__times *times, int percent, int64_t otherwise);

/* Events per millisecond, each event's weight halving every `half_life_ms`. A zeroed one has seen nothing. */
struct vgw__rate {
	double weight;  /* decayed count of events */
	double span_ms; /* decayed observation time, so that a young rate is not an underestimate */
	int64_t at_ms;
	int64_t since_ms; /* begin of observation; 0: none yet */
};

void vgw__rate_add(struct vgw__rate *rate, int64_t now_ms, double events, int64_t half_life_ms);
double vgw__rate_get(
	const struct vgw__rate *rate, int64_t now_ms, int64_t half_life_ms); /* per ms; 0: no data */
/* 2^-(age/half_life), good to 0.3 % */
double vgw__decay(int64_t age_ms, int64_t half_life_ms);

#endif
