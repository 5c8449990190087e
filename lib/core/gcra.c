/* SPDX-License-Identifier: Apache-2.0 */
/* Units are turned into nanoseconds when they are taken, each time from the exact quotient, so that no rounding of a
 * "time per unit" adds up. */
#include "core/gcra.h"

/* A debt is bounded, or one absurd request would lock its key out for years. */
enum { MAX_DEBT_MINUTES = 60 };

static int64_t cost_ns(uint64_t limit, uint64_t units)
{
	uint64_t minutes = units / limit;
	uint64_t rest = units % limit;

	if (minutes >= MAX_DEBT_MINUTES)
		return MAX_DEBT_MINUTES * VGW__GCRA_MINUTE_NS;
	return (int64_t)minutes * VGW__GCRA_MINUTE_NS +
	       (int64_t)(rest * (uint64_t)VGW__GCRA_MINUTE_NS / limit);
}

static int64_t owed_ns(const struct vgw__gcra *gcra, int64_t now_ns)
{
	return gcra->paid_at_ns > now_ns ? gcra->paid_at_ns - now_ns : 0;
}

int64_t vgw__gcra_wait_ns(const struct vgw__gcra *gcra, uint64_t limit, uint64_t units, int64_t now_ns)
{
	int64_t cost = cost_ns(limit, units < limit ? units : limit);
	int64_t over = owed_ns(gcra, now_ns) + cost - VGW__GCRA_MINUTE_NS;

	return over > 0 ? over : 0;
}

void vgw__gcra_take(struct vgw__gcra *gcra, uint64_t limit, uint64_t units, int64_t now_ns)
{
	int64_t owed = owed_ns(gcra, now_ns) + cost_ns(limit, units);

	if (owed > MAX_DEBT_MINUTES * VGW__GCRA_MINUTE_NS)
		owed = MAX_DEBT_MINUTES * VGW__GCRA_MINUTE_NS;
	gcra->paid_at_ns = now_ns + owed;
}

/* What flowed back in the meantime is not given a second time: a word in the past says "all is left", however far in
 * the past it is. */
void vgw__gcra_give(struct vgw__gcra *gcra, uint64_t limit, uint64_t units)
{
	gcra->paid_at_ns -= cost_ns(limit, units);
}

uint64_t vgw__gcra_left(const struct vgw__gcra *gcra, uint64_t limit, int64_t now_ns)
{
	int64_t owed = owed_ns(gcra, now_ns);
	uint64_t left_us;

	if (owed >= VGW__GCRA_MINUTE_NS)
		return 0;
	left_us = (uint64_t)(VGW__GCRA_MINUTE_NS - owed + 999) / 1000; /* up, as a unit's cost was rounded down */
	return left_us * limit / (uint64_t)(VGW__GCRA_MINUTE_NS / 1000);
}

int64_t vgw__gcra_reset_ns(const struct vgw__gcra *gcra, int64_t now_ns)
{
	return owed_ns(gcra, now_ns);
}
