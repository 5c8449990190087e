/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-engine: an engine that costs next to nothing, so that a benchmark measures the gateway before it.
 *
 *   epoll --> on_input: request complete? --no--> keep the bytes
 *                             |yes
 *                             +-- POST without "stream":true --> one send: head and a fixed JSON answer
 *                             +-- POST with "stream":true    --> head, first event | wheel: one event per
 *                                                                interval ... [DONE] and the last chunk
 *
 * One thread. A request says what it wants in keys of its body (see on_post).
 */
#include "bench.h"
#include "bench_wheel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_BYTES = 256 * 1024,
	REQUEST_MAX_BYTES = 64 * 1024 * 1024,
	SCANNED_BYTES = 4096,       /* the bench keys are looked for in the last bytes of a body */
	BATCH = 256,
};

struct conn {
	int fd;
	char *in;                   /* the part of a request that has come; NULL when none is pending */
	size_t in_len;
	size_t in_cap;
	char *out;                  /* what the socket would not take; NULL when nothing is pending */
	size_t out_len;
	size_t out_cap;
	bool is_streaming;
	uint64_t events_left;
	int64_t interval_ms;
	size_t event_bytes;
	struct bench_timer timer;   /* the next event; armed while is_streaming */
};

static struct {
	int epoll;
	int listener;
	uint64_t events;            /* defaults of a stream */
	int64_t interval_ms;
	size_t event_bytes;
	struct bench_wheel wheel;
	size_t chunk_bytes;         /* the event size `chunk` was made for */
	char chunk[BENCH_EVENT_MAX_BYTES + 16];
	size_t chunk_len;
	char input[READ_BYTES];
} engine;

/* --- sending --- */

static void conn_close(struct conn *c)
{
	bench_wheel_disarm(&engine.wheel, &c->timer);
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

static void append(char **buf, size_t *len, size_t *cap, const char *data, size_t n)
{
	if (*len + n > *cap) {
		size_t wanted = (*len + n) * 2;
		char *grown = realloc(*buf, wanted);

		if (!grown)
			bench_die("out of memory (%zu bytes)", wanted);
		*buf = grown;
		*cap = wanted;
	}
	memcpy(*buf + *len, data, n);
	*len += n;
}

/* False when the peer is gone; the caller then closes. */
static bool conn_send(struct conn *c, const char *data, size_t n)
{
	ssize_t sent = 0;

	if (!c->out_len)
		sent = send(c->fd, data, n, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	if (sent < 0)
		sent = 0;
	if ((size_t)sent < n)
		append(&c->out, &c->out_len, &c->out_cap, data + sent, n - (size_t)sent);
	return true;
}

static bool conn_flush(struct conn *c)
{
	ssize_t sent;

	if (!c->out_len)
		return true;
	sent = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR;
	c->out_len -= (size_t)sent;
	memmove(c->out, c->out + sent, c->out_len);
	return true;
}

/* --- streams --- */

static bool send_event(struct conn *c)
{
	if (engine.chunk_bytes != c->event_bytes) {
		int head = snprintf(engine.chunk, sizeof(engine.chunk), "%zx\r\n", c->event_bytes);

		bench_make_event(engine.chunk + head, c->event_bytes);
		memcpy(engine.chunk + head + c->event_bytes, "\r\n", 2);
		engine.chunk_len = (size_t)head + c->event_bytes + 2;
		engine.chunk_bytes = c->event_bytes;
	}
	c->events_left--;
	return conn_send(c, engine.chunk, engine.chunk_len);
}

static bool stream_start(struct conn *c)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nserver: bench\r\n"
				   "content-type: text/event-stream; charset=utf-8\r\n"
				   "transfer-encoding: chunked\r\n\r\n";

	c->is_streaming = true;
	if (!conn_send(c, head, sizeof(head) - 1))
		return false;
	if (c->events_left && !send_event(c))
		return false;
	bench_wheel_arm(&engine.wheel, &c->timer, engine.wheel.now_ms + c->interval_ms);
	return true;
}

/* A peer that is gone shows as a failed send here, and as an event of epoll: only that one closes. */
static void stream_step(struct bench_timer *timer)
{
	static const char end[] = "e\r\n" BENCH_DONE "\r\n0\r\n\r\n";
	struct conn *c = (struct conn *)(void *)((char *)timer - offsetof(struct conn, timer));

	_Static_assert(sizeof(BENCH_DONE) - 1 == 0xe, "the chunk size in `end` is that of BENCH_DONE");
	if (!c->events_left) {
		c->is_streaming = false;
		(void)conn_send(c, end, sizeof(end) - 1);
		return;
	}
	bench_wheel_arm(&engine.wheel, timer, timer->due_ms + c->interval_ms);
	(void)send_event(c);
}

/* --- requests --- */

/* The number after "key": in the tail of a body, or `fallback`. */
static uint64_t key_number(const char *tail, size_t len, const char *key, uint64_t fallback)
{
	const char *at = memmem(tail, len, key, strlen(key));
	const char *end = tail + len;
	uint64_t value = 0;

	if (!at)
		return fallback;
	for (at += strlen(key); at < end && (*at == ':' || *at == ' ');)
		at++;
	for (; at < end && *at >= '0' && *at <= '9' && value < UINT32_MAX; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

static bool wants_stream(const char *tail, size_t len)
{
	static const char key[] = "\"stream\"";
	const char *at = memmem(tail, len, key, sizeof(key) - 1);
	const char *end = tail + len;

	if (!at)
		return false;
	for (at += sizeof(key) - 1; at < end && (*at == ':' || *at == ' ');)
		at++;
	return end - at >= 4 && !memcmp(at, "true", 4);
}

static bool answer(struct conn *c, const char *status, const char *body)
{
	char text[1024];
	int n = snprintf(text, sizeof(text),
		"HTTP/1.1 %s\r\nserver: bench\r\ncontent-type: application/json\r\n"
		"content-length: %zu\r\n\r\n%s",
		status, strlen(body), body);

	return conn_send(c, text, (size_t)n);
}

static bool on_post(struct conn *c, const char *body, size_t len)
{
	size_t scanned = len < SCANNED_BYTES ? len : SCANNED_BYTES;
	const char *tail = body + len - scanned;
	uint64_t interval;
	uint64_t bytes;

	if (len < 2 || body[0] != '{' || body[len - 1] != '}')
		return answer(c, "400 Bad Request", "{\"error\":{\"message\":\"no JSON object\"}}");
	if (!wants_stream(tail, scanned))
		return answer(c, "200 OK", BENCH_ANSWER);
	c->events_left = key_number(tail, scanned, "\"bench_events\"", engine.events);
	interval = key_number(tail, scanned, "\"bench_interval_ms\"", (uint64_t)engine.interval_ms);
	c->interval_ms = interval ? (int64_t)interval : 1;
	bytes = key_number(tail, scanned, "\"bench_event_bytes\"", engine.event_bytes);
	if (bytes < BENCH_EVENT_MIN_BYTES || bytes > BENCH_EVENT_MAX_BYTES)
		return answer(c, "400 Bad Request", "{\"error\":{\"message\":\"bad bench_event_bytes\"}}");
	c->event_bytes = (size_t)bytes;
	return stream_start(c);
}

static bool on_request(struct conn *c, const char *head, const char *body, size_t body_len)
{
	static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\","
				     "\"created\":1700000000,\"owned_by\":\"bench\"}]}";

	if (!strncmp(head, "POST /v1/chat/completions ", 26))
		return on_post(c, body, body_len);
	if (!strncmp(head, "GET /health ", 12))
		return answer(c, "200 OK", "");
	if (!strncmp(head, "GET /v1/models ", 15))
		return answer(c, "200 OK", models);
	return answer(c, "404 Not Found", "{\"error\":{\"message\":\"no such route\"}}");
}

/* Serves the whole requests in data. Returns the bytes used, or -1 when the connection must close. */
static ssize_t serve(struct conn *c, const char *data, size_t len)
{
	size_t used = 0;

	while (!c->is_streaming && used < len) {
		const char *head = data + used;
		const char *end = memmem(head, len - used, "\r\n\r\n", 4);
		const char *length;
		size_t head_len;
		size_t digits;
		uint64_t body_len = 0;

		if (!end)
			break;
		head_len = (size_t)(end - head) + 4;
		length = bench_find_header(head, head_len, "content-length", &digits);
		for (size_t i = 0; length && i < digits; i++) {
			body_len = body_len * 10 + (uint64_t)(length[i] - '0');
			if (length[i] < '0' || length[i] > '9' || body_len > REQUEST_MAX_BYTES)
				return -1;
		}
		if (bench_find_header(head, head_len, "transfer-encoding", &digits)) {
			answer(c, "411 Length Required", "{\"error\":{\"message\":\"chunked body\"}}");
			return -1;
		}
		if (len - used - head_len < body_len)
			break;
		if (!on_request(c, head, head + head_len, (size_t)body_len))
			return -1;
		used += head_len + (size_t)body_len;
	}
	return (ssize_t)used;
}

/* --- connections --- */

/* A whole request is served where it was read; only a part of one is copied aside. False: close. */
static bool take_input(struct conn *c, size_t n)
{
	ssize_t used;

	if (!c->in_len) {
		used = serve(c, engine.input, n);
		if (used >= 0 && (size_t)used < n)
			append(&c->in, &c->in_len, &c->in_cap, engine.input + used, n - (size_t)used);
		return used >= 0;
	}
	append(&c->in, &c->in_len, &c->in_cap, engine.input, n);
	used = serve(c, c->in, c->in_len);
	if (used < 0)
		return false;
	c->in_len -= (size_t)used;
	memmove(c->in, c->in + used, c->in_len);
	return c->in_len <= REQUEST_MAX_BYTES;
}

static void on_ready(struct conn *c, uint32_t events)
{
	if (events & EPOLLERR || ((events & EPOLLOUT) && !conn_flush(c))) {
		conn_close(c);
		return;
	}
	while (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) {
		ssize_t n = recv(c->fd, engine.input, sizeof(engine.input), 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || !take_input(c, (size_t)n)) {
			conn_close(c);
			return;
		}
		/* Edge-triggered: a short read has emptied the socket, unless its end came too. */
		if ((size_t)n < sizeof(engine.input) && !(events & (EPOLLRDHUP | EPOLLHUP)))
			return;
	}
}

static void on_accept(void)
{
	for (;;) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
		struct conn *c;
		int fd = accept4(engine.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
				return;
			bench_die("accept: %s", strerror(errno));
		}
		bench_tune_socket(fd);
		c = bench_alloc(sizeof(*c));
		c->fd = fd;
		ev.data.ptr = c;
		if (epoll_ctl(engine.epoll, EPOLL_CTL_ADD, fd, &ev))
			bench_die("epoll_ctl: %s", strerror(errno));
	}
}

static void engine_listen(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct epoll_event ev = {.events = EPOLLIN};
	socklen_t len = sizeof(addr);
	int on = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	engine.epoll = epoll_create1(EPOLL_CLOEXEC);
	engine.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (engine.epoll < 0 || engine.listener < 0)
		bench_die("socket: %s", strerror(errno));
	if (setsockopt(engine.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
		bind(engine.listener, (struct sockaddr *)&addr, sizeof(addr)) ||
		listen(engine.listener, 4096) ||
		getsockname(engine.listener, (struct sockaddr *)&addr, &len))
		bench_die("listen on 127.0.0.1:%u: %s", port, strerror(errno));
	if (epoll_ctl(engine.epoll, EPOLL_CTL_ADD, engine.listener, &ev))
		bench_die("epoll_ctl: %s", strerror(errno));
	printf("listening on 127.0.0.1:%u\n", ntohs(addr.sin_port));
	fflush(stdout);
}

/* --- the program --- */

static uint16_t read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"events", required_argument, NULL, 'n'},
		{"interval-ms", required_argument, NULL, 'd'},
		{"event-bytes", required_argument, NULL, 'b'},
		{NULL, 0, NULL, 0},
	};
	uint16_t port = 0;
	int opt;

	engine.events = 100;
	engine.interval_ms = 20;
	engine.event_bytes = 220;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'p')
			port = (uint16_t)bench_number("--port", optarg, UINT16_MAX);
		else if (opt == 'n')
			engine.events = bench_number("--events", optarg, UINT32_MAX);
		else if (opt == 'd')
			engine.interval_ms = (int64_t)bench_number("--interval-ms", optarg, 3600000);
		else if (opt == 'b')
			engine.event_bytes = bench_number("--event-bytes", optarg, BENCH_EVENT_MAX_BYTES);
		else
			bench_die("usage: bench-engine [--port P] [--events N] [--interval-ms D]"
				  " [--event-bytes B]");
	}
	return port;
}

int main(int argc, char **argv)
{
	struct epoll_event ready[BATCH];
	uint16_t port = read_options(argc, argv);

	bench_raise_files();
	engine_listen(port);
	engine.wheel.now_ms = bench_now_ns() / 1000000;
	for (;;) {
		int wait_ms = bench_wheel_wait_ms(&engine.wheel, bench_now_ns() / 1000000);
		int n = epoll_wait(engine.epoll, ready, BATCH, wait_ms);

		if (n < 0 && errno != EINTR)
			bench_die("epoll_wait: %s", strerror(errno));
		/* Streams first: what a request of this turn arms must be armed against the present. */
		bench_wheel_advance(&engine.wheel, bench_now_ns() / 1000000, stream_step);
		for (int i = 0; i < n; i++) {
			if (ready[i].data.ptr)
				on_ready(ready[i].data.ptr, ready[i].events);
			else
				on_accept();
		}
	}
}
