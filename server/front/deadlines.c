/* SPDX-License-Identifier: Apache-2.0 */
/* Absolute deadlines of connections while MHD has them: for the first head, between requests, for a body. MHD itself
 * only knows idle time, which a client that sends one byte a second never exceeds.
 *
 * All connections in one list wait for the same length of time, so each list is in the order of its deadlines and a
 * sweep looks at those that are due, never at all. */
#include "front/internal.h"

#include <stdlib.h>
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

/* MHD has sent nothing for the request under way: the answer can be written past it. Closing both sides makes MHD let
 * go of the connection, even where it has stopped reading because a line does not fit its buffer. */
static void give_up(struct connection *connection, enum deadline_kind kind)
{
	struct exchange *x = kind == DEADLINE_BODY ? connection->exchange : NULL;
	size_t len = 0;
	char *text = x ? reply_print_fault(x, VGW_FAULT_REQUEST_TIMEOUT, NULL, &len) : NULL;

	if (text) {
		x->is_late = true;
		x->status = vgw_fault_get_info(VGW_FAULT_REQUEST_TIMEOUT)->http;
		x->facts.fault = vgw_fault_get_info(VGW_FAULT_REQUEST_TIMEOUT)->code;
		(void)send(connection->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	free(text);
	(void)shutdown(connection->fd, SHUT_RDWR);
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
