/* SPDX-License-Identifier: Apache-2.0 */
/* Moving bytes between a client's TLS connection and our end of a socket pair.
 *
 *   outer ── SSL_read ──► in ──► inner       full: nothing more is read from the client
 *   outer ◄── SSL_write ◄── out ◄── inner    full: nothing more is read from inner, which fills up, and the
 *                                            writer behind it pauses its engine
 *
 * Nothing is kept but what did not fit: an idle client has no buffers. Both ends are looked at after every event.
 *
 *   the client leaves (EPOLLRDHUP, close_notify)  ──► both ends are closed at once: the other side sees it
 *   inner ends (the answer is complete)           ──► the rest is sent, then close_notify, then the client's close
 *                                                     is waited for, for a while
 *   inner ends after tls_client_cut()             ──► a reset, and no close_notify */
#include "front/tls_client.h"

#include "front/accept.h"
#include "front/linger.h"
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	PIECE_BYTES = 16384, /* a record of TLS */
	PAIR_BYTES = 64 * 1024,
	FLUSH_MS = 30000, /* an ended connection's client takes nothing for so long: it is cut */
	CLOSE_MS = 2000,  /* and for so long its own close is waited for */
};

/* What did not fit. */
struct rest {
	char *data;
	size_t len;
	size_t sent;
};

struct tls_client {
	struct link link;    /* in listener->tls_clients */
	struct link waiting; /* in listener->tls_waiting until MHD has begun with it */
	struct listener *listener;
	uint32_t refs;
	SSL *ssl;
	int outer;
	int inner;
	int given; /* MHD's end of the pair: only a name here */
	vgw_watch outer_watch;
	vgw_watch inner_watch;
	vgw_timer timer; /* handshake; then, after inner's end, patience */
	struct rest in;
	struct rest out;
	int64_t heard_ms; /* when the last bytes came from the client */
	bool is_open; /* the handshake is done */
	bool wants_write; /* TLS has to write before it can go on reading */
	bool has_progress; /* in this step something went out */
	bool has_inner_ended; /* all that it said was read */
	bool is_inner_hung;   /* closed behind that: nobody reads it either */
	bool is_inner_deaf;
	bool is_notified; /* close_notify is sent */
	bool is_cut;
	bool is_gone; /* taken apart; only references are left */
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
	if (client->inner >= 0)
		(void)close(client->inner);
	if (client->outer >= 0)
		(void)close(client->outer);
	SSL_free(client->ssl);
	free(client->in.data);
	free(client->out.data);
	client->is_gone = true;
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

/* --- moving bytes --------------------------------------------------------------------------------------------- */

static bool keep_rest(struct rest *rest, const char *data, size_t len)
{
	rest->data = malloc(len);
	if (!rest->data)
		return false;
	memcpy(rest->data, data, len);
	rest->len = len;
	rest->sent = 0;
	return true;
}

static void drop_rest(struct rest *rest)
{
	free(rest->data);
	*rest = (struct rest){ 0 };
}

/* What came of a call of TLS. */
enum outcome { DONE, BLOCKED, GONE };

static enum outcome judge(struct tls_client *client, int result)
{
	switch (SSL_get_error(client->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return BLOCKED;
	case SSL_ERROR_WANT_WRITE:
		client->wants_write = true;
		return BLOCKED;
	default:
		return GONE;
	}
}

/* How much inner took; what nobody reads any more counts as taken. */
static size_t give_inner(struct tls_client *client, const char *data, size_t len)
{
	size_t given = 0;

	while (given < len && !client->is_inner_deaf) {
		ssize_t sent = send(client->inner, data + given, len - given, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0)
			given += (size_t)sent;
		else if (errno == EAGAIN)
			return given;
		else if (errno != EINTR)
			client->is_inner_deaf = true;
	}
	return len;
}

/* From the client. GONE: it has left, or there is no memory. */
static enum outcome pull(struct tls_client *client)
{
	char piece[PIECE_BYTES];

	for (;;) {
		struct rest *rest = &client->in;
		size_t given;
		int count;

		if (rest->len) {
			rest->sent += give_inner(client, rest->data + rest->sent, rest->len - rest->sent);
			if (rest->sent < rest->len)
				return BLOCKED;
			drop_rest(rest);
		}
		ERR_clear_error();
		count = SSL_read(client->ssl, piece, sizeof(piece));
		if (count <= 0)
			return judge(client, count);
		client->heard_ms = worker_now_ms(client->listener->worker);
		given = give_inner(client, piece, (size_t)count);
		if (given < (size_t)count && !keep_rest(rest, piece + given, (size_t)count - given))
			return GONE;
	}
}

/* All or nothing of it is taken: no piece is larger than a record. */
static enum outcome encrypt(struct tls_client *client, const char *data, size_t len)
{
	int count;

	ERR_clear_error();
	count = SSL_write(client->ssl, data, (int)len);
	client->has_progress = client->has_progress || count > 0;
	return count > 0 ? DONE : judge(client, count);
}

/* To the client. DONE: everything that was there is sent, or on its way. */
static enum outcome push(struct tls_client *client)
{
	char piece[PIECE_BYTES];

	if (client->out.len) {
		enum outcome outcome = encrypt(client, client->out.data, client->out.len);

		if (outcome != DONE)
			return outcome;
		drop_rest(&client->out);
	}
	while (!client->has_inner_ended) {
		ssize_t count = recv(client->inner, piece, sizeof(piece), MSG_DONTWAIT);
		enum outcome outcome;

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno == EAGAIN)
			return DONE;
		if (count <= 0) {
			client->has_inner_ended = true;
			return DONE;
		}
		outcome = encrypt(client, piece, (size_t)count);
		if (outcome == BLOCKED && !keep_rest(&client->out, piece, (size_t)count))
			return GONE;
		if (outcome != DONE)
			return outcome;
	}
	return DONE;
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
static bool end_gently(struct tls_client *client, enum outcome pushed)
{
	if (client->is_cut)
		return false;
	if (pushed == BLOCKED && (client->has_progress || !vgw_timer_is_armed(&client->timer)))
		return wait_for(client, FLUSH_MS, on_impatience);
	if (pushed == BLOCKED)
		return true;
	if (client->is_notified)
		return true;
	ERR_clear_error();
	if (SSL_shutdown(client->ssl) < 0 && !SSL_want_write(client->ssl))
		return false;
	client->is_notified = !SSL_want_write(client->ssl);
	if (!client->is_notified)
		return wait_for(client, FLUSH_MS, on_impatience);
	return shutdown(client->outer, SHUT_WR) == 0 && wait_for(client, CLOSE_MS, on_no_goodbye);
}

/* --- one step ------------------------------------------------------------------------------------------------- */

static bool listen_on(struct tls_client *client)
{
	vgw_loop *loop = client->listener->worker->loop;
	bool is_out_blocked = client->out.len > 0, is_in_blocked = client->in.len > 0;
	bool is_writing = is_out_blocked || client->wants_write ||
		(client->has_inner_ended && !client->is_notified);
	uint32_t outer = EPOLLRDHUP | (is_in_blocked ? 0 : EPOLLIN) | (is_writing ? EPOLLOUT : 0);
	uint32_t inner = (is_out_blocked || client->has_inner_ended ? 0 : EPOLLIN) | (is_in_blocked ? EPOLLOUT : 0);

	if (client->is_inner_hung)
		vgw_watch_remove(loop, &client->inner_watch); /* it would be told again and again */
	else if (client->is_open && vgw_watch_set(loop, &client->inner_watch, inner) != VGW_OK)
		return false;
	return vgw_watch_set(loop, &client->outer_watch, outer) == VGW_OK;
}

static void move(struct tls_client *client)
{
	enum outcome pulled, pushed;

	client->wants_write = false;
	client->has_progress = false;
	pulled = pull(client);
	pushed = pulled == GONE ? GONE : push(client);
	if (pulled == GONE || pushed == GONE)
		close_client(client);
	else if ((client->has_inner_ended || client->is_inner_hung) && !end_gently(client, pushed))
		reset_client(client);
	else if (!listen_on(client))
		reset_client(client);
}

static void on_inner(vgw_watch *watch, uint32_t events)
{
	struct tls_client *client = watch->user;

	if (events & (EPOLLHUP | EPOLLERR)) {
		client->is_inner_hung = true;
		client->is_inner_deaf = true;
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
	client->inner = pair[0];
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

	client->wants_write = false;
	ERR_clear_error();
	result = SSL_accept(client->ssl);
	if (result == 1) {
		on_open(client);
		return;
	}
	if (judge(client, result) == BLOCKED) {
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
	client->inner = -1;
	client->address = *address;
	client->address_len = len;
	client->outer_watch.user = client;
	client->inner_watch.user = client;
	client->ssl = tls_new_session(worker->front->options.tls);
	listener->tls_count++;
	if (!client->ssl || SSL_set_fd(client->ssl, fd) != 1 ||
		vgw_watch_add(worker->loop, &client->outer_watch, fd, EPOLLRDHUP | EPOLLIN, on_outer, NULL) != VGW_OK ||
		!wait_for(client, worker->front->options.header_timeout_ms, on_impatience))
		close_client(client);
}

struct tls_client *tls_client_find(struct listener *listener, int inner_fd, const struct sockaddr **address)
{
	for (struct link *at = listener->tls_waiting.next; at != &listener->tls_waiting; at = at->next) {
		struct tls_client *client = LINK_OWNER(at, struct tls_client, waiting);

		if (client->given != inner_fd)
			continue;
		link_remove(&client->waiting);
		*address = (const struct sockaddr *)&client->address;
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

			if (client->is_open && push(client) == DONE && client->has_inner_ended)
				(void)SSL_shutdown(client->ssl);
			close_client(client);
		}
	}
}
