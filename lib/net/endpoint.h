/* SPDX-License-Identifier: Apache-2.0 */
/* Where an engine listens: a parsed base URL with its socket addresses. Immutable once made and counted, so that
 * every worker may hold it without a lock. Resolving a name blocks: it is done by whoever makes the endpoint, which
 * is never a worker. */
#ifndef VGW_NET_ENDPOINT_H
#define VGW_NET_ENDPOINT_H

#include <vllmgw/status.h>

#include <stdatomic.h>
#include <sys/socket.h>

enum { VGW__ENDPOINT_ADDRESSES = 32 };

struct vgw__address {
	struct sockaddr_storage addr;
	socklen_t len;
};

struct vgw__endpoint {
	atomic_uint refs;
	uint64_t id;      /* never used twice in a process: the key of connection pools */
	char *url;        /* as configured, without a trailing slash */
	char *authority;  /* the Host header: "host:port"; "localhost" for a unix socket */
	char *host;
	char *base_path;  /* "" or "/prefix": put before every upstream path */
	char *unix_path;  /* NULL, or the socket of unix:/path */
	char *ca_file;    /* https: certificates to trust instead of the system's, or NULL */
	uint16_t port;
	bool is_tls;
	bool is_one_of_many; /* it is one address of a name that has several */
	uint32_t address_count; /* 0: the name could not be resolved; calls fail with CONNECT */
	struct vgw__address addresses[VGW__ENDPOINT_ADDRESSES];
};

/* Parse and resolve "http://host[:port][/prefix]", "https://..." or "unix:/path". INVALID names what is wrong with
 * the URL. A name that does not resolve is no error: the endpoint has no addresses then. Blocks on DNS. */
vgw_status vgw__endpoint_new(struct vgw__endpoint **out, const char *url, vgw_error *err);
/* Trust the certificates in this PEM file for https. Before the endpoint is shared. */
vgw_status vgw__endpoint_set_ca(struct vgw__endpoint *endpoint, const char *ca_file, vgw_error *err);
/* The same place by one of its addresses only, with an id of its own. NULL without memory. */
struct vgw__endpoint *vgw__endpoint_new_one(const struct vgw__endpoint *endpoint, const struct vgw__address *address);
struct vgw__endpoint *vgw__endpoint_ref(struct vgw__endpoint *endpoint);
void vgw__endpoint_unref(struct vgw__endpoint *endpoint); /* NULL is allowed */

#endif
