/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of bench-load: a closed loop for POST and START (the next request leaves when the answer is
 * complete, while the phase wants more), and STREAMs that only receive. Sockets are edge-triggered and are
 * registered once.
 */
#include "bench_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	BATCH = 256,
	READ_BYTES = 64 * 1024,
};

void bench_client_init(struct bench_client *client, uint16_t port)
{
	client->target.sin_family = AF_INET;
	client->target.sin_port = htons(port);
	client->target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	client->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (client->epoll < 0)
		bench_die("epoll_create1: %s", strerror(errno));
}

void bench_client_reset_counts(struct bench_client *client)
{
	client->done = 0;
	client->errors = 0;
	client->first_error = NULL;
	client->connects = 0;
	client->events = 0;
	client->reads = 0;
	bench_histogram_reset(&client->latency);
}

bool bench_client_may_begin(struct bench_client *client)
{
	if (client->until_ns)
		return bench_now_ns() < client->until_ns;
	if (!client->wanted)
		return false;
	client->wanted--;
	return true;
}

/* --- one connection --- */

static void conn_disconnect(struct bench_conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static void conn_connect(struct bench_conn *c)
{
	struct bench_client *client = c->client;
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		bench_die("socket: %s", strerror(errno));
	bench_tune_socket(c->fd);
	if (connect(c->fd, (struct sockaddr *)&client->target, sizeof(client->target)) &&
		errno != EINPROGRESS)
		bench_die("connect: %s", strerror(errno));
	if (epoll_ctl(client->epoll, EPOLL_CTL_ADD, c->fd, &ev))
		bench_die("epoll_ctl: %s", strerror(errno));
	client->connects++;
}

static void conn_idle(struct bench_conn *c)
{
	if (!c->is_busy)
		return;
	c->is_busy = false;
	if (c->kind != BENCH_STREAM)
		c->client->busy--;
	else if (bench_response_units(&c->response))
		c->client->open--;
}

static void conn_fail(struct bench_conn *c, const char *why)
{
	c->client->errors++;
	if (!c->client->first_error)
		c->client->first_error = why;
	bench_conn_drop(c);
}

/* False when the connection has failed. */
static bool conn_send(struct bench_conn *c)
{
	const struct bench_request *request = &c->client->request[c->kind];

	while (c->sent < request->len) {
		ssize_t n = send(c->fd, request->text + c->sent, request->len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return true;
		if (n < 0) {
			conn_fail(c, "the request could not be sent");
			return false;
		}
		c->sent += (size_t)n;
	}
	return true;
}

void bench_conn_begin(struct bench_conn *c)
{
	bool is_new = c->fd < 0;

	c->is_busy = true;
	c->sent = 0;
	if (c->kind != BENCH_STREAM)
		c->client->busy++;
	bench_response_start(&c->response, &c->client->request[c->kind].expected);
	c->started_ns = bench_now_ns();
	if (is_new)
		conn_connect(c);        /* the request leaves when the socket says it is writable */
	else
		conn_send(c);
}

void bench_conn_drop(struct bench_conn *c)
{
	conn_idle(c);
	conn_disconnect(c);
}

/* --- answers --- */

static void count_bytes(struct bench_conn *c, uint64_t bytes_before, uint64_t units_before)
{
	struct bench_client *client = c->client;
	bool is_first = !units_before && bench_response_units(&c->response);

	client->progress++;
	if (c->response.body_bytes == bytes_before)
		return;
	if (c->kind != BENCH_POST && is_first)
		bench_histogram_add(&client->latency, (uint64_t)(bench_now_ns() - c->started_ns));
	if (c->kind != BENCH_STREAM)
		return;
	client->events += bench_response_units(&c->response) - units_before;
	client->reads++;
	if (is_first)
		client->open++;
}

static void on_complete(struct bench_conn *c)
{
	struct bench_client *client = c->client;

	client->done++;
	if (c->kind == BENCH_POST)
		bench_histogram_add(&client->latency, (uint64_t)(bench_now_ns() - c->started_ns));
	conn_idle(c);
	if (c->response.must_close)
		conn_disconnect(c);
	if (c->kind != BENCH_STREAM && bench_client_may_begin(client))
		bench_conn_begin(c);
}

/* True while there may be more to read on the same socket. */
static bool take_input(struct bench_conn *c, const char *data, size_t len)
{
	struct bench_response *r = &c->response;
	uint64_t bytes = r->body_bytes;
	uint64_t units = bench_response_units(r);
	size_t used = bench_response_feed(r, data, len);

	count_bytes(c, bytes, units);
	if (!r->fault && used < len)
		r->fault = "there are bytes after the answer";
	if (r->fault) {
		conn_fail(c, r->fault);
		return false;
	}
	if (r->state == BENCH_COMPLETE) {
		bool stays = !r->must_close;

		on_complete(c);
		return stays;
	}
	return true;
}

static void on_end(struct bench_conn *c)
{
	if (!c->is_busy) {
		conn_disconnect(c);     /* an idle connection may be closed by the server */
		return;
	}
	bench_response_end(&c->response);
	if (c->response.fault)
		conn_fail(c, c->response.fault);
	else
		on_complete(c);
}

static void on_ready(struct bench_conn *c, uint32_t events)
{
	static char input[READ_BYTES];
	bool has_end = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

	if ((events & EPOLLOUT) && c->is_busy && !has_end && !conn_send(c))
		return;
	while (has_end || (events & EPOLLIN)) {
		ssize_t n = recv(c->fd, input, sizeof(input), 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			on_end(c);
			return;
		}
		if (!c->is_busy) {
			conn_fail(c, "there are bytes after the answer");
			return;
		}
		if (!take_input(c, input, (size_t)n) || (!has_end && (size_t)n < sizeof(input)))
			return;
	}
}

void bench_client_turn(struct bench_client *client, int timeout_ms)
{
	struct epoll_event ready[BATCH];
	int n = epoll_wait(client->epoll, ready, BATCH, timeout_ms);

	if (n < 0 && errno != EINTR)
		bench_die("epoll_wait: %s", strerror(errno));
	for (int i = 0; i < n; i++)
		on_ready(ready[i].data.ptr, ready[i].events);
}
