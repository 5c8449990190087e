/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to Redis, on a loop: made, kept, made again. The only user of hiredis' asynchronous interface.
 *
 *   DOWN ──► connect ──► AUTH, SELECT, PING ──► UP ──► broken, or silent for too long ──► DOWN, again in a moment */
#ifndef VGW_SERVER_REDIS_LINK_H
#define VGW_SERVER_REDIS_LINK_H

#include <vllmgw/loop.h>

#include <hiredis/async.h>

struct redis_address {
	char host[256]; /* empty: `path` */
	int port;
	int database;
	char path[108];
	const char *password; /* borrowed, NULL: none */
};

/* "redis://host[:port][/db]" or "unix:/path". NULL, or what is wrong. */
const char *redis_address_parse(struct redis_address *address, const char *text);

struct redis_link {
	struct redis_address address;
	vgw_loop *loop;
	redisAsyncContext *context; /* NULL: DOWN */
	bool is_up;
	bool is_closing;
	uint32_t events;
	vgw_watch watch;
	vgw_timer again;
	void (*on_change)(void *user, bool is_up, const char *why);
	void *user;
};

/* Fields above `context` and the callback are set by the caller. The loop's thread, as all of this. */
void redis_link_open(struct redis_link *link);
void redis_link_close(struct redis_link *link); /* callbacks of what is under way come with a NULL reply */
void redis_link_break(struct redis_link *link, const char *why); /* the same, and it is made again */

#endif
