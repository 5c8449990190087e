/* SPDX-License-Identifier: Apache-2.0 */
/* Ports below the kernel's range for outgoing connections: the gateway itself opens thousands of those to this very
 * address, and one of them could take a port of that range between our look and the engine's bind(), seconds later.
 * Where the range leaves no room the kernel chooses. */
#include "backend/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { LOWEST = 20000, WORTHWHILE = 1000, ATTEMPTS = 200, CONNECT_MS = 100 };

void vgw__ports_init(struct vgw__ports *ports)
{
	memset(ports, 0, sizeof(*ports));
	(void)pthread_mutex_init(&ports->mutex, NULL);
}

void vgw__ports_fini(struct vgw__ports *ports)
{
	(void)pthread_mutex_destroy(&ports->mutex);
}

bool vgw__ports_make_address(const char *address, uint16_t port, struct sockaddr_storage *out, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;

	memset(out, 0, sizeof(*out));
	if (strcmp(address, "localhost") == 0)
		address = "127.0.0.1";
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*len = sizeof(*v4);
		return true;
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) != 1)
		return false;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	*len = sizeof(*v6);
	return true;
}

/* Where the kernel's own range begins; LOWEST when that is not known, so that the kernel chooses. */
static uint32_t read_range_start(void)
{
	unsigned low = LOWEST;
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

	if (!file)
		return LOWEST;
	if (fscanf(file, "%u", &low) != 1 || low > 65535)
		low = LOWEST;
	(void)fclose(file);
	return low;
}

/* Bind without SO_REUSEADDR, which also fails on connections that linger, and let go. *port 0: the kernel chooses. */
static bool try_port(const char *address, uint16_t *port)
{
	struct sockaddr_storage addr;
	socklen_t len;
	bool is_free;
	int fd;

	if (!vgw__ports_make_address(address, *port, &addr, &len))
		return false;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	is_free = bind(fd, (const struct sockaddr *)&addr, len) == 0 &&
		getsockname(fd, (struct sockaddr *)&addr, &len) == 0;
	(void)close(fd);
	if (is_free)
		*port = ntohs(addr.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&addr)->sin_port :
			((struct sockaddr_in6 *)(void *)&addr)->sin6_port);
	return is_free;
}

static bool is_recent_locked(const struct vgw__ports *ports, uint16_t port)
{
	for (size_t i = 0; i < VGW__PORTS_RECENT; i++)
		if (ports->recent[i] == port)
			return true;
	return false;
}

vgw_status vgw__ports_choose(struct vgw__ports *ports, const char *address, uint16_t *out, vgw_error *err)
{
	uint32_t range = read_range_start();
	bool is_found = false;

	range = range > LOWEST + WORTHWHILE ? range - LOWEST : 0;
	(void)pthread_mutex_lock(&ports->mutex);
	for (int i = 0; i < ATTEMPTS && !is_found; i++) {
		uint32_t random = 0;
		uint16_t port = 0;

		if (range > 0 && getrandom(&random, sizeof(random), 0) == (ssize_t)sizeof(random))
			port = (uint16_t)(LOWEST + random % range);
		if (!try_port(address, &port) || is_recent_locked(ports, port))
			continue;
		ports->recent[ports->next] = port;
		ports->next = (ports->next + 1) % VGW__PORTS_RECENT;
		*out = port;
		is_found = true;
	}
	(void)pthread_mutex_unlock(&ports->mutex);
	if (is_found)
		return VGW_OK;
	return vgw_error_set(err, VGW_BACKEND, EADDRINUSE, "no free port found on %.60s", address);
}

bool vgw__ports_is_listening(const char *address, uint16_t port)
{
	struct sockaddr_storage addr;
	struct pollfd wait = { .events = POLLOUT };
	socklen_t len, size = sizeof(int);
	bool is_listening;
	int error = 0;

	if (!vgw__ports_make_address(address, port, &addr, &len))
		return false;
	wait.fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (wait.fd < 0)
		return false;
	is_listening = connect(wait.fd, (const struct sockaddr *)&addr, len) == 0;
	if (!is_listening && errno == EINPROGRESS)
		is_listening = poll(&wait, 1, CONNECT_MS) == 1 &&
			getsockopt(wait.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
	(void)close(wait.fd);
	return is_listening;
}
