/* SPDX-License-Identifier: Apache-2.0 */
/* The h1 transport: plain HTTP/1.1 to engines, without blocking and with exactly one attempt per call.
 *
 *   start ──► idle connection? ──yes──► sendmsg ──────────────┐
 *                 │ no                                        ▼
 *                 └─► connect, address by address ──► sendmsg ──► recv ... ──► on_end
 *
 * Runs on the loop's thread alone. This file connects, ends and cancels calls; h1_send.c and h1_receive.c do the
 * rest. */
#include "net/h1.h"

#include "util/alloc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

/* --- the end of a call ------------------------------------------------------------------------------------------- */

void vgw__h1_finish(struct vgw__h1_conn *conn, enum vgw__outcome outcome, int sys_errno, const char *why)
{
	struct vgw__h1 *h1 = vgw__h1_of(conn);
	const struct vgw__upstream_events *events = conn->events;
	void *user = conn->user;
	const struct vgw__upstream_result result = {
		.outcome = outcome,
		.is_reused = conn->is_reused,
		.is_sent = conn->is_sent,
		.sys_errno = sys_errno,
		.why = why,
	};

	if (h1->current == conn)
		h1->current = NULL;
	/* before on_end, which may start the next call on this connection */
	if (outcome == VGW__OUTCOME_COMPLETE && conn->is_sent && !conn->is_last)
		vgw__h1_pool_keep(&h1->pool, conn);
	else
		vgw__h1_pool_close(&h1->pool, conn);
	events->on_end(user, &result);
}

static void end_failed(vgw_defer *defer)
{
	struct vgw__h1 *h1 = defer->user;

	while (!vgw__list_is_empty(&h1->failed)) {
		struct vgw__h1_conn *conn = VGW__CONTAINER(h1->failed.next, struct vgw__h1_conn, link);

		vgw__h1_finish(conn, (enum vgw__outcome)conn->outcome, conn->sys_errno, conn->why);
	}
}

void vgw__h1_fail_later(struct vgw__h1_conn *conn, enum vgw__outcome outcome, int sys_errno, const char *why)
{
	struct vgw__h1 *h1 = vgw__h1_of(conn);

	if (conn->state == VGW__H1_FAILED)
		return;
	conn->state = VGW__H1_FAILED;
	conn->outcome = (uint8_t)outcome;
	conn->sys_errno = sys_errno;
	conn->why = why;
	vgw_watch_remove(h1->loop, &conn->watch);
	vgw__list_append(&h1->failed, &conn->link);
	vgw_defer_call(h1->loop, &h1->defer, end_failed);
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static void on_connected(struct vgw__h1_conn *conn);

static void on_event(vgw_watch *watch, uint32_t events)
{
	struct vgw__h1_conn *conn = watch->user;
	struct vgw__h1 *h1 = vgw__h1_of(conn);

	if (conn->state == VGW__H1_IDLE) {
		vgw__h1_pool_close(&h1->pool, conn); /* closed by the engine, or it talks without being asked */
		return;
	}
	if (conn->state == VGW__H1_CONNECTING) {
		on_connected(conn);
		return;
	}
	if ((events & EPOLLOUT) && conn->send) {
		vgw__h1_send_more(conn);
		if (conn->state != VGW__H1_FAILED && !vgw__h1_listen(conn))
			vgw__h1_fail_later(conn, VGW__OUTCOME_FAILED, 0, "epoll refused the connection");
	}
	if (conn->state == VGW__H1_FAILED || !(events & ~(uint32_t)EPOLLOUT))
		return;
	if (!conn->is_paused)
		vgw__h1_receive(conn, events);
	else if (events & (EPOLLERR | EPOLLHUP))
		vgw_watch_remove(h1->loop, watch); /* it would be said again and again until somebody reads */
}

bool vgw__h1_listen(struct vgw__h1_conn *conn)
{
	vgw_loop *loop = vgw__h1_of(conn)->loop;
	uint32_t events = conn->is_paused ? 0 : VGW__H1_READ_EVENTS;
	vgw_status status;

	if (conn->state == VGW__H1_CONNECTING || conn->send)
		events |= EPOLLOUT;
	status = vgw_watch_set(loop, &conn->watch, events);
	if (status == VGW_INVALID)
		status = vgw_watch_add(loop, &conn->watch, conn->fd, events, on_event, NULL);
	return status == VGW_OK;
}

/* --- connecting -------------------------------------------------------------------------------------------------- */

/* Errors that are ours and would befall any other engine too. */
static bool is_our_shortage(int sys_errno)
{
	return sys_errno == EMFILE || sys_errno == ENFILE || sys_errno == ENOBUFS || sys_errno == ENOMEM;
}

static int open_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	/* Without TCP_NODELAY it is slower, not wrong. */
	if (fd >= 0 && family != AF_UNIX)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void drop_socket(struct vgw__h1_conn *conn)
{
	vgw_watch_remove(vgw__h1_of(conn)->loop, &conn->watch);
	if (conn->fd >= 0)
		(void)close(conn->fd);
	conn->fd = -1;
}

/* Try the addresses that are left. True: a connection is made or in the making; false: connect_errno says why not. */
static bool connect_next(struct vgw__h1_conn *conn)
{
	const struct vgw__endpoint *endpoint = conn->peer->endpoint;
	struct vgw__h1_send *send = conn->send;

	while (send->next_address < endpoint->address_count) {
		const struct vgw__address *address = &endpoint->addresses[send->next_address++];
		int rc;

		drop_socket(conn);
		conn->fd = open_socket(address->addr.ss_family);
		if (conn->fd < 0) {
			send->connect_errno = errno;
			continue;
		}
		do {
			rc = connect(conn->fd, (const struct sockaddr *)&address->addr, address->len);
		} while (rc < 0 && errno == EINTR);
		if (rc == 0)
			conn->state = VGW__H1_HEAD;
		else if (errno != EINPROGRESS) {
			send->connect_errno = errno;
			continue;
		}
		if (vgw__h1_listen(conn))
			return true;
		send->connect_errno = ENOMEM;
		conn->state = VGW__H1_CONNECTING;
	}
	return false;
}

static void describe_failure(const struct vgw__h1_conn *conn, enum vgw__outcome *outcome, const char **why)
{
	*outcome = VGW__OUTCOME_CONNECT;
	if (is_our_shortage(conn->send->connect_errno)) {
		*outcome = VGW__OUTCOME_FAILED;
		*why = "no memory or descriptors left for a connection";
	} else if (!conn->peer->endpoint->address_count) {
		*why = "the engine's name could not be resolved";
	} else {
		*why = "the engine cannot be reached";
	}
}

static void on_connect_timeout(vgw_timer *timer)
{
	vgw__h1_finish(timer->user, VGW__OUTCOME_CONNECT, ETIMEDOUT, "the engine did not accept the connection in time");
}

/* The socket's connect() has ended, well or not. */
static void on_connected(struct vgw__h1_conn *conn)
{
	socklen_t len = sizeof(conn->send->connect_errno);
	enum vgw__outcome outcome;
	const char *why;

	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &conn->send->connect_errno, &len) != 0)
		conn->send->connect_errno = errno;
	if (conn->send->connect_errno) {
		if (!connect_next(conn)) {
			describe_failure(conn, &outcome, &why);
			vgw__h1_finish(conn, outcome, conn->send->connect_errno, why);
			return;
		}
		if (conn->state == VGW__H1_CONNECTING)
			return;
	}
	vgw_timer_cancel(vgw__h1_of(conn)->loop, &conn->send->connect_timer);
	conn->state = VGW__H1_HEAD;
	vgw__h1_send_more(conn);
	if (conn->state != VGW__H1_FAILED && !vgw__h1_listen(conn))
		vgw__h1_finish(conn, VGW__OUTCOME_FAILED, 0, "epoll refused the connection");
}

/* --- the interface ----------------------------------------------------------------------------------------------- */

static bool start_reused(struct vgw__h1_conn *conn, const struct vgw__upstream_request *request)
{
	conn->state = VGW__H1_HEAD;
	conn->is_reused = true;
	conn->is_sent = false;
	conn->has_answer = false;
	conn->is_paused = false;
	conn->interim_count = 0;
	conn->scanned = 0;
	return vgw__h1_send_now(conn, request);
}

static bool start_fresh(struct vgw__h1_conn *conn, const struct vgw__upstream_request *request)
{
	const struct vgw__h1_sent nothing = { 0 };
	vgw_loop *loop = vgw__h1_of(conn)->loop;
	enum vgw__outcome outcome;
	const char *why;

	if (!vgw__h1_postpone(conn, request, &nothing))
		return false;
	conn->state = VGW__H1_CONNECTING;
	conn->send->connect_timer.user = conn;
	if (request->connect_timeout_ms > 0 && vgw_timer_start(loop, &conn->send->connect_timer,
		vgw_now_ms() + request->connect_timeout_ms, on_connect_timeout) != VGW_OK)
		return false;
	if (!connect_next(conn)) {
		vgw_timer_cancel(loop, &conn->send->connect_timer);
		describe_failure(conn, &outcome, &why);
		vgw__h1_fail_later(conn, outcome, conn->send->connect_errno, why);
	} else if (conn->state == VGW__H1_HEAD) {
		/* a unix socket connects at once; EPOLLOUT comes in the next turn and sends */
		vgw_timer_cancel(loop, &conn->send->connect_timer);
	}
	return true;
}

static vgw_status h1_start(struct vgw__transport *transport, struct vgw__upstream_call **out,
	const struct vgw__upstream_request *request, const struct vgw__upstream_events *events, void *user,
	vgw_error *err)
{
	struct vgw__h1 *h1 = (struct vgw__h1 *)(void *)transport;
	struct vgw__h1_conn *conn;
	vgw_status status;
	bool is_reused;

	*out = NULL;
	if (request->endpoint->is_tls)
		return vgw_error_set(err, VGW_INVALID, 0, "%.100s is an https engine: the h1 transport speaks plain http",
			request->endpoint->url);
	status = vgw__h1_compose(h1, request, err);
	if (status != VGW_OK)
		return status;
	conn = vgw__h1_pool_take(&h1->pool, request->endpoint);
	is_reused = conn != NULL;
	if (!conn)
		conn = vgw__h1_pool_add(&h1->pool, request->endpoint);
	if (!conn)
		return vgw_error_set(err, VGW_NOMEM, 0, "connection");
	conn->call.transport = transport;
	conn->events = events;
	conn->user = user;
	conn->is_head_request = strcmp(request->method, "HEAD") == 0;
	if (!(is_reused ? start_reused(conn, request) : start_fresh(conn, request))) {
		vgw__h1_pool_close(&h1->pool, conn);
		return vgw_error_set(err, VGW_NOMEM, 0, "request");
	}
	*out = &conn->call;
	return VGW_OK;
}

static void h1_resume(struct vgw__upstream_call *call)
{
	struct vgw__h1_conn *conn = (struct vgw__h1_conn *)(void *)call;

	if (!conn->is_paused)
		return;
	conn->is_paused = false;
	/* inside its own callbacks the end of the read listens again */
	if (conn->state == VGW__H1_FAILED || vgw__h1_of(conn)->current == conn)
		return;
	if (!vgw__h1_listen(conn))
		vgw__h1_fail_later(conn, VGW__OUTCOME_FAILED, 0, "epoll refused the connection");
}

static void h1_cancel(struct vgw__upstream_call *call)
{
	struct vgw__h1_conn *conn = (struct vgw__h1_conn *)(void *)call;
	struct vgw__h1 *h1 = vgw__h1_of(conn);

	if (h1->current == conn)
		h1->current = NULL;
	vgw__h1_pool_close(&h1->pool, conn);
}

static void h1_destroy(struct vgw__transport *transport)
{
	struct vgw__h1 *h1 = (struct vgw__h1 *)(void *)transport;

	vgw__h1_pool_fini(&h1->pool);
	vgw_defer_cancel(h1->loop, &h1->defer);
	vgw__buf_fini(&h1->request_head);
	vgw__free(h1);
}

vgw_status vgw__h1_new(struct vgw__transport **out, vgw_loop *loop, int64_t idle_ms, vgw_error *err)
{
	static const struct vgw__transport_ops ops = {
		.name = "h1",
		.start = h1_start,
		.resume = h1_resume,
		.cancel = h1_cancel,
		.destroy = h1_destroy,
	};
	struct vgw__h1 *h1;

	*out = NULL;
	h1 = vgw__alloc(sizeof(*h1));
	if (!h1)
		return vgw_error_set(err, VGW_NOMEM, 0, "h1 transport");
	h1->transport.ops = &ops;
	h1->loop = loop;
	h1->defer.user = h1;
	vgw__list_init(&h1->failed);
	vgw__h1_pool_init(&h1->pool, loop, idle_ms);
	vgw__buf_init(&h1->request_head, VGW__H1_REQUEST_HEAD_BYTES);
	*out = &h1->transport;
	return VGW_OK;
}
