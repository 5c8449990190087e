/* SPDX-License-Identifier: Apache-2.0 */
/* Generation: read what the answer depends on out of the body, then hand it to stream.c. */
#include "model.h"
#include "stream.h"

#include <stdlib.h>
#include <string.h>

const char *infer_admit(struct conn *conn, void (*again)(struct conn *conn))
{
	const char *model;

	if (conn->engine->router) {
		model = json_string_value(json_object_get(conn->x.json, "model"));
		return router_admits(conn, model, again) ? model : NULL;
	}
	model = model_resolve(conn);
	return model && sleep_admits(conn, again) ? model : NULL;
}

uint64_t infer_hash(const struct conn *conn)
{
	static const char *const without[] = {"model", "stream", "stream_options", "x_fault"};
	json_t *copy;
	char *text;
	uint64_t hash;
	size_t i;

	if (!conn->x.json)
		return hash64(conn->x.request.body.data, conn->x.request.body.len, 1);
	copy = json_copy(conn->x.json);
	for (i = 0; i < sizeof(without) / sizeof(without[0]); i++)
		json_object_del(copy, without[i]);
	text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(copy);
	hash = hash64(text ? text : "", text ? strlen(text) : 0, 1);
	free(text);
	return hash;
}

/* Bytes of text anywhere in the value; a token is four of them. */
static size_t text_bytes(const json_t *value)
{
	size_t total = 0;
	size_t i;
	const char *key;
	json_t *item;

	if (json_is_string(value))
		return json_string_length(value);
	if (json_is_integer(value))
		return 4; /* a token id */
	json_array_foreach(value, i, item)
		total += text_bytes(item);
	json_object_foreach((json_t *)value, key, item)
		total += text_bytes(item);
	return total;
}

static json_int_t token_limit(const json_t *body)
{
	static const char *const names[] = {"max_completion_tokens", "max_output_tokens", "max_tokens"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *value = json_object_get(body, names[i]);

		if (json_is_integer(value))
			return json_integer_value(value);
	}
	return -1;
}

/* Whether the limit or the answer's own length ends it. false: the error is sent. */
static bool plan_length(struct conn *conn, struct answer *answer)
{
	const json_t *body = conn->x.json;
	json_int_t limit = token_limit(body);
	json_int_t natural = conn->engine->options.tokens;

	if (limit == 0 || limit < -1) {
		exchange_error(conn, 400, "BadRequestError", "max_tokens",
			"max_tokens must be at least 1, got %lld.", (long long)limit);
		return false;
	}
	if ((int64_t)answer->prompt_tokens + (limit > 0 ? limit : 1) > conn->engine->options.context) {
		exchange_error(conn, 400, "BadRequestError", NULL,
			"This model's maximum context length is %lld tokens. "
			"However, you requested %lld tokens.",
			(long long)conn->engine->options.context,
			(long long)answer->prompt_tokens + (limit > 0 ? limit : 1));
		return false;
	}
	if (limit > 0 && json_is_true(json_object_get(body, "ignore_eos")))
		natural = limit;
	answer->tokens = (size_t)(limit > 0 && limit < natural ? limit : natural);
	answer->finish = limit > 0 && limit <= natural ? "length" : "stop";
	return true;
}

static void generate(
	struct conn *conn, const struct dialect *dialect, const char *input, void (*again)(struct conn *))
{
	const json_t *body = conn->x.json;
	const json_t *options = json_object_get(body, "stream_options");
	const json_t *prompt = json_object_get(body, input);
	struct answer answer = {.dialect = dialect};
	const char *model = infer_admit(conn, again);
	const struct adapter *adapter;
	struct buf name = {0};

	if (!model)
		return;
	if (!prompt) {
		exchange_error(conn, 400, "Bad Request", NULL,
			"[{'type': 'missing', 'loc': ('body', '%s'), 'msg': "
			"'Field required'}]",
			input);
		return;
	}
	answer.hash = infer_hash(conn);
	answer.prompt_tokens = text_bytes(prompt) / 4 + 1;
	answer.is_stream = json_is_true(json_object_get(body, "stream"));
	answer.has_continuous = json_is_true(json_object_get(options, "continuous_usage_stats"));
	answer.has_usage = json_is_true(json_object_get(options, "include_usage"));
	answer.chunk_bytes = conn->engine->options.chunk;
	adapter = lora_find(conn->engine, model);
	answer.is_garbage = conn->engine->sleeper.is_garbage || (adapter && adapter->is_garbage);
	if (fault_is_on(&conn->x.faults, FAULT_EVENT_8MB))
		answer.giant_bytes = conn->x.faults.argument[FAULT_EVENT_8MB];
	if (!plan_length(conn, &answer))
		return;
	buf_json(&name, model, strlen(model));
	answer.model = xstrdup(name.data ? name.data : "");
	buf_free(&name);
	stream_start(conn, &answer);
}

void infer_chat(struct conn *conn)
{
	generate(conn, &dialect_chat, "messages", infer_chat);
}

void infer_completion(struct conn *conn)
{
	generate(conn, &dialect_completion, "prompt", infer_completion);
}

void infer_responses(struct conn *conn)
{
	generate(conn, &dialect_responses, "input", infer_responses);
}

void infer_messages(struct conn *conn)
{
	generate(conn, &dialect_messages, "messages", infer_messages);
}
