/* SPDX-License-Identifier: Apache-2.0 */
/* The timing wheel of bench-engine: slot (due_ms % SLOTS) lists the timers due then or whole rounds later. */
#include "bench_wheel.h"

void bench_wheel_disarm(struct bench_wheel *wheel, struct bench_timer *timer)
{
	if (!timer->link)
		return;
	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	timer->link = NULL;
	wheel->armed--;
}

void bench_wheel_arm(struct bench_wheel *wheel, struct bench_timer *timer, int64_t due_ms)
{
	struct bench_timer **head = &wheel->slot[due_ms % BENCH_WHEEL_SLOTS];

	timer->due_ms = due_ms;
	timer->next = *head;
	timer->link = head;
	if (timer->next)
		timer->next->link = &timer->next;
	*head = timer;
	if (!wheel->armed++ || due_ms < wheel->next_ms)
		wheel->next_ms = due_ms;
}

void bench_wheel_advance(struct bench_wheel *wheel, int64_t now_ms, bench_timer_fn fn)
{
	int64_t end = now_ms + BENCH_WHEEL_SLOTS;

	while (wheel->now_ms < now_ms) {
		struct bench_timer *next;
		int64_t t = ++wheel->now_ms;

		for (struct bench_timer *timer = wheel->slot[t % BENCH_WHEEL_SLOTS]; timer; timer = next) {
			next = timer->next;
			if (timer->due_ms > t)
				continue;
			bench_wheel_disarm(wheel, timer);
			fn(timer);
		}
	}
	if (!wheel->armed || wheel->next_ms > now_ms)
		return;
	wheel->next_ms = now_ms + 1;
	while (wheel->next_ms < end && !wheel->slot[wheel->next_ms % BENCH_WHEEL_SLOTS])
		wheel->next_ms++;
}

int bench_wheel_wait_ms(const struct bench_wheel *wheel, int64_t now_ms)
{
	if (!wheel->armed)
		return -1;
	return wheel->next_ms <= now_ms ? 0 : (int)(wheel->next_ms - now_ms);
}
