/* SPDX-License-Identifier: Apache-2.0 */
/* An engine that thinks says nothing, and proxies on the way cut silent connections: event streams that have been
 * silent for a while get a piece that means nothing. One timer a worker, which runs only while there are streams. */
#include "front/internal.h"

enum { TICK_MIN_MS = 25, TICK_MAX_MS = 1000 };

static void on_beat(vgw_timer *timer)
{
	struct worker *worker = timer->user;
	const struct front_options *options = &worker->front->options;

	streams_beat(worker, options->heartbeat, worker_now_ms(worker) - options->heartbeat_ms);
	if (worker->stream_count > 0)
		heartbeat_arm(worker);
}

void heartbeat_arm(struct worker *worker)
{
	const struct front_options *options = &worker->front->options;
	int64_t tick_ms = options->heartbeat_ms / 4;

	if (!options->heartbeat || vgw_timer_is_armed(&worker->beat))
		return;
	tick_ms = tick_ms < TICK_MIN_MS ? TICK_MIN_MS : tick_ms > TICK_MAX_MS ? TICK_MAX_MS : tick_ms;
	worker->beat.user = worker;
	if (vgw_timer_start(worker->loop, &worker->beat, worker_now_ms(worker) + tick_ms, on_beat) != VGW_OK)
		return; /* nothing beats until there is memory: the next stream tries again */
}
