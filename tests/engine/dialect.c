/* SPDX-License-Identifier: Apache-2.0 */
/* The four shapes of an answer: chat, completion, responses, messages. The time of creation is fixed and the
 * id comes from the request, so that the same request gives the same bytes. */
#include "stream.h"

#include <string.h>

#define CREATED "1767225600"

/* Words, a few of them with multi-byte characters and with what JSON must escape (escaped here). */
static const char *const words[] = {"the", " model", " answers", " in", " order", ",", " größe", " naïve",
	" and", " so", " on", ".", " 日本語", " each", " token", " follows", " the", " last", "\\n",
	" \\\"quoted\\\"", " 🙂", " stream", " of", " bytes", " from", " a", " seed", ";", " Ω", " never",
	" random", "!"};
static const char *const garbage[] = {" �", "!!!!", " zz", "\\u0001", " ����", "@@", " ]]>", "#"};

void answer_token(struct buf *out, const struct answer *answer, size_t i)
{
	uint64_t draw = mix64(answer->hash + i);
	size_t start = out->len;

	if (answer->is_garbage) {
		buf_text(out, garbage[draw % 8]);
		return;
	}
	if (answer->giant_bytes && i == 1) {
		buf_fill(out, 'x', (size_t)answer->giant_bytes);
		return;
	}
	buf_text(out, words[draw % 32]);
	if (answer->chunk_bytes > (int64_t)(out->len - start))
		buf_fill(out, (char)('a' + draw % 26), (size_t)answer->chunk_bytes - (out->len - start));
}

void answer_text(struct buf *out, const struct answer *answer)
{
	size_t i;

	for (i = 0; i < answer->tokens; i++)
		answer_token(out, answer, i);
}

static void add_id(struct buf *out, const struct answer *a)
{
	buf_printf(out, "\"id\":\"%s%016llx%016llx\"", a->dialect->id_prefix, (unsigned long long)a->hash,
		(unsigned long long)mix64(a->hash));
}

static void add_usage(struct buf *out, const struct answer *a, size_t completion)
{
	buf_printf(out, "\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"completion_tokens\":%zu}",
		a->prompt_tokens, a->prompt_tokens + completion, completion);
}

/* --- chat and completions: nearly the same --- */

static void begin_chunk(struct buf *out, const struct answer *a, const char *object)
{
	buf_text(out, "data: {");
	add_id(out, a);
	buf_printf(out, ",\"object\":\"%s\",\"created\":" CREATED ",\"model\":\"%s\",\"choices\":[", object,
		a->model);
}

static void end_chunk(struct buf *out, const struct answer *a, size_t completion)
{
	buf_text(out, "]");
	if (a->has_continuous) {
		buf_text(out, ",");
		add_usage(out, a, completion);
	}
	buf_text(out, "}\n\n");
}

static void add_last_chunks(struct buf *out, const struct answer *a, const char *object)
{
	if (a->has_usage) {
		begin_chunk(out, a, object);
		buf_text(out, "],");
		add_usage(out, a, a->tokens);
		buf_text(out, "}\n\n");
	}
	buf_text(out, "data: [DONE]\n\n");
}

static void chat_open(struct buf *out, const struct answer *a)
{
	begin_chunk(out, a, "chat.completion.chunk");
	buf_text(out, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
		"\"finish_reason\":null}");
	end_chunk(out, a, 0);
}

static void chat_token(struct buf *out, const struct answer *a, size_t i)
{
	begin_chunk(out, a, "chat.completion.chunk");
	buf_text(out, "{\"index\":0,\"delta\":{\"content\":\"");
	answer_token(out, a, i);
	buf_text(out, "\"},\"logprobs\":null,\"finish_reason\":null}");
	end_chunk(out, a, i + 1);
}

static void chat_close(struct buf *out, const struct answer *a)
{
	begin_chunk(out, a, "chat.completion.chunk");
	buf_printf(out,
		"{\"index\":0,\"delta\":{\"content\":\"\"},\"logprobs\":null,\"finish_reason\":\"%s\","
		"\"stop_reason\":null}",
		a->finish);
	end_chunk(out, a, a->tokens);
	add_last_chunks(out, a, "chat.completion.chunk");
}

static void chat_whole(struct buf *out, const struct answer *a)
{
	buf_text(out, "{");
	add_id(out, a);
	buf_printf(out,
		",\"object\":\"chat.completion\",\"created\":" CREATED ",\"model\":\"%s\",\"choices\":"
		"[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
		a->model);
	answer_text(out, a);
	buf_printf(out, "\",\"refusal\":null,\"tool_calls\":[]},\"logprobs\":null,\"finish_reason\":\"%s\","
		"\"stop_reason\":null}],", a->finish);
	add_usage(out, a, a->tokens);
	buf_text(out, "}");
}

static void nothing(struct buf *out, const struct answer *a)
{
	(void)out;
	(void)a;
}

static void completion_token(struct buf *out, const struct answer *a, size_t i)
{
	begin_chunk(out, a, "text_completion");
	buf_text(out, "{\"index\":0,\"text\":\"");
	answer_token(out, a, i);
	buf_text(out, "\",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}");
	end_chunk(out, a, i + 1);
}

static void completion_close(struct buf *out, const struct answer *a)
{
	begin_chunk(out, a, "text_completion");
	buf_printf(out,
		"{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"%s\",\"stop_reason\":null}",
		a->finish);
	end_chunk(out, a, a->tokens);
	add_last_chunks(out, a, "text_completion");
}

static void completion_whole(struct buf *out, const struct answer *a)
{
	buf_text(out, "{");
	add_id(out, a);
	buf_printf(out,
		",\"object\":\"text_completion\",\"created\":" CREATED ",\"model\":\"%s\",\"choices\":"
		"[{\"index\":0,\"text\":\"",
		a->model);
	answer_text(out, a);
	buf_printf(out, "\",\"logprobs\":null,\"finish_reason\":\"%s\",\"stop_reason\":null}],", a->finish);
	add_usage(out, a, a->tokens);
	buf_text(out, "}");
}

/* --- responses --- */

static void add_response(struct buf *out, const struct answer *a, const char *status, bool is_whole)
{
	buf_text(out, "{");
	add_id(out, a);
	buf_printf(out,
		",\"object\":\"response\",\"created_at\":" CREATED ",\"status\":\"%s\",\"model\":\"%s\","
		"\"error\":null,\"output\":[",
		status, a->model);
	if (is_whole) {
		buf_printf(out,
			"{\"id\":\"msg_%016llx\",\"type\":\"message\",\"role\":\"assistant\",\"status\":"
			"\"completed\","
			"\"content\":[{\"type\":\"output_text\",\"annotations\":[],\"text\":\"",
			(unsigned long long)a->hash);
		answer_text(out, a);
		buf_text(out, "\"}]}");
	}
	buf_text(out, "]");
	if (is_whole)
		buf_printf(out,
			",\"usage\":{\"input_tokens\":%zu,\"output_tokens\":%zu,\"total_tokens\":%zu}",
			a->prompt_tokens, a->tokens, a->prompt_tokens + a->tokens);
	buf_text(out, "}");
}

static void responses_event(struct buf *out, const struct answer *a, const char *type, const char *status)
{
	buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"response\":", type, type);
	add_response(out, a, status, strcmp(status, "completed") == 0);
	buf_text(out, "}\n\n");
}

static void responses_open(struct buf *out, const struct answer *a)
{
	responses_event(out, a, "response.created", "in_progress");
}

static void responses_token(struct buf *out, const struct answer *a, size_t i)
{
	buf_printf(out,
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
		"\"item_id\":\"msg_%016llx\",\"output_index\":0,\"content_index\":0,\"sequence_number\":%zu,"
		"\"delta\":\"",
		(unsigned long long)a->hash, i + 1);
	answer_token(out, a, i);
	buf_text(out, "\"}\n\n");
}

static void responses_close(struct buf *out, const struct answer *a)
{
	responses_event(out, a, "response.completed", "completed");
}

static void responses_whole(struct buf *out, const struct answer *a)
{
	add_response(out, a, "completed", true);
}

/* --- messages --- */

static const char *messages_reason(const struct answer *a)
{
	return strcmp(a->finish, "length") == 0 ? "max_tokens" : "end_turn";
}

static void messages_open(struct buf *out, const struct answer *a)
{
	buf_text(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{");
	add_id(out, a);
	buf_printf(out,
		",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"%s\",\"content\":[],"
		"\"stop_reason\":null,"
		"\"usage\":{\"input_tokens\":%zu,\"output_tokens\":0}}}\n\n",
		a->model, a->prompt_tokens);
	buf_text(out, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
		"\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
}

static void messages_token(struct buf *out, const struct answer *a, size_t i)
{
	buf_text(out, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
		"\"delta\":{\"type\":\"text_delta\",\"text\":\"");
	answer_token(out, a, i);
	buf_text(out, "\"}}\n\n");
}

static void messages_close(struct buf *out, const struct answer *a)
{
	buf_text(out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
	buf_printf(out,
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\","
		"\"stop_sequence\":null},\"usage\":{\"input_tokens\":%zu,\"output_tokens\":%zu}}\n\n",
		messages_reason(a), a->prompt_tokens, a->tokens);
	buf_text(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static void messages_whole(struct buf *out, const struct answer *a)
{
	buf_text(out, "{");
	add_id(out, a);
	buf_printf(out,
		",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"%s\",\"content\":["
		"{\"type\":\"text\",\"text\":\"",
		a->model);
	answer_text(out, a);
	buf_printf(out, "\"}],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":%zu,"
		"\"output_tokens\":%zu}}", messages_reason(a), a->prompt_tokens, a->tokens);
}

const struct dialect dialect_chat = {.id_prefix = "chatcmpl-", .open = chat_open, .token = chat_token,
	.close = chat_close, .whole = chat_whole};
const struct dialect dialect_completion = {.id_prefix = "cmpl-", .open = nothing, .token = completion_token,
	.close = completion_close, .whole = completion_whole};
const struct dialect dialect_responses = {.id_prefix = "resp_",
	.open = responses_open,
	.token = responses_token,
	.close = responses_close,
	.whole = responses_whole};
const struct dialect dialect_messages = {.id_prefix = "msg_", .open = messages_open, .token = messages_token,
	.close = messages_close, .whole = messages_whole};
