/* SPDX-License-Identifier: Apache-2.0 */
/* One GPU of 10, a host of 20 bytes, models a, b, c that take 8 each and may sleep when the world allows
 * sleepers: the stage of most conversations with the planner. */
#ifndef VGW_TESTS_SMALL_WORLD_H
#define VGW_TESTS_SMALL_WORLD_H

#include "world.h"

#include <string.h>

enum { A, B, C };

#define LONG 10000000 /* patience that never ends */

static inline void stage(struct world *world, int32_t max_asleep)
{
	memset(world, 0, sizeof(*world));
	world->now_ms = 1000;
	world->limits = (struct vgw__planner_limits){.models = 3, .devices = 2, .waiters = WORLD_WAITERS};
	world->devices[0].budget_bytes = 10;
	world->devices[1].budget_bytes = 20;
	world->devices[1].is_host = true;
	world->config.max_resident = 1;
	world->config.max_asleep = max_asleep;
	for (int32_t m = 0; m < 3; m++) {
		world->models[m].devices = 1;
		world->models[m].awake_bytes[0] = 8;
		world->models[m].asleep_bytes[0] = max_asleep ? 1 : 0;
		world->models[m].asleep_bytes[1] = max_asleep ? 9 : 0;
		world->models[m].can_sleep = max_asleep > 0;
	}
}

/* Asks and lets it come up; its lease is out. */
static inline int32_t serve(struct world *world, int32_t model)
{
	int32_t waiter = world_ask(world, model, LONG);

	world_settle(world);
	return waiter;
}

static inline bool was_granted(const struct world *world, int32_t waiter)
{
	return !world->waiter[waiter].is_waiting && world->waiter[waiter].was_granted;
}

static inline enum vgw__reason refusal(const struct world *world, int32_t waiter)
{
	return world->waiter[waiter].is_waiting || world->waiter[waiter].was_granted
		       ? VGW__REASON_NONE
		       : world->waiter[waiter].refused;
}

#endif
