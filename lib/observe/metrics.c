/* SPDX-License-Identifier: Apache-2.0 */
/* The counters as Prometheus text. Shards are summed first, one model at a time; the label is the configured name,
 * so that clients cannot invent new time series. */
#include "observe/stats_internal.h"

#include "util/alloc.h"
#include "util/buf.h"

#include <inttypes.h>
#include <string.h>

enum { METRICS_MAX_BYTES = 64 * 1024 * 1024 };

struct row {
	const char *label; /* escaped */
	struct vgw__shard sum;
};

struct table {
	struct row *rows;
	size_t count;
};

static uint64_t get(atomic_uint_fast64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add_histogram(struct vgw__histogram *sum, struct vgw__histogram *one)
{
	for (size_t i = 0; i <= VGW__BOUND_COUNT; i++)
		vgw__count(&sum->buckets[i], get(&one->buckets[i]));
	vgw__count(&sum->sum_us, get(&one->sum_us));
}

static void add_shard(struct vgw__shard *sum, struct vgw__shard *one)
{
	for (size_t i = 0; i < VGW__CODE_COUNT; i++)
		vgw__count(&sum->codes[i], get(&one->codes[i]));
#define XX(field, name, help) vgw__count(&sum->field, get(&one->field));
	VGW__COUNTERS(XX)
#undef XX
#define XX(field, name, help) vgw__gauge(&sum->field, atomic_load_explicit(&one->field, memory_order_relaxed));
	VGW__GAUGES(XX)
#undef XX
#define XX(field, name, bounds, help) add_histogram(&sum->field, &one->field);
	VGW__HISTOGRAMS(XX)
#undef XX
}

/* Backslash, quote and newline are all that Prometheus escapes in a label. */
char *vgw__metrics_escape(const char *name)
{
	char *out = vgw__alloc(2 * strlen(name) + 1);
	size_t len = 0;

	for (const char *c = name; out && *c; c++) {
		if (*c == '\\' || *c == '"' || *c == '\n')
			out[len++] = '\\';
		out[len++] = *c == '\n' ? 'n' : *c;
	}
	return out;
}

static void free_table(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		vgw__free((char *)table->rows[i].label);
	vgw__free(table->rows);
}

static bool sum_up(struct vgw__stats *stats, struct table *table)
{
	size_t models = 0;
	bool is_ok = true;

	(void)pthread_mutex_lock(&stats->lock);
	for (struct vgw__model_stats *model = stats->models; model; model = model->next)
		models++;
	table->rows = vgw__calloc(models, sizeof(*table->rows));
	for (struct vgw__model_stats *model = stats->models; model && table->rows && is_ok; model = model->next) {
		struct row *row = &table->rows[table->count];

		row->label = vgw__metrics_escape(model->name);
		is_ok = row->label != NULL;
		table->count += is_ok;
		for (uint32_t i = 0; is_ok && i < stats->max_workers; i++) {
			struct vgw__shard *shard = atomic_load_explicit(&model->shards[i], memory_order_acquire);

			if (shard)
				add_shard(&row->sum, shard);
		}
	}
	(void)pthread_mutex_unlock(&stats->lock);
	return is_ok && table->rows;
}

static bool print_head(struct vgw__buf *out, const char *name, const char *type, const char *help)
{
	return vgw__buf_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static bool print_codes(struct vgw__buf *out, struct table *table)
{
	static const char *const labels[VGW__CODE_COUNT] = {
#define XX(code) #code,
		VGW__CODES(XX)
#undef XX
		"other",
	};
	bool is_ok = print_head(out, "vllmgw_requests_total", "counter", "Requests answered, by status code.");

	for (size_t i = 0; i < table->count; i++) {
		for (size_t code = 0; code < VGW__CODE_COUNT; code++) {
			uint64_t value = get(&table->rows[i].sum.codes[code]);

			if (value)
				is_ok = is_ok && vgw__buf_print(out,
					"vllmgw_requests_total{model=\"%s\",code=\"%s\"} %" PRIu64 "\n",
					table->rows[i].label, labels[code], value);
		}
	}
	return is_ok;
}

static bool print_histogram(struct vgw__buf *out, const char *name, const char *label, struct vgw__histogram *one,
	const int64_t *bounds)
{
	uint64_t count = 0;
	uint64_t sum_us = get(&one->sum_us);
	bool is_ok = true;

	for (size_t i = 0; i < VGW__BOUND_COUNT; i++) {
		count += get(&one->buckets[i]);
		is_ok = is_ok && vgw__buf_print(out, "%s_bucket{model=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, label,
			(double)bounds[i] / 1e6, count);
	}
	count += get(&one->buckets[VGW__BOUND_COUNT]);
	return is_ok && vgw__buf_print(out,
		"%s_bucket{model=\"%s\",le=\"+Inf\"} %" PRIu64 "\n%s_sum{model=\"%s\"} %.6f\n"
		"%s_count{model=\"%s\"} %" PRIu64 "\n",
		name, label, count, name, label, (double)sum_us / 1e6, name, label, count);
}

static bool print_all(struct vgw__buf *out, struct table *table)
{
	bool is_ok = print_codes(out, table);

#define XX(field, name, help)                                                                             \
	is_ok = is_ok && print_head(out, name, "counter", help);                                          \
	for (size_t i = 0; i < table->count; i++)                                                         \
		is_ok = is_ok && vgw__buf_print(out, "%s{model=\"%s\"} %" PRIu64 "\n", name,              \
			table->rows[i].label, (uint64_t)get(&table->rows[i].sum.field));
	VGW__COUNTERS(XX)
#undef XX
#define XX(field, name, help)                                                                             \
	is_ok = is_ok && print_head(out, name, "gauge", help);                                            \
	for (size_t i = 0; i < table->count; i++)                                                         \
		is_ok = is_ok && vgw__buf_print(out, "%s{model=\"%s\"} %" PRId64 "\n", name,              \
			table->rows[i].label, (int64_t)atomic_load(&table->rows[i].sum.field));
	VGW__GAUGES(XX)
#undef XX
#define XX(field, name, kind, help)                                                                       \
	is_ok = is_ok && print_head(out, name, "histogram", help);                                        \
	for (size_t i = 0; i < table->count; i++) {                                                       \
		static const int64_t bounds[] = VGW__BOUNDS_##kind;                                       \
                                                                                                          \
		is_ok = is_ok && print_histogram(out, name, table->rows[i].label,                         \
			&table->rows[i].sum.field, bounds);                                               \
	}
	VGW__HISTOGRAMS(XX)
#undef XX
	return is_ok;
}

char *vgw__stats_render(struct vgw__stats *stats)
{
	struct table table = { NULL, 0 };
	struct vgw__buf out;
	char *text = NULL;

	vgw__buf_init(&out, METRICS_MAX_BYTES);
	if (sum_up(stats, &table) && print_all(&out, &table) && vgw__key_stats_print(stats, &out))
		text = vgw__strndup(out.data, out.len);
	free_table(&table);
	vgw__buf_fini(&out);
	return text;
}
