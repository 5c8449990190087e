/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are numbers: embeddings, pooling, scores, ranks, classes. Each is a
 * function of its text. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

enum { DIMENSIONS_MAX = 65536 };

static uint64_t hash_value(const json_t *value, uint64_t seed)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	uint64_t hash = hash64(text ? text : "", text ? strlen(text) : 0, seed);

	free(text);
	return hash;
}

/* In [-1, 1), exact in single precision. */
static float number_of(uint64_t hash)
{
	return (float)((int32_t)(mix64(hash) >> 41) - (1 << 22)) / (float)(1 << 22);
}

static double score_of(const json_t *a, const json_t *b)
{
	return ((double)number_of(hash_value(a, hash_value(b, 7))) + 1) / 2;
}

static size_t tokens_of(const json_t *value)
{
	if (json_is_string(value))
		return json_string_length(value) / 4 + 1;
	return json_is_array(value) ? json_array_size(value) : 1;
}

static json_t *usage_of(size_t tokens)
{
	return json_pack("{s:I, s:I, s:i}", "prompt_tokens", (json_int_t)tokens, "total_tokens",
		(json_int_t)tokens, "completion_tokens", 0);
}

static const json_t *need(struct conn *conn, const char *name)
{
	const json_t *value = json_object_get(conn->x.json, name);

	if (!value)
		exchange_error(conn, 400, "Bad Request", NULL,
			"[{'type': 'missing', 'loc': ('body', '%s'), 'msg': 'Field required'}]", name);
	return value;
}

/* Little-endian floats, as the clients decode them. */
static json_t *vector_base64(uint64_t hash, json_int_t dimensions)
{
	struct buf raw = {0};
	struct buf coded = {0};
	json_t *json;
	json_int_t i;

	for (i = 0; i < dimensions; i++) {
		float number = number_of(hash + (uint64_t)i);
		uint32_t bits;
		unsigned char bytes[4];

		memcpy(&bits, &number, sizeof(bits));
		bytes[0] = (unsigned char)bits;
		bytes[1] = (unsigned char)(bits >> 8);
		bytes[2] = (unsigned char)(bits >> 16);
		bytes[3] = (unsigned char)(bits >> 24);
		buf_add(&raw, bytes, sizeof(bytes));
	}
	base64_add(&coded, raw.data, raw.len);
	json = json_stringn(coded.data, coded.len);
	buf_free(&raw);
	buf_free(&coded);
	return json;
}

static json_t *vector_array(uint64_t hash, json_int_t dimensions)
{
	json_t *array = json_array();
	json_int_t i;

	for (i = 0; i < dimensions; i++)
		json_array_append_new(array, json_real((double)number_of(hash + (uint64_t)i)));
	return array;
}

/* One text, or several; one list of token ids, or several. */
static bool is_one_input(const json_t *input)
{
	return json_is_string(input) || json_is_integer(json_array_get(input, 0));
}

static void answer_vectors(struct conn *conn, const char *model, const char *object, const char *field)
{
	const json_t *input = need(conn, "input");
	const char *format = json_string_value(json_object_get(conn->x.json, "encoding_format"));
	json_int_t dimensions = json_integer_value(json_object_get(conn->x.json, "dimensions"));
	size_t count = is_one_input(input) ? 1 : json_array_size(input);
	json_t *data;
	size_t tokens = 0;
	size_t i;

	if (!input)
		return;
	if (dimensions <= 0)
		dimensions = conn->engine->options.dimensions;
	if (dimensions > DIMENSIONS_MAX || count == 0) {
		exchange_error(conn, 400, "BadRequestError", count ? "dimensions" : "input", "not possible");
		return;
	}
	data = json_array();
	for (i = 0; i < count; i++) {
		const json_t *item = is_one_input(input) ? input : json_array_get(input, i);
		uint64_t hash = hash_value(item, 3);
		json_t *vector = format && strcmp(format, "base64") == 0 ? vector_base64(hash, dimensions)
			: vector_array(hash, dimensions);

		tokens += tokens_of(item);
		json_array_append_new(data,
			json_pack("{s:I, s:s, s:o}", "index", (json_int_t)i, "object", field, field, vector));
	}
	conn->engine->counters.prompt_tokens += (int64_t)tokens;
	exchange_json(conn, 200,
		json_pack("{s:s, s:s, s:i, s:s, s:o, s:o}", "id", object, "object", "list", "created",
			1767225600, "model", model, "data", data, "usage", usage_of(tokens)));
}

void pooling_embeddings(struct conn *conn)
{
	const char *model = infer_admit(conn, pooling_embeddings);

	if (model)
		answer_vectors(conn, model, "embd-0", "embedding");
}

void pooling_pooling(struct conn *conn)
{
	const char *model = infer_admit(conn, pooling_pooling);

	if (model)
		answer_vectors(conn, model, "pool-0", "data");
}

struct ranked {
	size_t index;
	double score;
};

static int by_score(const void *a, const void *b)
{
	const struct ranked *x = a;
	const struct ranked *y = b;

	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	return x->index < y->index ? -1 : 1;
}

void pooling_rerank(struct conn *conn)
{
	const char *model = infer_admit(conn, pooling_rerank);
	const json_t *query = model ? need(conn, "query") : NULL;
	const json_t *documents = query ? need(conn, "documents") : NULL;
	size_t count = json_array_size(documents);
	json_int_t top = json_integer_value(json_object_get(conn->x.json, "top_n"));
	struct ranked *ranked;
	json_t *results;
	size_t tokens = 0;
	size_t i;

	if (!documents)
		return;
	ranked = xalloc((count + 1) * sizeof(*ranked));
	for (i = 0; i < count; i++) {
		ranked[i] =
			(struct ranked){.index = i, .score = score_of(query, json_array_get(documents, i))};
		tokens += tokens_of(json_array_get(documents, i));
	}
	if (count)
		qsort(ranked, count, sizeof(*ranked), by_score);
	results = json_array();
	for (i = 0; i < count && (top <= 0 || i < (size_t)top); i++)
		json_array_append_new(
			results, json_pack("{s:I, s:{s:O}, s:f}", "index", (json_int_t)ranked[i].index,
					 "document", "text", json_array_get(documents, ranked[i].index),
					 "relevance_score", ranked[i].score));
	free(ranked);
	exchange_json(conn, 200,
		json_pack("{s:s, s:s, s:{s:I}, s:o}", "id", "rerank-0", "model", model, "usage",
			"total_tokens", (json_int_t)tokens, "results", results));
}

void pooling_score(struct conn *conn)
{
	const char *model = infer_admit(conn, pooling_score);
	const json_t *one = model ? need(conn, "text_1") : NULL;
	const json_t *two = one ? need(conn, "text_2") : NULL;
	size_t count = json_is_array(two) ? json_array_size(two) : 1;
	json_t *data;
	size_t i;

	if (!two)
		return;
	data = json_array();
	for (i = 0; i < count; i++) {
		const json_t *b = json_is_array(two) ? json_array_get(two, i) : two;
		const json_t *a =
			json_is_array(one) && json_array_size(one) == count ? json_array_get(one, i) : one;

		json_array_append_new(data, json_pack("{s:I, s:s, s:f}", "index", (json_int_t)i, "object",
						    "score", "score", score_of(a, b)));
	}
	exchange_json(conn, 200,
		json_pack("{s:s, s:s, s:i, s:s, s:o, s:o}", "id", "score-0", "object", "list", "created",
			1767225600, "model", model, "data", data, "usage",
			usage_of(tokens_of(one) + tokens_of(two))));
}

void pooling_classify(struct conn *conn)
{
	const char *model = infer_admit(conn, pooling_classify);
	const json_t *input = model ? need(conn, "input") : NULL;
	size_t count = is_one_input(input) ? 1 : json_array_size(input);
	json_t *data;
	size_t i;

	if (!input)
		return;
	data = json_array();
	for (i = 0; i < count; i++) {
		double yes = score_of(is_one_input(input) ? input : json_array_get(input, i), json_false());

		json_array_append_new(data,
			json_pack("{s:I, s:s, s:[f, f], s:i}", "index", (json_int_t)i, "label",
				yes > 0.5 ? "LABEL_1" : "LABEL_0", "probs", 1 - yes, yes, "num_classes", 2));
	}
	exchange_json(conn, 200,
		json_pack("{s:s, s:s, s:i, s:s, s:o, s:o}", "id", "classify-0", "object", "list", "created",
			1767225600, "model", model, "data", data, "usage", usage_of(tokens_of(input))));
}
