/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: one thread, one loop. MHD's daemons are nested in it by their epoll descriptors and run when those are
 * readable, or when something was resumed. Orders from the main thread come by message. */
#include "front/worker.h"

#include "front/accept.h"
#include "front/linger.h"
#include "front/mhd_compat.h"
#include "front/tls_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

enum {
	MHD_ROUNDS = 16,
	LOOK_TURNS = 8,  /* that left work behind: are there clients that MHD does not read on? */
	BARREN_MAX = 2 * LOOK_TURNS, /* turns; a head that fills MHD's buffer needs two to be read */
};

int64_t worker_now_ms(const struct worker *worker)
{
	return vgw_loop_now_ms(worker->loop);
}

void worker_make_id(struct worker *worker, char id[REQUEST_ID_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	uint32_t number = worker->id_next++;

	memcpy(id, "req-", 4);
	memcpy(id + 4, worker->id_prefix, 8);
	for (int i = 0; i < 8; i++)
		id[12 + i] = digits[(number >> (28 - 4 * i)) & 15];
	id[20] = '\0';
}

/* --- running MHD ---------------------------------------------------------------------------------------------- */

static void on_again(vgw_timer *timer)
{
	worker_pump(timer->user);
}

/* One run may leave work behind (a response after a resume takes about three): it says so by a timeout of zero. What
 * is left after a few rounds (a body comes in pieces as large as MHD's buffer) goes on in the next turn, after the
 * others: its epoll descriptor does not tell of it again. */
static void run_daemon(struct listener *listener)
{
	struct MHD_Daemon *daemon = listener->daemon;
	struct worker *worker = listener->worker;
	MHD_UNSIGNED_LONG_LONG timeout = 0;

	for (int round = 0; round < MHD_ROUNDS; round++) {
		if (MHD_run(daemon) != MHD_YES || MHD_get_timeout(daemon, &timeout) != MHD_YES || timeout != 0) {
			listener->barren = 0;
			listener->restless = 0;
			return;
		}
	}
	if (++listener->restless % LOOK_TURNS == 0)
		bodies_drop_stuck(listener);
	if (++listener->barren >= BARREN_MAX)
		return; /* nothing comes of it: the next event or sweep tries again */
	if (vgw_timer_start(worker->loop, &worker->again, worker_now_ms(worker), on_again) != VGW_OK)
		worker_pump(worker); /* no memory: in this turn */
}

static void on_pump(vgw_defer *defer)
{
	struct worker *worker = defer->user;

	for (size_t i = 0; i < worker->listener_count; i++) {
		if (worker->listeners[i].daemon)
			run_daemon(&worker->listeners[i]);
	}
}

void worker_pump(struct worker *worker)
{
	vgw_defer_call(worker->loop, &worker->pump, on_pump);
}

static void on_daemon(vgw_watch *watch, uint32_t events)
{
	(void)events;
	run_daemon(watch->user);
}

/* --- stopping ------------------------------------------------------------------------------------------------- */

static void drain(struct worker *worker)
{
	if (worker->is_draining)
		return;
	on_pump(&worker->pump); /* accepts those whom the end of the listening socket would reset */
	worker->is_draining = true;
	for (size_t i = 0; i < worker->listener_count; i++) {
		int fd = worker->listeners[i].is_tls ? -1 : MHD_quiesce_daemon(worker->listeners[i].daemon);

		accept_end(&worker->listeners[i]);
		if (fd >= 0)
			(void)close(fd);
	}
	sweep_arm(worker);
}

/* MHD aborts the program when it is stopped with suspended connections: none may be left. */
static void end_exchanges(struct worker *worker)
{
	while (!link_is_empty(&worker->suspended)) {
		struct exchange *x = LINK_OWNER(worker->suspended.next, struct exchange, link);

		exchange_cancel(x);
		vgw_defer_cancel(worker->loop, &x->convert);
		(void)reply_fault(x, VGW_FAULT_SHUTTING_DOWN, NULL, NULL);
		exchange_resume(x);
	}
}

static void stop(struct worker *worker)
{
	drain(worker);
	worker->is_stopping = true;
	end_exchanges(worker);
	on_pump(&worker->pump);
	streams_stop(worker);
	vgw_loop_stop(worker->loop);
}

static void on_order(vgw_message *message)
{
	struct worker *worker = message->user;

	if (atomic_load(&worker->front->stage) == FRONT_STOPPING)
		stop(worker);
	else
		drain(worker);
}

void worker_order(struct worker *worker)
{
	vgw_message *order = atomic_load(&worker->front->stage) == FRONT_STOPPING ? &worker->stop_order
										  : &worker->drain_order;

	order->user = worker;
	vgw_loop_post(worker->loop, order, on_order);
}

/* --- is it alive? ----------------------------------------------------------------------------------------------- */

static void on_pulse(vgw_message *message)
{
	struct worker *worker = message->user;

	atomic_store(&worker->pulse_asked_ms, 0);
}

int64_t worker_get_silence_ms(struct worker *worker)
{
	int64_t now_ms = vgw_now_ms(), asked_ms = 0;

	if (!atomic_compare_exchange_strong(&worker->pulse_asked_ms, &asked_ms, now_ms))
		return now_ms - asked_ms;
	worker->pulse.user = worker;
	vgw_loop_post(worker->loop, &worker->pulse, on_pulse);
	return 0;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void make_id_prefix(struct worker *worker)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		random = (uint32_t)vgw_now_ms() ^ (worker->place << 24);
	for (int i = 0; i < 8; i++)
		worker->id_prefix[i] = digits[(random >> (28 - 4 * i)) & 15];
}

int worker_init(struct worker *worker, struct front *front, uint32_t place, char *why, size_t size)
{
	vgw_error err = VGW_ERROR_INIT;

	worker->front = front;
	worker->place = place;
	worker->pump.user = worker;
	worker->again.user = worker;
	link_init(&worker->suspended);
	link_init(&worker->streams);
	link_init(&worker->lingering);
	for (int i = 0; i < DEADLINE_COUNT; i++)
		link_init(&worker->deadlines[i]);
	make_id_prefix(worker);
	worker->listeners = calloc(front->options.listen_count, sizeof(*worker->listeners));
	if (!worker->listeners) {
		(void)snprintf(why, size, "out of memory");
		return -1;
	}
	if (vgw_loop_new(&worker->loop, &err) != VGW_OK ||
		vgw_worker_attach(&worker->gateway_worker, front->options.gateway, worker->loop, &err) != VGW_OK) {
		(void)snprintf(why, size, "%s", err.text);
		return -1;
	}
	if (front->options.keys && keys_reader_open(&worker->keys, front->options.keys) != 0) {
		(void)snprintf(why, size, "out of memory");
		return -1;
	}
	return 0;
}

/* Takes the descriptor. */
int worker_listen(struct worker *worker, int fd, char *why, size_t size)
{
	struct listener *listener = &worker->listeners[worker->listener_count];
	vgw_error err = VGW_ERROR_INIT;

	listener->worker = worker;
	listener->at = &worker->front->options.listens[worker->listener_count];
	listener->is_tls = listener->at->is_tls;
	listener->accept_fd = -1;
	link_init(&listener->tls_clients);
	link_init(&listener->tls_waiting);
	listener->daemon = mhd_start(listener, listener->is_tls ? -1 : fd, worker->front->connections_each,
		worker->front->options.head_bytes);
	if (!listener->daemon) {
		(void)snprintf(why, size, "libmicrohttpd could not be started on a listening socket");
		(void)close(fd);
		return -1;
	}
	worker->listener_count++;
	if (listener->is_tls && accept_begin(listener, fd) != 0) {
		(void)snprintf(why, size, "a listening socket cannot be watched");
		(void)close(fd);
		return -1;
	}
	listener->watch.user = listener;
	if (vgw_watch_add(worker->loop, &listener->watch, mhd_get_epoll_fd(listener->daemon), EPOLLIN, on_daemon,
		    &err) != VGW_OK) {
		(void)snprintf(why, size, "%s", err.text);
		return -1;
	}
	return 0;
}

static void *run(void *user)
{
	struct worker *worker = user;
	vgw_error err = VGW_ERROR_INIT;
	char name[16];

	(void)snprintf(name, sizeof(name), "vgw-worker-%u", worker->place % 1000);
	(void)pthread_setname_np(pthread_self(), name);
	if (vgw_loop_run(worker->loop, &err) != VGW_OK && worker->front->options.logger.fn)
		worker->front->options.logger.fn(worker->front->options.logger.user, VGW_LOG_ERROR, "front", NULL,
			err.text);
	return NULL;
}

int worker_start(struct worker *worker)
{
	int code = pthread_create(&worker->thread, NULL, run, worker);

	worker->is_started = code == 0;
	return code;
}

void worker_fini(struct worker *worker)
{
	if (worker->is_started)
		(void)pthread_join(worker->thread, NULL);
	if (worker->loop) {
		streams_cut(worker);
		lingers_close(worker);
	}
	for (size_t i = 0; i < worker->listener_count; i++) {
		accept_end(&worker->listeners[i]);
		vgw_watch_remove(worker->loop, &worker->listeners[i].watch);
		MHD_stop_daemon(worker->listeners[i].daemon);
	}
	tls_clients_close(worker); /* behind everything that writes to them */
	vgw_worker_detach(worker->gateway_worker);
	if (worker->loop) {
		vgw_timer_cancel(worker->loop, &worker->sweep);
		vgw_timer_cancel(worker->loop, &worker->beat);
		vgw_timer_cancel(worker->loop, &worker->again);
		vgw_defer_cancel(worker->loop, &worker->pump);
	}
	vgw_loop_free(worker->loop);
	free(worker->spare_reply);
	keys_reader_close(&worker->keys);
	free(worker->listeners);
}
