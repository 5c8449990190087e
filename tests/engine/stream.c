/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens in time. The head goes out at once, as vLLM's does; the first token after ttft, then one each itl,
 * counted from the first so that delays do not add up. A client that does not read is waited for. */
#include "stream.h"

#include "engine.h"

#include <stdlib.h>
#include <string.h>

enum { HIGH_WATER_BYTES = 32768 };

void stream_free(struct stream *stream)
{
	if (!stream)
		return;
	free(stream->answer.model);
	free(stream);
}

static void emit(struct conn *conn, void (*write)(struct buf *out, const struct answer *answer))
{
	struct buf events = {0};

	write(&events, &conn->x.stream->answer);
	if (events.len)
		wire_events(conn, &events);
	buf_free(&events);
}

static void emit_token(struct conn *conn)
{
	struct stream *stream = conn->x.stream;
	struct buf events = {0};

	stream->answer.dialect->token(&events, &stream->answer, stream->next++);
	conn->engine->counters.generation_tokens++;
	wire_events(conn, &events);
	buf_free(&events);
}

/* Every token that is due. Called by the timer, and when a full output has drained. */
static void advance(struct conn *conn)
{
	struct exchange *x = &conn->x;
	struct stream *stream = x->stream;
	const struct dialect *dialect = stream->answer.dialect;
	int64_t now = now_us();

	x->refill = NULL;
	if (!stream->has_opened) {
		stream->has_opened = true;
		emit(conn, dialect->open);
	}
	while (!x->is_cut && stream->next < stream->answer.tokens) {
		if (conn->out.len - conn->out_sent > HIGH_WATER_BYTES) {
			x->refill = advance;
			return;
		}
		if (stream->due_us > now) {
			x->resume = advance;
			timer_arm(&conn->engine->loop, &x->timer, stream->due_us);
			return;
		}
		emit_token(conn);
		stream->due_us += conn->engine->options.itl;
	}
	if (x->is_cut)
		return;
	emit(conn, dialect->close);
	wire_end(conn);
}

static void send_whole(struct conn *conn)
{
	const struct answer *answer = &conn->x.stream->answer;
	struct buf body = {0};

	answer->dialect->whole(&body, answer);
	conn->engine->counters.generation_tokens += (int64_t)answer->tokens;
	exchange_reply(conn, 200, "application/json", &body);
}

void stream_start(struct conn *conn, const struct answer *answer)
{
	const struct options *options = &conn->engine->options;
	struct stream *stream = xalloc(sizeof(*stream));
	int64_t first_us = options->ttft + options->prefill * (int64_t)(conn->x.request.body.len / 1024);
	int64_t tokens = (int64_t)answer->tokens;

	stream->answer = *answer;
	conn->x.stream = stream;
	conn->engine->generating++;
	conn->engine->counters.prompt_tokens += (int64_t)answer->prompt_tokens;
	if (!answer->is_stream) {
		exchange_after(conn, first_us + (tokens ? tokens - 1 : 0) * options->itl, send_whole);
		return;
	}
	stream->due_us = now_us() + first_us;
	wire_stream_begin(conn);
	if (!conn->x.is_cut)
		exchange_after(conn, first_us, advance);
}

void stream_abort(struct conn *conn, const char *finish)
{
	struct exchange *x = &conn->x;
	struct stream *stream = x->stream;

	stream->answer.finish = finish;
	timer_cancel(&conn->engine->loop, &x->timer);
	stream->answer.tokens = stream->next;
	stream->due_us = 0;
	if (stream->answer.is_stream)
		advance(conn);
	else
		send_whole(conn);
	if (!x->is_cut)
		x->outcome = "aborted";
	conn_pump(conn);
}
