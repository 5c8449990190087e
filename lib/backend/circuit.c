/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker. What is read on every request is atomic; what changes it happens under its lock, which only
 * failures and recoveries take. */
#include "backend/circuit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool vgw__circuit_init(struct vgw__circuit *circuit)
{
	return pthread_mutex_init(&circuit->lock, NULL) == 0;
}

void vgw__circuit_fini(struct vgw__circuit *circuit)
{
	(void)pthread_mutex_destroy(&circuit->lock);
}

bool vgw__circuit_admits(const struct vgw__circuit *circuit, int64_t now_ms, bool *is_trial)
{
	int state = atomic_load_explicit(&circuit->state, memory_order_relaxed);

	*is_trial = state == VGW__CIRCUIT_OPEN &&
		now_ms >= atomic_load_explicit(&circuit->until_ms, memory_order_relaxed);
	return state == VGW__CIRCUIT_CLOSED || *is_trial;
}

bool vgw__circuit_claim(struct vgw__circuit *circuit, int64_t now_ms)
{
	int expected = VGW__CIRCUIT_OPEN;

	return now_ms >= atomic_load_explicit(&circuit->until_ms, memory_order_relaxed) &&
		atomic_compare_exchange_strong(&circuit->state, &expected, VGW__CIRCUIT_HALF_OPEN);
}

void vgw__circuit_abandon(struct vgw__circuit *circuit)
{
	int expected = VGW__CIRCUIT_HALF_OPEN;

	(void)atomic_compare_exchange_strong(&circuit->state, &expected, VGW__CIRCUIT_OPEN);
}

static void open_locked(struct vgw__circuit *circuit, const char *why, int64_t now_ms)
{
	int64_t wait_ms = VGW__CIRCUIT_OPEN_MS;

	for (uint32_t i = 0; i < circuit->openings_in_a_row && wait_ms < VGW__CIRCUIT_OPEN_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > VGW__CIRCUIT_OPEN_MAX_MS)
		wait_ms = VGW__CIRCUIT_OPEN_MAX_MS;
	circuit->openings_in_a_row++;
	circuit->window_from_ms = 0;
	(void)snprintf(circuit->reason, sizeof(circuit->reason), "%s", why);
	atomic_fetch_add_explicit(&circuit->openings, 1, memory_order_relaxed);
	atomic_store(&circuit->until_ms, now_ms + wait_ms);
	atomic_store(&circuit->state, VGW__CIRCUIT_OPEN);
}

/* The window begins with its first failure, so that successes alone cost nothing. */
static uint64_t count_in_window_locked(struct vgw__circuit *circuit, uint64_t ended, int64_t now_ms)
{
	if (!circuit->window_from_ms || now_ms - circuit->window_from_ms > VGW__CIRCUIT_WINDOW_MS ||
		ended < circuit->window_ended) {
		circuit->window_from_ms = now_ms;
		circuit->window_failures = 0;
		circuit->window_ended = ended;
	}
	circuit->window_failures++;
	return ended - circuit->window_ended + 1;
}

/* Why it should open; "": it should not. */
static void judge_locked(struct vgw__circuit *circuit, const struct vgw__circuit_failure *failure, uint64_t sample,
	char reason[VGW__CIRCUIT_REASON_SIZE])
{
	unsigned in_a_row = atomic_fetch_add_explicit(&circuit->in_a_row, 1, memory_order_relaxed) + 1;

	reason[0] = '\0';
	if (failure->is_trial)
		(void)snprintf(reason, VGW__CIRCUIT_REASON_SIZE, "the trial failed: %.90s", failure->why);
	else if (in_a_row >= VGW__CIRCUIT_IN_A_ROW)
		(void)snprintf(reason, VGW__CIRCUIT_REASON_SIZE, "%u failures in a row, the last: %.80s", in_a_row,
			failure->why);
	else if (sample >= VGW__CIRCUIT_SAMPLE && circuit->window_failures * 2 >= sample)
		(void)snprintf(reason, VGW__CIRCUIT_REASON_SIZE,
			"%" PRIu64 " of %" PRIu64 " requests failed, the last: %.60s", circuit->window_failures, sample,
			failure->why);
}

enum vgw__circuit_news vgw__circuit_fail(struct vgw__circuit *circuit, const struct vgw__circuit_failure *failure,
	int64_t now_ms)
{
	enum vgw__circuit_news news = VGW__CIRCUIT_SAME;
	char reason[VGW__CIRCUIT_REASON_SIZE];
	int state;

	atomic_fetch_add_explicit(&circuit->failures, 1, memory_order_relaxed);
	(void)pthread_mutex_lock(&circuit->lock);
	judge_locked(circuit, failure, count_in_window_locked(circuit, failure->ended, now_ms), reason);
	state = atomic_load(&circuit->state);
	if (failure->is_trial ? state == VGW__CIRCUIT_HALF_OPEN
		: state == VGW__CIRCUIT_CLOSED && failure->may_open && reason[0]) {
		open_locked(circuit, reason, now_ms);
		news = VGW__CIRCUIT_HAS_OPENED;
	}
	(void)pthread_mutex_unlock(&circuit->lock);
	return news;
}

enum vgw__circuit_news vgw__circuit_recover(struct vgw__circuit *circuit, bool is_trial, int64_t now_ms)
{
	enum vgw__circuit_news news = VGW__CIRCUIT_SAME;

	(void)pthread_mutex_lock(&circuit->lock);
	atomic_store_explicit(&circuit->in_a_row, 0, memory_order_relaxed);
	/* An answer to a request sent before it opened proves nothing: only the trial closes it. */
	if (is_trial && atomic_load(&circuit->state) == VGW__CIRCUIT_HALF_OPEN) {
		circuit->openings_in_a_row = 0;
		circuit->window_from_ms = 0;
		atomic_store(&circuit->state, VGW__CIRCUIT_CLOSED);
		vgw__circuit_warm_up(circuit, now_ms);
		news = VGW__CIRCUIT_HAS_CLOSED;
	}
	(void)pthread_mutex_unlock(&circuit->lock);
	return news;
}

void vgw__circuit_warm_up(struct vgw__circuit *circuit, int64_t now_ms)
{
	atomic_store_explicit(&circuit->warm_from_ms, now_ms, memory_order_relaxed);
}

uint32_t vgw__circuit_get_share(const struct vgw__circuit *circuit, int64_t now_ms)
{
	int64_t from_ms = atomic_load_explicit(&circuit->warm_from_ms, memory_order_relaxed);
	int64_t share;

	if (!from_ms)
		return VGW__CIRCUIT_WHOLE;
	share = 1 + (now_ms - from_ms) * VGW__CIRCUIT_WHOLE / VGW__CIRCUIT_WARM_MS;
	return share < 1 ? 1 : share > VGW__CIRCUIT_WHOLE ? VGW__CIRCUIT_WHOLE : (uint32_t)share;
}

const char *vgw__circuit_state_name(enum vgw__circuit_state state)
{
	static const char *const names[] = {
#define XX(name, text) [VGW__CIRCUIT_##name] = text,
		VGW__CIRCUIT_MAP(XX)
#undef XX
	};

	return names[state];
}

void vgw__circuit_get_reason(struct vgw__circuit *circuit, char out[VGW__CIRCUIT_REASON_SIZE])
{
	(void)pthread_mutex_lock(&circuit->lock);
	memcpy(out, circuit->reason, VGW__CIRCUIT_REASON_SIZE);
	(void)pthread_mutex_unlock(&circuit->lock);
}
