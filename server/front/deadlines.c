/* SPDX-License-Identifier: Apache-2.0 */
/* Absolute deadlines of connections while MHD has them: for the first head, between requests, for a body. MHD itself
 * only knows idle time, which a client that sends one byte a second never exceeds.
 *
 * All connections in one list wait for the same length of time, so each list is in the order of its deadlines and a
 * sweep looks at those that are due, never at all. */
#include "front/internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { SWEEP_MS = 25, COARSE_SWEEP_MS = 500, KEEP_ALIVE_MS = 75000 };

static int64_t allowed_ms(const struct worker *worker, enum deadline_kind kind)
{
	switch (kind) {
	case DEADLINE_HEAD:
		return worker->front->options.header_timeout_ms;
	case DEADLINE_BODY:
		return worker->front->options.body_timeout_ms;
	default:
		return KEEP_ALIVE_MS;
	}
}

void deadline_start(struct connection *connection, enum deadline_kind kind)
{
	struct worker *worker = connection->worker;

	link_remove(&connection->link);
	connection->since_ms = worker_now_ms(worker);
	link_append(&worker->deadlines[kind], &connection->link);
	sweep_arm(worker);
}

void deadline_stop(struct connection *connection)
{
	link_remove(&connection->link);
}

/* MHD has sent nothing for the request under way: the answer can be written past it, and closing the reading side
 * makes MHD let go of the connection. */
static void give_up(struct connection *connection, enum deadline_kind kind)
{
	char *body = kind == DEADLINE_BODY ? vgw_fault_dup_body(VGW_FAULT_REQUEST_TIMEOUT, NULL, NULL) : NULL;
	char answer[512];
	int len;

	if (body) {
		len = snprintf(answer, sizeof(answer),
			"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
			"Content-Length: %zu\r\n\r\n%s",
			strlen(body), body);
		if (len > 0 && (size_t)len < sizeof(answer))
			(void)send(connection->fd, answer, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	vgw_free(body);
	(void)shutdown(connection->fd, kind == DEADLINE_BODY ? SHUT_RD : SHUT_RDWR);
}

static void sweep_connections(struct worker *worker)
{
	int64_t now_ms = worker_now_ms(worker);

	for (int kind = 0; kind < DEADLINE_COUNT; kind++) {
		struct link *head = &worker->deadlines[kind];
		int64_t allowed = allowed_ms(worker, (enum deadline_kind)kind);

		while (!link_is_empty(head)) {
			struct connection *connection = LINK_OWNER(head->next, struct connection, link);

			if (connection->since_ms + allowed > now_ms && !(worker->is_draining && kind == DEADLINE_IDLE))
				break;
			link_remove(&connection->link);
			give_up(connection, (enum deadline_kind)kind);
		}
	}
}

static void on_sweep(vgw_timer *timer)
{
	struct worker *worker = timer->user;

	sweep_connections(worker);
	exchanges_watch_clients(worker);
	worker_pump(worker);
	sweep_arm(worker);
}

/* Often while somebody is suspended, seldom while connections are open, never otherwise. */
void sweep_arm(struct worker *worker)
{
	bool has_suspended = !link_is_empty(&worker->suspended);
	int64_t at_ms = worker_now_ms(worker) + (has_suspended ? SWEEP_MS : COARSE_SWEEP_MS);
	bool is_idle = !has_suspended;

	for (int kind = 0; kind < DEADLINE_COUNT; kind++)
		is_idle = is_idle && link_is_empty(&worker->deadlines[kind]);
	if (is_idle || (vgw_timer_is_armed(&worker->sweep) && worker->sweep_at_ms <= at_ms))
		return;
	worker->sweep.user = worker;
	worker->sweep_at_ms = at_ms;
	if (vgw_timer_start(worker->loop, &worker->sweep, at_ms, on_sweep) != VGW_OK)
		worker->sweep_at_ms = 0; /* nothing is swept until there is memory: the next request tries again */
}
