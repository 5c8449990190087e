/* SPDX-License-Identifier: Apache-2.0 */
/* Shards of counters. The list of models only grows, under a lock that no request takes. */
#include "observe/stats.h"

#include "observe/genai.h"
#include "observe/lifecycle.h"
#include "observe/stats_internal.h"
#include "util/alloc.h"

#include <string.h>

vgw_status vgw__stats_new(struct vgw__stats **out, uint32_t max_workers, vgw_error *err)
{
	struct vgw__stats *stats = vgw__alloc(sizeof(*stats));

	*out = NULL;
	if (!stats || pthread_mutex_init(&stats->lock, NULL) != 0) {
		vgw__free(stats);
		return vgw_error_set(err, VGW_NOMEM, 0, "counters");
	}
	stats->max_workers = max_workers;
	*out = stats;
	return VGW_OK;
}

static void free_shard(struct vgw__shard *shard)
{
	if (shard)
		vgw__genai_free(atomic_load(&shard->genai));
	vgw__free(shard);
}

void vgw__stats_free(struct vgw__stats *stats)
{
	struct vgw__model_stats *next;

	if (!stats)
		return;
	for (struct vgw__model_stats *model = stats->models; model; model = next) {
		next = model->next;
		for (uint32_t i = 0; i < stats->max_workers; i++)
			free_shard(atomic_load(&model->shards[i]));
		vgw__lifecycle_free(atomic_load(&model->lifecycle));
		vgw__free(model->name);
		vgw__free(model);
	}
	vgw__key_stats_free(stats);
	(void)pthread_mutex_destroy(&stats->lock);
	vgw__free(stats);
}

static struct vgw__model_stats *new_model(struct vgw__stats *stats, const char *name)
{
	struct vgw__model_stats *model =
		vgw__alloc(sizeof(*model) + stats->max_workers * sizeof(model->shards[0]));

	if (!model)
		return NULL;
	model->name = vgw__strdup(name);
	if (!model->name) {
		vgw__free(model);
		return NULL;
	}
	return model;
}

struct vgw__model_stats *vgw__stats_get_model(struct vgw__stats *stats, const char *name)
{
	struct vgw__model_stats **link = &stats->models;

	(void)pthread_mutex_lock(&stats->lock);
	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next;
	if (!*link)
		*link = new_model(stats, name);
	(void)pthread_mutex_unlock(&stats->lock);
	return *link;
}

struct vgw__shard *vgw__stats_get_shard(struct vgw__model_stats *model, uint32_t worker)
{
	struct vgw__shard *shard = atomic_load_explicit(&model->shards[worker], memory_order_acquire);

	if (shard)
		return shard;
	shard = vgw__alloc(sizeof(*shard));
	if (shard)
		atomic_store_explicit(&model->shards[worker], shard, memory_order_release);
	return shard;
}

void vgw__count_code(struct vgw__shard *shard, uint32_t status)
{
	enum vgw__code code = VGW__CODE_OTHER;

	switch (status) {
#define XX(number)                                \
	case number:                              \
		code = VGW__CODE_##number;        \
		break;
		VGW__CODES(XX)
#undef XX
	default:
		break;
	}
	vgw__count(&shard->codes[code], 1);
}

void vgw__observe(struct vgw__histogram *histogram, const struct vgw__scale *scale, int64_t value, uint64_t count)
{
	size_t i = 0;

	if (value < 0)
		return;
	while (i < scale->count && value > scale->bounds[i])
		i++;
	vgw__count(&histogram->buckets[i], count);
	vgw__count(&histogram->sum, (uint64_t)value * count);
}

#define XX(field, name, kind, twin, help)                                                             \
	void vgw__observe_##field(struct vgw__shard *shard, int64_t us, uint64_t count)               \
	{                                                                                             \
		static const struct vgw__scale scale = { VGW__BOUND_COUNT, 1e6, VGW__BOUNDS_##kind }; \
                                                                                                      \
		vgw__observe(&shard->field, &scale, us, count);                                       \
	}
VGW__HISTOGRAMS(XX)
#undef XX

uint64_t vgw__stats_in_flight(struct vgw__stats *stats)
{
	int64_t sum = 0;

	(void)pthread_mutex_lock(&stats->lock);
	for (struct vgw__model_stats *model = stats->models; model; model = model->next) {
		for (uint32_t i = 0; i < stats->max_workers; i++) {
			struct vgw__shard *shard = atomic_load_explicit(&model->shards[i], memory_order_acquire);

			if (shard)
				sum += atomic_load_explicit(&shard->in_flight, memory_order_relaxed);
		}
	}
	(void)pthread_mutex_unlock(&stats->lock);
	return sum > 0 ? (uint64_t)sum : 0;
}
