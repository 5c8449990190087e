/* SPDX-License-Identifier: Apache-2.0 */
/* Lingering closes. */
#include "front/linger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 2000, READ_BYTES = 16384 };

struct lingering {
	struct link link;
	struct worker *worker;
	int fd;
	size_t left;
	vgw_watch watch;
	vgw_timer timer;
};

static void close_lingering(struct lingering *l)
{
	vgw_watch_remove(l->worker->loop, &l->watch);
	vgw_timer_cancel(l->worker->loop, &l->timer);
	link_remove(&l->link);
	(void)close(l->fd);
	free(l);
}

static void on_timer(vgw_timer *timer)
{
	close_lingering(timer->user);
}

static void on_readable(vgw_watch *watch, uint32_t events)
{
	struct lingering *l = watch->user;
	char waste[READ_BYTES];
	ssize_t count = recv(l->fd, waste, sizeof(waste), MSG_DONTWAIT);

	(void)events;
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (count <= 0 || (size_t)count > l->left) {
		close_lingering(l);
		return;
	}
	l->left -= (size_t)count;
}

void linger_take(struct worker *worker, int fd, size_t bytes)
{
	struct lingering *l = calloc(1, sizeof(*l));

	if (!l || shutdown(fd, SHUT_WR) != 0) {
		free(l);
		(void)close(fd);
		return;
	}
	l->worker = worker;
	l->fd = fd;
	l->left = bytes + READ_BYTES;
	l->watch.user = l;
	l->timer.user = l;
	link_init(&l->link);
	if (vgw_watch_add(worker->loop, &l->watch, fd, EPOLLIN | EPOLLRDHUP, on_readable, NULL) != VGW_OK ||
		vgw_timer_start(worker->loop, &l->timer, worker_now_ms(worker) + LINGER_MS, on_timer) != VGW_OK) {
		close_lingering(l);
		return;
	}
	link_append(&worker->lingering, &l->link);
}

void lingers_close(struct worker *worker)
{
	while (!link_is_empty(&worker->lingering))
		close_lingering(LINK_OWNER(worker->lingering.next, struct lingering, link));
}
