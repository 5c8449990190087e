/* SPDX-License-Identifier: Apache-2.0 */
/* See rawserver.h. One thread per server, blocking calls with a deadline each. */
#include "rawserver.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { DEADLINE_MS = 20000, MAX_FDS = 1200 };

struct rawserver {
	pthread_t thread;
	rawserver_fn script;
	void *user;
	int listen_fd;
	int fds[MAX_FDS];
	int fd_count;
	char url[160];
	char *input;      /* head, then body */
	size_t input_len;
	size_t input_size;
	size_t head_len;
	size_t body_len;
	bool has_failed;
	char why[200];
};

void rawserver_fail(struct rawserver *server, const char *why)
{
	if (server->has_failed)
		return;
	server->has_failed = true;
	(void)snprintf(server->why, sizeof(server->why), "server script: %s (errno %d)", why, errno);
}

/* False: failed, now or before. */
static bool wait_for(struct rawserver *server, int fd, short events, const char *what)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	if (server->has_failed)
		return false;
	if (poll(&poll_fd, 1, DEADLINE_MS) == 1)
		return true;
	errno = ETIMEDOUT;
	rawserver_fail(server, what);
	return false;
}

int rawserver_accept(struct rawserver *server)
{
	int fd;

	if (!wait_for(server, server->listen_fd, POLLIN, "nobody connected"))
		return -1;
	fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || server->fd_count == MAX_FDS) {
		rawserver_fail(server, "accept");
		return -1;
	}
	server->fds[server->fd_count++] = fd;
	return fd;
}

void rawserver_expect_no_connection(struct rawserver *server, int ms)
{
	struct pollfd poll_fd = { .fd = server->listen_fd, .events = POLLIN };

	if (!server->has_failed && poll(&poll_fd, 1, ms) != 0)
		rawserver_fail(server, "somebody connected once more");
}

/* Bytes read, 0 at the end. */
static size_t read_some(struct rawserver *server, int fd)
{
	ssize_t got;

	if (server->input_len + 65536 > server->input_size) {
		size_t size = server->input_size * 2 + 65537;
		char *input = realloc(server->input, size + 1);

		if (!input) {
			rawserver_fail(server, "memory");
			return 0;
		}
		server->input = input;
		server->input_size = size;
	}
	if (!wait_for(server, fd, POLLIN, "the client sends nothing"))
		return 0;
	got = recv(fd, server->input + server->input_len, 65536, 0);
	if (got <= 0)
		return 0;
	server->input_len += (size_t)got;
	server->input[server->input_len] = '\0';
	return (size_t)got;
}

void rawserver_expect_head(struct rawserver *server, int fd)
{
	char *end = NULL;

	server->input_len = 0;
	while (!end) {
		if (!read_some(server, fd)) {
			rawserver_fail(server, "the client closed before its head was complete");
			return;
		}
		end = strstr(server->input, "\r\n\r\n");
	}
	server->head_len = (size_t)(end - server->input) + 4;
	server->body_len = 0;
}

void rawserver_expect_request(struct rawserver *server, int fd)
{
	const char *length;

	rawserver_expect_head(server, fd);
	if (server->has_failed)
		return;
	length = strcasestr(server->input, "\r\ncontent-length:");
	if (length && length < server->input + server->head_len)
		server->body_len = strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
	while (server->input_len < server->head_len + server->body_len) {
		if (!read_some(server, fd)) {
			rawserver_fail(server, "the client closed before its body was complete");
			return;
		}
	}
	if (server->input_len != server->head_len + server->body_len)
		rawserver_fail(server, "the client sent more than it announced");
}

const char *rawserver_get_head(const struct rawserver *server)
{
	return server->has_failed ? "" : server->input;
}

const char *rawserver_get_body(const struct rawserver *server, size_t *len)
{
	*len = server->has_failed ? 0 : server->body_len;
	return server->has_failed ? "" : server->input + server->head_len;
}

void rawserver_send_bytes(struct rawserver *server, int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len && wait_for(server, fd, POLLOUT, "the client reads nothing")) {
		ssize_t sent = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EAGAIN)
			continue;
		if (sent < 0) {
			rawserver_fail(server, "send");
			return;
		}
		at += sent;
		len -= (size_t)sent;
	}
}

void rawserver_send(struct rawserver *server, int fd, const char *text)
{
	rawserver_send_bytes(server, fd, text, strlen(text));
}

/* The kernel knows what the client's side has acknowledged, not what was read: an acknowledged byte has woken the
 * client, and it is its turn to run. */
void rawserver_send_alone(struct rawserver *server, int fd, const void *data, size_t len)
{
	int unread = 1;

	for (int i = 0; unread && i < 10000; i++) {
		(void)sched_yield();
		if (ioctl(fd, SIOCOUTQ, &unread) != 0)
			unread = 0;
	}
	for (int i = 0; i < 20; i++)
		(void)sched_yield();
	rawserver_send_bytes(server, fd, data, len);
}

size_t rawserver_send_until_full(struct rawserver *server, int fd, const void *data, size_t len)
{
	size_t total = 0;

	while (!server->has_failed && total < len) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
		ssize_t sent;

		if (poll(&poll_fd, 1, 300) == 0)
			break;
		sent = send(fd, (const char *)data + total, len - total, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN)
			rawserver_fail(server, "send");
		total += sent > 0 ? (size_t)sent : 0;
	}
	return total;
}

void rawserver_expect_close(struct rawserver *server, int fd)
{
	char rest[65536];

	while (wait_for(server, fd, POLLIN, "the client does not close"))
		if (recv(fd, rest, sizeof(rest), 0) <= 0)
			return;
}

void rawserver_close(struct rawserver *server, int fd)
{
	for (int i = 0; i < server->fd_count; i++) {
		if (server->fds[i] == fd && fd >= 0) {
			server->fds[i] = -1;
			(void)close(fd);
		}
	}
}

void rawserver_reset(struct rawserver *server, int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	rawserver_close(server, fd);
}

static void *run(void *argument)
{
	struct rawserver *server = argument;

	server->script(server, server->user);
	for (int i = 0; i < server->fd_count; i++)
		rawserver_close(server, server->fds[i]);
	return NULL;
}

static bool listen_on_port(struct rawserver *server)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);

	server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server->listen_fd < 0 || bind(server->listen_fd, (struct sockaddr *)&addr, len) != 0 ||
		listen(server->listen_fd, 1024) != 0 ||
		getsockname(server->listen_fd, (struct sockaddr *)&addr, &len) != 0)
		return false;
	(void)snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u", (unsigned)ntohs(addr.sin_port));
	return true;
}

static bool listen_on_path(struct rawserver *server, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	(void)unlink(path);
	(void)snprintf(server->url, sizeof(server->url), "unix:%s", path);
	server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return server->listen_fd >= 0 && bind(server->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
		listen(server->listen_fd, 1024) == 0;
}

struct rawserver *rawserver_start(rawserver_fn script, void *user, const char *unix_path)
{
	struct rawserver *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->script = script;
	server->user = user;
	if (!(unix_path ? listen_on_path(server, unix_path) : listen_on_port(server)) ||
		pthread_create(&server->thread, NULL, run, server) != 0) {
		free(server);
		return NULL;
	}
	return server;
}

const char *rawserver_get_url(const struct rawserver *server)
{
	return server->url;
}

const char *rawserver_join(struct rawserver *server)
{
	static char why[200];
	bool has_failed;

	(void)pthread_join(server->thread, NULL);
	has_failed = server->has_failed;
	(void)snprintf(why, sizeof(why), "%s", server->why);
	(void)close(server->listen_fd);
	free(server->input);
	free(server);
	return has_failed ? why : NULL;
}
