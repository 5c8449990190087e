/* SPDX-License-Identifier: Apache-2.0 */
/* The names of OpenTelemetry. Its conventions want an operation and, of what failed, a class of errors as labels; all
 * combinations are known beforehand, so clients cannot make time series. */
#include "observe/genai.h"

#include "observe/stats_internal.h"
#include "util/alloc.h"

/* XX(NAME, labels that it adds) */
#define ENDS(XX)                                     \
	XX(GOOD, "")                                 \
	XX(CLIENT, ",error_type=\"4xx\"")            \
	XX(SERVER, ",error_type=\"5xx\"")

enum end {
#define XX(name, labels) END_##name,
	ENDS(XX)
#undef XX
	END_COUNT
};

struct per_operation {
	struct vgw__histogram duration[END_COUNT];
	struct vgw__histogram first_token;
	struct vgw__histogram per_token;
	struct vgw__histogram input;
	struct vgw__histogram output;
};

struct vgw__genai {
	struct per_operation operations[VGW__GENAI_OPERATION_COUNT];
};

static const struct vgw__scale duration_scale = { 14, 1e6, { 10000, 20000, 40000, 80000, 160000, 320000, 640000, 1280000,
	2560000, 5120000, 10240000, 20480000, 40960000, 81920000 } };
static const struct vgw__scale first_token_scale = { 16, 1e6, { 1000, 5000, 10000, 20000, 40000, 60000, 80000, 100000,
	250000, 500000, 750000, 1000000, 2500000, 5000000, 7500000, 10000000 } };
static const struct vgw__scale per_token_scale = { 13, 1e6, { 10000, 25000, 50000, 75000, 100000, 150000, 200000, 300000,
	400000, 500000, 750000, 1000000, 2500000 } };
static const struct vgw__scale token_scale = { 14, 1, { 1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576,
	4194304, 16777216, 67108864 } };

/* --- counting ------------------------------------------------------------------------------------------------- */

static enum end get_end(uint32_t status)
{
	if (status < 400)
		return END_GOOD;
	return status < 500 ? END_CLIENT : END_SERVER;
}

void vgw__genai_record(struct vgw__shard *shard, const struct vgw__genai_call *call)
{
	struct vgw__genai *genai = atomic_load_explicit(&shard->genai, memory_order_relaxed);
	struct per_operation *one;

	if (!genai) {
		genai = vgw__alloc(sizeof(*genai));
		if (!genai)
			return;
		atomic_store_explicit(&shard->genai, genai, memory_order_release);
	}
	one = &genai->operations[call->operation];
	vgw__observe(&one->duration[get_end(call->status)], &duration_scale, call->duration_us, 1);
	vgw__observe(&one->input, &token_scale, call->input_tokens, 1);
	vgw__observe(&one->output, &token_scale, call->output_tokens, 1);
	if (call->status >= 400 || call->first_token_us < 0)
		return;
	vgw__observe(&one->first_token, &first_token_scale, call->first_token_us, 1);
	if (call->output_tokens > 1)
		vgw__observe(&one->per_token, &per_token_scale,
			(call->duration_us - call->first_token_us) / (call->output_tokens - 1), 1);
}

void vgw__genai_free(struct vgw__genai *genai)
{
	vgw__free(genai);
}

/* --- rendering ------------------------------------------------------------------------------------------------ */

static void add_up(struct vgw__genai *sum, const struct vgw__genai *one)
{
	for (size_t i = 0; i < VGW__GENAI_OPERATION_COUNT; i++) {
		struct per_operation *to = &sum->operations[i];
		const struct per_operation *from = &one->operations[i];

		for (size_t end = 0; end < END_COUNT; end++)
			vgw__metrics_add_histogram(&to->duration[end], &from->duration[end]);
		vgw__metrics_add_histogram(&to->first_token, &from->first_token);
		vgw__metrics_add_histogram(&to->per_token, &from->per_token);
		vgw__metrics_add_histogram(&to->input, &from->input);
		vgw__metrics_add_histogram(&to->output, &from->output);
	}
}

struct table {
	struct row {
		char *name; /* escaped */
		struct vgw__genai sum;
	} *rows;
	size_t count;
};

/* Only models that were asked for something. */
static bool sum_up(struct vgw__stats *stats, struct table *table)
{
	size_t models = 0;
	bool is_ok = true;

	(void)pthread_mutex_lock(&stats->lock);
	for (struct vgw__model_stats *model = stats->models; model; model = model->next)
		models++;
	table->rows = vgw__calloc(models, sizeof(*table->rows));
	is_ok = table->rows != NULL;
	for (struct vgw__model_stats *model = stats->models; model && is_ok; model = model->next) {
		struct row *row = &table->rows[table->count];

		for (uint32_t i = 0; i < stats->max_workers; i++) {
			struct vgw__shard *shard = atomic_load_explicit(&model->shards[i], memory_order_acquire);
			struct vgw__genai *genai = shard ? atomic_load_explicit(&shard->genai, memory_order_acquire) : NULL;

			if (!genai)
				continue;
			row->name = row->name ? row->name : vgw__metrics_escape(model->name);
			add_up(&row->sum, genai);
			is_ok = row->name != NULL;
		}
		table->count += row->name != NULL;
	}
	(void)pthread_mutex_unlock(&stats->lock);
	return is_ok;
}

static bool is_empty(const struct vgw__histogram *histogram)
{
	for (size_t i = 0; i <= VGW__BOUND_COUNT; i++) {
		if (atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed))
			return false;
	}
	return true;
}

static bool print_one(struct vgw__buf *out, const char *name, const struct row *row, size_t operation, const char *more,
	const struct vgw__histogram *histogram, const struct vgw__scale *scale)
{
	static const char *const operations[VGW__GENAI_OPERATION_COUNT] = {
#define XX(name, text) [VGW__GENAI_##name] = text,
		VGW__GENAI_OPERATIONS(XX)
#undef XX
	};
	char *labels;
	bool is_ok;

	if (is_empty(histogram))
		return true;
	labels = vgw__printf("gen_ai_operation_name=\"%s\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"%s\"%s",
		operations[operation], row->name, more);
	is_ok = labels && vgw__metrics_print_histogram(out, name, labels, histogram, scale);
	vgw__free(labels);
	return is_ok;
}

static bool print_durations(struct vgw__buf *out, const struct table *table)
{
	static const char name[] = "gen_ai_server_request_duration_seconds";
	static const char *const ends[END_COUNT] = {
#define XX(name, labels) [END_##name] = labels,
		ENDS(XX)
#undef XX
	};
	bool is_ok = vgw__metrics_print_head(out, name, "histogram", "From the request to the end of its answer.");

	for (size_t i = 0; i < table->count; i++) {
		for (size_t at = 0; at < VGW__GENAI_OPERATION_COUNT; at++) {
			for (size_t end = 0; end < END_COUNT; end++)
				is_ok = is_ok && print_one(out, name, &table->rows[i], at, ends[end],
					&table->rows[i].sum.operations[at].duration[end], &duration_scale);
		}
	}
	return is_ok;
}

static bool print_tokens(struct vgw__buf *out, const struct table *table)
{
	static const char name[] = "gen_ai_client_token_usage";
	bool is_ok = vgw__metrics_print_head(out, name, "histogram", "Input and output tokens of a request.");

	for (size_t i = 0; i < table->count; i++) {
		for (size_t at = 0; at < VGW__GENAI_OPERATION_COUNT; at++)
			is_ok = is_ok && print_one(out, name, &table->rows[i], at, ",gen_ai_token_type=\"input\"",
					&table->rows[i].sum.operations[at].input, &token_scale) &&
				print_one(out, name, &table->rows[i], at, ",gen_ai_token_type=\"output\"",
					&table->rows[i].sum.operations[at].output, &token_scale);
	}
	return is_ok;
}

/* XX(metric name, histogram, its scale, labels that it adds, help) */
#define METRICS(XX)                                                                                                 \
	XX("gen_ai_server_time_to_first_token_seconds", first_token, first_token_scale, "",                         \
		"Time to generate the first token of streams that were successful.")                                \
	XX("gen_ai_server_time_per_output_token_seconds", per_token, per_token_scale, "",                           \
		"Time per output token after the first of streams that were successful.")

bool vgw__genai_print(struct vgw__stats *stats, struct vgw__buf *out)
{
	struct table table = { NULL, 0 };
	bool is_ok = sum_up(stats, &table) && print_durations(out, &table) && print_tokens(out, &table);

#define XX(name, field, scale, more, help)                                                                          \
	is_ok = is_ok && vgw__metrics_print_head(out, name, "histogram", help);                                     \
	for (size_t i = 0; is_ok && i < table.count; i++) {                                                         \
		for (size_t at = 0; at < VGW__GENAI_OPERATION_COUNT; at++)                                          \
			is_ok = is_ok && print_one(out, name, &table.rows[i], at, more,                             \
				&table.rows[i].sum.operations[at].field, &scale);                                   \
	}
	METRICS(XX)
#undef XX
	for (size_t i = 0; i < table.count; i++)
		vgw__free(table.rows[i].name);
	vgw__free(table.rows);
	return is_ok;
}
