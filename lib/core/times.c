/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles of the last few durations and a rate that forgets. */
#include "core/times.h"

#include <stddef.h>
#include <string.h>

/* --- percentiles --- */

static uint32_t place_of(const struct vgw__times *times, int32_t value)
{
	uint32_t at = 0;

	while (at < times->kept && times->sorted[at] < value)
		at++;
	return at;
}

void vgw__times_add(struct vgw__times *times, int64_t duration_ms)
{
	int32_t value = duration_ms < 0 ? 0 : duration_ms > INT32_MAX ? INT32_MAX : (int32_t)duration_ms;
	uint32_t at;

	if (times->kept == VGW__TIMES_KEPT) {
		at = place_of(times, times->ring[times->next]);
		memmove(times->sorted + at, times->sorted + at + 1,
			(times->kept - at - 1) * sizeof(times->sorted[0]));
		times->kept--;
	}
	at = place_of(times, value);
	memmove(times->sorted + at + 1, times->sorted + at, (times->kept - at) * sizeof(times->sorted[0]));
	times->sorted[at] = value;
	times->kept++;
	times->ring[times->next] = value;
	times->next = (times->next + 1) % VGW__TIMES_KEPT;
	times->count++;
}

int64_t vgw__times_get(const struct vgw__times *times, int percent, int64_t otherwise)
{
	uint32_t rank;

	if (!times->kept)
		return otherwise;
	rank = ((uint32_t)percent * times->kept + 99) / 100;
	return times->sorted[rank ? rank - 1 : 0];
}

/* --- rates --- */

double vgw__decay(int64_t age_ms, int64_t half_life_ms)
{
	double result = 1.0;
	double rest;

	if (age_ms <= 0)
		return 1.0;
	if (half_life_ms <= 0 || age_ms / half_life_ms > 60)
		return 0.0;
	for (int64_t halvings = age_ms / half_life_ms; halvings > 0; halvings--)
		result *= 0.5;
	rest = (double)(age_ms % half_life_ms) / (double)half_life_ms;
	/* 2^-x on [0, 1): the parabola through 1, 2^-0.5 and 0.5 */
	return result * (1.0 - rest * (0.671573 - 0.171573 * rest));
}

void vgw__rate_add(struct vgw__rate *rate, int64_t now_ms, double events, int64_t half_life_ms)
{
	double kept;

	if (!rate->since_ms) {
		rate->since_ms = now_ms ? now_ms : 1;
		rate->at_ms = now_ms;
	}
	if (now_ms > rate->at_ms) {
		kept = vgw__decay(now_ms - rate->at_ms, half_life_ms);
		/* the decayed time that passed: the integral of 2^-(t/h), with 1/ln 2 = 1.442695 */
		rate->span_ms = rate->span_ms * kept + (1.0 - kept) * (double)half_life_ms * 1.442695;
		rate->weight *= kept;
		rate->at_ms = now_ms;
	}
	rate->weight += events;
}

double vgw__rate_get(const struct vgw__rate *rate, int64_t now_ms, int64_t half_life_ms)
{
	struct vgw__rate aged = *rate;
	double floor_ms = (double)half_life_ms / 64;

	if (!rate->since_ms)
		return 0.0;
	vgw__rate_add(&aged, now_ms, 0, half_life_ms);
	return aged.weight / (aged.span_ms > floor_ms ? aged.span_ms : floor_ms);
}
