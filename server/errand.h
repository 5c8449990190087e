/* SPDX-License-Identifier: Apache-2.0 */
/* A request that is answered off its worker's thread: the front makes it and hands it to the desk, whose thread (or
 * any other) answers it; the answer goes back to the worker by message.
 *
 *   worker ── errand_new() ── desk_take() ──► helper thread ── errand_answer(), or begin, write..., end
 *     ▲                                                              │
 *     └───────────────── message, deliver fn ◄───────────────────────┘
 *
 * Neither side waits for the other. The side of the answer ends with errand_answer() or errand_end(), the worker's
 * side with errand_leave(); the later of the two frees it. */
#ifndef VGW_SERVER_ERRAND_H
#define VGW_SERVER_ERRAND_H

#include "front/link.h"
#include "routes/routes.h"

#include <vllmgw/loop.h>

#include <pthread.h>

struct desk;
struct front;

/* What is asked. Const once made; the texts are the errand's own. */
struct errand_request {
	const struct route *route;
	const char *name; /* what stands for {} in the route's path, decoded; else "" */
	const char *query[ROUTE_QUERY_COUNT]; /* NULL: absent */
	const char *body; /* ends with a NUL */
	size_t body_len;
	struct front *front;
};

/* What has come for the client since the last delivery. */
struct errand_delivery {
	void *user;       /* errand_new()'s */
	uint32_t status;  /* 0: the head was delivered before */
	const char *type; /* with a status */
	int64_t length;   /* with a status: of the whole body, -1: a stream */
	uint32_t retry_after;
	const char *fault; /* its code, or NULL */
	const char *data;
	size_t len;
	bool is_end;
};

typedef void (*errand_deliver_fn)(const struct errand_delivery *delivery); /* on the worker's thread */

/* --- the worker's side ---------------------------------------------------------------------------------------- */

/* Copies the request. NULL without memory. */
struct errand *errand_new(const struct errand_request *request, vgw_loop *loop, errand_deliver_fn deliver, void *user);
/* The client takes no more for a while, or again. */
void errand_set_full(struct errand *errand, bool is_full);
/* The client is gone, or has everything. */
void errand_leave(struct errand *errand);

/* --- the answer's side, any thread ---------------------------------------------------------------------------- */

const struct errand_request *errand_get_request(const struct errand *errand);
struct desk *errand_get_desk(const struct errand *errand);
bool errand_is_gone(struct errand *errand);

/* The whole answer: the errand must not be touched afterwards. Takes the body, NUL-terminated, which free_fn frees;
 * NULL: out of memory. */
void errand_answer(struct errand *errand, uint32_t status, const char *type, char *body, void (*free_fn)(void *));
void errand_answer_fault(struct errand *errand, vgw_fault fault, const char *why);
/* What a failed call says. */
void errand_answer_error(struct errand *errand, const vgw_error *err);

/* A stream: its head, pieces, its end, after which it must not be touched. */
void errand_begin(struct errand *errand, const char *type);
/* False: the client is slow and the piece was dropped. */
bool errand_write(struct errand *errand, const void *data, size_t len);
void errand_end(struct errand *errand);
/* Whatever has become of it: an error before its head, else the end. */
void errand_stop(struct errand *errand);

/* --- the desk's ----------------------------------------------------------------------------------------------- */

/* Put it on the ring of all errands, guarded by `lock`, which it leaves when it is freed. Before anything else. */
void errand_register(struct errand *errand, struct desk *desk, struct link *ring, pthread_mutex_t *lock);
/* The next in the desk's queue. */
struct errand **errand_next(struct errand *errand);
/* Memory that goes with the errand, or NULL. */
void *errand_alloc(struct errand *errand, size_t size);
/* The threads of both sides are gone, and with them messages that never arrived: free what those have kept. */
void errands_free(struct link *ring);

#endif
