/* SPDX-License-Identifier: Apache-2.0 */
/* What each principal used, by model, and what the limits refused. Labels are configured names only, so the number of
 * time series is bounded by the configuration. Any thread counts; there are few writes a request. */
#ifndef VGW_OBSERVE_KEY_STATS_H
#define VGW_OBSERVE_KEY_STATS_H

#include "observe/stats.h"

#include <vllmgw/principal.h>

/* XX(field, metric, help); labels `key` and `model` */
#define VGW__KEY_COUNTERS(XX)                                                                                      \
	XX(requests, "vllmgw_key_requests_total", "Requests of a key that ended, refused ones included.")          \
	XX(prompt_tokens, "vllmgw_key_prompt_tokens_total", "Prompt tokens a key used.")                           \
	XX(completion_tokens, "vllmgw_key_completion_tokens_total", "Completion tokens a key used.")

struct vgw__key_stats; /* one principal's name; lives as long as the stats */

struct vgw__key_row {
	struct vgw__key_row *next;
#define XX(field, metric, help) atomic_uint_fast64_t field;
	VGW__KEY_COUNTERS(XX)
#undef XX
	char model[];
};

/* The entry of a name, made at first use. Any thread. NULL without memory. */
struct vgw__key_stats *vgw__stats_get_key(struct vgw__stats *stats, const char *name);

/* A name's counters of a model, made at first use. Any thread; takes a lock only then. NULL without memory. */
struct vgw__key_row *vgw__key_stats_get_row(struct vgw__stats *stats, struct vgw__key_stats *key, const char *model);

/* A request was refused by a limit; `key` NULL: of nobody in particular. */
void vgw__stats_count_limited(struct vgw__stats *stats, struct vgw__key_stats *key, vgw_limit_reason reason);

/* Used by stats.c and metrics.c. */
struct vgw__buf;
void vgw__key_stats_free(struct vgw__stats *stats);
bool vgw__key_stats_print(struct vgw__stats *stats, struct vgw__buf *out);

/* A label's value, escaped, in the library's memory; NULL without memory. */
char *vgw__metrics_escape(const char *text);

#endif
