/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of bench-load and what they have counted. One thread. */
#ifndef VGW_TESTS_BENCH_CLIENT_H
#define VGW_TESTS_BENCH_CLIENT_H

#include "bench.h"
#include "bench_http.h"

#include <netinet/in.h>

/* POST: a small answer. START: a stream that ends at once. STREAM: one that stays open. */
enum bench_kind { BENCH_POST, BENCH_START, BENCH_STREAM, BENCH_KINDS };

/* One request text for all connections of a kind, and the body its answer must have. */
struct bench_request {
	char *text;
	size_t len;
	struct bench_body expected;
};

struct bench_conn {
	struct bench_client *client;
	int fd;                         /* -1: not connected */
	enum bench_kind kind;
	bool is_busy;                   /* a request is on its way or being answered */
	size_t sent;                    /* bytes of the request the socket has taken */
	int64_t started_ns;
	struct bench_response response;
};

struct bench_client {
	int epoll;
	struct sockaddr_in target;
	struct bench_request request[BENCH_KINDS];
	uint64_t wanted;                /* POST and START: requests still to be begun in this phase */
	int64_t until_ns;               /* ... or begin them until then; 0: no such end */
	size_t busy;                    /* requests under way that are not STREAM */
	size_t open;                    /* STREAMs whose first event has come and whose end has not */

	/* counted in this phase */
	uint64_t done;                  /* answers complete and right, of STREAMs too */
	uint64_t errors;
	const char *first_error;
	uint64_t connects;
	uint64_t events;                /* of STREAMs */
	uint64_t reads;                 /* receives with bytes of a STREAM: fewer than events = bursts */
	uint64_t progress;              /* grows with every byte, to notice a stall */
	struct bench_histogram latency; /* POST: the whole answer; START and STREAM: up to the first event */
};

void bench_client_init(struct bench_client *client, uint16_t port);
void bench_client_reset_counts(struct bench_client *client);
/* Begins a request on the connection, which is idle or not connected. */
void bench_conn_begin(struct bench_conn *c);
/* Drops a connection, whatever it does. */
void bench_conn_drop(struct bench_conn *c);
/* One turn of the loop. */
void bench_client_turn(struct bench_client *client, int timeout_ms);
bool bench_client_may_begin(struct bench_client *client);

#endif
