/* SPDX-License-Identifier: Apache-2.0 */
/* A timing wheel of 1 ms slots: arming and firing cost the same whatever the number of armed timers. */
#ifndef VGW_TESTS_BENCH_WHEEL_H
#define VGW_TESTS_BENCH_WHEEL_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_WHEEL_SLOTS = 4096 };      /* a longer wait goes round more than once */

struct bench_timer {
	int64_t due_ms;
	struct bench_timer *next;
	struct bench_timer **link;      /* what points at this timer; NULL when not armed */
};

struct bench_wheel {
	struct bench_timer *slot[BENCH_WHEEL_SLOTS];
	size_t armed;
	int64_t now_ms;                 /* every slot up to this one has been fired; set it first */
	int64_t next_ms;                /* no armed timer is due before */
};

typedef void (*bench_timer_fn)(struct bench_timer *timer);

/* due_ms must lie after wheel->now_ms. */
void bench_wheel_arm(struct bench_wheel *wheel, struct bench_timer *timer, int64_t due_ms);
void bench_wheel_disarm(struct bench_wheel *wheel, struct bench_timer *timer);
/* Calls fn for each timer that is due; fn may arm its own timer again, and touches no other. */
void bench_wheel_advance(struct bench_wheel *wheel, int64_t now_ms, bench_timer_fn fn);
/* How long epoll may wait: -1 when nothing is armed. */
int bench_wheel_wait_ms(const struct bench_wheel *wheel, int64_t now_ms);

#endif
