/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting. A worker that has its share of connections takes no more until one ends; one that gets no descriptor
 * tries again after a while: clients wait in the socket's queue meanwhile, and nothing spins. */
#include "front/accept.h"

#include "front/tls_client.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, RETRY_MS = 100 };

static void pause_accepting(struct listener *listener)
{
	listener->is_accept_paused = vgw_watch_set(listener->worker->loop, &listener->accept_watch, 0) == VGW_OK;
}

void accept_go_on(struct listener *listener)
{
	if (listener->is_accept_paused && !vgw_timer_is_armed(&listener->accept_again))
		listener->is_accept_paused = vgw_watch_set(listener->worker->loop, &listener->accept_watch, EPOLLIN) != VGW_OK;
}

static void on_again(vgw_timer *timer)
{
	accept_go_on(timer->user);
}

/* Without memory for a timer the next client to leave makes it go on. */
static void retry_later(struct listener *listener)
{
	struct worker *worker = listener->worker;

	pause_accepting(listener);
	listener->accept_again.user = listener;
	(void)!vgw_timer_start(worker->loop, &listener->accept_again, worker_now_ms(worker) + RETRY_MS, on_again);
}

static void accept_some(struct listener *listener)
{
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_storage address = { 0 };
		socklen_t len = sizeof(address);
		int fd;

		if (listener->tls_count >= listener->worker->front->connections_each) {
			pause_accepting(listener);
			return;
		}
		fd = accept4(listener->accept_fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			tls_client_begin(listener, fd, &address, len);
		} else if (errno == EAGAIN) {
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			retry_later(listener);
			return;
		}
	}
}

static void on_acceptable(vgw_watch *watch, uint32_t events)
{
	(void)events;
	accept_some(watch->user);
}

int accept_begin(struct listener *listener, int fd)
{
	listener->accept_watch.user = listener;
	if (vgw_watch_add(listener->worker->loop, &listener->accept_watch, fd, EPOLLIN, on_acceptable, NULL) != VGW_OK)
		return -1;
	listener->accept_fd = fd;
	return 0;
}

void accept_end(struct listener *listener)
{
	if (listener->accept_fd < 0)
		return;
	accept_some(listener);
	listener->is_accept_paused = false;
	vgw_timer_cancel(listener->worker->loop, &listener->accept_again);
	vgw_watch_remove(listener->worker->loop, &listener->accept_watch);
	(void)close(listener->accept_fd);
	listener->accept_fd = -1;
}
