/* SPDX-License-Identifier: Apache-2.0 */
/* Peers in buckets of chains, keyed by the endpoint's id, which is never used twice. A peer is freed with its last
 * connection. Each idle connection is on two lists: its peer's, from which the youngest is taken, and the pool's,
 * from which the oldest goes. */
#include "net/h1_pool.h"

#include "net/h1.h"
#include "util/alloc.h"

#include <unistd.h>

static struct vgw__list *bucket_of(struct vgw__h1_pool *pool, uint64_t id)
{
	return &pool->buckets[id % VGW__H1_BUCKETS];
}

static struct vgw__h1_peer *find_peer(struct vgw__h1_pool *pool, const struct vgw__endpoint *endpoint)
{
	VGW__LIST_EACH(it, bucket_of(pool, endpoint->id)) {
		struct vgw__h1_peer *peer = VGW__CONTAINER(it, struct vgw__h1_peer, link);

		if (peer->endpoint->id == endpoint->id)
			return peer;
	}
	return NULL;
}

static struct vgw__h1_peer *add_peer(struct vgw__h1_pool *pool, struct vgw__endpoint *endpoint)
{
	struct vgw__h1_peer *peer = vgw__alloc(sizeof(*peer));

	if (!peer)
		return NULL;
	peer->endpoint = vgw__endpoint_ref(endpoint);
	vgw__list_init(&peer->idle);
	vgw__list_append(bucket_of(pool, endpoint->id), &peer->link);
	return peer;
}

static void free_peer(struct vgw__h1_peer *peer)
{
	vgw__list_remove(&peer->link);
	vgw__endpoint_unref(peer->endpoint);
	vgw__free(peer);
}

/* --- age --------------------------------------------------------------------------------------------------------- */

static struct vgw__h1_conn *oldest_idle(struct vgw__h1_pool *pool)
{
	struct vgw__list *first = vgw__list_first(&pool->by_age);

	return first ? VGW__CONTAINER(first, struct vgw__h1_conn, age_link) : NULL;
}

static void on_age(vgw_timer *timer)
{
	struct vgw__h1_pool *pool = timer->user;
	struct vgw__h1_conn *conn;

	while ((conn = oldest_idle(pool)) != NULL) {
		int64_t due_ms = conn->idle_since_ms + pool->idle_ms;

		if (due_ms > vgw_loop_now_ms(pool->loop) && vgw_timer_start(pool->loop, timer, due_ms, on_age) == VGW_OK)
			return;
		vgw__h1_pool_close(pool, conn);
	}
}

/* --- life -------------------------------------------------------------------------------------------------------- */

void vgw__h1_pool_init(struct vgw__h1_pool *pool, vgw_loop *loop, int64_t idle_ms)
{
	pool->loop = loop;
	pool->idle_ms = idle_ms;
	pool->timer.user = pool;
	vgw__list_init(&pool->by_age);
	for (size_t i = 0; i < VGW__H1_BUCKETS; i++)
		vgw__list_init(&pool->buckets[i]);
}

void vgw__h1_pool_fini(struct vgw__h1_pool *pool)
{
	struct vgw__h1_conn *conn;

	while ((conn = oldest_idle(pool)) != NULL)
		vgw__h1_pool_close(pool, conn);
	vgw_timer_cancel(pool->loop, &pool->timer);
}

struct vgw__h1_conn *vgw__h1_pool_take(struct vgw__h1_pool *pool, const struct vgw__endpoint *endpoint)
{
	struct vgw__h1_peer *peer = find_peer(pool, endpoint);
	size_t idle_left = peer ? peer->conn_count : 0;
	int64_t now_ms = vgw_now_ms();

	/* the last close below may free the peer: it is not touched after the count has run out */
	while (idle_left-- && !vgw__list_is_empty(&peer->idle)) {
		struct vgw__h1_conn *conn = VGW__CONTAINER(peer->idle.next, struct vgw__h1_conn, link);

		/* An event that waits in this turn's batch is a close, or bytes that nobody asked for: they must not
		 * be taken for the answer to the next request. */
		if (conn->watch.slot || now_ms - conn->idle_since_ms >= pool->idle_ms) {
			vgw__h1_pool_close(pool, conn);
			continue;
		}
		vgw__list_remove(&conn->link);
		vgw__list_remove(&conn->age_link);
		return conn;
	}
	return NULL;
}

struct vgw__h1_conn *vgw__h1_pool_add(struct vgw__h1_pool *pool, struct vgw__endpoint *endpoint)
{
	struct vgw__h1_conn *conn = vgw__alloc(sizeof(*conn));
	struct vgw__h1_peer *peer;

	if (!conn)
		return NULL;
	peer = find_peer(pool, endpoint);
	if (!peer)
		peer = add_peer(pool, endpoint);
	if (!peer) {
		vgw__free(conn);
		return NULL;
	}
	peer->conn_count++;
	conn->peer = peer;
	conn->fd = -1;
	conn->watch.user = conn;
	vgw__list_init(&conn->link);
	vgw__list_init(&conn->age_link);
	return conn;
}

void vgw__h1_pool_keep(struct vgw__h1_pool *pool, struct vgw__h1_conn *conn)
{
	conn->state = VGW__H1_IDLE;
	conn->idle_since_ms = vgw_loop_now_ms(pool->loop);
	vgw__list_prepend(&conn->peer->idle, &conn->link);
	vgw__list_append(&pool->by_age, &conn->age_link);
	if (!vgw_timer_is_armed(&pool->timer) &&
		vgw_timer_start(pool->loop, &pool->timer, conn->idle_since_ms + pool->idle_ms, on_age) != VGW_OK)
		vgw__h1_pool_close(pool, conn);
}

void vgw__h1_pool_close(struct vgw__h1_pool *pool, struct vgw__h1_conn *conn)
{
	vgw__list_remove(&conn->link);
	vgw__list_remove(&conn->age_link);
	vgw_watch_remove(pool->loop, &conn->watch);
	if (conn->fd >= 0)
		(void)close(conn->fd);
	if (conn->send)
		vgw_timer_cancel(pool->loop, &conn->send->connect_timer);
	vgw__free(conn->send);
	if (conn->head)
		vgw__buf_fini(conn->head);
	vgw__free(conn->head);
	if (--conn->peer->conn_count == 0)
		free_peer(conn->peer);
	vgw__free(conn);
}
