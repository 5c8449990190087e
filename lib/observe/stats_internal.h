/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the counters, shared by stats.c (writing) and metrics.c (rendering). */
#ifndef VGW_OBSERVE_STATS_INTERNAL_H
#define VGW_OBSERVE_STATS_INTERNAL_H

#include "observe/key_stats.h"
#include "observe/stats.h"

#include <pthread.h>

struct vgw__model_stats {
	struct vgw__model_stats *next;
	char *name;
	_Atomic(struct vgw__shard *) shards[]; /* one a worker, NULL until that worker needs it */
};

struct vgw__stats {
	uint32_t max_workers;
	pthread_mutex_t lock;
	struct vgw__model_stats *models; /* guarded by lock; entries stay for ever */
	struct vgw__key_stats *keys;     /* likewise */
	atomic_uint_fast64_t limited[VGW_LIMIT_REASON_COUNT]; /* of nobody in particular */
};

#endif
