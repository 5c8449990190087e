/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the counters, shared by stats.c (writing) and metrics.c (rendering). */
#ifndef VGW_OBSERVE_STATS_INTERNAL_H
#define VGW_OBSERVE_STATS_INTERNAL_H

#include "observe/key_stats.h"
#include "observe/stats.h"
#include "util/buf.h"

#include <pthread.h>

struct vgw__lifecycle;

struct vgw__model_stats {
	struct vgw__model_stats *next;
	char *name;
	_Atomic(struct vgw__lifecycle *) lifecycle; /* NULL: it never changed its state */
	_Atomic(struct vgw__shard *) shards[]; /* one a worker, NULL until that worker needs it */
};

struct vgw__stats {
	uint32_t max_workers;
	pthread_mutex_t lock;
	struct vgw__model_stats *models; /* guarded by lock; entries stay for ever */
	struct vgw__key_stats *keys;     /* likewise */
	atomic_uint_fast64_t events_lost; /* of the residency's; written on the events' thread */
	atomic_uint_fast64_t limited[VGW_LIMIT_REASON_COUNT]; /* of nobody in particular */
};

/* --- metrics.c: pieces of the text; false: no memory --- */

char *vgw__metrics_dup_label(const char *model); /* model="small", in the library's memory */
bool vgw__metrics_print_head(struct vgw__buf *out, const char *name, const char *type, const char *help);
/* `labels` as they stand between the braces, without `le`. */
bool vgw__metrics_print_histogram(struct vgw__buf *out, const char *name, const char *labels,
	const struct vgw__histogram *histogram, const struct vgw__scale *scale);
void vgw__metrics_add_histogram(struct vgw__histogram *sum, const struct vgw__histogram *one);

#endif
