/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/principal.h
 * Who is asking, what they may, how much of it, and where that is counted.
 * Audience: callers that serve several people.  Stability: stable since 0.1.
 *
 *   your front                      libvllmgw
 *     | header ──► a principal        |
 *     |── vgw_request.principal ─────>| may it use the model? ── no ──► 403 model_not_allowed
 *     |                               | is there room in its limits? ── no ──► 429, Retry-After
 *     |<── x-ratelimit-* ─────────────| ... the request runs ...
 *     |                               | settle: the tokens it really took, its place given back
 *
 * The library knows no keys: telling who somebody is remains the front's task. Limits are counted in this process by
 * default; a store of your own (vgw_limit_store) counts them elsewhere, for several gateways together.
 */
#ifndef VLLMGW_PRINCIPAL_H
#define VLLMGW_PRINCIPAL_H

#include <vllmgw/common.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

typedef struct vgw_gateway vgw_gateway;

/** Somebody, immutable and counted. Principals of one name share one account of what was used. */
typedef struct vgw_principal vgw_principal;

typedef enum vgw_priority {
	VGW_PRIORITY_NORMAL = 0,
	VGW_PRIORITY_BATCH = 1,       /* waits behind the others */
	VGW_PRIORITY_INTERACTIVE = 2, /* before them */
	VGW_PRIORITY_FORCE_INT32 = 0x7fffffff
} vgw_priority;

/** Largest limit a minute. */
#define VGW_LIMIT_MAX 100000000

/** Zero is "no limit" of every limit. At most a minute's worth can be used at once; it flows back evenly. */
typedef struct vgw_principal_options {
	size_t size;                  /* set by VGW_PRINCIPAL_OPTIONS_INIT */
	const char *name;             /* label in metrics and logs: printable, not secret, up to 64 bytes */
	const char *const *models;    /* configured names, or beginnings of such with '*' at their end */
	size_t model_count;           /* 0: every model */
	uint64_t requests_per_minute;
	uint64_t tokens_per_minute;   /* prompt and completion; reserved by estimate, settled with what was used */
	uint32_t concurrency;         /* requests under way, each until the end of its answer */
	vgw_priority priority;        /* among those who wait for a model */
	uint32_t may_not_swap;        /* 1: may use what is up or coming, never causes a model to be loaded */
	uint32_t reserved0;           /* must be 0 */
} vgw_principal_options;

#define VGW_PRINCIPAL_OPTIONS_INIT { .size = sizeof(vgw_principal_options) }

/**
 * Make a principal. What its name has used so far still counts, as long as another principal of the name, or a request
 * of one, is alive: so replace a set of them by making the new ones first.
 * Owns:    *out belongs to the caller: vgw_principal_unref(), before vgw_gateway_free(). NULL on failure.
 * Threads: any.
 * Blocks:  never for long (a short lock).
 * Errors:  INVALID (no name, a limit above VGW_LIMIT_MAX, a '*' that is not last), NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_principal_new(vgw_principal **out, vgw_gateway *gateway,
	const vgw_principal_options *options, vgw_error *err);

/** One more reference.
 *  Owns: returned to the caller.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API vgw_principal *vgw_principal_ref(vgw_principal *principal);

/** Give a reference back. NULL is allowed.
 *  Owns: taken.  Threads: any.  Blocks: never for long.  Errors: none.  Since: 0.1 */
VGW_API void vgw_principal_unref(vgw_principal *principal);

/** Its name.
 *  Owns: borrowed until vgw_principal_unref().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_principal_get_name(const vgw_principal *principal);

/** May it use the model of this configured name (not an alias: what runs is what was allowed)? NULL may use all.
 *  Owns: read during the call.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_principal_may_use(const vgw_principal *principal, const char *model);

/* --- counting elsewhere --- */

/* Why a request was refused, and what is counted: XX(NAME, metric's label, sentence) */
#define VGW_LIMIT_REASON_MAP(XX)                                                      \
	XX(NONE, "none", "")                                                          \
	XX(REQUESTS, "requests", "the limit of requests per minute is reached")       \
	XX(TOKENS, "tokens", "the limit of tokens per minute is reached")             \
	XX(CONCURRENCY, "concurrency", "the limit of requests under way is reached")  \
	XX(ADDRESS, "address", "too many requests from this address")                 \
	XX(STORE, "store", "the limits cannot be checked at present")

typedef enum vgw_limit_reason {
#define XX(name, label, text) VGW_LIMIT_##name,
	VGW_LIMIT_REASON_MAP(XX)
#undef XX
	VGW_LIMIT_REASON_COUNT,
	VGW_LIMIT_REASON_FORCE_INT32 = 0x7fffffff
} vgw_limit_reason;

/** A question: may `name` begin one more request? All or nothing: what is refused takes nothing. */
typedef struct vgw_limit_ask {
	size_t size;
	const char *name;
	uint64_t requests_per_minute; /* 0: no limit, as the two below */
	uint64_t tokens_per_minute;
	uint64_t tokens;              /* to reserve; at most tokens_per_minute */
	uint32_t concurrency;
	uint32_t reserved0;
	int64_t max_ms;               /* the request is over after this, whatever happens */
} vgw_limit_ask;

/** The answer. `is_allowed` with the reason STORE: let through unchecked, nothing is settled. */
typedef struct vgw_limit_answer {
	size_t size;               /* set by VGW_LIMIT_ANSWER_INIT */
	uint32_t is_allowed;
	vgw_limit_reason reason;
	int64_t retry_ms;          /* of a refusal: when it makes sense to ask again; 0: unknown */
	uint64_t requests_left;    /* after this request; read where the ask had that limit */
	int64_t requests_reset_ms; /* until all of them are there again */
	uint64_t tokens_left;
	int64_t tokens_reset_ms;
	uint64_t place;            /* the store's own: comes back in settle() */
} vgw_limit_answer;

#define VGW_LIMIT_ANSWER_INIT { .size = sizeof(vgw_limit_answer) }

/** A question under way; the library's. */
typedef struct vgw_limit_ticket vgw_limit_ticket;

/** Counts limits for several gateways. Both functions are called on workers' threads and must not block. */
typedef struct vgw_limit_store {
	size_t size; /* sizeof(vgw_limit_store) */
	/* Answer by vgw_limit_ticket_answer(), exactly once, soon, on any thread, also from inside; *ask is borrowed
	 * until then. Every ticket must have been answered before vgw_gateway_free(). */
	void (*ask)(void *user, const vgw_limit_ask *ask, vgw_limit_ticket *ticket);
	/* A request that was allowed is over: `tokens` is what it took, `place` the answer's. *ask is borrowed during
	 * the call. */
	void (*settle)(void *user, const vgw_limit_ask *ask, uint64_t place, uint64_t tokens);
} vgw_limit_store;

/** Answer a store's question. The request may be gone by now: then what was granted is settled at once.
 *  Owns: the ticket is taken; *answer is read during the call.  Threads: any.  Blocks: never for long.  Errors: none.
 *  Since: 0.1 */
VGW_API void vgw_limit_ticket_answer(vgw_limit_ticket *ticket, const vgw_limit_answer *answer);

VGW_END_DECLS

#endif
