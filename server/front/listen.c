/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. Each worker has one of its own for every TCP address (SO_REUSEPORT: the kernel spreads the
 * connections); Unix sockets and those of a service manager are one, shared by duplicates of the descriptor. */
#include "front/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static int fail(char *why, size_t size, int fd, const char *address)
{
	(void)snprintf(why, size, "cannot listen on %s: %s%s", address, strerror(errno),
		errno == EADDRINUSE ? "; another program has it, or choose another port" :
		errno == EACCES     ? "; ports below 1024 need privileges" :
				      "");
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

static void print_address(int fd, char *address, uint16_t *port)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char host[64], service[8];

	if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0 ||
		getnameinfo((struct sockaddr *)&bound, len, host, sizeof(host), service, sizeof(service),
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return;
	if (bound.ss_family == AF_INET)
		*port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
	else if (bound.ss_family == AF_INET6)
		*port = ntohs(((struct sockaddr_in6 *)&bound)->sin6_port);
	(void)snprintf(address, ADDRESS_BYTES, bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

/* SO_REUSEPORT would let two servers share an address, each with half of the connections, and neither would know. A
 * socket without it is refused an address on which another one listens. */
static bool is_taken(const struct addrinfo *at)
{
	int one = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_refused;

	if (fd < 0)
		return false;
	is_refused = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
		     bind(fd, at->ai_addr, at->ai_addrlen) != 0 && errno == EADDRINUSE;
	(void)close(fd);
	return is_refused;
}

static struct addrinfo *find_address(const struct front_listen *listen_at, unsigned port, char *address, char *why,
	size_t size)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char service[8];
	int code;

	(void)snprintf(service, sizeof(service), "%u", port);
	(void)snprintf(address, ADDRESS_BYTES, "%.100s:%s", listen_at->host, service);
	code = getaddrinfo(*listen_at->host ? listen_at->host : NULL, service, &hints, &found);
	if (code != 0)
		(void)snprintf(why, size, "cannot listen on %s: %s", address, gai_strerror(code));
	return code == 0 ? found : NULL;
}

static int open_tcp(const struct front_listen *listen_at, uint16_t *port, char *address, char *why, size_t size)
{
	struct addrinfo *found = find_address(listen_at, *port ? *port : listen_at->port, address, why, size);
	int one = 1, fd;

	if (!found)
		return -1;
	if (!*port && is_taken(found)) { /* for the first worker; the others share it on purpose */
		freeaddrinfo(found);
		errno = EADDRINUSE;
		return fail(why, size, -1, address);
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0 ||
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
		bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
		freeaddrinfo(found);
		return fail(why, size, fd, address);
	}
	freeaddrinfo(found);
	print_address(fd, address, port);
	return fd;
}

/* Another gateway that still listens keeps its socket; one that died leaves a file behind, which goes. */
static bool is_stale(const struct sockaddr_un *name)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool is_refused;

	if (fd < 0)
		return false;
	is_refused = connect(fd, (const struct sockaddr *)name, sizeof(*name)) != 0 && errno == ECONNREFUSED;
	(void)close(fd);
	return is_refused;
}

static int open_unix(const struct front_listen *listen_at, char *address, char *why, size_t size)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd;

	(void)snprintf(address, ADDRESS_BYTES, "unix:%s", listen_at->path);
	if (strlen(listen_at->path) >= sizeof(name.sun_path)) {
		errno = ENAMETOOLONG;
		return fail(why, size, -1, address);
	}
	memcpy(name.sun_path, listen_at->path, strlen(listen_at->path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && is_stale(&name))
		(void)unlink(listen_at->path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0 ||
		chmod(listen_at->path, S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP) != 0 || listen(fd, BACKLOG) != 0)
		return fail(why, size, fd, address);
	return fd;
}

/* A unit with Accept=yes, or ListenDatagram=, hands over something else; nobody would ever be served. */
static bool is_listening_stream(int fd)
{
	int type = 0, is_listening = 0;
	socklen_t size = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 && is_listening;
}

static int take_given(const struct front_listen *listen_at, char *address, uint16_t *port, char *why, size_t size)
{
	int fd = fcntl(listen_at->fd, F_DUPFD_CLOEXEC, 3);
	int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;

	(void)snprintf(address, ADDRESS_BYTES, "descriptor %d", listen_at->fd);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return fail(why, size, fd, address);
	if (!is_listening_stream(fd)) {
		(void)snprintf(why, size, "cannot listen on %s, which the service manager gave: it is no listening stream socket; "
			"the .socket unit needs ListenStream= and no Accept=yes", address);
		(void)close(fd);
		return -1;
	}
	print_address(fd, address, port);
	return fd;
}

int listen_open(const struct front_listen *listen_at, uint16_t *port, char *address, char *why, size_t size)
{
	switch (listen_at->kind) {
	case FRONT_LISTEN_TCP:
		return open_tcp(listen_at, port, address, why, size);
	case FRONT_LISTEN_UNIX:
		return open_unix(listen_at, address, why, size);
	default:
		return take_given(listen_at, address, port, why, size);
	}
}

int front_check_listen(const struct front_listen *listen_at, char *why, size_t size)
{
	char address[ADDRESS_BYTES];
	struct addrinfo *found;
	bool is_refused;

	if (listen_at->kind != FRONT_LISTEN_TCP || !listen_at->port)
		return 0;
	found = find_address(listen_at, listen_at->port, address, why, size);
	if (!found)
		return -1;
	is_refused = is_taken(found);
	freeaddrinfo(found);
	errno = EADDRINUSE;
	return is_refused ? fail(why, size, -1, address) : 0;
}
