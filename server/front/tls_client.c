/* SPDX-License-Identifier: Apache-2.0 */
/* Moving bytes between a client's TLS connection and our end of a socket pair.
 *
 *   outer ── SSL_read ──► in ──► inner       full: nothing more is read from the client
 *   outer ◄── SSL_write ◄── out ◄── inner    full: nothing more is read from inner, which fills up, and the
 *                                            writer behind it pauses its engine
 *
 * Both ends are looked at after every event (tls_pipe.c moves the bytes).
 *
 *   the client leaves (EPOLLRDHUP, close_notify)  ──► both ends are closed at once: the other side sees it
 *   inner ends (the answer is complete)           ──► the rest is sent, then close_notify, then the client's close
 *                                                     is waited for, for a while
 *   inner ends after tls_client_cut()             ──► a reset, and no close_notify */
#include "front/tls_client.h"

#include "front/accept.h"
#include "front/linger.h"
#include "front/tls_pipe.h"
#include "tls.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	PAIR_BYTES = 64 * 1024,
	FLUSH_MS = 30000, /* an ended connection's client takes nothing for so long: it is cut */
	CLOSE_MS = 2000,  /* and for so long its own close is waited for */
};

struct tls_client {
	struct link link;    /* in listener->tls_clients */
	struct link waiting; /* in listener->tls_waiting until MHD has begun with it */
	struct listener *listener;
	uint32_t refs;
	struct tls_pipe pipe;
	int outer;
	int given; /* MHD's end of the pair: only a name here */
	vgw_watch outer_watch;
	vgw_watch inner_watch;
	vgw_timer timer; /* handshake; then, after inner's end, patience */
	int64_t heard_ms; /* when the last bytes came from the client */
	bool is_open; /* the handshake is done */
	bool is_inner_hung;   /* closed behind that: nobody reads it either */
	bool is_notified; /* close_notify is sent */
	bool is_cut;
	socklen_t address_len;
	struct sockaddr_storage address;
};

/* --- the end -------------------------------------------------------------------------------------------------- */

struct tls_client *tls_client_ref(struct tls_client *client)
{
	if (client)
		client->refs++;
	return client;
}

void tls_client_unref(struct tls_client *client)
{
	if (client && --client->refs == 0)
		free(client);
}

const struct sockaddr *tls_client_get_address(const struct tls_client *client)
{
	return (const struct sockaddr *)&client->address;
}

uint64_t tls_client_get_given_bytes(const struct tls_client *client)
{
	return client->pipe.given_bytes;
}

int64_t tls_client_get_heard_ms(const struct tls_client *client)
{
	return client->heard_ms;
}

void tls_client_cut(struct tls_client *client)
{
	if (client)
		client->is_cut = true;
}

static void close_client(struct tls_client *client)
{
	struct listener *listener = client->listener;
	vgw_loop *loop = listener->worker->loop;

	vgw_watch_remove(loop, &client->outer_watch);
	vgw_watch_remove(loop, &client->inner_watch);
	vgw_timer_cancel(loop, &client->timer);
	link_remove(&client->link);
	link_remove(&client->waiting);
	if (client->pipe.inner >= 0)
		(void)close(client->pipe.inner);
	if (client->outer >= 0)
		(void)close(client->outer);
	tls_pipe_fini(&client->pipe);
	listener->tls_count--;
	accept_go_on(listener);
	tls_client_unref(client);
}

/* Without close_notify: to TLS that is an end by force, and a reset makes it one to everybody else. */
static void reset_client(struct tls_client *client)
{
	struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(client->outer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close_client(client);
}

/* --- after inner's end ---------------------------------------------------------------------------------------- */

static void on_impatience(vgw_timer *timer)
{
	reset_client(timer->user);
}

/* Everything is sent: what the client has not read yet, the kernel keeps for it. */
static void on_no_goodbye(vgw_timer *timer)
{
	close_client(timer->user);
}

static bool wait_for(struct tls_client *client, int64_t ms, vgw_timer_fn fn)
{
	struct worker *worker = client->listener->worker;

	client->timer.user = client;
	return vgw_timer_start(worker->loop, &client->timer, worker_now_ms(worker) + ms, fn) == VGW_OK;
}

/* false: there is nothing to wait for any more. */
static bool end_gently(struct tls_client *client, enum tls_outcome pushed)
{
	if (client->is_cut)
		return false;
	if (pushed == TLS_BLOCKED && (client->pipe.has_progress || !vgw_timer_is_armed(&client->timer)))
		return wait_for(client, FLUSH_MS, on_impatience);
	if (pushed == TLS_BLOCKED)
		return true;
	if (client->is_notified)
		return true;
	ERR_clear_error();
	if (SSL_shutdown(client->pipe.ssl) < 0 && !SSL_want_write(client->pipe.ssl))
		return false;
	client->is_notified = !SSL_want_write(client->pipe.ssl);
	if (!client->is_notified)
		return wait_for(client, FLUSH_MS, on_impatience);
	return shutdown(client->outer, SHUT_WR) == 0 && wait_for(client, CLOSE_MS, on_no_goodbye);
}

/* --- one step ------------------------------------------------------------------------------------------------- */

static bool listen_on(struct tls_client *client)
{
	vgw_loop *loop = client->listener->worker->loop;
	bool is_out_blocked = client->pipe.out.len > 0, is_in_blocked = client->pipe.in.len > 0;
	bool is_writing = is_out_blocked || client->pipe.wants_write ||
		(client->pipe.has_inner_ended && !client->is_notified);
	uint32_t outer = EPOLLRDHUP | (is_in_blocked ? 0 : EPOLLIN) | (is_writing ? EPOLLOUT : 0);
	uint32_t inner = (is_out_blocked || client->pipe.has_inner_ended ? 0 : EPOLLIN) | (is_in_blocked ? EPOLLOUT : 0);

	if (client->is_inner_hung)
		vgw_watch_remove(loop, &client->inner_watch); /* it would be told again and again */
	else if (client->is_open && vgw_watch_set(loop, &client->inner_watch, inner) != VGW_OK)
		return false;
	return vgw_watch_set(loop, &client->outer_watch, outer) == VGW_OK;
}

static void move(struct tls_client *client)
{
	enum tls_outcome pulled, pushed;

	client->pipe.wants_write = false;
	client->pipe.has_progress = false;
	client->pipe.has_heard = false;
	pulled = tls_pipe_pull(&client->pipe);
	if (client->pipe.has_heard)
		client->heard_ms = worker_now_ms(client->listener->worker);
	pushed = pulled == TLS_GONE ? TLS_GONE : tls_pipe_push(&client->pipe);
	if (pulled == TLS_GONE || pushed == TLS_GONE)
		close_client(client);
	else if ((client->pipe.has_inner_ended || client->is_inner_hung) && !end_gently(client, pushed))
		reset_client(client);
	else if (!listen_on(client))
		reset_client(client);
}

static void on_inner(vgw_watch *watch, uint32_t events)
{
	struct tls_client *client = watch->user;

	if (events & (EPOLLHUP | EPOLLERR)) {
		client->is_inner_hung = true;
		client->pipe.is_inner_deaf = true;
	}
	move(client);
}

/* --- the handshake -------------------------------------------------------------------------------------------- */

/* A pair, one end of which is MHD's from here on. */
static bool give_to_mhd(struct tls_client *client)
{
	struct listener *listener = client->listener;
	int pair[2], size = PAIR_BYTES;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return false;
	client->pipe.inner = pair[0];
	client->given = pair[1];
	for (int i = 0; i < 2; i++)
		(void)setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (vgw_watch_add(listener->worker->loop, &client->inner_watch, pair[0], EPOLLIN, on_inner, NULL) != VGW_OK) {
		(void)close(pair[1]);
		return false;
	}
	link_append(&listener->tls_waiting, &client->waiting);
	/* closes its end itself if it cannot take it */
	return MHD_add_connection(listener->daemon, pair[1], (struct sockaddr *)&client->address, client->address_len) ==
	       MHD_YES;
}

static void on_open(struct tls_client *client)
{
	vgw_timer_cancel(client->listener->worker->loop, &client->timer);
	client->is_open = true;
	if (!give_to_mhd(client)) {
		reset_client(client);
		return;
	}
	worker_pump(client->listener->worker);
	move(client); /* the first request may have come with the end of the handshake */
}

/* The usual mistake is answered in the language that was spoken. */
static void answer_plain_http(struct tls_client *client)
{
	static const char head[] = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n";
	char *body = vgw_fault_dup_body(VGW_FAULT_BAD_REQUEST, "this address speaks TLS: write https:// instead of http://",
		NULL);
	char text[1024];
	int len = body ? snprintf(text, sizeof(text), "%scontent-length: %zu\r\n\r\n%s", head, strlen(body), body) : -1;
	int fd = client->outer;

	vgw_free(body);
	if (len > 0 && (size_t)len < sizeof(text)) {
		vgw_watch_remove(client->listener->worker->loop, &client->outer_watch);
		client->outer = -1;
		(void)send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
		linger_take(client->listener->worker, fd, LINGER_BODY_BYTES);
	}
}

static void shake_hands(struct tls_client *client)
{
	unsigned long code;
	int result;

	client->pipe.wants_write = false;
	ERR_clear_error();
	result = SSL_accept(client->pipe.ssl);
	if (result == 1) {
		on_open(client);
		return;
	}
	if (tls_pipe_judge(&client->pipe, result) == TLS_BLOCKED) {
		if (!listen_on(client))
			close_client(client);
		return;
	}
	code = ERR_peek_error();
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST)
		answer_plain_http(client);
	close_client(client);
}

static void on_outer(vgw_watch *watch, uint32_t events)
{
	struct tls_client *client = watch->user;

	if ((events & (EPOLLHUP | EPOLLERR)) || (client->is_open && (events & EPOLLRDHUP)))
		close_client(client);
	else if (client->is_open)
		move(client);
	else
		shake_hands(client);
}

/* --- life ----------------------------------------------------------------------------------------------------- */

void tls_client_begin(struct listener *listener, int fd, const struct sockaddr_storage *address, socklen_t len)
{
	struct worker *worker = listener->worker;
	struct tls_client *client = calloc(1, sizeof(*client));

	if (!client) {
		(void)close(fd);
		return;
	}
	link_init(&client->waiting);
	link_append(&listener->tls_clients, &client->link);
	client->refs = 1;
	client->listener = listener;
	client->outer = fd;
	client->pipe.inner = -1;
	client->address = *address;
	client->address_len = len;
	client->outer_watch.user = client;
	client->inner_watch.user = client;
	client->pipe.ssl = tls_new_session(worker->front->options.tls);
	listener->tls_count++;
	if (!client->pipe.ssl || SSL_set_fd(client->pipe.ssl, fd) != 1 ||
		vgw_watch_add(worker->loop, &client->outer_watch, fd, EPOLLRDHUP | EPOLLIN, on_outer, NULL) != VGW_OK ||
		!wait_for(client, worker->front->options.header_timeout_ms, on_impatience))
		close_client(client);
}

struct tls_client *tls_client_find(struct listener *listener, int inner_fd)
{
	for (struct link *at = listener->tls_waiting.next; at != &listener->tls_waiting; at = at->next) {
		struct tls_client *client = LINK_OWNER(at, struct tls_client, waiting);

		if (client->given != inner_fd)
			continue;
		link_remove(&client->waiting);
		return tls_client_ref(client);
	}
	return NULL;
}

void tls_clients_close(struct worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++) {
		struct link *clients = &worker->listeners[i].tls_clients;

		while (worker->listeners[i].is_tls && !link_is_empty(clients)) {
			struct tls_client *client = LINK_OWNER(clients->next, struct tls_client, link);

			if (client->is_open && tls_pipe_push(&client->pipe) == TLS_DONE && client->pipe.has_inner_ended)
				(void)SSL_shutdown(client->pipe.ssl);
			close_client(client);
		}
	}
}
