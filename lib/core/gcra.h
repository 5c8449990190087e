/* SPDX-License-Identifier: Apache-2.0 */
/* A rate limit in one 64-bit word (the generic cell rate algorithm). The word is the time at which all that was taken
 * will have been paid back:
 *
 *      now            now + one minute
 *       |-------- taken -----|---- left ----|
 *                            ^ paid_at_ns                (at or before now: all is left)
 *
 * `limit` units flow back per minute, evenly, and at most a minute's worth can be taken at once. So of any stretch of
 * t minutes at most limit * (1 + t) units come through, and when there is too little left, the wait is known exactly.
 * Pure: no clock, no lock. */
#ifndef VGW_CORE_GCRA_H
#define VGW_CORE_GCRA_H

#include <stdbool.h>
#include <stdint.h>

#define VGW__GCRA_MINUTE_NS INT64_C(60000000000)
#define VGW__GCRA_MAX_LIMIT UINT64_C(100000000) /* a minute: larger ones overflow the arithmetic */

struct vgw__gcra {
	int64_t paid_at_ns;
};

/* How long until `units` could be taken; 0: now. More than `limit` units are taken for `limit`: such a request passes
 * when nothing else is owed. 1 <= limit <= VGW__GCRA_MAX_LIMIT in all of these. */
int64_t vgw__gcra_wait_ns(const struct vgw__gcra *gcra, uint64_t limit, uint64_t units, int64_t now_ns);

/* Take them, whether or not there are so many left. */
void vgw__gcra_take(struct vgw__gcra *gcra, uint64_t limit, uint64_t units, int64_t now_ns);

/* Put back what was taken and not used. */
void vgw__gcra_give(struct vgw__gcra *gcra, uint64_t limit, uint64_t units);

/* Whole units left, and how long until all of them are. */
uint64_t vgw__gcra_left(const struct vgw__gcra *gcra, uint64_t limit, int64_t now_ns);
int64_t vgw__gcra_reset_ns(const struct vgw__gcra *gcra, int64_t now_ns);

#endif
