/* SPDX-License-Identifier: Apache-2.0 */
/* Listening. The port is bound at once and kept, but connections are refused until server_listen(), as with
 * vLLM: a bound socket that does not listen answers RST. A second socket on the same port does the listening,
 * so that it can stop and start again without losing the port. */
#include "engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct listener {
	struct source source;
	struct engine *engine;
	int fd;
	bool is_control;
	struct timer retry; /* after running out of descriptors: no event would come for those that wait */
};

enum { RETRY_US = 10000 };

struct server {
	struct listener data;
	struct listener control;
	int holder; /* keeps the port */
	bool has_announced;
};

static struct server *server_of(struct engine *engine)
{
	return (struct server *)(void *)engine->listener;
}

static void die(const char *what, const char *where)
{
	fprintf(stderr, "vllmgw-engine: %s %s: %s\n", what, where, strerror(errno));
	exit(1);
}

static void accept_ready(struct source *source, uint32_t events)
{
	struct listener *listener = (struct listener *)(void *)source;
	int fd;
	int on = 1;

	(void)events;
	while (listener->fd >= 0) {
		fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				timer_arm(&listener->engine->loop, &listener->retry, now_us() + RETRY_US);
			return;
		}
		if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 && errno != EOPNOTSUPP) {
			close(fd);
			continue;
		}
		conn_open(listener->engine, fd, listener->is_control);
	}
}

static void accept_again(void *arg)
{
	struct listener *listener = arg;

	accept_ready(&listener->source, 0);
}

static int bind_tcp(const char *host, int port)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	bool is_six = inet_pton(AF_INET6, host, &six.sin6_addr) == 1;
	const struct sockaddr *address = is_six ? (const void *)&six : (const void *)&four;
	int on = 1;
	int fd;

	if (!is_six && inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host,
			       &four.sin_addr) != 1) {
		errno = EINVAL;
		die("--host takes a numeric address, not", host);
	}
	fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket for", host);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
		bind(fd, address, is_six ? sizeof(six) : sizeof(four)) != 0)
		die("cannot bind", host);
	return fd;
}

static int bind_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		die("unix socket", path);
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket for", path);
	unlink(path); /* one left by a killed engine; bind() says what else is wrong */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		die("cannot bind", path);
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	uint16_t port;

	if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		die("getsockname", "");
	if (address.ss_family == AF_INET6)
		port = ((const struct sockaddr_in6 *)(const void *)&address)->sin6_port;
	else
		port = ((const struct sockaddr_in *)(const void *)&address)->sin_port;
	return ntohs(port);
}

/* Written beside and renamed, so that whoever sees the file sees all of it. */
static void write_port_file(const char *path, int port)
{
	struct buf temporary = {0};
	FILE *file;

	buf_printf(&temporary, "%s.%ld", path, (long)getpid());
	file = fopen(temporary.data, "we");
	if (!file || fprintf(file, "%d\n", port) < 0 || fclose(file) != 0 ||
		rename(temporary.data, path) != 0)
		die("cannot write", path);
	buf_free(&temporary);
}

static void start_listening(struct listener *listener, int fd)
{
	listener->fd = fd;
	if (listen(fd, 8192) != 0)
		die("cannot listen on", listener->is_control ? "the control socket" : "the port");
	loop_add(&listener->engine->loop, fd, &listener->source, listener->is_control);
}

void server_bind(struct engine *engine)
{
	struct server *server = xalloc(sizeof(*server));
	const struct options *options = &engine->options;

	engine->listener = &server->data.source;
	server->data = (struct listener){.source.ready = accept_ready, .engine = engine, .fd = -1};
	server->control = server->data;
	server->control.is_control = true;
	server->data.retry = (struct timer){.fire = accept_again, .arg = &server->data};
	server->control.retry = (struct timer){.fire = accept_again, .arg = &server->control};
	server->holder = -1;
	if (options->control) /* first: who has seen the port file may ask at once */
		start_listening(&server->control, bind_unix(options->control));
	if (!options->uds) {
		server->holder = bind_tcp(options->host, (int)options->port);
		engine->port = port_of(server->holder);
		if (options->port_file)
			write_port_file(options->port_file, engine->port);
	}
}

void server_listen(struct engine *engine)
{
	struct server *server = server_of(engine);
	const struct options *options = &engine->options;

	if (server->data.fd >= 0 || engine_has_fault(engine, FAULT_REFUSE) || engine->is_stopping)
		return;
	start_listening(&server->data,
		options->uds ? bind_unix(options->uds) : bind_tcp(options->host, engine->port));
	if (server->has_announced)
		return;
	server->has_announced = true;
	if (options->uds)
		printf("listening on unix:%s\n", options->uds);
	else
		printf(strchr(options->host, ':') ? "listening on [%s]:%d\n" : "listening on %s:%d\n",
			options->host, engine->port);
	fflush(stdout);
}

void server_unlisten(struct engine *engine)
{
	struct server *server = server_of(engine);

	if (server->data.fd < 0)
		return;
	timer_cancel(&engine->loop, &server->data.retry);
	close(server->data.fd);
	server->data.fd = -1;
	if (engine->options.uds)
		unlink(engine->options.uds);
}

void server_close(struct engine *engine)
{
	struct server *server = server_of(engine);

	server_unlisten(engine);
	if (server->holder >= 0)
		close(server->holder);
	if (server->control.fd >= 0) {
		timer_cancel(&engine->loop, &server->control.retry);
		close(server->control.fd);
		unlink(engine->options.control);
	}
	engine->listener = NULL;
	free(server);
}

void server_after_turn(void *arg)
{
	struct engine *engine = arg;

	while (engine->dead) {
		struct conn *conn = engine->dead;

		engine->dead = conn->next;
		buf_free(&conn->in);
		buf_free(&conn->out);
		free(conn);
	}
}
