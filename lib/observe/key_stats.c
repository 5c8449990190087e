/* SPDX-License-Identifier: Apache-2.0 */
/* Rows are only ever added, at the head of a list, so they are read without a lock; adding takes the stats' lock. */
#include "observe/key_stats.h"

#include "observe/stats_internal.h"
#include "util/alloc.h"
#include "util/buf.h"

#include <inttypes.h>
#include <string.h>

struct vgw__key_stats {
	struct vgw__key_stats *next;
	_Atomic(struct vgw__key_row *) rows;
	atomic_uint_fast64_t limited[VGW_LIMIT_REASON_COUNT];
	char *label; /* escaped */
	char name[];
};

/* --- counting ------------------------------------------------------------------------------------------------- */

static struct vgw__key_stats *new_key(struct vgw__stats *stats, const char *name)
{
	size_t size = strlen(name) + 1;
	struct vgw__key_stats *key = vgw__alloc(sizeof(*key) + size);

	if (!key)
		return NULL;
	memcpy(key->name, name, size);
	key->label = vgw__metrics_escape(name);
	if (!key->label) {
		vgw__free(key);
		return NULL;
	}
	key->next = stats->keys;
	stats->keys = key;
	return key;
}

struct vgw__key_stats *vgw__stats_get_key(struct vgw__stats *stats, const char *name)
{
	struct vgw__key_stats *key;

	(void)pthread_mutex_lock(&stats->lock);
	key = stats->keys;
	while (key && strcmp(key->name, name) != 0)
		key = key->next;
	if (!key)
		key = new_key(stats, name);
	(void)pthread_mutex_unlock(&stats->lock);
	return key;
}

static struct vgw__key_row *find_row(struct vgw__key_stats *key, const char *model)
{
	struct vgw__key_row *row = atomic_load_explicit(&key->rows, memory_order_acquire);

	while (row && strcmp(row->model, model) != 0)
		row = row->next;
	return row;
}

static struct vgw__key_row *new_row(struct vgw__key_stats *key, const char *model)
{
	size_t size = strlen(model) + 1;
	struct vgw__key_row *row = vgw__alloc(sizeof(*row) + size);

	if (!row)
		return NULL;
	memcpy(row->model, model, size);
	row->next = atomic_load_explicit(&key->rows, memory_order_relaxed);
	atomic_store_explicit(&key->rows, row, memory_order_release);
	return row;
}

struct vgw__key_row *vgw__key_stats_get_row(struct vgw__stats *stats, struct vgw__key_stats *key, const char *model)
{
	struct vgw__key_row *row = find_row(key, model);

	if (row)
		return row;
	(void)pthread_mutex_lock(&stats->lock);
	row = find_row(key, model);
	if (!row)
		row = new_row(key, model);
	(void)pthread_mutex_unlock(&stats->lock);
	return row;
}

void vgw__stats_count_limited(struct vgw__stats *stats, struct vgw__key_stats *key, vgw_limit_reason reason)
{
	atomic_fetch_add_explicit(key ? &key->limited[reason] : &stats->limited[reason], 1, memory_order_relaxed);
}

/* --- the end -------------------------------------------------------------------------------------------------- */

void vgw__key_stats_free(struct vgw__stats *stats)
{
	while (stats->keys) {
		struct vgw__key_stats *key = stats->keys;
		struct vgw__key_row *row = atomic_load(&key->rows);

		while (row) {
			struct vgw__key_row *next = row->next;

			vgw__free(row);
			row = next;
		}
		stats->keys = key->next;
		vgw__free(key->label);
		vgw__free(key);
	}
}

/* --- rendering ------------------------------------------------------------------------------------------------ */

static bool print_row(struct vgw__buf *out, const char *metric, const struct vgw__key_stats *key,
	const struct vgw__key_row *row, const atomic_uint_fast64_t *counter)
{
	char *model = vgw__metrics_escape(row->model);
	bool is_ok = model && vgw__buf_print(out, "%s{key=\"%s\",model=\"%s\"} %" PRIu64 "\n", metric, key->label, model,
				      (uint64_t)atomic_load_explicit(counter, memory_order_relaxed));

	vgw__free(model);
	return is_ok;
}

static bool print_limited(struct vgw__buf *out, const char *label, const atomic_uint_fast64_t *counters)
{
	static const char *const reasons[VGW_LIMIT_REASON_COUNT] = {
#define XX(name, reason, text) [VGW_LIMIT_##name] = reason,
		VGW_LIMIT_REASON_MAP(XX)
#undef XX
	};
	bool is_ok = true;

	for (size_t i = 0; i < VGW_LIMIT_REASON_COUNT; i++) {
		uint64_t value = atomic_load_explicit(&counters[i], memory_order_relaxed);

		if (value)
			is_ok = is_ok && vgw__buf_print(out,
				"vllmgw_limited_total{key=\"%s\",reason=\"%s\"} %" PRIu64 "\n", label, reasons[i], value);
	}
	return is_ok;
}

bool vgw__key_stats_print(struct vgw__stats *stats, struct vgw__buf *out)
{
	bool is_ok = true;

	(void)pthread_mutex_lock(&stats->lock);
#define XX(field, metric, help)                                                                                    \
	is_ok = is_ok && vgw__buf_print(out, "# HELP %s %s\n# TYPE %s counter\n", metric, help, metric);           \
	for (struct vgw__key_stats *key = stats->keys; key; key = key->next) {                                     \
		for (struct vgw__key_row *row = atomic_load(&key->rows); row; row = row->next)                     \
			is_ok = is_ok && print_row(out, metric, key, row, &row->field);                            \
	}
	VGW__KEY_COUNTERS(XX)
#undef XX
	is_ok = is_ok && vgw__buf_print(out, "# HELP vllmgw_limited_total Requests that a limit refused, or that passed "
					     "unchecked (reason store).\n# TYPE vllmgw_limited_total counter\n");
	is_ok = is_ok && print_limited(out, "", stats->limited);
	for (struct vgw__key_stats *key = stats->keys; key; key = key->next)
		is_ok = is_ok && print_limited(out, key->label, key->limited);
	(void)pthread_mutex_unlock(&stats->lock);
	return is_ok;
}
