/* SPDX-License-Identifier: Apache-2.0 */
/* The contenders of a simulation and the figures of their schedules. */
#include "core/simulate_internal.h"

#include "util/alloc.h"

#include <stdlib.h>

const char *vgw__contender_name(enum vgw__contender contender)
{
	static const char *const names[] = {
#define XX(name, text, what) [VGW__CONTENDER_##name] = text,
		VGW__CONTENDER_MAP(XX)
#undef XX
	};

	return (size_t)contender < VGW__CONTENDER_COUNT ? names[contender] : "?";
}

const char *vgw__contender_text(enum vgw__contender contender)
{
	static const char *const sentences[] = {
#define XX(name, text, what) [VGW__CONTENDER_##name] = what,
		VGW__CONTENDER_MAP(XX)
#undef XX
	};

	return (size_t)contender < VGW__CONTENDER_COUNT ? sentences[contender] : "?";
}

/* --- figures --- */

static int compare_waits(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t percentile(const int64_t *sorted, size_t count, unsigned percent)
{
	size_t rank = (count * percent + 99) / 100;

	return count ? sorted[rank ? rank - 1 : 0] : 0;
}

/* waits: -1 for a refused arrival. */
static void summarize(struct vgw__simulated *out, int64_t *waits, size_t count, int64_t max_wait_ms)
{
	uint64_t good = 0;
	double sum = 0;

	for (size_t i = 0; i < count; i++) {
		if (waits[i] < 0) {
			out->refused++;
			waits[i] = max_wait_ms;
		} else {
			out->served++;
			good += waits[i] <= max_wait_ms;
		}
		sum += (double)waits[i];
	}
	qsort(waits, count, sizeof(waits[0]), compare_waits);
	out->goodput = count ? (double)good / (double)count : 1;
	out->wait_mean_ms = count ? sum / (double)count : 0;
	out->wait_p50_ms = percentile(waits, count, 50);
	out->wait_p95_ms = percentile(waits, count, 95);
	out->wait_p99_ms = percentile(waits, count, 99);
	out->wait_max_ms = count ? waits[count - 1] : 0;
}

/* --- contenders --- */

static bool run(struct vgw__simulated *out, const struct vgw__simulation *simulation, enum vgw__policy policy,
	int64_t *waits)
{
	struct vgw__simulation own = *simulation;

	*out = (struct vgw__simulated){.served = 0};
	own.config.policy = policy;
	if (!vgw__simulate_planner(out, &own, waits))
		return false;
	summarize(out, waits, own.arrival_count, own.config.max_wait_ms);
	return true;
}

static bool run_fifo(struct vgw__simulated *out, const struct vgw__simulation *simulation, int64_t *waits)
{
	*out = (struct vgw__simulated){.served = 0};
	if (!vgw__simulate_fifo(out, simulation, waits))
		return false;
	summarize(out, waits, simulation->arrival_count, simulation->config.max_wait_ms);
	return true;
}

static void keep_better(struct vgw__simulated *best, const struct vgw__simulated *other)
{
	if (other->wait_p95_ms < best->wait_p95_ms ||
		(other->wait_p95_ms == best->wait_p95_ms && other->wait_mean_ms < best->wait_mean_ms))
		*best = *other;
}

static bool run_clairvoyant(
	struct vgw__simulated *out, const struct vgw__simulation *simulation, int64_t *waits)
{
	struct vgw__simulation own = *simulation;
	struct vgw__simulated other;
	int64_t round_trip_ms = 1;

	for (int32_t m = 0; m < own.model_count; m++) {
		if (own.times[m].start_ms + own.times[m].stop_ms > round_trip_ms)
			round_trip_ms = own.times[m].start_ms + own.times[m].stop_ms;
	}
	if (!run_fifo(out, &own, waits) || !run(&other, &own, VGW__POLICY_LRU, waits))
		return false;
	keep_better(out, &other);
	if (!run(&other, &own, VGW__POLICY_COST, waits))
		return false;
	keep_better(out, &other);
	own.config.min_resident_ms = 0;
	for (int64_t horizon_ms = 0; horizon_ms <= 32 * round_trip_ms;
		horizon_ms = horizon_ms ? 2 * horizon_ms : round_trip_ms / 8 + 1) {
		own.config.hold_ms = horizon_ms;
		if (!run(&other, &own, VGW__POLICY_ORACLE, waits))
			return false;
		keep_better(out, &other);
	}
	return true;
}

static bool is_valid(const struct vgw__simulation *simulation)
{
	if (simulation->model_count < 1)
		return false;
	for (size_t i = 0; i < simulation->arrival_count; i++) {
		const struct vgw__arrival *arrival = &simulation->arrivals[i];

		if (arrival->model < 0 || arrival->model >= simulation->model_count ||
			arrival->service_ms < 0)
			return false;
		if (arrival->at_ms < (i ? arrival[-1].at_ms : 0))
			return false;
	}
	return true;
}

vgw_status vgw__simulate(struct vgw__simulated *out, const struct vgw__simulation *simulation,
	enum vgw__contender contender, vgw_error *err)
{
	struct vgw__simulation own = *simulation;
	int64_t *waits;
	bool is_done;

	*out = (struct vgw__simulated){.served = 0};
	if (!is_valid(&own))
		return vgw_error_set(err, VGW_INVALID, 0,
			"the trace: each arrival needs a known model, a service time, and an at_ms not "
			"before the last one");
	if (own.config.max_wait_ms <= 0)
		own.config.max_wait_ms = 1200000;
	waits = vgw__calloc(own.arrival_count + 1, sizeof(*waits));
	if (!waits)
		return vgw_error_set(err, VGW_NOMEM, 0, "simulation");
	switch (contender) {
	case VGW__CONTENDER_LRU:
		is_done = run(out, &own, VGW__POLICY_LRU, waits);
		break;
	case VGW__CONTENDER_COST:
		is_done = run(out, &own, VGW__POLICY_COST, waits);
		break;
	case VGW__CONTENDER_FIRST_COME:
		is_done = run_fifo(out, &own, waits);
		break;
	default:
		is_done = run_clairvoyant(out, &own, waits);
		break;
	}
	vgw__free(waits);
	return is_done ? VGW_OK : vgw_error_set(err, VGW_NOMEM, 0, "simulation");
}
