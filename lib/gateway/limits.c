/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts: found by name when principals are made, never while a request is served. The account's lock is held for a
 * few arithmetic operations; only requests of one name meet at it. */
#include "gateway/limits.h"

#include "util/alloc.h"
#include "util/error.h"

#include <string.h>

/* --- life ----------------------------------------------------------------------------------------------------- */

vgw_status vgw__limits_init(struct vgw__limits *limits, struct vgw__stats *stats, const vgw_gateway_options *options,
	vgw_error *err)
{
	limits->stats = stats;
	limits->store = options->limit_store;
	limits->store_user = options->limit_store_user;
	if (options->limit_store && (options->limit_store->size < sizeof(vgw_limit_store) ||
		!options->limit_store->ask || !options->limit_store->settle))
		return vgw_error_set(err, VGW_INVALID, 0, "the limits' store is incomplete");
	if (options->address_rpm > VGW_LIMIT_MAX)
		return vgw_error_set(err, VGW_INVALID, 0, "address_rpm is above %d", VGW_LIMIT_MAX);
	if (!options->address_rpm)
		return VGW_OK;
	return vgw__addresses_new(&limits->addresses, options->address_rpm, err);
}

void vgw__limits_fini(struct vgw__limits *limits)
{
	vgw__addresses_free(limits->addresses);
	limits->addresses = NULL;
}

/* --- accounts ------------------------------------------------------------------------------------------------- */

static struct vgw__account **find_chain(struct vgw__limits *limits, const char *name)
{
	uint32_t hash = 2166136261u; /* names are the operator's, so a plain hash will do */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return &limits->accounts[(hash ^ hash >> 16) % VGW__ACCOUNT_CHAINS];
}

static struct vgw__account *new_account(const char *name)
{
	size_t size = strlen(name) + 1;
	struct vgw__account *account = vgw__alloc(sizeof(*account) + size);

	if (!account)
		return NULL;
	if (pthread_mutex_init(&account->lock, NULL) != 0) {
		vgw__free(account);
		return NULL;
	}
	memcpy(account->name, name, size);
	return account;
}

struct vgw__account *vgw__limits_open_account(struct vgw__limits *limits, const char *name)
{
	struct vgw__account **chain = find_chain(limits, name);
	struct vgw__account *account;

	(void)pthread_mutex_lock(&limits->lock);
	account = *chain;
	while (account && strcmp(account->name, name) != 0)
		account = account->next;
	if (!account) {
		account = new_account(name);
		if (account) {
			account->next = *chain;
			*chain = account;
		}
	}
	if (account)
		account->refs++;
	(void)pthread_mutex_unlock(&limits->lock);
	return account;
}

void vgw__limits_close_account(struct vgw__limits *limits, struct vgw__account *account)
{
	struct vgw__account **link;
	bool is_last;

	if (!account)
		return;
	(void)pthread_mutex_lock(&limits->lock);
	is_last = --account->refs == 0;
	if (is_last) {
		link = find_chain(limits, account->name);
		while (*link != account)
			link = &(*link)->next;
		*link = account->next;
	}
	(void)pthread_mutex_unlock(&limits->lock);
	if (!is_last)
		return;
	(void)pthread_mutex_destroy(&account->lock);
	vgw__free(account);
}

struct vgw__key_stats *vgw__account_get_stats(struct vgw__limits *limits, struct vgw__account *account)
{
	struct vgw__key_stats *stats = atomic_load_explicit(&account->stats, memory_order_acquire);

	if (!stats) {
		stats = vgw__stats_get_key(limits->stats, account->name);
		atomic_store_explicit(&account->stats, stats, memory_order_release);
	}
	return stats;
}

/* --- taking and settling -------------------------------------------------------------------------------------- */

static int64_t up_ms(int64_t ns)
{
	return (ns + 999999) / 1000000;
}

static void refuse(vgw_limit_answer *out, vgw_limit_reason reason, int64_t wait_ns)
{
	if (out->reason != VGW_LIMIT_NONE && up_ms(wait_ns) <= out->retry_ms)
		return; /* the longest wait is the one that counts */
	out->reason = reason;
	out->retry_ms = up_ms(wait_ns);
}

/* Everything is looked at before anything is taken. */
static bool look(const struct vgw__account *account, const vgw_limit_ask *ask, int64_t now_ns, vgw_limit_answer *out)
{
	int64_t wait_ns;

	if (ask->concurrency && account->in_flight >= ask->concurrency)
		refuse(out, VGW_LIMIT_CONCURRENCY, 0);
	if (ask->requests_per_minute) {
		wait_ns = vgw__gcra_wait_ns(&account->requests, ask->requests_per_minute, 1, now_ns);
		if (wait_ns)
			refuse(out, VGW_LIMIT_REQUESTS, wait_ns);
	}
	if (ask->tokens_per_minute) {
		wait_ns = vgw__gcra_wait_ns(&account->tokens, ask->tokens_per_minute, ask->tokens, now_ns);
		if (wait_ns)
			refuse(out, VGW_LIMIT_TOKENS, wait_ns);
	}
	return out->reason == VGW_LIMIT_NONE;
}

static void tell(const struct vgw__account *account, const vgw_limit_ask *ask, int64_t now_ns, vgw_limit_answer *out)
{
	if (ask->requests_per_minute) {
		out->requests_left = vgw__gcra_left(&account->requests, ask->requests_per_minute, now_ns);
		out->requests_reset_ms = up_ms(vgw__gcra_reset_ns(&account->requests, now_ns));
	}
	if (ask->tokens_per_minute) {
		out->tokens_left = vgw__gcra_left(&account->tokens, ask->tokens_per_minute, now_ns);
		out->tokens_reset_ms = up_ms(vgw__gcra_reset_ns(&account->tokens, now_ns));
	}
}

void vgw__account_take(struct vgw__account *account, const vgw_limit_ask *ask, int64_t now_ns, vgw_limit_answer *out)
{
	*out = (vgw_limit_answer)VGW_LIMIT_ANSWER_INIT;
	(void)pthread_mutex_lock(&account->lock);
	if (look(account, ask, now_ns, out)) {
		out->is_allowed = 1;
		account->in_flight++;
		if (ask->requests_per_minute)
			vgw__gcra_take(&account->requests, ask->requests_per_minute, 1, now_ns);
		if (ask->tokens_per_minute)
			vgw__gcra_take(&account->tokens, ask->tokens_per_minute, ask->tokens, now_ns);
	}
	tell(account, ask, now_ns, out);
	(void)pthread_mutex_unlock(&account->lock);
}

void vgw__account_settle(struct vgw__account *account, const vgw_limit_ask *ask, uint64_t tokens, int64_t now_ns)
{
	(void)pthread_mutex_lock(&account->lock);
	account->in_flight--;
	if (ask->tokens_per_minute && tokens > ask->tokens)
		vgw__gcra_take(&account->tokens, ask->tokens_per_minute, tokens - ask->tokens, now_ns);
	else if (ask->tokens_per_minute)
		vgw__gcra_give(&account->tokens, ask->tokens_per_minute, ask->tokens - tokens);
	(void)pthread_mutex_unlock(&account->lock);
}
