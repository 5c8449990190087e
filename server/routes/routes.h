/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes: method, exact path, who may, what happens. No route without a class of users compiles.
 *
 *   front ── routes_find(method, path) ──► route ── kind CALL ───► vgw_worker_call()
 *                                               └── kind ANSWER ─► handler(view) -> answer, at once
 */
#ifndef VGW_SERVER_ROUTES_H
#define VGW_SERVER_ROUTES_H

#include <vllmgw/gateway.h>

/* Who may use a route. */
enum route_auth {
	ROUTE_USER = 1, /* inference, models */
	ROUTE_PUBLIC,   /* health */
	ROUTE_OPERATOR, /* metrics, version */
};

/* What a handler may look at. Borrowed during the call. */
struct route_view {
	vgw_gateway *gateway;
	const char *tail;     /* what follows the prefix of a route that ends in '/', percent-decoded; else "" */
	size_t tail_len;
	const char *query;    /* the value of `status` in the query string, or NULL */
	const char *accept;   /* header, or NULL */
	const vgw_principal *principal; /* who asks; NULL: nobody in particular */
	uint64_t keys_refused;
	bool is_draining;
	int64_t uptime_ms;
	uint64_t connections;
};

/* What to answer. */
struct route_answer {
	uint32_t status;
	const char *type; /* constant */
	char *body;       /* NULL: out of memory */
	void (*free_fn)(void *body);
};

typedef void (*route_fn)(const struct route_view *view, struct route_answer *answer);

struct route {
	const char *method; /* "GET" also serves HEAD */
	const char *path;   /* exact; a final '/' takes one further segment */
	enum route_auth auth;
	vgw_operation operation; /* CALL */
	route_fn answer;         /* NULL: CALL */
};

/* The result of a look-up that found no route. */
enum route_miss { ROUTE_HIT, ROUTE_UNKNOWN_PATH, ROUTE_WRONG_METHOD };

struct routes;

struct routes *routes_new(void); /* NULL without memory */
void routes_free(struct routes *routes);

/* `path` is the raw request target without its query. On WRONG_METHOD *allow lists the methods that exist. */
enum route_miss routes_find(const struct routes *routes, const char *method, const char *path, size_t path_len,
	const struct route **route, const char **allow);

/* Decode the segment after a route's prefix: %HH once, valid UTF-8, no control characters. -1: not acceptable. */
int route_decode(const char *segment, size_t len, char *out, size_t size, size_t *out_len);

/* openai.c and operations.c */
void answer_models(const struct route_view *view, struct route_answer *answer);
void answer_model(const struct route_view *view, struct route_answer *answer);
void answer_health(const struct route_view *view, struct route_answer *answer);
void answer_ready(const struct route_view *view, struct route_answer *answer);
void answer_version(const struct route_view *view, struct route_answer *answer);
void answer_metrics(const struct route_view *view, struct route_answer *answer);

/* An error in OpenAI's shape. */
void answer_fault(struct route_answer *answer, vgw_fault fault, const char *message);

#endif
