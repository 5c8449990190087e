/* SPDX-License-Identifier: Apache-2.0 */
/* Counting without locks: each worker writes its own shard of each model, whoever renders the metrics adds the
 * shards up. A shard has one writer, so an addition is a plain load and store that readers may watch.
 *
 *   worker 0 ──► shard[0] ─┐
 *   worker 1 ──► shard[1] ─┼─ sum ──► /metrics
 */
#ifndef VGW_OBSERVE_STATS_H
#define VGW_OBSERVE_STATS_H

#include "observe/stats_list.h"

#include <vllmgw/status.h>

#include <stdatomic.h>

struct vgw__stats;       /* all models of a gateway */
struct vgw__model_stats; /* one model; lives as long as the stats: a name keeps its counts over reloads */

enum vgw__code {
#define XX(code) VGW__CODE_##code,
	VGW__CODES(XX)
#undef XX
	VGW__CODE_OTHER,
	VGW__CODE_COUNT
};

struct vgw__histogram {
	atomic_uint_fast64_t buckets[VGW__BOUND_COUNT + 1]; /* behind the scale's last bound: everything above it */
	atomic_uint_fast64_t sum;
};

/* What a histogram is divided by. */
struct vgw__scale {
	size_t count;  /* of bounds, VGW__BOUND_COUNT at most */
	double unit;   /* 1e6: microseconds are counted, seconds are told */
	int64_t bounds[VGW__BOUND_COUNT];
};

struct vgw__genai;

struct vgw__shard {
	atomic_uint_fast64_t codes[VGW__CODE_COUNT];
#define XX(field, name, twin, help) atomic_uint_fast64_t field;
	VGW__COUNTERS(XX)
#undef XX
#define XX(field, name, twin, help) atomic_int_fast64_t field;
	VGW__GAUGES(XX)
#undef XX
#define XX(field, name, scale, twin, help) struct vgw__histogram field;
	VGW__HISTOGRAMS(XX)
#undef XX
	_Atomic(struct vgw__genai *) genai; /* NULL: nothing is counted under those names */
};

vgw_status vgw__stats_new(struct vgw__stats **out, uint32_t max_workers, vgw_error *err);
void vgw__stats_free(struct vgw__stats *stats);

/* The entry of a model, made at first use. Any thread. NULL without memory. */
struct vgw__model_stats *vgw__stats_get_model(struct vgw__stats *stats, const char *name);

/* A worker's shard of a model, made at first use. That worker's thread. NULL without memory. */
struct vgw__shard *vgw__stats_get_shard(struct vgw__model_stats *model, uint32_t worker);

static inline void vgw__count(atomic_uint_fast64_t *counter, uint64_t more)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + more, memory_order_relaxed);
}

static inline void vgw__gauge(atomic_int_fast64_t *gauge, int64_t change)
{
	int64_t value = atomic_load_explicit(gauge, memory_order_relaxed);

	atomic_store_explicit(gauge, value + change, memory_order_relaxed);
}

/* One of a value, or several; a negative value is none. */
void vgw__observe(struct vgw__histogram *histogram, const struct vgw__scale *scale, int64_t value, uint64_t count);

#define XX(field, name, scale, twin, help) void vgw__observe_##field(struct vgw__shard *shard, int64_t us, uint64_t count);
VGW__HISTOGRAMS(XX)
#undef XX

void vgw__count_code(struct vgw__shard *shard, uint32_t status);

/* All calls under way. */
uint64_t vgw__stats_in_flight(struct vgw__stats *stats);

/* Prometheus text, NUL-terminated, in the library's memory; NULL without memory. */
char *vgw__stats_render(struct vgw__stats *stats, bool has_own, bool has_genai);

#endif
