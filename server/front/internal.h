/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the front share. One worker's objects belong to its thread; what is shared is atomic.
 *
 *   connection  one TCP connection while MHD has it: its deadline between and inside requests
 *   exchange    one request while MHD has it: head checked, body gathered, answer queued
 *   stream      one request whose connection we have taken over from MHD */
#ifndef VGW_SERVER_FRONT_INTERNAL_H
#define VGW_SERVER_FRONT_INTERNAL_H

#include "front/front.h"

#include <vllmgw/loop.h>

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

/* Intrusive list, because links of three kinds of objects hang on a worker. */
struct link {
	struct link *next;
	struct link *prev;
};

void link_init(struct link *head);
void link_append(struct link *head, struct link *item);
void link_remove(struct link *item); /* also of an initialised or removed one */
bool link_is_empty(const struct link *head);
#define LINK_OWNER(item, type, member) ((type *)(void *)((char *)(item) - offsetof(type, member)))

struct front;
struct worker;

/* A listener of one worker: its own socket (TCP) or a share of one (unix, handed in), and its daemon. */
struct listener {
	struct worker *worker;
	struct MHD_Daemon *daemon;
	vgw_watch watch; /* the daemon's epoll descriptor */
};

enum deadline_kind {
	DEADLINE_HEAD, /* accepted, no request yet */
	DEADLINE_IDLE, /* between two requests */
	DEADLINE_BODY, /* a request's body is arriving */
	DEADLINE_COUNT
};

/* MHD's socket context. */
struct connection {
	struct link link; /* in worker->deadlines[kind], oldest first, or in none */
	struct worker *worker;
	struct listener *listener;
	int fd;
	int64_t since_ms;
	uint64_t consumed; /* bytes of the requests so far; see takeover.c */
	bool is_consumed_known;
};

struct worker {
	struct front *front;
	uint32_t place;
	pthread_t thread;
	bool is_started;
	vgw_loop *loop;
	vgw_worker *gateway_worker;
	struct listener *listeners;
	size_t listener_count;
	vgw_defer pump;   /* run MHD at the end of the turn: something was resumed */
	vgw_timer sweep;  /* deadlines of connections, clients that left while suspended */
	vgw_message order; /* drain, stop */
	struct link deadlines[DEADLINE_COUNT];
	struct link suspended; /* exchanges, oldest first */
	struct link streams;
	size_t suspended_count;
	size_t stream_count;
	bool is_draining;
	bool is_stopping;
};

struct front {
	struct front_options options;
	struct worker *workers;
	uint32_t worker_count;
	char (*addresses)[128];
	size_t address_count;
	uint32_t connections_each;
	atomic_uint_fast64_t requests;     /* under way */
	atomic_uint_fast64_t body_bytes;   /* in memory */
	atomic_uint_fast32_t stop_stage;   /* 0 serving, 1 draining, 2 stopping */
};

/* worker.c */
void worker_pump(struct worker *worker); /* MHD has something to do: run it before this turn ends */
int64_t worker_now_ms(const struct worker *worker);

/* deadlines.c */
void deadline_start(struct connection *connection, enum deadline_kind kind);
void deadline_stop(struct connection *connection);
void deadlines_sweep(struct worker *worker); /* called by the sweep timer */
void sweep_arm(struct worker *worker);

/* exchange.c: MHD's callbacks */
enum MHD_Result exchange_handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *upload, size_t *upload_size, void **state);
void exchange_completed(void *user, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode code);
void exchanges_watch_clients(struct worker *worker);
void exchanges_end(struct worker *worker); /* answer all suspended ones with shutting_down */

#endif
