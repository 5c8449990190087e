/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes: method, path, who may, what happens. Every route says who may use it: the server does not start otherwise.
 *
 *   front ── routes_find(method, path) ──► route ── kind CALL ───► vgw_worker_call()
 *                                               ├── kind ANSWER ─► handler(view) -> answer, at once
 *                                               ├── kind ERRAND ─► handler(errand) on the desk's thread, see desk.h
 *                                               └── kind FORWARD ► the rest of the path, to a model's engine
 */
#ifndef VGW_SERVER_ROUTES_H
#define VGW_SERVER_ROUTES_H

#include <vllmgw/gateway.h>

/* Who may use a route. */
enum route_auth {
	ROUTE_USER = 1, /* inference, models */
	ROUTE_PUBLIC,   /* health */
	ROUTE_OPERATOR, /* metrics, version */
	ROUTE_ADMIN,    /* the admin key; without one, peers on this machine */
};

/* What is looked at in query strings: XX(NAME, name). Anything else in them is ignored. */
#define ROUTE_QUERY_MAP(XX) \
	XX(STATUS, "status") \
	XX(WAIT, "wait")     \
	XX(FORCE, "force")   \
	XX(LINES, "lines")   \
	XX(FOLLOW, "follow") \
	XX(MODEL, "model")   \
	XX(REPLICA, "replica")

enum route_query {
#define XX(name, text) ROUTE_QUERY_##name,
	ROUTE_QUERY_MAP(XX)
#undef XX
	ROUTE_QUERY_COUNT
};

enum { ROUTE_NAME_BYTES = 512 };

/* What a handler may look at. Borrowed during the call. */
struct route_view {
	vgw_gateway *gateway;
	const char *name;     /* what stands for {} in the route's path, percent-decoded; else "" */
	size_t name_len;
	const char *query[ROUTE_QUERY_COUNT]; /* NULL: absent */
	const char *accept;   /* header, or NULL */
	struct catalogue *catalogue; /* of the simple API; NULL: it is off */
	const vgw_principal *principal; /* who asks; NULL: nobody in particular */
	uint64_t keys_refused;
	bool is_model_router; /* answers as vLLM Model Router does */
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

/* What a request becomes before it goes to the gateway. */
struct route_rewrite {
	char *body; /* from malloc(), ends with a NUL */
	char model[ROUTE_NAME_BYTES]; /* the configured model that serves it */
	char why[200];                /* of a fault; "": its own sentence */
};

struct catalogue;
struct errand;
struct json_t;
struct route;

typedef vgw_fault (*rewrite_fn)(struct catalogue *catalogue, const struct route *route, const char *body, size_t len,
	struct route_rewrite *out);
typedef void (*route_fn)(const struct route_view *view, struct route_answer *answer);
typedef void (*errand_fn)(struct errand *errand);

struct route {
	const char *method; /* "GET" also serves HEAD */
	const char *path;   /* exact, but for one {} that stands for a name of one or more segments */
	enum route_auth auth;
	vgw_operation operation; /* CALL */
	rewrite_fn rewrite;      /* CALL; NULL: the body goes on as it came */
	unsigned needs;          /* features without which it is not there */
	unsigned unless;         /* features with which it is not there */
	bool is_forward;         /* FORWARD */
	bool is_early;           /* CALL: its streams begin while their model loads, whatever is configured */
	route_fn answer;         /* ANSWER */
	errand_fn errand;        /* ERRAND */
};

/* The result of a look-up that found no route. */
enum route_miss { ROUTE_HIT, ROUTE_UNKNOWN_PATH, ROUTE_WRONG_METHOD };

struct routes;

/* What routes may need: XX(NAME, place) */
#define ROUTES_FEATURE_MAP(XX)                                                             \
	XX(SIMPLE, 0)      /* AI Backend Gateway's simple API */                           \
	XX(ADHOC, 1)       /* AIC vLLM Proxy's control of one model */                     \
	XX(AIC, 6)         /* there is no other model: its engine lists what there is */   \
	XX(AIC_OPEN, 2)    /* that control is for users, not only for administrators */    \
	XX(PASSTHROUGH, 3) /* paths nobody knows go to the default model's engine */       \
	XX(LLAMA_SWAP, 4)                                                                  \
	XX(OLLAMA, 5)

enum routes_feature {
#define XX(name, place) ROUTES_##name = 1u << (place),
	ROUTES_FEATURE_MAP(XX)
#undef XX
};

struct routes *routes_new(unsigned features); /* NULL without memory */
void routes_free(struct routes *routes);

/* The route at a place, by path; NULL behind the end. */
const struct route *routes_get(const struct routes *routes, size_t place);

/* `path` is the raw request target without its query. On WRONG_METHOD *allow lists the methods that exist. */
enum route_miss routes_find(const struct routes *routes, const char *method, const char *path, size_t path_len,
	const struct route **route, const char **allow);

/* What stands for the {} of a route that was found for this path: %HH is decoded once; control characters, and
 * segments that are empty, "." or "..", are not acceptable: -1. Without a {}: "". */
int route_get_name(const struct route *route, const char *path, size_t path_len, char *out, size_t size,
	size_t *out_len);

/* Decode %HH of a value of a query string in place. -1: malformed. */
int route_decode_value(char *value);

/* openai.c and operations.c: at once */
void answer_models(const struct route_view *view, struct route_answer *answer);
void answer_model(const struct route_view *view, struct route_answer *answer);
void answer_health(const struct route_view *view, struct route_answer *answer);
void answer_ready(const struct route_view *view, struct route_answer *answer);
void answer_version(const struct route_view *view, struct route_answer *answer);
void answer_metrics(const struct route_view *view, struct route_answer *answer);
void ollama_tags(const struct route_view *view, struct route_answer *answer); /* compat_ollama.c */

/* compat_ai_backend.c: the simple API */
void simple_models(const struct route_view *view, struct route_answer *answer);
vgw_fault simple_rewrite(struct catalogue *catalogue, const struct route *route, const char *body, size_t len,
	struct route_rewrite *out);
vgw_fault simple_rewrite_stream(struct catalogue *catalogue, const struct route *route, const char *body, size_t len,
	struct route_rewrite *out);
/* "ok", "unavailable", "unconfigured" or "unknown": the default route, in a snapshot. */
const char *simple_get_state(const struct json_t *snapshot);

/* compat_aic.c: AIC vLLM Proxy's control of one model */
void aic_status(struct errand *errand);
void aic_switch(struct errand *errand);
void aic_log(struct errand *errand);
void aic_log_tail(struct errand *errand);

/* An error in OpenAI's shape. */
void answer_fault(struct route_answer *answer, vgw_fault fault, const char *message);

/* admin.c */
void admin_state(struct errand *errand);
void admin_decisions(struct errand *errand);
void admin_events(struct errand *errand);
void admin_requests(struct errand *errand);
void admin_cancel(struct errand *errand);
void admin_reload(struct errand *errand);
void admin_explain(struct errand *errand);
/* admin_models.c */
void admin_load(struct errand *errand);
void admin_unload(struct errand *errand);
void admin_sleep(struct errand *errand);
void admin_wake(struct errand *errand);
void admin_pin(struct errand *errand);
void admin_unpin(struct errand *errand);
void admin_drain(struct errand *errand);
void admin_undrain(struct errand *errand);
void admin_reset(struct errand *errand);
/* admin_logs.c */
void admin_logs(struct errand *errand);
/* compat_residency.c: how others call the same */
void openai_load(struct errand *errand);
void openai_unload(struct errand *errand);
void swap_running(struct errand *errand);
void swap_unload_all(struct errand *errand);
void swap_unload(struct errand *errand);
void ollama_ps(struct errand *errand);
void llama_load(struct errand *errand);
void llama_unload(struct errand *errand);

#endif
