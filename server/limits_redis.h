/* SPDX-License-Identifier: Apache-2.0 */
/* Limits counted in Redis, for several gateways together. A thread of its own speaks to it; workers only post. */
#ifndef VGW_SERVER_LIMITS_REDIS_H
#define VGW_SERVER_LIMITS_REDIS_H

#include <vllmgw/log.h>
#include <vllmgw/principal.h>

struct limits_redis;

struct limits_redis_options {
	const char *url;      /* redis://host:port/db or unix:/path */
	const char *password; /* NULL: none; borrowed until _free() */
	bool is_open;         /* without Redis: let requests through unchecked; else refuse them */
	vgw_logger logger;
};

/* Starts the thread; Redis need not be there yet. 0 or -1 with a sentence. */
int limits_redis_new(struct limits_redis **out, const struct limits_redis_options *options, char *why, size_t size);
/* Workers are detached. Answers what is left, then ends the thread. NULL is allowed. */
void limits_redis_free(struct limits_redis *store);

/* What the gateway is given, with the store as its user. */
extern const vgw_limit_store limits_redis_ops;

/* Is this a URL that limits_redis_new() takes? NULL, or what is wrong. */
const char *limits_redis_check(const char *url);

#endif
