/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the h1 transport. A connection and the call it serves are one object: a reused connection allocates
 * nothing, and the handle of a call is its connection.
 *
 *   CONNECTING ──► HEAD ──► BODY ──► IDLE ──► HEAD ...
 *        │           │        │        └────► closed (age, the engine's close, unasked bytes)
 *        └► FAILED   └────────┴─────────────► closed, on_end
 *
 * What only a starting call needs (its request, the addresses to try, unsent bytes) is in a struct of its own, freed
 * as soon as the request is on its way: an open stream costs about 200 bytes here. */
#ifndef VGW_NET_H1_H
#define VGW_NET_H1_H

#include "net/h1_parse.h"
#include "net/h1_pool.h"
#include "net/transport.h"
#include "util/buf.h"

#include <sys/epoll.h>

enum {
	VGW__H1_READ_BYTES = 64 * 1024,         /* per connection and turn */
	VGW__H1_REQUEST_HEAD_BYTES = 64 * 1024, /* ours */
	VGW__H1_INTERIM_ANSWERS = 8,            /* 1xx before the answer */
	VGW__H1_READ_EVENTS = EPOLLIN | EPOLLRDHUP,
};

enum vgw__h1_state { VGW__H1_CONNECTING, VGW__H1_HEAD, VGW__H1_BODY, VGW__H1_IDLE, VGW__H1_FAILED };

/* How much of a request was handed to the kernel. */
struct vgw__h1_sent {
	size_t head;
	size_t segment; /* of the body */
	size_t offset;  /* in the segment */
};

/* A call that is not completely sent. */
struct vgw__h1_send {
	struct vgw__upstream_request request; /* what it points to is borrowed from the caller */
	struct vgw__h1_sent sent;
	vgw_timer connect_timer;
	uint32_t next_address;
	int connect_errno; /* of the last address tried */
	size_t head_len;
	char head[];
};

struct vgw__h1_conn {
	struct vgw__upstream_call call; /* first: it is the handle */
	struct vgw__list link;          /* IDLE: in peer->idle; FAILED: in h1->failed */
	struct vgw__list age_link;      /* IDLE: in pool->by_age */
	vgw_watch watch;
	int fd;                         /* -1: none */
	uint32_t scanned;               /* HEAD: bytes of `head` looked at */
	struct vgw__h1_peer *peer;
	const struct vgw__upstream_events *events;
	void *user;
	struct vgw__h1_send *send;      /* NULL: nothing left to send */
	struct vgw__buf *head;          /* HEAD: the incomplete head, NULL while there is none */
	struct vgw__h1_body body;
	int64_t idle_since_ms;
	const char *why;                /* FAILED: for on_end */
	int sys_errno;
	uint8_t state;
	uint8_t outcome;
	uint8_t interim_count;
	bool is_reused : 1;
	bool is_sent : 1;
	bool is_head_request : 1;
	bool has_answer : 1;    /* at least one byte came */
	bool is_last : 1;       /* not to be used again */
	bool is_paused : 1;
};

struct vgw__h1 {
	struct vgw__transport transport; /* first */
	struct vgw__h1_pool pool;
	vgw_loop *loop;
	struct vgw__h1_conn *current; /* whose callbacks run; NULL once it was cancelled or has ended */
	struct vgw__list failed;      /* calls whose on_end is due */
	vgw_defer defer;
	struct vgw__buf request_head; /* scratch of start() */
	struct vgw__header headers[VGW__H1_HEADERS];
	char input[VGW__H1_READ_BYTES];
};

static inline struct vgw__h1 *vgw__h1_of(const struct vgw__h1_conn *conn)
{
	return (struct vgw__h1 *)(void *)conn->call.transport;
}

/* --- h1_send.c --- */

/* The request's head into h1->request_head; INVALID when it is too large. */
vgw_status vgw__h1_compose(struct vgw__h1 *h1, const struct vgw__upstream_request *request, vgw_error *err);

/* Remember a request that cannot be sent now, with the head in h1->request_head. False: out of memory. */
bool vgw__h1_postpone(struct vgw__h1_conn *conn, const struct vgw__upstream_request *request,
	const struct vgw__h1_sent *sent);

/* Send on a connection that is ready: all of it at best, otherwise the rest is postponed. False: out of memory. */
bool vgw__h1_send_now(struct vgw__h1_conn *conn, const struct vgw__upstream_request *request);

/* Send on what was postponed. */
void vgw__h1_send_more(struct vgw__h1_conn *conn);

void vgw__h1_tell_sent(struct vgw__h1_conn *conn);

/* --- h1_receive.c --- */

/* The connection has something to read, or was closed; `events` are epoll's. May end the call. */
void vgw__h1_receive(struct vgw__h1_conn *conn, uint32_t events);

/* --- h1.c --- */

/* Listen to what the state of the call asks for; false: epoll refused. */
bool vgw__h1_listen(struct vgw__h1_conn *conn);

/* End a call: keep or close its connection, then on_end. Only from the loop. */
void vgw__h1_finish(struct vgw__h1_conn *conn, enum vgw__outcome outcome, int sys_errno, const char *why);

/* End a call at the end of the turn. */
void vgw__h1_fail_later(struct vgw__h1_conn *conn, enum vgw__outcome outcome, int sys_errno, const char *why);

#endif
