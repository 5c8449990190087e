/* SPDX-License-Identifier: Apache-2.0 */
/* Absolute deadlines of connections while MHD has them: for the first head, between requests, for a body. MHD itself
 * only knows idle time, which a client that sends one byte a second never exceeds.
 *
 * All connections in one list wait for the same length of time, so each list is in the order of its deadlines and a
 * sweep looks at those that are due, never at all. An idle connection is looked at from time to time: once a head has
 * begun, it has the time of a head. */
#include "front/internal.h"

#include "front/tls_client.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
	SWEEP_MS = 25,
	COARSE_SWEEP_MS = 500,
	KEEP_ALIVE_MS = 75000,
	LOOKS = 4,       /* at an idle connection during a head's time */
	AFTERMATH_MS = 50, /* the kernel's clock is coarser than ours */
};

static int64_t allowed_ms(const struct worker *worker, enum deadline_kind kind)
{
	switch (kind) {
	case DEADLINE_HEAD:
		return worker->front->options.header_timeout_ms;
	case DEADLINE_BODY:
		return worker->front->options.body_timeout_ms;
	case DEADLINE_GONE:
		return INT32_MAX;
	default:
		return worker->front->options.header_timeout_ms / LOOKS;
	}
}

void deadline_start(struct connection *connection, enum deadline_kind kind)
{
	struct worker *worker = connection->worker;

	link_remove(&connection->link);
	connection->since_ms = worker_now_ms(worker);
	connection->is_suspect = false;
	link_append(&worker->deadlines[kind], &connection->link);
	sweep_arm(worker);
}

void deadline_start_idle(struct connection *connection)
{
	connection->idle_ms = worker_now_ms(connection->worker);
	deadline_start(connection, DEADLINE_IDLE);
}

void deadline_stop(struct connection *connection)
{
	link_remove(&connection->link);
	if (connection->is_fresh)
		atomic_fetch_sub(&connection->worker->front->fresh, 1);
	connection->is_fresh = false;
}

/* MHD has sent nothing for the request under way: the answer can be written past it. Closing both sides makes MHD let
 * go of the connection. Where it has stopped reading, and so is not told, its own timeout does, which it looks at when
 * a sweep runs it. */
static void give_up(struct connection *connection, vgw_fault fault, const char *why)
{
	struct exchange *x = connection->exchange;
	size_t len = 0;
	char *text = x ? reply_print_fault(x, fault, why, &len) : NULL;

	link_remove(&connection->link);
	if (x) {
		(void)MHD_set_connection_option(x->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
		deadline_start(connection, DEADLINE_GONE);
	}
	if (text) {
		x->is_given_up = true;
		x->status = vgw_fault_get_info(fault)->http;
		x->facts.fault = vgw_fault_get_info(fault)->code;
		(void)send(connection->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	free(text);
	(void)shutdown(connection->fd, SHUT_RDWR);
}

/* --- between two requests ---------------------------------------------------------------------------------------- */

/* MHD reads the bytes of a head and does not tell before the last one. The kernel knows when the last one came that is
 * there now; of a Unix socket's it does not. */
static bool has_begun_a_head(const struct connection *connection)
{
	int64_t heard_ms;
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (connection->tls) {
		heard_ms = tls_client_get_heard_ms(connection->tls);
	} else {
		if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
			return false;
		heard_ms = vgw_now_ms() - info.tcpi_last_data_recv;
	}
	return heard_ms > connection->idle_ms + AFTERMATH_MS;
}

static void look_at_idle(struct connection *connection)
{
	struct worker *worker = connection->worker;

	if (worker->is_draining || worker_now_ms(worker) - connection->idle_ms >= KEEP_ALIVE_MS)
		give_up(connection, VGW_FAULT_REQUEST_TIMEOUT, NULL);
	else
		deadline_start(connection, has_begun_a_head(connection) ? DEADLINE_HEAD : DEADLINE_IDLE);
}

/* Bytes are waiting, were so at the last look, and none has been read since. */
static bool is_stuck(struct connection *connection)
{
	uint64_t uploaded = connection->exchange->uploaded;
	bool was_suspect = connection->is_suspect && connection->suspect_at == uploaded;
	int waiting = 0;

	connection->is_suspect = ioctl(connection->fd, FIONREAD, &waiting) == 0 && waiting > 0;
	connection->suspect_at = uploaded;
	return was_suspect && connection->is_suspect;
}

/* MHD does not read on when a line between two chunks does not fit its buffer, and asks to be run again and again.
 * Between two looks it is run often enough to take something of everybody else. */
void bodies_drop_stuck(const struct listener *listener)
{
	struct link *head = &listener->worker->deadlines[DEADLINE_BODY];

	for (struct link *at = head->next, *next = at->next; at != head; at = next, next = at->next) {
		struct connection *connection = LINK_OWNER(at, struct connection, link);

		if (connection->exchange && connection->exchange->listen == listener->at && is_stuck(connection))
			give_up(connection, VGW_FAULT_BAD_REQUEST, "a line of the chunked body is too long");
	}
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
			if (kind == DEADLINE_IDLE)
				look_at_idle(connection);
			else
				give_up(connection, VGW_FAULT_REQUEST_TIMEOUT, NULL);
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
