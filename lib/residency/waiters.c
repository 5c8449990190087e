/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a lease, and how the answer finds its way.
 *
 *   loop's thread                   residency's thread
 *     wait ──── message ──────────►   index, REQUEST
 *                                     GRANT or REFUSE: into the port's list, its eventfd rings
 *     port's watch: fn ◄────────────
 *     cancel: answered already? take it off the list, give the lease back, free
 *             else: dropped; message ►  CANCELLED, free
 *
 * The lock of the residency decides the one race there is: whether an answer or the cancellation came first. A
 * waiter is freed by the loop's thread when it was answered, else by the residency's thread. */
#include "residency/internal.h"

#include "util/alloc.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert((int)VGW__WISH_BATCH == (int)VGW__PRIORITY_BATCH && (int)VGW__WISH_NORMAL == (int)VGW__PRIORITY_NORMAL &&
	(int)VGW__WISH_INTERACTIVE == (int)VGW__PRIORITY_INTERACTIVE, "the planner's priorities");

struct vgw__port {
	struct vgw__list link; /* among residency->ports */
	vgw_residency *residency;
	vgw__cut_fn on_cut;
	void *user;
	vgw_loop *loop;
	vgw_watch watch;
	int fd;
	bool is_cut;               /* guarded by residency->lock, as the list */
	struct vgw__list answered;
};

struct vgw__waiter {
	struct vgw__list link; /* on the port's list while answered */
	struct vgw__list queue; /* in the resident's while it is not; guarded by residency->lock */
	vgw_message ask;
	vgw_message cancel;
	vgw_residency *residency;
	struct vgw__port *port; /* NULL: a thread sleeps on `woken` */
	struct vgw__resident *resident;
	struct vgw__wish wish;
	vgw__granted_fn fn;
	void *user;
	int32_t index;          /* in the planner; the residency's thread only */
	bool is_answered;       /* guarded by residency->lock, as all that follows */
	bool is_dropped;
	pthread_cond_t woken;
	vgw_status status;
	uint64_t cuts;
	vgw_error error;
};

static void free_waiter(struct vgw__waiter *waiter)
{
	vgw__resident_unref(waiter->resident);
	vgw__free(waiter);
}

/* --- the answer, on the residency's thread -------------------------------------------------------------------- */

static void ring(const struct vgw__port *port)
{
	const uint64_t one = 1;

	(void)!write(port->fd, &one, sizeof(one)); /* fails for a full counter only: it is readable then */
}

static void leave_queue(struct vgw__waiter *waiter)
{
	if (vgw__list_is_empty(&waiter->queue))
		return;
	vgw__list_remove(&waiter->queue);
	atomic_fetch_sub_explicit(&waiter->resident->waiting, 1, memory_order_relaxed);
}

/* Leaves the waiter to its own thread; nothing of it may be touched afterwards. */
static void deliver(struct vgw__waiter *waiter)
{
	vgw_residency *residency = waiter->residency;
	struct vgw__port *port = waiter->port;

	(void)pthread_mutex_lock(&residency->lock);
	leave_queue(waiter);
	if (waiter->is_dropped) {
		if (waiter->status == VGW_OK)
			vgw__gate_leave(waiter->resident);
	} else {
		waiter->is_answered = true;
		if (!port) {
			(void)pthread_cond_signal(&waiter->woken);
		} else {
			if (vgw__list_is_empty(&port->answered))
				ring(port);
			vgw__list_append(&port->answered, &waiter->link);
		}
	}
	(void)pthread_mutex_unlock(&residency->lock);
}

static void refuse(struct vgw__waiter *waiter, enum vgw__reason reason, int64_t eta_ms)
{
	waiter->status = vgw__refuse(waiter->resident, reason, eta_ms, &waiter->error);
	deliver(waiter);
}

void vgw__waiters_answer(vgw_residency *residency, int32_t index, const struct vgw__action *action)
{
	struct vgw__waiter *waiter = residency->waiters[index];

	residency->waiters[index] = NULL;
	residency->free_waiters[residency->free_waiter_count++] = index;
	waiter->index = VGW__NOBODY;
	if (action->kind == VGW__ACTION_REFUSE) {
		/* Trying again does not mend a wrong configuration. */
		refuse(waiter, action->reason, action->failure == VGW__FAILURE_USER ? -1 : action->eta_ms);
		return;
	}
	vgw__gate_force(waiter->resident);
	waiter->status = VGW_OK;
	waiter->cuts = vgw__resident_cuts(waiter->resident);
	deliver(waiter);
}

static void heard_ask(vgw_message *message)
{
	struct vgw__waiter *waiter = message->user;
	vgw_residency *residency = waiter->residency;
	const struct vgw__engine *engine = waiter->resident->owner;
	struct vgw__event event = {
		.kind = VGW__EVENT_REQUEST,
		.deadline_ms = waiter->wish.deadline_ms,
		.priority = (enum vgw__priority)waiter->wish.priority,
		.may_not_swap = waiter->wish.may_not_swap,
	};

	if (!engine || engine->slot == VGW__NOBODY) {
		refuse(waiter, VGW__REASON_NO_SUCH_MODEL, -1);
		return;
	}
	if (!residency->free_waiter_count) {
		refuse(waiter, VGW__REASON_FULL, -1);
		return;
	}
	waiter->index = residency->free_waiters[--residency->free_waiter_count];
	residency->waiters[waiter->index] = waiter;
	event.waiter = waiter->index;
	event.model = engine->slot;
	(void)vgw__manager_step(residency, &event);
}

static void heard_cancel(vgw_message *message)
{
	struct vgw__waiter *waiter = message->user;
	vgw_residency *residency = waiter->residency;
	struct vgw__event event = { .kind = VGW__EVENT_CANCELLED, .model = VGW__NOBODY, .waiter = waiter->index };

	if (waiter->index != VGW__NOBODY) {
		residency->waiters[waiter->index] = NULL;
		residency->free_waiters[residency->free_waiter_count++] = waiter->index;
		(void)vgw__manager_step(residency, &event);
	}
	free_waiter(waiter);
}

void vgw__waiters_cut(vgw_residency *residency, struct vgw__resident *resident)
{
	atomic_fetch_add_explicit(&resident->cuts, 1, memory_order_acq_rel);
	(void)pthread_mutex_lock(&residency->lock);
	VGW__LIST_EACH(it, &residency->ports) {
		struct vgw__port *port = VGW__CONTAINER(it, struct vgw__port, link);

		port->is_cut = true;
		ring(port);
	}
	(void)pthread_mutex_unlock(&residency->lock);
}

/* --- ports, on their loops' threads --------------------------------------------------------------------------- */

static struct vgw__waiter *take_answered(struct vgw__port *port)
{
	struct vgw__list *link;

	(void)pthread_mutex_lock(&port->residency->lock);
	link = vgw__list_first(&port->answered);
	if (link)
		vgw__list_remove(link);
	(void)pthread_mutex_unlock(&port->residency->lock);
	return link ? VGW__CONTAINER(link, struct vgw__waiter, link) : NULL;
}

static bool take_cut(struct vgw__port *port)
{
	bool is_cut;

	(void)pthread_mutex_lock(&port->residency->lock);
	is_cut = port->is_cut;
	port->is_cut = false;
	(void)pthread_mutex_unlock(&port->residency->lock);
	return is_cut;
}

/* One at a time: what is called may cancel others that are on the list. Cuts come last, so that a lease just handed
 * over is seen by them. */
static void on_ring(vgw_watch *watch, uint32_t events)
{
	struct vgw__port *port = watch->user;
	struct vgw__waiter *waiter;
	uint64_t count;

	(void)events;
	(void)!read(port->fd, &count, sizeof(count));
	while ((waiter = take_answered(port)) != NULL) {
		waiter->fn(waiter->user, waiter->status, waiter->cuts, &waiter->error);
		free_waiter(waiter);
	}
	if (take_cut(port))
		port->on_cut(port->user);
}

vgw_status vgw__port_new(struct vgw__port **out, vgw_residency *residency, vgw_loop *loop, vgw__cut_fn on_cut,
	void *user, vgw_error *err)
{
	struct vgw__port *port = vgw__alloc(sizeof(*port));
	vgw_status status;

	*out = NULL;
	if (!port)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a port of the residency");
	port->residency = residency;
	port->loop = loop;
	port->on_cut = on_cut;
	port->user = user;
	port->watch.user = port;
	vgw__list_init(&port->answered);
	port->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (port->fd < 0) {
		vgw__free(port);
		return vgw_error_set(err, VGW_INTERNAL, errno, "cannot make an eventfd for a worker: %s", strerror(errno));
	}
	status = vgw_watch_add(loop, &port->watch, port->fd, EPOLLIN, on_ring, err);
	if (status != VGW_OK) {
		(void)close(port->fd);
		vgw__free(port);
		return status;
	}
	(void)pthread_mutex_lock(&residency->lock);
	vgw__list_append(&residency->ports, &port->link);
	(void)pthread_mutex_unlock(&residency->lock);
	*out = port;
	return VGW_OK;
}

void vgw__port_free(struct vgw__port *port)
{
	if (!port)
		return;
	(void)pthread_mutex_lock(&port->residency->lock);
	vgw__list_remove(&port->link);
	(void)pthread_mutex_unlock(&port->residency->lock);
	vgw_watch_remove(port->loop, &port->watch);
	(void)close(port->fd);
	vgw__free(port);
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

static void post(struct vgw__waiter *waiter)
{
	waiter->index = VGW__NOBODY;
	waiter->ask.user = waiter;
	vgw_loop_post(waiter->residency->loop, &waiter->ask, heard_ask);
}

struct vgw__waiter *vgw__residency_wait(struct vgw__port *port, struct vgw__resident *resident,
	const struct vgw__wish *wish, vgw__granted_fn fn, void *user, vgw_error *err)
{
	struct vgw__waiter *waiter = vgw__alloc(sizeof(*waiter));

	if (!waiter) {
		(void)vgw_error_set(err, VGW_NOMEM, 0, "no memory to wait for model '%.60s'", resident->name);
		return NULL;
	}
	waiter->residency = port->residency;
	waiter->port = port;
	waiter->resident = vgw__resident_ref(resident);
	waiter->wish = *wish;
	waiter->fn = fn;
	waiter->user = user;
	(void)pthread_mutex_lock(&port->residency->lock);
	vgw__list_init(&waiter->queue);
	vgw__list_append(&resident->queue, &waiter->queue);
	atomic_fetch_add_explicit(&resident->waiting, 1, memory_order_relaxed);
	(void)pthread_mutex_unlock(&port->residency->lock);
	post(waiter);
	return waiter;
}

void vgw__waiter_cancel(struct vgw__waiter *waiter)
{
	vgw_residency *residency = waiter->residency;
	bool is_answered;

	(void)pthread_mutex_lock(&residency->lock);
	is_answered = waiter->is_answered;
	leave_queue(waiter);
	if (is_answered)
		vgw__list_remove(&waiter->link);
	else
		waiter->is_dropped = true;
	(void)pthread_mutex_unlock(&residency->lock);
	if (!is_answered) {
		waiter->cancel.user = waiter;
		vgw_loop_post(residency->loop, &waiter->cancel, heard_cancel);
		return;
	}
	if (waiter->status == VGW_OK)
		vgw__gate_leave(waiter->resident);
	free_waiter(waiter);
}

/* The planner serves higher priorities first, and within one the oldest. */
void vgw__waiter_get_place(const struct vgw__waiter *waiter, struct vgw__place_in_line *place)
{
	int64_t expected_ms = atomic_load_explicit(&waiter->resident->expected_ms, memory_order_relaxed);
	int64_t left_ms = expected_ms - vgw_now_ms();
	bool is_before = true;

	*place = (struct vgw__place_in_line){ .position = 1, .eta_ms = -1 };
	if (expected_ms)
		place->eta_ms = left_ms > 0 ? left_ms : 0;
	(void)pthread_mutex_lock(&waiter->residency->lock);
	VGW__LIST_EACH(it, &waiter->resident->queue) {
		const struct vgw__waiter *other = VGW__CONTAINER(it, struct vgw__waiter, queue);

		if (other == waiter)
			is_before = false;
		else if (other->wish.priority > waiter->wish.priority ||
			(is_before && other->wish.priority == waiter->wish.priority))
			place->position++;
	}
	(void)pthread_mutex_unlock(&waiter->residency->lock);
}

vgw_status vgw__waiters_block(vgw_residency *residency, struct vgw__engine *engine, int64_t deadline_ms,
	uint64_t *cuts, vgw_error *err)
{
	struct vgw__waiter waiter = {
		.residency = residency,
		.resident = engine->resident,
		.wish = { .deadline_ms = deadline_ms, .priority = VGW__PRIORITY_NORMAL },
		.woken = PTHREAD_COND_INITIALIZER,
	};

	vgw__list_init(&waiter.queue);
	post(&waiter);
	(void)pthread_mutex_lock(&residency->lock);
	while (!waiter.is_answered)
		(void)pthread_cond_wait(&waiter.woken, &residency->lock);
	(void)pthread_mutex_unlock(&residency->lock);
	(void)pthread_cond_destroy(&waiter.woken);
	*cuts = waiter.cuts;
	if (waiter.status != VGW_OK && err)
		*err = waiter.error;
	return waiter.status;
}
