/* SPDX-License-Identifier: Apache-2.0 */
/* The answer reader of bench-load. It keeps no body: a byte is compared with the expected one, no more. */
#include "bench_http.h"

#include "bench.h"

#include <string.h>
#include <strings.h>

void bench_response_start(struct bench_response *r, const struct bench_body *expected)
{
	r->expected = expected;
	r->fault = NULL;
	r->state = BENCH_IN_HEAD;
	r->must_close = false;
	r->left = 0;
	r->body_bytes = 0;
	r->line_len = 0;
	r->head_len = 0;
}

uint64_t bench_response_units(const struct bench_response *r)
{
	uint64_t units = r->body_bytes / r->expected->unit_len;

	return units < r->expected->times ? units : r->expected->times;
}

static uint64_t expected_bytes(const struct bench_body *body)
{
	return body->unit_len * body->times + body->tail_len;
}

static void complete(struct bench_response *r)
{
	if (r->body_bytes < expected_bytes(r->expected))
		r->fault = "the body is too short";
	r->state = BENCH_COMPLETE;
}

static void compare(struct bench_response *r, const char *data, size_t len)
{
	const struct bench_body *body = r->expected;
	uint64_t units_end = body->unit_len * body->times;

	while (len) {
		bool in_units = r->body_bytes < units_end;
		size_t at = (size_t)(in_units ? r->body_bytes % body->unit_len : r->body_bytes - units_end);
		size_t room = (in_units ? body->unit_len : body->tail_len) - at;
		size_t n = len < room ? len : room;

		if (!room) {
			r->fault = "the body is too long";
			return;
		}
		if (memcmp((in_units ? body->unit : body->tail) + at, data, n)) {
			r->fault = "the body differs from what the engine sent";
			return;
		}
		r->body_bytes += n;
		data += n;
		len -= n;
	}
}

static void read_head(struct bench_response *r)
{
	size_t len;
	const char *value;

	if (memcmp(r->head, "HTTP/1.1 200", 12)) {
		r->fault = "the status is not 200";
		return;
	}
	value = bench_find_header(r->head, r->head_len, "connection", &len);
	r->must_close = value && len == 5 && !strncasecmp(value, "close", 5);
	value = bench_find_header(r->head, r->head_len, "transfer-encoding", &len);
	if (value) {
		r->state = BENCH_IN_CHUNK_SIZE;
		return;
	}
	value = bench_find_header(r->head, r->head_len, "content-length", &len);
	if (!value) {
		r->state = BENCH_UNTIL_CLOSE;
		return;
	}
	for (size_t i = 0; i < len; i++)
		r->left = r->left * 10 + (uint64_t)(value[i] - '0');
	if (r->left != expected_bytes(r->expected))
		r->fault = "the Content-Length is not the engine's";
	r->state = BENCH_IN_LENGTH;
}

/* Returns the bytes of `data` that belong to the head. */
static size_t feed_head(struct bench_response *r, const char *data, size_t len)
{
	size_t room = sizeof(r->head) - r->head_len;
	size_t n = len < room ? len : room;
	size_t before = r->head_len;
	const char *end;

	memcpy(r->head + before, data, n);
	r->head_len += n;
	end = memmem(r->head, r->head_len, "\r\n\r\n", 4);
	if (!end) {
		if (r->head_len == sizeof(r->head))
			r->fault = "the head is too long";
		return n;
	}
	r->head_len = (size_t)(end - r->head) + 4;
	read_head(r);
	return r->head_len - before;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the lines around chunks: the size, the line end after the bytes, the trailer. */
static void feed_framing(struct bench_response *r, char c)
{
	if (c == '\r')
		return;
	if (c != '\n') {
		int digit = hex_value(c);

		r->line_len++;
		if (r->state == BENCH_IN_TRAILER)
			return;
		if (r->state == BENCH_IN_CHUNK_END || digit < 0 || r->line_len > 8)
			r->fault = "the chunks are malformed";
		r->left = r->left * 16 + (uint64_t)digit;
		return;
	}
	if (r->state == BENCH_IN_CHUNK_SIZE && !r->line_len)
		r->fault = "a chunk has no size";
	else if (r->state == BENCH_IN_CHUNK_SIZE)
		r->state = r->left ? BENCH_IN_CHUNK : BENCH_IN_TRAILER;
	else if (r->state == BENCH_IN_CHUNK_END)
		r->state = BENCH_IN_CHUNK_SIZE;
	else if (!r->line_len)
		complete(r);
	r->line_len = 0;
}

/* Returns the bytes of `data` that belong to the body or its chunk. */
static size_t feed_body(struct bench_response *r, const char *data, size_t len)
{
	size_t n = r->state != BENCH_UNTIL_CLOSE && r->left < len ? (size_t)r->left : len;

	compare(r, data, n);
	if (r->state == BENCH_UNTIL_CLOSE)
		return n;
	r->left -= n;
	if (!r->left && r->state == BENCH_IN_CHUNK)
		r->state = BENCH_IN_CHUNK_END;
	else if (!r->left)
		complete(r);
	return n;
}

size_t bench_response_feed(struct bench_response *r, const char *data, size_t len)
{
	size_t used = 0;

	while (used < len && r->state != BENCH_COMPLETE && !r->fault) {
		if (r->state == BENCH_IN_HEAD)
			used += feed_head(r, data + used, len - used);
		else if (r->state == BENCH_IN_LENGTH || r->state == BENCH_IN_CHUNK ||
			r->state == BENCH_UNTIL_CLOSE)
			used += feed_body(r, data + used, len - used);
		else
			feed_framing(r, data[used++]);
	}
	return used;
}

void bench_response_end(struct bench_response *r)
{
	r->must_close = true;
	if (r->state == BENCH_UNTIL_CLOSE)
		complete(r);
	else if (r->state != BENCH_COMPLETE)
		r->fault = "the connection ended within the answer";
}
