/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an answer, as the faults want them.
 *
 *   event --> newlines --> gzip --> framing (length, chunked, both, none) --> conn->out
 */
#include "engine.h"
#include "gzip.h"

#include <stdio.h>
#include <string.h>

enum { PIECE = 65536 };

static const char filler_head[] = "{\"id\":\"big\",\"object\":\"chat.completion\",\"created\":1767225600,"
				  "\"model\":\"simulated\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
				  "\"assistant\",\"content\":\"";
static const char filler_tail[] = "\"},\"text\":\"\",\"finish_reason\":\"stop\"}],\"usage\":"
	"{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}";

static bool has(const struct conn *conn, enum fault fault)
{
	return fault_is_on(&conn->x.faults, fault);
}

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {{101, "Switching Protocols"}, {200, "OK"}, {204, "No Content"},
		{307, "Temporary Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"}, {404, "Not Found"},
		{405, "Method Not Allowed"}, {415, "Unsupported Media Type"}, {422, "Unprocessable Entity"},
		{429, "Too Many Requests"}, {500, "Internal Server Error"}, {503, "Service Unavailable"}};
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Unknown";
}

/* A scripted end: the answer stops here. */
void wire_cut(struct conn *conn, enum ending ending)
{
	conn->x.is_cut = true;
	conn->x.is_complete = true;
	conn->x.refill = NULL;
	conn->x.ending = ending;
	conn->x.outcome = "faulted";
}

/* --- the head --- */

static enum framing choose_framing(const struct conn *conn, enum framing usual)
{
	if (has(conn, FAULT_CLOSE_DELIMITED))
		return FRAME_CLOSE;
	if (has(conn, FAULT_LENGTH_AND_CHUNKED))
		return FRAME_BOTH;
	if (has(conn, FAULT_LENGTH_TOO_LONG) || has(conn, FAULT_LENGTH_TOO_SHORT))
		return FRAME_LENGTH;
	if (has(conn, FAULT_CHUNK_EXTENSIONS) || has(conn, FAULT_TRAILERS))
		return FRAME_CHUNKED;
	return usual;
}

static void add_odd_headers(struct conn *conn)
{
	struct buf *out = &conn->out;
	int64_t i;

	if (has(conn, FAULT_GIANT_HEADER)) {
		buf_text(out, "x-giant: ");
		buf_fill(out, 'a', (size_t)conn->x.faults.argument[FAULT_GIANT_HEADER]);
		buf_text(out, "\r\n");
	}
	for (i = 0; has(conn, FAULT_MANY_HEADERS) && i < conn->x.faults.argument[FAULT_MANY_HEADERS]; i++)
		buf_printf(out, "x-many-%lld: %lld\r\n", (long long)i, (long long)i);
	if (has(conn, FAULT_CR_IN_HEADER))
		buf_text(out, "x-odd: one\rx-smuggled: two\r\n");
}

static void choose_pace(struct conn *conn, size_t head_len)
{
	if (has(conn, FAULT_SPLIT_EVERY_BYTE)) {
		conn->pace = PACE_BYTES;
		conn->pace_us = conn->x.faults.argument[FAULT_SPLIT_EVERY_BYTE];
	} else if (has(conn, FAULT_SPLIT_UTF8)) {
		conn->pace = PACE_UTF8;
	} else if (has(conn, FAULT_SLOW_HEADERS)) {
		conn->pace = PACE_HEAD;
		conn->pace_us = conn->x.faults.argument[FAULT_SLOW_HEADERS];
		conn->pace_left = head_len;
	}
}

/* `length` counts when the framing has one. The date is fixed: the same request gives the same bytes. */
static void add_head(struct conn *conn, int status, const char *type, const struct buf *more, uint64_t length)
{
	struct exchange *x = &conn->x;
	struct buf *out = &conn->out;
	size_t start = out->len;

	if (!x->request.keep_alive || x->framing == FRAME_CLOSE || conn->engine->options.keepalive == 0 ||
		has(conn, FAULT_LENGTH_TOO_LONG))
		x->ending = x->ending == END_NONE ? END_CLOSE : x->ending;
	if (has(conn, FAULT_EARLY_103))
		buf_text(out, "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
	buf_printf(out, "HTTP/1.%d %d %s\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: uvicorn\r\n",
		has(conn, FAULT_CLOSE_DELIMITED) ? 0 : 1, status, reason(status));
	if (x->framing == FRAME_LENGTH || x->framing == FRAME_BOTH)
		buf_printf(out, "content-length: %llu\r\n", (unsigned long long)length);
	if (type)
		buf_printf(out, "content-type: %s\r\n", type);
	if (x->framing == FRAME_CHUNKED || x->framing == FRAME_BOTH)
		buf_text(out, "transfer-encoding: chunked\r\n");
	if (x->is_gzip)
		buf_text(out, "content-encoding: gzip\r\n");
	if (more && more->len)
		buf_add(out, more->data, more->len);
	if (has(conn, FAULT_TRAILERS))
		buf_text(out, "trailer: x-trailer\r\n");
	add_odd_headers(conn);
	if (x->ending != END_NONE && !has(conn, FAULT_LENGTH_TOO_LONG))
		buf_text(out, "connection: close\r\n");
	buf_text(out, "\r\n");
	choose_pace(conn, out->len - start);
	x->phase = PHASE_HEADERS;
	if (has(conn, FAULT_RESET_AFTER_HEADERS))
		wire_cut(conn, END_RESET);
}

/* --- the body --- */

static void add_framed(struct conn *conn, const char *data, size_t len)
{
	struct buf *out = &conn->out;

	if (!len)
		return;
	if (conn->x.framing == FRAME_CHUNKED || conn->x.framing == FRAME_BOTH) {
		buf_printf(out, "%zx%s\r\n", len,
			has(conn, FAULT_CHUNK_EXTENSIONS) ? ";vgw=1;note=\"a;b\"" : "");
		buf_add(out, data, len);
		buf_text(out, "\r\n");
	} else {
		buf_add(out, data, len);
	}
}

static void add_body(struct conn *conn, const char *data, size_t len)
{
	struct buf packed = {0};

	if (!conn->x.is_gzip) {
		add_framed(conn, data, len);
		return;
	}
	gzip_add(&packed, &conn->x.gzip_crc, &conn->x.gzip_bytes, data, len);
	add_framed(conn, packed.data, packed.len);
	buf_free(&packed);
}

void wire_end(struct conn *conn)
{
	struct exchange *x = &conn->x;
	struct buf tail = {0};

	if (x->is_cut || x->is_complete)
		return;
	if (x->is_gzip && x->framing != FRAME_LENGTH) {
		gzip_end(&tail, x->gzip_crc, x->gzip_bytes);
		add_framed(conn, tail.data, tail.len);
		buf_free(&tail);
	}
	if (x->framing == FRAME_CHUNKED || x->framing == FRAME_BOTH)
		buf_printf(&conn->out, "0\r\n%s\r\n", has(conn, FAULT_TRAILERS) ? "x-trailer: end\r\n" : "");
	if (has(conn, FAULT_TWO_RESPONSES))
		buf_text(&conn->out,
			"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n"
			"{\"unasked\": \"reply\"}");
	x->is_complete = true;
	x->refill = NULL;
	x->phase = PHASE_DONE;
	if (fault_touches_answer(&x->faults))
		x->outcome = "faulted";
}

/* --- whole answers --- */

static void refill_big(struct conn *conn)
{
	struct exchange *x = &conn->x;
	struct buf piece = {0};
	size_t n = x->filler < PIECE ? (size_t)x->filler : PIECE;

	buf_fill(&piece, 'x', n);
	add_body(conn, piece.data, n);
	buf_free(&piece);
	x->filler -= (int64_t)n;
	if (x->filler)
		return;
	add_body(conn, filler_tail, strlen(filler_tail));
	wire_end(conn);
}

static void begin_big(struct conn *conn, int64_t bytes)
{
	struct exchange *x = &conn->x;
	int64_t envelope = (int64_t)(strlen(filler_head) + strlen(filler_tail));
	uint64_t length;

	x->filler = bytes > envelope ? bytes - envelope : 0;
	x->framing = choose_framing(conn, x->is_gzip ? FRAME_CHUNKED : FRAME_LENGTH);
	length = (uint64_t)(x->filler + envelope) + (has(conn, FAULT_LENGTH_TOO_LONG) ? 10 : 0) -
		(has(conn, FAULT_LENGTH_TOO_SHORT) ? 10 : 0);
	add_head(conn, 200, "application/json", NULL, length);
	if (x->is_cut)
		return;
	x->phase = PHASE_SENDING;
	if (x->is_gzip)
		add_framed(conn, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
	add_body(conn, filler_head, strlen(filler_head));
	x->refill = refill_big;
}

void wire_reply(struct conn *conn, const struct reply *reply)
{
	struct exchange *x = &conn->x;
	struct buf packed = {0};
	const struct buf *body = &reply->body;
	uint64_t length;
	bool is_whole_gzip;

	x->is_gzip = has(conn, FAULT_GZIP) && reply->body.len;
	if (has(conn, FAULT_BIG_BODY) && reply->status == 200) {
		begin_big(conn, x->faults.argument[FAULT_BIG_BODY]);
		return;
	}
	x->framing = choose_framing(conn, FRAME_LENGTH);
	is_whole_gzip = x->is_gzip;
	if (is_whole_gzip) {
		gzip_begin(&packed);
		gzip_add(&packed, &x->gzip_crc, &x->gzip_bytes, body->data, body->len);
		gzip_end(&packed, x->gzip_crc, x->gzip_bytes);
		body = &packed;
	}
	length = body->len;
	if (has(conn, FAULT_LENGTH_TOO_LONG))
		length += 10;
	if (has(conn, FAULT_LENGTH_TOO_SHORT) || has(conn, FAULT_LENGTH_AND_CHUNKED))
		length = length > 10 ? length - 10 : 0;
	add_head(conn, reply->status, reply->type, &reply->headers, length);
	if (!x->is_cut) {
		x->phase = PHASE_SENDING;
		if (strcmp(x->request.method ? x->request.method : "", "HEAD") != 0)
			add_framed(conn, body->data, body->len);
		x->is_gzip = false; /* its end is written */
		wire_end(conn);
	}
	buf_free(&packed);
}

/* --- streams --- */

static bool is_due(const struct conn *conn, enum fault fault)
{
	return has(conn, fault) && (uint64_t)conn->x.faults.argument[fault] == conn->x.events;
}

static void refill_endless(struct conn *conn)
{
	struct buf piece = {0};

	buf_fill(&piece, 'x', PIECE);
	add_body(conn, piece.data, piece.len);
	buf_free(&piece);
}

/* The faults that strike after a number of events. */
static void strike(struct conn *conn)
{
	struct exchange *x = &conn->x;

	if (is_due(conn, FAULT_DIE_MID_STREAM)) {
		wire_cut(conn, END_CLOSE);
	} else if (is_due(conn, FAULT_RESET_MID_STREAM)) {
		wire_cut(conn, END_RESET);
	} else if (is_due(conn, FAULT_KILL_MID_STREAM)) {
		wire_cut(conn, END_KILL);
	} else if (is_due(conn, FAULT_STALL_MID_STREAM)) {
		x->is_cut = true;
		x->refill = NULL;
	} else if (is_due(conn, FAULT_END_MID_LINE)) {
		add_body(conn, "proxy error: the engine is lost", 31);
		wire_end(conn);
		x->is_cut = true;
	} else if (has(conn, FAULT_ENDLESS_LINE) && x->events == 2) {
		x->is_cut = true;
		add_body(conn, "data: ", 6);
		x->refill = refill_endless;
	}
}

void wire_stream_begin(struct conn *conn)
{
	struct exchange *x = &conn->x;
	uint64_t length = has(conn, FAULT_LENGTH_TOO_LONG) ? UINT64_C(1) << 40 : 10;

	x->is_gzip = has(conn, FAULT_GZIP);
	x->framing = choose_framing(conn, x->request.is_http_1_0 ? FRAME_CLOSE : FRAME_CHUNKED);
	add_head(conn, 200, "text/event-stream; charset=utf-8", NULL, length);
	if (x->is_cut)
		return;
	if (x->is_gzip)
		add_framed(conn, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
	strike(conn);
}

/* A CR right before an LF would be one line end instead of two, so the mixes are chosen in pairs:
 * the end of the line, the end of the empty line. */
static void add_newlines(struct conn *conn, struct buf *out, const char *event, size_t len)
{
	static const char *const mixes[][2] = {{"\n", "\n"}, {"\r\n", "\r\n"}, {"\r", "\r"}, {"\n", "\r\n"},
		{"\r\n", "\n"}, {"\r", "\r\n"}, {"\n", "\r"}};
	const char *line_end = "\n";
	const char *last_end = "\n";
	size_t i;

	if (has(conn, FAULT_CRLF)) {
		line_end = last_end = "\r\n";
	} else if (has(conn, FAULT_CR)) {
		line_end = last_end = "\r";
	} else if (has(conn, FAULT_MIXED_NEWLINES)) {
		line_end = mixes[conn->x.events % 7][0];
		last_end = mixes[conn->x.events % 7][1];
	}
	for (i = 0; i < len; i++) {
		if (event[i] == '\n')
			buf_text(out, i + 1 == len ? last_end : line_end);
		else
			buf_add(out, event + i, 1);
	}
}

static void add_event(struct conn *conn, const char *event, size_t len)
{
	struct exchange *x = &conn->x;
	struct buf changed = {0};

	if (x->is_cut ||
		(has(conn, FAULT_NO_DONE) && len == 14 && memcmp(event, "data: [DONE]\n\n", 14) == 0))
		return;
	if (has(conn, FAULT_CRLF) || has(conn, FAULT_CR) || has(conn, FAULT_MIXED_NEWLINES)) {
		add_newlines(conn, &changed, event, len);
		add_body(conn, changed.data, changed.len);
		buf_free(&changed);
	} else {
		add_body(conn, event, len);
	}
	x->phase = PHASE_STREAMING;
	x->events++;
	if (!conn->is_control)
		conn->engine->counters.events++;
	strike(conn);
}

void wire_events(struct conn *conn, const struct buf *events)
{
	const char *p = events->data;
	const char *end = events->data + events->len;

	while (p < end) {
		const char *stop = memmem(p, (size_t)(end - p), "\n\n", 2);

		stop = stop ? stop + 2 : end;
		add_event(conn, p, (size_t)(stop - p));
		p = stop;
	}
}
