/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP front: the only part of the server that knows libmicrohttpd.
 *
 *   main ── front_new() ──► N workers, each one thread, one loop:
 *                             MHD daemon per listener  ──► exchange ──► vgw_worker_call()
 *                             connections taken over   ──► stream   ◄── events of the call
 *        ── front_drain() ─► no new connections, requests under way go on
 *        ── front_stop() ──► the rest is ended, threads are joined */
#ifndef VGW_SERVER_FRONT_H
#define VGW_SERVER_FRONT_H

#include "access_log.h"
#include "desk.h"
#include "keys.h"
#include "tls.h"

#include <vllmgw/gateway.h>

struct network;

enum front_listen_kind { FRONT_LISTEN_TCP, FRONT_LISTEN_UNIX, FRONT_LISTEN_FD };

struct front_listen {
	enum front_listen_kind kind;
	bool is_tls; /* TCP, FD */
	const char *host; /* TCP */
	uint16_t port;    /* TCP; 0: the kernel chooses */
	const char *path; /* UNIX */
	int fd;           /* FD: handed in by the service manager */
	bool has_no_admin; /* routes for administrators are not found here: they have a listener of their own */
};

/* Borrowed during front_new(), the pointers in it until front_free(). */
struct front_options {
	vgw_gateway *gateway;
	const struct routes *routes;
	struct keys *keys;             /* NULL: everybody may use everything */
	struct tls *tls;               /* NULL: no listener is_tls */
	bool public_metrics;
	const char *const *origins; /* whose pages may use the API; "*": all */
	size_t origin_count;
	struct desk *desk;
	struct catalogue *catalogue; /* NULL: no simple API */
	bool is_model_router;        /* for route_view */
	bool is_aic;                 /* without a model of the operator's choice there is none */
	struct access_log *access_log; /* NULL: none */
	vgw_logger logger;
	const struct front_listen *listens;
	size_t listen_count;
	uint32_t workers;
	uint32_t connections; /* of all workers together */
	uint64_t body_bytes;  /* of one request */
	size_t head_bytes;    /* of one request; libmicrohttpd keeps a second copy of cookies in it */
	uint64_t queue_bytes; /* of all bodies in memory */
	const struct network *proxies; /* who may say whom a request is from */
	size_t proxy_count;
	bool trusts_unix;         /* so may peers of Unix sockets */
	const char *proxy_header; /* in which they say it */
	int64_t header_timeout_ms;
	int64_t body_timeout_ms;
	int64_t heartbeat_ms;        /* silence of an event stream after which it is written to */
	const char *heartbeat;       /* what is written then; NULL: nothing */
	bool is_early; /* event streams begin while their model loads */
	int64_t write_timeout_ms; /* a client that reads nothing for so long is cut off */
};

struct front;

/* Before anything is made: does another program have the address? 0, or -1 with a sentence in `why`. */
int front_check_listen(const struct front_listen *listen, char *why, size_t size);
/* Opens the listeners and starts the threads. 0 or -1 with a sentence in `why`. */
int front_new(struct front **out, const struct front_options *options, char *why, size_t size);
/* The address a listener got ("127.0.0.1:8080", "unix:/run/x.sock"); borrowed until front_free(). */
const char *front_get_address(const struct front *front, size_t listener);
/* No new connections; idle ones close. Returns at once. */
void front_drain(struct front *front);
/* Requests under way: in exchanges and streams. */
uint64_t front_count_requests(const struct front *front);
uint64_t front_count_fresh(const struct front *front); /* accepted connections that have not asked anything yet */
/* How long a worker has been silent: 0 while all answer, else the milliseconds since one was first asked in vain. Asks
 * anew each time. From any thread until front_free(). */
int64_t front_get_silence_ms(struct front *front);
/* Answer an errand with the requests under way as JSON; by the id in its name, end one. From any thread until
 * front_free(). */
void front_answer_requests(struct front *front, struct errand *errand);
void front_answer_cancel(struct front *front, struct errand *errand);
/* End what is left, join the threads, free. Stop the desk first. NULL is allowed. */
void front_free(struct front *front);

#endif
