/* SPDX-License-Identifier: Apache-2.0 */
/* hiredis tells what it wants to listen to; the watch follows. A context is freed by hiredis itself, from inside its
 * own handlers too, so after each of them the link is asked whether it still has it. */
#include "redis_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { AGAIN_MS = 300 };

const char *redis_address_parse(struct redis_address *address, const char *text)
{
	const char *rest, *end;
	char *stop = NULL;

	*address = (struct redis_address){ .port = 6379 };
	if (strncmp(text, "unix:/", 6) == 0) {
		if (strlen(text + 5) >= sizeof(address->path))
			return "the path is longer than 107 bytes";
		(void)snprintf(address->path, sizeof(address->path), "%s", text + 5);
		return NULL;
	}
	if (strncmp(text, "redis://", 8) != 0)
		return "is neither memory, redis://host:port/db nor unix:/path";
	rest = text + 8;
	if (strchr(rest, '@'))
		return "has credentials in it; put the password into auth.store_password";
	end = rest + strcspn(rest, ":/");
	if (end == rest || (size_t)(end - rest) >= sizeof(address->host))
		return "has no host";
	memcpy(address->host, rest, (size_t)(end - rest));
	if (*end == ':') {
		address->port = (int)strtol(end + 1, &stop, 10);
		if (stop == end + 1 || address->port < 1 || address->port > 65535)
			return "has no valid port";
		end = stop;
	}
	if (*end == '/' && end[1]) {
		address->database = (int)strtol(end + 1, &stop, 10);
		if (address->database < 0 || address->database > 1000000)
			return "has no valid number of a database";
		end = stop;
	}
	return strcmp(end, "/") == 0 || !*end ? NULL : "has something behind its database";
}

/* --- listening ------------------------------------------------------------------------------------------------ */

static void on_ready(vgw_watch *watch, uint32_t events)
{
	struct redis_link *link = watch->user;
	redisAsyncContext *context = link->context;

	if (context && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		redisAsyncHandleRead(context);
	if (link->context == context && context && events & EPOLLOUT)
		redisAsyncHandleWrite(context);
}

static void listen_to(struct redis_link *link, uint32_t events)
{
	if (events == link->events)
		return;
	if (!link->watch.is_added) {
		if (vgw_watch_add(link->loop, &link->watch, link->context->c.fd, events, on_ready, NULL) != VGW_OK)
			return; /* it will look dead, and be made again */
	} else {
		(void)vgw_watch_set(link->loop, &link->watch, events);
	}
	link->events = events;
}

static void add_read(void *user)
{
	struct redis_link *link = user;

	listen_to(link, link->events | EPOLLIN);
}

static void del_read(void *user)
{
	struct redis_link *link = user;

	listen_to(link, link->events & ~(uint32_t)EPOLLIN);
}

static void add_write(void *user)
{
	struct redis_link *link = user;

	listen_to(link, link->events | EPOLLOUT);
}

static void del_write(void *user)
{
	struct redis_link *link = user;

	listen_to(link, link->events & ~(uint32_t)EPOLLOUT);
}

static void cleanup(void *user)
{
	struct redis_link *link = user;

	vgw_watch_remove(link->loop, &link->watch);
	link->events = 0;
}

/* --- up and down ---------------------------------------------------------------------------------------------- */

static void on_again(vgw_timer *timer)
{
	redis_link_open(timer->user);
}

static void go_down(struct redis_link *link, const char *why)
{
	link->context = NULL;
	if (link->is_closing)
		return;
	link->is_up = false;
	link->on_change(link->user, false, why);
	link->again.user = link;
	(void)!vgw_timer_start(link->loop, &link->again, vgw_loop_now_ms(link->loop) + AGAIN_MS, on_again);
}

static void on_greeted(redisAsyncContext *context, void *reply, void *user)
{
	struct redis_link *link = context->data;
	const redisReply *answer = reply;

	(void)user;
	if (!answer)
		return; /* the connection ended: go_down() says so */
	if (answer->type == REDIS_REPLY_ERROR) {
		redis_link_break(link, answer->str);
		return;
	}
	link->is_up = true;
	link->on_change(link->user, true, "");
}

/* Without it the limits would be kept in another one, next to somebody else's. */
static void on_database(redisAsyncContext *context, void *reply, void *user)
{
	const redisReply *answer = reply;

	(void)user;
	if (answer && answer->type == REDIS_REPLY_ERROR)
		redis_link_break(context->data, answer->str);
}

static void greet(struct redis_link *link)
{
	redisAsyncContext *context = link->context;

	if (link->address.password)
		(void)redisAsyncCommand(context, NULL, NULL, "AUTH %s", link->address.password);
	if (link->address.database)
		(void)redisAsyncCommand(context, on_database, NULL, "SELECT %d", link->address.database);
	(void)redisAsyncCommand(context, on_greeted, NULL, "PING");
}

static void on_connect(const redisAsyncContext *context, int status)
{
	struct redis_link *link = context->data;

	if (status != REDIS_OK)
		go_down(link, context->errstr); /* hiredis frees the context */
	else
		greet(link);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
	go_down(context->data, status == REDIS_OK ? "disconnected" : context->errstr);
}

void redis_link_open(struct redis_link *link)
{
	const struct redis_address *address = &link->address;
	redisAsyncContext *context = address->host[0] ? redisAsyncConnect(address->host, address->port)
						      : redisAsyncConnectUnix(address->path);

	if (!context || context->err) {
		char why[128];

		(void)snprintf(why, sizeof(why), "%s", context ? context->errstr : "out of memory");
		if (context)
			redisAsyncFree(context);
		go_down(link, why);
		return;
	}
	link->context = context;
	link->watch.user = link;
	context->data = link;
	context->ev.data = link;
	context->ev.addRead = add_read;
	context->ev.delRead = del_read;
	context->ev.addWrite = add_write;
	context->ev.delWrite = del_write;
	context->ev.cleanup = cleanup;
	(void)redisAsyncSetDisconnectCallback(context, on_disconnect);
	(void)redisAsyncSetConnectCallback(context, on_connect); /* begins to listen */
}

void redis_link_break(struct redis_link *link, const char *why)
{
	redisAsyncContext *context = link->context;
	char text[128];

	if (!context)
		return;
	(void)snprintf(text, sizeof(text), "%s", why);
	context->onDisconnect = NULL;
	redisAsyncFree(context);
	go_down(link, text);
}

void redis_link_close(struct redis_link *link)
{
	redisAsyncContext *context = link->context;

	link->is_closing = true;
	link->is_up = false;
	vgw_timer_cancel(link->loop, &link->again);
	if (context)
		redisAsyncFree(context);
	link->context = NULL;
}
