/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop:
 *
 *   all_fd  <--- signals, control listener and its connections
 *      ^-------- data_fd <--- data listeners and connections (edge-triggered)
 */
#include "loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum { BATCH = 256 };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch_data(struct loop *loop, int operation)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	if (epoll_ctl(loop->all_fd, operation, loop->data_fd, &event) != 0)
		die("vllmgw-engine: epoll_ctl");
}

void loop_init(struct loop *loop)
{
	loop->all_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->data_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->all_fd < 0 || loop->data_fd < 0)
		die("vllmgw-engine: epoll_create1");
	watch_data(loop, EPOLL_CTL_ADD);
}

void loop_add(struct loop *loop, int fd, struct source *source, bool is_control)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = source};

	if (epoll_ctl(is_control ? loop->all_fd : loop->data_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		die("vllmgw-engine: epoll_ctl");
}

void loop_quit(struct loop *loop, int exit_code)
{
	loop->is_quitting = true;
	loop->exit_code = exit_code;
}

void loop_set_hung(struct loop *loop, bool is_hung)
{
	if (loop->is_hung == is_hung)
		return;
	loop->is_hung = is_hung;
	watch_data(loop, is_hung ? EPOLL_CTL_DEL : EPOLL_CTL_ADD);
}

/* --- timers: a binary heap whose members know their places --- */

static bool is_before(const struct timer *a, const struct timer *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void put(struct loop *loop, size_t place, struct timer *timer)
{
	loop->heap[place] = timer;
	timer->place = place;
}

static void sift(struct loop *loop, size_t place, struct timer *timer)
{
	while (place > 1 && is_before(timer, loop->heap[place / 2])) {
		put(loop, place, loop->heap[place / 2]);
		place /= 2;
	}
	for (;;) {
		size_t child = place * 2;

		if (child > loop->count)
			break;
		if (child < loop->count && is_before(loop->heap[child + 1], loop->heap[child]))
			child++;
		if (!is_before(loop->heap[child], timer))
			break;
		put(loop, place, loop->heap[child]);
		place = child;
	}
	put(loop, place, timer);
}

void timer_cancel(struct loop *loop, struct timer *timer)
{
	size_t place = timer->place;
	struct timer *last;

	if (!place)
		return;
	timer->place = 0;
	last = loop->heap[loop->count--];
	if (last != timer)
		sift(loop, place, last);
}

void timer_arm(struct loop *loop, struct timer *timer, int64_t at_us)
{
	timer_cancel(loop, timer);
	if (loop->count + 2 > loop->room) {
		loop->room = loop->room ? loop->room * 2 : 64;
		loop->heap = xrealloc(loop->heap, loop->room * sizeof(struct timer *));
	}
	timer->at_us = at_us;
	timer->order = loop->order++;
	sift(loop, ++loop->count, timer);
}

/* Only what is due now: a timer that arms itself for "at once" waits for the next turn. */
static void fire_due(struct loop *loop)
{
	int64_t now = now_us();
	uint64_t before = loop->order;

	while (loop->count && !loop->is_hung && !loop->is_quitting) {
		struct timer *timer = loop->heap[1];

		if (timer->at_us > now || timer->order >= before)
			return;
		timer_cancel(loop, timer);
		timer->fire(timer->arg);
	}
}

static int wait_ms(const struct loop *loop)
{
	int64_t left;

	if (!loop->count || loop->is_hung)
		return -1;
	left = loop->heap[1]->at_us - now_us();
	if (left <= 0)
		return 0;
	return left > 60000000 ? 60000 : (int)((left + 999) / 1000);
}

static void dispatch(struct epoll_event *events, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		struct source *source = events[i].data.ptr;

		source->ready(source, events[i].events);
	}
}

void loop_run(struct loop *loop, void (*after_turn)(void *), void *arg)
{
	struct epoll_event events[BATCH];
	struct epoll_event data[BATCH];

	while (!loop->is_quitting) {
		bool has_data = false;
		int count = epoll_wait(loop->all_fd, events, BATCH, wait_ms(loop));
		int kept = 0;
		int i;

		if (count < 0 && errno != EINTR)
			die("vllmgw-engine: epoll_wait");
		for (i = 0; i < count; i++) {
			if (events[i].data.ptr)
				events[kept++] = events[i];
			else
				has_data = true;
		}
		dispatch(events, kept);
		if (has_data && !loop->is_hung) {
			count = epoll_wait(loop->data_fd, data, BATCH, 0);
			dispatch(data, count);
		}
		fire_due(loop);
		after_turn(arg);
	}
}
