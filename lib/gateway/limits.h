/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of principals and addresses. What a request takes is taken at once or not at all, under the account's own
 * short lock, and is settled exactly once when the request ends, however it ends.
 *
 *   principals of one name ──► account: requests, tokens (one word each), places taken
 *   no principal ────────────► addresses: a table of fixed size
 *   a store is configured ───► ticket: the question goes out, the answer comes back to the worker's mailbox */
#ifndef VGW_GATEWAY_LIMITS_H
#define VGW_GATEWAY_LIMITS_H

#include "core/gcra.h"
#include "observe/key_stats.h"

#include <vllmgw/gateway.h>

#include <pthread.h>

enum { VGW__ACCOUNT_CHAINS = 1024 };

struct vgw__addresses;
struct vgw__mailbox;

/* What one name has used. */
struct vgw__account {
	struct vgw__account *next;
	unsigned refs;         /* guarded by limits->lock */
	_Atomic(struct vgw__key_stats *) stats; /* NULL before its first request */
	pthread_mutex_t lock;
	struct vgw__gcra requests; /* guarded by lock, as the two below */
	struct vgw__gcra tokens;
	uint32_t in_flight;
	char name[];
};

struct vgw__limits {
	struct vgw__stats *stats;
	const vgw_limit_store *store; /* NULL: count here */
	void *store_user;
	struct vgw__addresses *addresses; /* NULL: no limit */
	pthread_mutex_t lock;
	struct vgw__account *accounts[VGW__ACCOUNT_CHAINS]; /* guarded by lock */
};

/* The library's side of a public principal. */
struct vgw_principal {
	atomic_uint refs;
	struct vgw__limits *limits;
	struct vgw__account *account;
	uint64_t requests_per_minute;
	uint64_t tokens_per_minute;
	uint32_t concurrency;
	vgw_priority priority;
	bool may_not_swap;
	size_t pattern_count;
	char **patterns;
};

vgw_status vgw__limits_init(struct vgw__limits *limits, struct vgw__stats *stats, const vgw_gateway_options *options,
	vgw_error *err);
void vgw__limits_fini(struct vgw__limits *limits); /* principals are gone; also of a zeroed one */

/* The account of a name, made at first use; NULL without memory. */
struct vgw__account *vgw__limits_open_account(struct vgw__limits *limits, const char *name);
void vgw__limits_close_account(struct vgw__limits *limits, struct vgw__account *account);

/* Its counters, made at its first request; NULL without memory. */
struct vgw__key_stats *vgw__account_get_stats(struct vgw__limits *limits, struct vgw__account *account);

/* Does anything limit this principal? */
bool vgw__principal_is_limited(const vgw_principal *principal);

/* Take what a request needs of the account in this process: all, or nothing and why. */
void vgw__account_take(struct vgw__account *account, const vgw_limit_ask *ask, int64_t now_ns, vgw_limit_answer *out);
/* It is over, and took so many tokens. */
void vgw__account_settle(struct vgw__account *account, const vgw_limit_ask *ask, uint64_t tokens, int64_t now_ns);

/* --- addresses.c --- */

vgw_status vgw__addresses_new(struct vgw__addresses **out, uint64_t limit, vgw_error *err);
void vgw__addresses_free(struct vgw__addresses *addresses); /* NULL is allowed */
/* One request of an address: 0, or the nanoseconds until there is room for it. */
int64_t vgw__addresses_take(struct vgw__addresses *addresses, const char *address, int64_t now_ns);

/* --- tickets.c --- */

typedef void (*vgw__answered_fn)(void *user, const vgw_limit_answer *answer);

/* Where a worker's answers arrive. Owner of the loop. */
vgw_status vgw__mailbox_new(struct vgw__mailbox **out, struct vgw__limits *limits, vgw_loop *loop, vgw_error *err);
void vgw__mailbox_free(struct vgw__mailbox *mailbox); /* NULL is allowed; questions under way are settled */

/* Ask the store. `fn` is called once, on the loop's thread, never from inside, unless cancelled. *ask is copied; its
 * name is borrowed of the principal, which the ticket keeps. NULL without memory. */
vgw_limit_ticket *vgw__mailbox_ask(struct vgw__mailbox *mailbox, vgw_principal *principal, const vgw_limit_ask *ask,
	vgw__answered_fn fn, void *user);
void vgw__ticket_cancel(vgw_limit_ticket *ticket);

#endif
