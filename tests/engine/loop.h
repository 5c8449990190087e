/* SPDX-License-Identifier: Apache-2.0 */
/* One thread, one epoll, one heap of timers. Data connections hang on an epoll of their own inside the
 * outer one, so that the whole data side can be frozen (the `hang` fault) while control goes on. */
#ifndef VGW_ENGINE_LOOP_H
#define VGW_ENGINE_LOOP_H

#include "base.h"

/** Something with a descriptor: the first member of whatever is registered. */
struct source {
	void (*ready)(struct source *source, uint32_t events);
};

/** {0}, then `fire` and `arg` set, is a timer that is not armed. */
struct timer {
	void (*fire)(void *arg);
	void *arg;
	int64_t at_us;
	uint64_t order; /* equal times fire in the order of arming */
	size_t place;   /* in the heap, from 1; 0 is not armed */
};

struct loop {
	int all_fd;
	int data_fd;
	struct timer **heap; /* [1..count] */
	size_t count;
	size_t room;
	uint64_t order;
	bool is_hung;
	bool is_quitting;
	int exit_code;
};

void loop_init(struct loop *loop);
void loop_add(struct loop *loop, int fd, struct source *source, bool is_control);
void loop_run(struct loop *loop, void (*after_turn)(void *), void *arg);
void loop_quit(struct loop *loop, int exit_code);
void loop_set_hung(struct loop *loop, bool is_hung);

void timer_arm(struct loop *loop, struct timer *timer, int64_t at_us);
void timer_cancel(struct loop *loop, struct timer *timer);
static inline bool timer_is_armed(const struct timer *timer)
{
	return timer->place != 0;
}

#endif
