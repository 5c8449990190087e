/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: read requests one at a time, flush what the exchange wrote, notice when the peer goes.
 *
 *   socket --> in --> http_feed --> exchange_begin ... exchange writes --> out --> (paced) --> socket
 *
 * conn_pump() moves everything that can move; whoever changed something (an event, a timer) calls it last. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 65536, ROUNDS = 16, PAUSE_US = 1000, LINGER_US = 1000000 };

bool conn_has_output(const struct conn *conn)
{
	return conn->out_sent < conn->out.len;
}

/* --- closing --- */

static void unlink_conn(struct conn *conn)
{
	struct engine *engine = conn->engine;

	if (conn->previous)
		conn->previous->next = conn->next;
	else
		engine->conns = conn->next;
	if (conn->next)
		conn->next->previous = conn->previous;
	conn->next = engine->dead;
	engine->dead = conn;
}

void conn_close(struct conn *conn, enum ending how, const char *by)
{
	struct engine *engine = conn->engine;
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	if (conn->is_dead)
		return;
	if (conn->is_busy)
		exchange_finish(conn, "aborted");
	exchange_clear(conn);
	if (how == END_RESET)
		setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(conn->fd);
	conn->is_dead = true;
	timer_cancel(&engine->loop, &conn->pacer);
	timer_cancel(&engine->loop, &conn->idle);
	if (!conn->is_control && !conn->is_admin) {
		engine->counters.open--;
		record_connection(conn, "close", by);
	}
	unlink_conn(conn);
}

/* The peer went away, or cannot be reached. */
static void peer_closed(struct conn *conn)
{
	struct engine *engine = conn->engine;
	bool is_partial = !conn->is_busy && (conn->in.len || conn->x.request.head.len);

	if (!conn->is_control && !conn->is_admin && !conn->is_lingering && (conn->is_busy || is_partial)) {
		engine->counters.closed_by_client++;
		engine->counters.last_close_ms = now_us() / 1000;
		if (is_partial)
			record_partial(conn);
	}
	if (conn->is_busy)
		exchange_finish(conn, "client_closed");
	conn_close(conn, END_NONE, "client");
}

/* A close with unread input would be a RST that may overtake what was just sent: say FIN, then read on a
 * while. */
static void close_gently(struct conn *conn)
{
	char byte;

	if (recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
		conn_close(conn, END_CLOSE, "engine");
		return;
	}
	shutdown(conn->fd, SHUT_WR);
	conn->is_lingering = true;
	conn->is_readable = true;
	timer_arm(&conn->engine->loop, &conn->idle, now_us() + LINGER_US);
}

static void idle_fired(void *arg)
{
	conn_close(arg, END_CLOSE, "idle");
}

/* --- writing --- */

/* How many of the bytes at `p` may go now, and whether to pause after them. */
static size_t paced(struct conn *conn, const char *p, size_t len, int64_t *pause_us)
{
	size_t n = 0;

	*pause_us = -1;
	switch (conn->pace) {
	case PACE_NONE:
		break;
	case PACE_HEAD:
		if (!conn->pace_left)
			break;
		*pause_us = conn->pace_us;
		return 1;
	case PACE_BYTES:
		*pause_us = conn->pace_us;
		return 1;
	case PACE_UTF8:
		while (n < len && !(p[n] & 0x80))
			n++;
		*pause_us = n ? (n < len ? PAUSE_US : -1) : PAUSE_US;
		return n ? n : 1;
	}
	return len;
}

static bool flush(struct conn *conn)
{
	while (conn_has_output(conn) && conn->is_writable && !timer_is_armed(&conn->pacer)) {
		const char *p = conn->out.data + conn->out_sent;
		int64_t pause_us;
		size_t n = paced(conn, p, conn->out.len - conn->out_sent, &pause_us);
		ssize_t sent = send(conn->fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			conn->is_writable = false;
			break;
		}
		if (sent < 0) {
			peer_closed(conn);
			return false;
		}
		conn->out_sent += (size_t)sent;
		if (!conn->is_control && !conn->is_admin)
			conn->engine->counters.bytes_sent += sent;
		if (conn->pace == PACE_HEAD && conn->pace_left)
			conn->pace_left -= (size_t)sent;
		if (pause_us >= 0)
			timer_arm(&conn->engine->loop, &conn->pacer, now_us() + pause_us);
	}
	if (!conn_has_output(conn) && conn->out.len) {
		conn->out_sent = 0;
		conn->out.len = 0;
		if (conn->out.cap > 4 * READ_BYTES)
			buf_free(&conn->out);
	}
	return true;
}

/* --- reading --- */

/* One read into `in`. false: nothing more now, or the connection is gone. */
static bool fill(struct conn *conn)
{
	char bytes[READ_BYTES];
	ssize_t n;

	if (!conn->is_readable)
		return false;
	n = recv(conn->fd, bytes, sizeof(bytes), 0);
	if (n > 0) {
		if (!conn->is_lingering)
			buf_add(&conn->in, bytes, (size_t)n);
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		conn->is_readable = false;
	else
		peer_closed(conn);
	return false;
}

/* true: go on pumping. */
static bool read_request(struct conn *conn)
{
	enum http_result result = conn->in.len ? http_feed(&conn->x.request, &conn->in) : HTTP_MORE;

	switch (result) {
	case HTTP_MORE:
		return fill(conn);
	case HTTP_HEAD:
		timer_cancel(&conn->engine->loop, &conn->idle);
		if (conn->x.request.expects_continue)
			buf_text(&conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
		result = http_feed(&conn->x.request, &conn->in);
		if (result == HTTP_MORE)
			return true;
		break;
	case HTTP_DONE:
	case HTTP_BAD:
		break;
	}
	timer_cancel(&conn->engine->loop, &conn->idle);
	conn->is_busy = true;
	conn->requests++;
	if (result == HTTP_BAD)
		exchange_bad_request(conn);
	else
		exchange_begin(conn);
	return true;
}

/* --- pumping --- */

/* Everything is out: the end of the exchange. */
static void end_exchange(struct conn *conn)
{
	struct engine *engine = conn->engine;
	enum ending ending = conn->x.ending;

	exchange_finish(conn, conn->x.outcome ? conn->x.outcome : "answered");
	exchange_clear(conn);
	conn->pace = PACE_NONE;
	switch (ending) {
	case END_KILL:
		lifecycle_exit_now(engine, -1);
		return;
	case END_RESET:
		conn_close(conn, END_RESET, "engine");
		return;
	case END_CLOSE:
		close_gently(conn);
		return;
	case END_NONE:
		timer_arm(&engine->loop, &conn->idle, now_us() + engine->options.keepalive);
	}
}

/* One step; false when nothing can move before the next event. */
static bool step(struct conn *conn)
{
	if (!flush(conn))
		return false;
	if (conn->is_lingering)
		return fill(conn);
	if (!conn->is_busy)
		return read_request(conn);
	if (conn_has_output(conn))
		return false;
	if (conn->x.is_complete) {
		end_exchange(conn);
		return true;
	}
	if (conn->x.refill) {
		conn->x.refill(conn);
		return true;
	}
	return false;
}

void conn_pump(struct conn *conn)
{
	int round = 0;

	if (conn->is_dead || conn->is_pumping)
		return;
	conn->is_pumping = true;
	while (!conn->is_dead && round < ROUNDS && step(conn))
		round++;
	conn->is_pumping = false;
	if (conn->is_dead)
		return;
	if (conn->is_busy && conn->is_peer_closed) {
		peer_closed(conn);
		return;
	}
	if (round == ROUNDS && !timer_is_armed(&conn->pacer)) /* let the others have their turn */
		timer_arm(&conn->engine->loop, &conn->pacer, now_us());
}

static void pump_again(void *arg)
{
	conn_pump(arg);
}

static void timer_fired(void *arg)
{
	struct conn *conn = arg;

	if (conn->x.resume)
		conn->x.resume(conn);
	conn_pump(conn);
}

static void socket_ready(struct source *source, uint32_t events)
{
	struct conn *conn = (struct conn *)(void *)source;

	if (conn->is_dead)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->is_readable = true;
	if (events & EPOLLOUT)
		conn->is_writable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->is_peer_closed = true;
	if (conn->is_control || !conn->engine->loop.is_hung)
		conn_pump(conn);
}

void conn_open(struct engine *engine, int fd, bool is_control)
{
	struct conn *conn = xalloc(sizeof(*conn));
	struct counters *counters = &engine->counters;

	conn->source.ready = socket_ready;
	conn->engine = engine;
	conn->fd = fd;
	conn->is_control = is_control;
	conn->is_writable = true;
	conn->is_readable = true;
	conn->pacer = (struct timer){.fire = pump_again, .arg = conn};
	conn->idle = (struct timer){.fire = idle_fired, .arg = conn};
	conn->x.timer = (struct timer){.fire = timer_fired, .arg = conn};
	conn->next = engine->conns;
	if (conn->next)
		conn->next->previous = conn;
	engine->conns = conn;
	if (!is_control) {
		conn->number = ++engine->next_connection;
		counters->connections++;
		if (++counters->open > counters->peak_open)
			counters->peak_open = counters->open;
		record_connection(conn, "open", NULL);
	}
	loop_add(&engine->loop, fd, &conn->source, is_control);
}
