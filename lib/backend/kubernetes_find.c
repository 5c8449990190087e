/* SPDX-License-Identifier: Apache-2.0 */
/* Where the ready pods are. EndpointSlices tell changes at once and also the pods that are not ready; the name of a
 * headless service in DNS needs no right in the cluster, is asked again and again, and has the ready ones only. */
#include "backend/kubernetes.h"

#include "util/alloc.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { DNS_STEP_MS = 500, SLICES_STEP_MS = 1000 };

static char *print_url(const struct addrinfo *info, uint16_t port)
{
	char address[INET6_ADDRSTRLEN];
	bool is_v6 = info->ai_family == AF_INET6;
	const void *bytes = is_v6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_addr
				  : (const void *)&((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr;

	if (!inet_ntop(info->ai_family, bytes, address, sizeof(address)))
		return NULL;
	return vgw__printf("http://%s%s%s:%u", is_v6 ? "[" : "", address, is_v6 ? "]" : "", (unsigned)port);
}

static vgw_status resolve(const struct vgw__kube *kube, struct vgw__strings *ready, vgw_error *err)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(kube->config.dns, NULL, &hints, &list);
	bool is_good = true;

	if (rc == EAI_NONAME || rc == EAI_NODATA)
		return VGW_OK; /* a headless service without a ready pod has no address */
	if (rc != 0)
		return vgw_error_set(err, VGW_BUSY, 0, "'%.100s' cannot be resolved: %s", kube->config.dns,
			gai_strerror(rc));
	for (const struct addrinfo *info = list; info && is_good; info = info->ai_next)
		is_good = vgw__strings_take(ready, print_url(info, kube->config.port));
	freeaddrinfo(list);
	return is_good ? VGW_OK : vgw_error_set(err, VGW_NOMEM, 0, "no memory for the addresses of '%.100s'",
		kube->config.dns);
}

/* The server's order changes from answer to answer and means nothing. */
static void sort(struct vgw__strings *list)
{
	for (size_t i = 1; i < list->count; i++) {
		for (size_t j = i; j > 0 && strcmp(list->items[j - 1], list->items[j]) > 0; j--) {
			char *text = list->items[j];

			list->items[j] = list->items[j - 1];
			list->items[j - 1] = text;
		}
	}
}

vgw_status vgw__kube_find(struct vgw__kube *kube, struct vgw__strings *ready, size_t *listed, vgw_error *err)
{
	vgw_status status;

	if (kube->slices) {
		status = vgw__kube_slices_read(kube->slices, kube->config.service, kube->config.port, ready, listed, err);
	} else {
		status = resolve(kube, ready, err);
		*listed = ready->count;
	}
	sort(ready);
	return status;
}

bool vgw__kube_wait_change(const struct vgw__kube *kube, int64_t until_ms)
{
	struct pollfd fds[] = {
		{ .fd = vgw_host_get_cancel_fd(kube->host), .events = POLLIN },
		{ .fd = kube->fd, .events = POLLIN },
	};
	int64_t step_ms = kube->slices ? SLICES_STEP_MS : DNS_STEP_MS;
	int64_t left_ms = until_ms - vgw_now_ms();
	uint64_t count;

	if (left_ms < step_ms)
		step_ms = left_ms > 0 ? left_ms : 0;
	(void)poll(fds, 2, (int)step_ms);
	(void)!read(kube->fd, &count, sizeof(count));
	return fds[0].revents != 0 || vgw_host_is_cancelled(kube->host);
}
