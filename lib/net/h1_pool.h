/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of one h1 transport: which engine they lead to, and which are free. A free connection stays
 * registered with the loop, so that an engine's close is noticed at once, and so that using it again costs no
 * system call. Connections that were free for too long are closed by one timer for the whole pool. */
#ifndef VGW_NET_H1_POOL_H
#define VGW_NET_H1_POOL_H

#include "net/endpoint.h"
#include "util/list.h"

#include <vllmgw/loop.h>

struct vgw__h1_conn;

enum { VGW__H1_BUCKETS = 64 };

/* An endpoint that has connections; it lives as long as they do. */
struct vgw__h1_peer {
	struct vgw__list link; /* in its bucket */
	struct vgw__endpoint *endpoint;
	struct vgw__list idle; /* most recently used first: the others may age and go */
	size_t conn_count;
};

struct vgw__h1_pool {
	vgw_loop *loop;
	int64_t idle_ms;
	struct vgw__list buckets[VGW__H1_BUCKETS]; /* peers, by endpoint id */
	struct vgw__list by_age;                   /* idle connections, the oldest first */
	vgw_timer timer;                           /* armed while a connection is idle */
};

void vgw__h1_pool_init(struct vgw__h1_pool *pool, vgw_loop *loop, int64_t idle_ms);
void vgw__h1_pool_fini(struct vgw__h1_pool *pool); /* closes the idle connections */

/* The idle connection used last, or NULL. */
struct vgw__h1_conn *vgw__h1_pool_take(struct vgw__h1_pool *pool, const struct vgw__endpoint *endpoint);

/* A new connection without a socket, counted for its peer; NULL: out of memory. */
struct vgw__h1_conn *vgw__h1_pool_add(struct vgw__h1_pool *pool, struct vgw__endpoint *endpoint);

/* The connection can serve the next request. */
void vgw__h1_pool_keep(struct vgw__h1_pool *pool, struct vgw__h1_conn *conn);

/* Close and free, in whatever state it is. */
void vgw__h1_pool_close(struct vgw__h1_pool *pool, struct vgw__h1_conn *conn);

#endif
