/* SPDX-License-Identifier: Apache-2.0 */
/* lru, cost and oracle: when a resident may go and which goes first. */
#include "core/policy.h"

#define GIB (1024.0 * 1024.0 * 1024.0)

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When will the pressure of those who wait have reached `price` (weighted ms of waiting)? */
static int64_t pressure_reaches_ms(const struct vgw__demand *demand, double price)
{
	double at_ms;

	if (demand->weight <= 0)
		return VGW__NEVER;
	at_ms = (price + demand->weighted_arrival) / demand->weight;
	return at_ms > 4e18 ? VGW__NEVER : (int64_t)at_ms + 1;
}

/* Arrivals during the round trip out and back, each waiting half of it on average. */
static double price_of(const struct vgw__candidate *candidate, const struct vgw__demand *demand)
{
	double round_trip_ms = (double)(candidate->departure_ms + demand->load_ms + candidate->reload_ms);

	/* 2: the weight of a request of normal priority */
	return 2.0 * candidate->rate * round_trip_ms * round_trip_ms / 2;
}

/* Idle past hold, or outweighed. */
static int64_t lru_may_go_ms(const struct vgw__residency_config *config,
	const struct vgw__candidate *candidate, const struct vgw__demand *demand)
{
	int64_t idle_ms = candidate->in_flight ? VGW__NEVER : candidate->last_used_ms + config->hold_ms;

	return sooner(idle_ms, pressure_reaches_ms(demand, price_of(candidate, demand)));
}

/* The same, but holding on to an idle resident must promise something: it is held until `until_ms` only when
 * at least one arrival is expected by then. An agent that alternates between two models never waits for a
 * hold. */
static int64_t worth_holding_ms(const struct vgw__candidate *candidate, int64_t until_ms, int64_t now_ms)
{
	if (until_ms > now_ms && candidate->rate * (double)(until_ms - now_ms) >= 1)
		return until_ms;
	return now_ms;
}

static int64_t oracle_may_go_ms(const struct vgw__residency_config *config,
	const struct vgw__candidate *candidate, const struct vgw__demand *demand, int64_t now_ms)
{
	int64_t idle_ms = candidate->in_flight ? VGW__NEVER : now_ms;

	/* hold_ms is the oracle's horizon: who is needed again so soon stays until the pressure is too high
	 */
	if (candidate->next_use_ms - now_ms > config->hold_ms)
		return idle_ms;
	return pressure_reaches_ms(demand, price_of(candidate, demand));
}

int64_t vgw__policy_may_go_ms(const struct vgw__residency_config *config,
	const struct vgw__candidate *candidate, const struct vgw__demand *demand, int64_t now_ms)
{
	int64_t stay_ms = candidate->ready_since_ms + config->min_resident_ms;
	int64_t at_ms;

	if (candidate->is_asleep)
		return now_ms;
	switch (config->policy) {
	case VGW__POLICY_COST:
		at_ms = lru_may_go_ms(config, candidate, demand);
		if (!candidate->in_flight)
			at_ms = sooner(at_ms, worth_holding_ms(candidate, at_ms, now_ms));
		stay_ms = worth_holding_ms(candidate, stay_ms, now_ms);
		break;
	case VGW__POLICY_ORACLE:
		at_ms = oracle_may_go_ms(config, candidate, demand, now_ms);
		break;
	default:
		at_ms = lru_may_go_ms(config, candidate, demand);
		break;
	}
	at_ms = later(sooner(at_ms, demand->urgent_ms), stay_ms);
	return sooner(at_ms, demand->due_ms);
}

double vgw__policy_cost(
	const struct vgw__residency_config *config, const struct vgw__candidate *candidate, int64_t now_ms)
{
	/* horizon: as long as the rates remember */
	double expected = candidate->rate * (double)config->rate_half_life_ms;
	double gib = (double)candidate->freed_bytes / GIB;
	double idle_ms = (double)(now_ms - candidate->last_used_ms);

	if (config->policy == VGW__POLICY_ORACLE)
		return candidate->next_use_ms == VGW__NEVER ? -1e18
							    : -(double)(candidate->next_use_ms - now_ms);
	if (config->policy != VGW__POLICY_COST || candidate->rate <= 0)
		return -idle_ms; /* no data: LRU; a known rate makes it worth more than nothing */
	/* x / (1 + x) stands for 1 - e^-x: same ends, same order, no libm */
	return expected / (1 + expected) * (double)candidate->reload_ms / (gib > 1.0 / 16 ? gib : 1.0 / 16);
}
