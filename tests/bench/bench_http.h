/* SPDX-License-Identifier: Apache-2.0 */
/* Reads HTTP/1.1 answers as they come and compares every byte of their bodies with what the engine sends. */
#ifndef VGW_TESTS_BENCH_HTTP_H
#define VGW_TESTS_BENCH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A body: `unit` so many `times`, then `tail`. */
struct bench_body {
	const char *unit;
	size_t unit_len;
	uint64_t times;
	const char *tail;
	size_t tail_len;
};

enum bench_response_state {
	BENCH_IN_HEAD,
	BENCH_IN_LENGTH,        /* a body with a Content-Length */
	BENCH_IN_CHUNK_SIZE,
	BENCH_IN_CHUNK,
	BENCH_IN_CHUNK_END,
	BENCH_IN_TRAILER,
	BENCH_UNTIL_CLOSE,      /* a body that ends with the connection */
	BENCH_COMPLETE,
};

struct bench_response {
	const struct bench_body *expected;
	const char *fault;      /* what is wrong with the answer; NULL while nothing is */
	enum bench_response_state state;
	bool must_close;        /* the server said "Connection: close" */
	uint64_t left;          /* bytes of the body or of the chunk still to come */
	uint64_t body_bytes;
	size_t line_len;        /* of the chunk size or trailer line at hand */
	size_t head_len;
	char head[2048];
};

void bench_response_start(struct bench_response *r, const struct bench_body *expected);
/* Takes bytes until the answer is complete or at fault; returns how many it used. */
size_t bench_response_feed(struct bench_response *r, const char *data, size_t len);
/* The connection has ended: completes a body that ends so, is a fault anywhere else. */
void bench_response_end(struct bench_response *r);
/* How often `unit` has come whole. */
uint64_t bench_response_units(const struct bench_response *r);

#endif
