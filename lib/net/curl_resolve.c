/* SPDX-License-Identifier: Apache-2.0 */
/* An endpoint's addresses for libcurl, so that it looks no name up: what was resolved and checked is what is used. */
#include "net/curl_base.h"
#include "net/endpoint.h"
#include "util/buf.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static bool print_address(const struct vgw__address *address, char *out, size_t size)
{
	if (address->addr.ss_family == AF_INET)
		return inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)&address->addr)->sin_addr, out,
			(socklen_t)size);
	return address->addr.ss_family == AF_INET6 &&
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_addr, out,
			(socklen_t)size);
}

/* "host:port:address,address" */
bool vgw__curl_add_addresses(struct curl_slist **list, const struct vgw__endpoint *endpoint)
{
	struct vgw__buf line;
	bool is_fine;

	if (endpoint->unix_path || endpoint->host[0] == '[')
		return true; /* nothing to resolve */
	vgw__buf_init(&line, 4096);
	is_fine = vgw__buf_print(&line, "%s:%u:", endpoint->host, (unsigned)endpoint->port);
	for (uint32_t i = 0; is_fine && i < endpoint->address_count; i++) {
		char text[INET6_ADDRSTRLEN];

		if (print_address(&endpoint->addresses[i], text, sizeof(text)))
			is_fine = vgw__buf_print(&line, "%s%s", i ? "," : "", text);
	}
	is_fine = is_fine && vgw__buf_append(&line, "", 1) && vgw__curl_append(list, line.data);
	vgw__buf_fini(&line);
	return is_fine;
}
