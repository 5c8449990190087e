/* SPDX-License-Identifier: Apache-2.0 */
/* The counters as Prometheus text. Shards are summed first, one model at a time; the label is the configured name,
 * so that clients cannot invent new time series. */
#include "observe/genai.h"
#include "observe/lifecycle.h"
#include "observe/stats_internal.h"

#include "util/alloc.h"

#include <inttypes.h>
#include <string.h>

enum { METRICS_MAX_BYTES = 64 * 1024 * 1024 };

struct row {
	char *label; /* model="small" */
	struct vgw__shard sum;
};

struct table {
	struct row *rows;
	size_t count;
	bool has_own; /* rows that have a twin are printed too */
};

static uint64_t get(const atomic_uint_fast64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void vgw__metrics_add_histogram(struct vgw__histogram *sum, const struct vgw__histogram *one)
{
	for (size_t i = 0; i <= VGW__BOUND_COUNT; i++)
		vgw__count(&sum->buckets[i], get(&one->buckets[i]));
	vgw__count(&sum->sum, get(&one->sum));
}

static void add_shard(struct vgw__shard *sum, struct vgw__shard *one)
{
	for (size_t i = 0; i < VGW__CODE_COUNT; i++)
		vgw__count(&sum->codes[i], get(&one->codes[i]));
#define XX(field, name, twin, help) vgw__count(&sum->field, get(&one->field));
	VGW__COUNTERS(XX)
#undef XX
#define XX(field, name, twin, help) vgw__gauge(&sum->field, atomic_load_explicit(&one->field, memory_order_relaxed));
	VGW__GAUGES(XX)
#undef XX
#define XX(field, name, scale, twin, help) vgw__metrics_add_histogram(&sum->field, &one->field);
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

char *vgw__metrics_dup_label(const char *model)
{
	char *name = vgw__metrics_escape(model);
	char *label = name ? vgw__printf("model=\"%s\"", name) : NULL;

	vgw__free(name);
	return label;
}

static void free_table(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		vgw__free(table->rows[i].label);
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

		row->label = vgw__metrics_dup_label(model->name);
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

bool vgw__metrics_print_head(struct vgw__buf *out, const char *name, const char *type, const char *help)
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
	bool is_ok = vgw__metrics_print_head(out, "vllmgw_requests_total", "counter", "Requests answered, by status code.");

	for (size_t i = 0; i < table->count; i++) {
		for (size_t code = 0; code < VGW__CODE_COUNT; code++) {
			uint64_t value = get(&table->rows[i].sum.codes[code]);

			if (value)
				is_ok = is_ok && vgw__buf_print(out,
					"vllmgw_requests_total{%s,code=\"%s\"} %" PRIu64 "\n",
					table->rows[i].label, labels[code], value);
		}
	}
	return is_ok;
}

bool vgw__metrics_print_histogram(struct vgw__buf *out, const char *name, const char *labels,
	const struct vgw__histogram *histogram, const struct vgw__scale *scale)
{
	uint64_t count = 0;
	uint64_t sum = get(&histogram->sum);
	bool is_ok = true;

	for (size_t i = 0; i < scale->count; i++) {
		count += get(&histogram->buckets[i]);
		is_ok = is_ok && vgw__buf_print(out, "%s_bucket{%s,le=\"%.12g\"} %" PRIu64 "\n", name, labels,
			(double)scale->bounds[i] / scale->unit, count);
	}
	count += get(&histogram->buckets[scale->count]);
	return is_ok && vgw__buf_print(out,
		"%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n%s_sum{%s} %.6f\n%s_count{%s} %" PRIu64 "\n",
		name, labels, count, name, labels, (double)sum / scale->unit, name, labels, count);
}

static bool is_printed(const struct table *table, enum vgw__metric_twin twin)
{
	return twin == VGW__OWN || table->has_own;
}

static bool print_all(struct vgw__buf *out, struct table *table)
{
	bool is_ok = print_codes(out, table);

#define XX(field, name, twin, help)                                                                       \
	is_ok = is_ok && (!is_printed(table, VGW__##twin) || vgw__metrics_print_head(out, name, "counter", help)); \
	for (size_t i = 0; i < table->count && is_printed(table, VGW__##twin); i++)                       \
		is_ok = is_ok && vgw__buf_print(out, "%s{%s} %" PRIu64 "\n", name, table->rows[i].label,  \
			(uint64_t)get(&table->rows[i].sum.field));
	VGW__COUNTERS(XX)
#undef XX
#define XX(field, name, twin, help)                                                                       \
	is_ok = is_ok && vgw__metrics_print_head(out, name, "gauge", help);                               \
	for (size_t i = 0; i < table->count; i++)                                                         \
		is_ok = is_ok && vgw__buf_print(out, "%s{%s} %" PRId64 "\n", name, table->rows[i].label,  \
			(int64_t)atomic_load(&table->rows[i].sum.field));
	VGW__GAUGES(XX)
#undef XX
#define XX(field, name, kind, twin, help)                                                                 \
	is_ok = is_ok && (!is_printed(table, VGW__##twin) || vgw__metrics_print_head(out, name, "histogram", help)); \
	for (size_t i = 0; i < table->count && is_printed(table, VGW__##twin); i++) {                     \
		static const struct vgw__scale scale = { VGW__BOUND_COUNT, 1e6, VGW__BOUNDS_##kind };     \
                                                                                                          \
		is_ok = is_ok && vgw__metrics_print_histogram(out, name, table->rows[i].label,            \
			&table->rows[i].sum.field, &scale);                                               \
	}
	VGW__HISTOGRAMS(XX)
#undef XX
	return is_ok;
}

char *vgw__stats_render(struct vgw__stats *stats, bool has_own, bool has_genai)
{
	struct table table = { NULL, 0, has_own };
	struct vgw__buf out;
	char *text = NULL;

	vgw__buf_init(&out, METRICS_MAX_BYTES);
	if (sum_up(stats, &table) && print_all(&out, &table) && (!has_genai || vgw__genai_print(stats, &out)) &&
		vgw__lifecycle_print(stats, &out) && vgw__key_stats_print(stats, &out))
		text = vgw__strndup(out.data, out.len);
	free_table(&table);
	vgw__buf_fini(&out);
	return text;
}
