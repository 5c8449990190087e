/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: epoll, a binary heap of timers, a list of deferred work, and an inbox.
 *
 *   turn:  epoll_wait ─► inbox ─► watches ─► due timers ─► deferred work (until none is left)
 *
 * Everything runs on the owner's thread and needs no lock. Only the inbox is shared: senders push onto an atomic
 * stack and ring the eventfd when it was empty; the loop takes the whole stack and reverses it.
 * A watch that is removed while its event waits in the fetched batch is struck from the batch by its slot. */
#include <vllmgw/loop.h>

#include "util/alloc.h"
#include "util/error.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 256 };

struct vgw_loop {
	int epoll_fd;
	int event_fd;
	int64_t now_ms;
	vgw_timer **heap;
	size_t heap_len;
	size_t heap_capacity;
	vgw_defer deferred; /* ring head */
	vgw_watch inbox_watch;
	_Atomic(vgw_message *) inbox;
	atomic_bool is_stopped;
	struct epoll_event batch[BATCH];
	int batch_len;
};

/* --- timers: heap[0] is the earliest ------------------------------------------------------------------------- */

static void heap_put(vgw_loop *loop, size_t at, vgw_timer *timer)
{
	loop->heap[at] = timer;
	timer->place = at + 1;
}

static void heap_rise(vgw_loop *loop, size_t at, vgw_timer *timer)
{
	while (at > 0 && loop->heap[(at - 1) / 2]->at_ms > timer->at_ms) {
		heap_put(loop, at, loop->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_put(loop, at, timer);
}

static void heap_sink(vgw_loop *loop, size_t at, vgw_timer *timer)
{
	for (size_t child = 2 * at + 1; child < loop->heap_len; child = 2 * at + 1) {
		if (child + 1 < loop->heap_len && loop->heap[child + 1]->at_ms < loop->heap[child]->at_ms)
			child++;
		if (loop->heap[child]->at_ms >= timer->at_ms)
			break;
		heap_put(loop, at, loop->heap[child]);
		at = child;
	}
	heap_put(loop, at, timer);
}

static void heap_place(vgw_loop *loop, size_t at, vgw_timer *timer)
{
	if (at > 0 && loop->heap[(at - 1) / 2]->at_ms > timer->at_ms)
		heap_rise(loop, at, timer);
	else
		heap_sink(loop, at, timer);
}

vgw_status vgw_timer_start(vgw_loop *loop, vgw_timer *timer, int64_t at_ms, vgw_timer_fn fn)
{
	vgw_timer **heap;

	timer->fn = fn;
	timer->at_ms = at_ms;
	if (timer->place) {
		heap_place(loop, timer->place - 1, timer);
		return VGW_OK;
	}
	heap = vgw__grow(loop->heap, &loop->heap_capacity, loop->heap_len + 1, sizeof(*heap));
	if (!heap)
		return VGW_NOMEM;
	loop->heap = heap;
	heap_rise(loop, loop->heap_len++, timer);
	return VGW_OK;
}

void vgw_timer_cancel(vgw_loop *loop, vgw_timer *timer)
{
	size_t at = timer->place;
	vgw_timer *last;

	if (!at)
		return;
	timer->place = 0;
	last = loop->heap[--loop->heap_len];
	if (last != timer)
		heap_place(loop, at - 1, last);
}

bool vgw_timer_is_armed(const vgw_timer *timer)
{
	return timer->place != 0;
}

int vgw_loop_get_timeout_ms(const vgw_loop *loop)
{
	int64_t left;

	if (loop->deferred.next != &loop->deferred)
		return 0; /* asked for between two turns */
	if (!loop->heap_len)
		return -1;
	left = loop->heap[0]->at_ms - vgw_now_ms();
	if (left <= 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

/* A timer that always arms itself for "now" again cannot starve the descriptors: no more callbacks than there
 * were timers at the start. */
static void run_due_timers(vgw_loop *loop)
{
	for (size_t budget = loop->heap_len; budget && loop->heap_len; budget--) {
		vgw_timer *timer = loop->heap[0];

		if (timer->at_ms > loop->now_ms)
			break;
		vgw_timer_cancel(loop, timer);
		timer->fn(timer);
	}
}

/* --- watches -------------------------------------------------------------------------------------------------- */

vgw_status vgw_watch_add(vgw_loop *loop, vgw_watch *watch, int fd, uint32_t events, vgw_watch_fn fn, vgw_error *err)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	vgw__error_reset(err);
	if (watch->is_added)
		return vgw_error_set(err, VGW_INVALID, 0, "this watch is already in use");
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		return vgw_error_set(err, VGW_INTERNAL, errno, "epoll cannot watch descriptor %d", fd);
	watch->fn = fn;
	watch->fd = fd;
	watch->events = events;
	watch->slot = 0;
	watch->is_added = 1;
	return VGW_OK;
}

vgw_status vgw_watch_set(vgw_loop *loop, vgw_watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	if (!watch->is_added)
		return VGW_INVALID;
	if (watch->events == events)
		return VGW_OK;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) != 0)
		return VGW_INTERNAL;
	watch->events = events;
	return VGW_OK;
}

void vgw_watch_remove(vgw_loop *loop, vgw_watch *watch)
{
	if (!watch->is_added)
		return;
	watch->is_added = 0;
	/* It fails only if the descriptor was closed before, and then the kernel has forgotten it already. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	if (watch->slot)
		loop->batch[watch->slot - 1].data.ptr = NULL;
	watch->slot = 0;
}

/* --- deferred work -------------------------------------------------------------------------------------------- */

void vgw_defer_call(vgw_loop *loop, vgw_defer *defer, vgw_defer_fn fn)
{
	defer->fn = fn;
	if (defer->next)
		return;
	defer->next = &loop->deferred;
	defer->prev = loop->deferred.prev;
	defer->prev->next = defer;
	loop->deferred.prev = defer;
}

void vgw_defer_cancel(vgw_loop *loop, vgw_defer *defer)
{
	(void)loop;
	if (!defer->next)
		return;
	defer->prev->next = defer->next;
	defer->next->prev = defer->prev;
	defer->next = NULL;
	defer->prev = NULL;
}

static void run_deferred(vgw_loop *loop)
{
	while (loop->deferred.next != &loop->deferred) {
		vgw_defer *defer = loop->deferred.next;

		vgw_defer_cancel(loop, defer);
		defer->fn(defer);
	}
}

/* --- inbox ---------------------------------------------------------------------------------------------------- */

static void ring(vgw_loop *loop)
{
	uint64_t one = 1;

	/* EAGAIN means that the counter is full: the loop is awake then anyway. */
	while (write(loop->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void vgw_loop_post(vgw_loop *loop, vgw_message *message, vgw_message_fn fn)
{
	vgw_message *head = atomic_load_explicit(&loop->inbox, memory_order_relaxed);

	message->fn = fn;
	do {
		message->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&loop->inbox, &head, message, memory_order_release,
		memory_order_relaxed));
	if (!head)
		ring(loop);
}

static void read_inbox(vgw_watch *watch, uint32_t events)
{
	vgw_loop *loop = watch->user;
	vgw_message *newest, *oldest = NULL;
	uint64_t count;

	(void)events;
	while (read(loop->event_fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	newest = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
	while (newest) {
		vgw_message *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		vgw_message *next = oldest->next;

		oldest->fn(oldest); /* may free it */
		oldest = next;
	}
}

void vgw_loop_stop(vgw_loop *loop)
{
	atomic_store(&loop->is_stopped, true);
	ring(loop);
}

/* --- turns ---------------------------------------------------------------------------------------------------- */

vgw_status vgw_loop_run_once(vgw_loop *loop, int timeout_ms, vgw_error *err)
{
	int next_ms = vgw_loop_get_timeout_ms(loop);
	int count;

	vgw__error_reset(err);
	if (next_ms >= 0 && (timeout_ms < 0 || next_ms < timeout_ms))
		timeout_ms = next_ms;
	count = epoll_wait(loop->epoll_fd, loop->batch, BATCH, timeout_ms);
	if (count < 0 && errno != EINTR)
		return vgw_error_set(err, VGW_INTERNAL, errno, "epoll_wait failed");
	loop->batch_len = count > 0 ? count : 0;
	loop->now_ms = vgw_now_ms();
	for (int i = 0; i < loop->batch_len; i++)
		((vgw_watch *)loop->batch[i].data.ptr)->slot = (uint32_t)i + 1;
	for (int i = 0; i < loop->batch_len; i++) {
		vgw_watch *watch = loop->batch[i].data.ptr;
		uint32_t events;

		if (!watch)
			continue;
		watch->slot = 0;
		/* a callback before this one may have lost interest in what was fetched */
		events = loop->batch[i].events & (watch->events | EPOLLERR | EPOLLHUP);
		if (events)
			watch->fn(watch, events);
	}
	loop->batch_len = 0;
	run_due_timers(loop);
	run_deferred(loop);
	return VGW_OK;
}

vgw_status vgw_loop_run(vgw_loop *loop, vgw_error *err)
{
	vgw_status status = VGW_OK;

	vgw__error_reset(err);
	while (status == VGW_OK && !atomic_load(&loop->is_stopped))
		status = vgw_loop_run_once(loop, -1, err);
	return status;
}

int vgw_loop_get_fd(const vgw_loop *loop)
{
	return loop->epoll_fd;
}

int64_t vgw_loop_now_ms(const vgw_loop *loop)
{
	return loop->now_ms;
}

vgw_status vgw_loop_new(vgw_loop **out, vgw_error *err)
{
	vgw_loop *loop;
	vgw_status status;

	*out = NULL;
	vgw__error_reset(err);
	loop = vgw__alloc(sizeof(*loop));
	if (!loop)
		return vgw_error_set(err, VGW_NOMEM, 0, "event loop");
	loop->deferred.next = &loop->deferred;
	loop->deferred.prev = &loop->deferred;
	loop->now_ms = vgw_now_ms();
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->event_fd < 0) {
		status = vgw_error_set(err, VGW_INTERNAL, errno, "no descriptors left for an event loop");
		vgw_loop_free(loop);
		return status;
	}
	loop->inbox_watch.user = loop;
	status = vgw_watch_add(loop, &loop->inbox_watch, loop->event_fd, EPOLLIN, read_inbox, err);
	if (status != VGW_OK) {
		vgw_loop_free(loop);
		return status;
	}
	*out = loop;
	return VGW_OK;
}

void vgw_loop_free(vgw_loop *loop)
{
	if (!loop)
		return;
	if (loop->event_fd >= 0)
		(void)close(loop->event_fd);
	if (loop->epoll_fd >= 0)
		(void)close(loop->epoll_fd);
	vgw__free(loop->heap);
	vgw__free(loop);
}
