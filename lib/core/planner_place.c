/* SPDX-License-Identifier: Apache-2.0 */
/* On which of its devices a model comes up. A model that needs fewer devices than it may run on is placed anew at each
 * cold start, and keeps its set from the claim until it is gone: a sleeper wakes where its residue lies.
 *
 *   room for it without anybody leaving?  ── yes ──► those devices, the emptiest first
 *       │ no
 *       ▼
 *   each possible set: who would have to leave?  ──► the set whose victims cost least, as the policy counts
 *
 * Emptiest: nothing under way on it, then fewest engines awake, then most bytes free, then the lowest number. So engines
 * are spread: two on one device share its compute, and budgets that are not known cannot be overrun by packing. Equals
 * are told apart by that order too, so the same situation always gives the same answer. */
#include "core/planner_internal.h"

/* Beyond so many sets only neighbours are compared: eight of sixteen are 12870. */
enum { SETS_MAX = 128 };

static int32_t count_bits(uint32_t mask)
{
	int32_t count = 0;

	for (; mask; mask &= mask - 1)
		count++;
	return count;
}

static bool has(uint32_t mask, int32_t d)
{
	return (mask >> d) & 1u;
}

/* --- what a set is --- */

static bool has_choice(const struct vgw__replica *r)
{
	return r->config.devices_needed > 0 && r->config.devices_needed < count_bits(r->config.devices);
}

bool vgw__place_is_set(const struct vgw__planner *p, const struct vgw__replica *r, uint32_t devices)
{
	(void)p;
	if (!has_choice(r))
		return devices == r->config.devices;
	return !(devices & ~r->config.devices) && count_bits(devices) == r->config.devices_needed;
}

bool vgw__place_is_open(const struct vgw__replica *r)
{
	if (!has_choice(r) || r->is_claimed)
		return false;
	switch (r->state) {
	case VGW__STATE_ABSENT:
	case VGW__STATE_BACKOFF:
		return true;
	case VGW__STATE_DRAINING:
	case VGW__STATE_LEAVING:
		return r->depth == VGW__DEPTH_STOP;
	default:
		return false;
	}
}

void vgw__place_put(struct vgw__replica *r, uint32_t devices)
{
	uint32_t elsewhere = r->config.devices & ~devices;

	r->devices = devices;
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++) {
		r->awake[d] = has(elsewhere, d) ? 0 : r->need[d];
		r->asleep[d] = has(elsewhere, d) ? 0 : r->rest[d];
	}
}

/* --- what it takes --- */

/* The most that was ever measured on any of its devices. */
static int64_t most_learned(const struct vgw__planner *p, const struct vgw__replica *r)
{
	int64_t most = VGW__UNKNOWN_BYTES;

	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (has(r->config.devices, d) && r->learned[d] > most)
			most = r->learned[d];
	}
	return most;
}

int64_t vgw__place_expect(const struct vgw__planner *p, const struct vgw__replica *r, int32_t d)
{
	int64_t budget = p->devices[d].budget_bytes;
	int64_t bytes = r->learned[d];

	if (bytes == VGW__UNKNOWN_BYTES && r->config.awake_bytes[d] != VGW__UNKNOWN_BYTES)
		return r->config.awake_bytes[d];
	if (bytes == VGW__UNKNOWN_BYTES && has_choice(r))
		bytes = most_learned(p, r);
	if (bytes == VGW__UNKNOWN_BYTES)
		return has(r->config.devices, d) ? budget : 0;
	return budget && bytes > budget ? budget : bytes; /* it did run */
}

static int64_t expect_asleep(const struct vgw__planner *p, const struct vgw__replica *r, int32_t d)
{
	int64_t most = r->config.asleep_bytes[d] > 0 ? r->config.asleep_bytes[d] : 0;

	for (int32_t e = 0; !most && has_choice(r) && has(r->config.devices, d) && e < p->limits.devices; e++) {
		if (has(r->config.devices, e) && r->config.asleep_bytes[e] > most)
			most = r->config.asleep_bytes[e];
	}
	return most;
}

/* Any set will do until one is chosen: the former one, else the first devices. */
void vgw__place_believe(struct vgw__planner *p, struct vgw__replica *r)
{
	uint32_t devices = r->devices;
	uint32_t first = r->config.devices;

	for (int32_t d = 0; d < p->limits.devices; d++) {
		r->need[d] = vgw__place_expect(p, r, d);
		r->rest[d] = expect_asleep(p, r, d);
	}
	if (!vgw__place_is_set(p, r, devices)) {
		for (devices = 0; has_choice(r) && count_bits(devices) < r->config.devices_needed; first &= first - 1)
			devices |= first & ~(first - 1);
		devices = has_choice(r) ? devices : first;
	}
	vgw__place_put(r, devices);
}

/* --- where it fits --- */

static bool is_large_enough(const struct vgw__planner *p, const struct vgw__replica *r, int32_t d)
{
	return !p->devices[d].budget_bytes || r->need[d] <= p->devices[d].budget_bytes;
}

bool vgw__place_is_too_big(const struct vgw__planner *p, const struct vgw__replica *r)
{
	bool is_choosing = has_choice(r);
	int32_t fitting = 0;

	for (int32_t d = 0; d < p->limits.devices; d++) {
		if (is_choosing && has(r->config.devices, d))
			fitting += is_large_enough(p, r, d);
		else if (!is_large_enough(p, r, d))
			return true;
	}
	return is_choosing && fitting < r->config.devices_needed;
}

uint32_t vgw__place_fitting(
	const struct vgw__planner *p, const struct vgw__replica *r, const struct vgw__projection *projection)
{
	uint32_t devices = 0;
	int32_t left = r->config.devices_needed;

	if (!vgw__place_is_open(r))
		return r->devices;
	for (int32_t d = 0; d < p->limits.devices && left; d++) {
		if (!has(r->config.devices, d) || r->need[d] > projection->free[d])
			continue;
		devices |= 1u << d;
		left--;
	}
	return left ? 0 : devices;
}

/* --- which first --- */

/* The devices that are large enough, the emptiest first. */
struct order {
	int32_t count;
	int8_t device[VGW__DEVICES_MAX];
};

struct load {
	int32_t operations;
	int32_t awake;
	int64_t free;
};

static bool is_emptier(const struct load *a, const struct load *b)
{
	if (a->operations != b->operations)
		return a->operations < b->operations;
	if (a->awake != b->awake)
		return a->awake < b->awake;
	return a->free > b->free;
}

static void weigh(const struct vgw__planner *p, const struct vgw__replica *wanted,
	const struct vgw__projection *projection, struct load *loads)
{
	for (int32_t d = 0; d < p->limits.devices; d++)
		loads[d] = (struct load){.free = projection->free[d]};
	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];
		bool is_operating = r->is_claimed || r->state == VGW__STATE_STARTING ||
				    r->state == VGW__STATE_WAKING || r->state == VGW__STATE_DRAINING ||
				    r->state == VGW__STATE_LEAVING || r->state == VGW__STATE_STUCK;

		if (!r->exists || r == wanted || (!is_operating && r->state != VGW__STATE_READY))
			continue;
		for (int32_t d = 0; d < p->limits.devices; d++) {
			if (!has(r->devices, d))
				continue;
			loads[d].operations += is_operating;
			loads[d].awake++;
		}
	}
}

static void sort_devices(const struct vgw__planner *p, const struct vgw__replica *r,
	const struct vgw__projection *projection, struct order *order)
{
	struct load loads[VGW__DEVICES_MAX];
	int32_t at;

	order->count = 0;
	weigh(p, r, projection, loads);
	for (int8_t d = 0; d < p->limits.devices; d++) {
		if (!has(r->config.devices, d) || !is_large_enough(p, r, d))
			continue;
		for (at = order->count; at > 0 && is_emptier(&loads[d], &loads[order->device[at - 1]]); at--)
			order->device[at] = order->device[at - 1];
		order->device[at] = d;
		order->count++;
	}
}

/* Without anybody leaving for bytes; 0: nowhere. */
static uint32_t first_fitting(const struct vgw__replica *r, const struct vgw__projection *projection,
	const struct order *order)
{
	uint32_t devices = 0;
	int32_t left = r->config.devices_needed;

	for (int32_t i = 0; i < order->count && left; i++) {
		if (r->need[order->device[i]] > projection->free[order->device[i]])
			continue;
		devices |= 1u << order->device[i];
		left--;
	}
	return left ? 0 : devices;
}

/* --- the set whose victims cost least --- */

struct price {
	bool is_awake; /* somebody awake must leave */
	double sum;    /* of what the policy puts a positive price on */
	double worst;
	int32_t count;
};

static bool is_cheaper(const struct price *a, const struct price *b)
{
	if (a->is_awake != b->is_awake)
		return !a->is_awake;
	if (a->sum < b->sum || b->sum < a->sum)
		return a->sum < b->sum;
	if (a->worst < b->worst || b->worst < a->worst)
		return a->worst < b->worst;
	return a->count < b->count;
}

static struct price price_of(const struct vgw__planner *p, const int8_t *marks)
{
	struct price price = {.worst = -1e300};
	double cost;

	for (int32_t i = 0; i < p->limits.models; i++) {
		if (!marks[i])
			continue;
		cost = vgw__choose_cost(p, &p->replicas[i],
			marks[i] == VGW__MARK_SLEEP ? VGW__DEPTH_SLEEP : VGW__DEPTH_STOP);
		price.is_awake = price.is_awake || p->replicas[i].state == VGW__STATE_READY;
		price.sum += cost > 0 ? cost : 0;
		price.worst = cost > price.worst ? cost : price.worst;
		price.count++;
	}
	return price;
}

/* Sets are numbers whose bits are places in the order, so that growing numbers are sets of ever fuller devices. */
static uint32_t next_set(uint32_t set, bool is_of_neighbours)
{
	uint32_t low = set & ~(set - 1);
	uint32_t carried = set + low;

	if (is_of_neighbours)
		return set << 1;
	return carried | (((set ^ carried) >> 2) / low);
}

static bool are_too_many(int32_t n, int32_t k)
{
	int64_t sets = 1;

	for (int32_t i = 1; i <= k; i++)
		sets = sets * (n - k + i) / i;
	return sets > SETS_MAX;
}

static void sort_by_number(struct order *order)
{
	for (int32_t i = 1; i < order->count; i++) {
		int8_t device = order->device[i];
		int32_t at = i;

		for (; at > 0 && order->device[at - 1] > device; at--)
			order->device[at] = order->device[at - 1];
		order->device[at] = device;
	}
}

static uint32_t devices_of(uint32_t set, const struct order *order)
{
	uint32_t devices = 0;

	for (int32_t i = 0; i < order->count; i++)
		devices |= has(set, i) ? 1u << order->device[i] : 0;
	return devices;
}

/* The set to take, or to tell about when none can be had now; *again_ms: the soonest of all. */
static uint32_t cheapest_set(const struct vgw__planner *p, const struct vgw__replica *r, struct order *order,
	int8_t *marks, int64_t *again_ms)
{
	bool is_of_neighbours = are_too_many(order->count, r->config.devices_needed);
	uint32_t best = 0;
	uint32_t busy = 0;
	struct price best_price = {.count = 0};
	struct price price;
	enum vgw__reason reason;
	int64_t soon_ms;

	if (is_of_neighbours)
		sort_by_number(order);
	*again_ms = VGW__NEVER;
	for (uint32_t set = (1u << r->config.devices_needed) - 1; !(set >> order->count);
		set = next_set(set, is_of_neighbours)) {
		uint32_t devices = devices_of(set, order);

		reason = vgw__choose_victims(p, r, devices, marks, &soon_ms, NULL);
		if (soon_ms < *again_ms)
			*again_ms = soon_ms;
		if (reason == VGW__REASON_BUSY && !busy)
			busy = devices;
		if (reason != VGW__REASON_NONE)
			continue;
		price = price_of(p, marks);
		if (!best || is_cheaper(&price, &best_price)) {
			best = devices;
			best_price = price;
		}
	}
	if (best || busy)
		return best ? best : busy;
	return devices_of((1u << r->config.devices_needed) - 1, order);
}

enum vgw__reason vgw__place_choose(const struct vgw__planner *p, const struct vgw__replica *r, int8_t *marks,
	int64_t *again_ms, struct vgw__decision *decision)
{
	struct vgw__projection projection;
	struct order order;
	int64_t soonest_ms = VGW__NEVER;
	enum vgw__reason reason;

	*again_ms = VGW__NEVER;
	decision->devices = r->devices;
	if (vgw__place_is_too_big(p, r))
		return VGW__REASON_TOO_BIG;
	if (!vgw__place_is_open(r)) {
		decision->devices_why = r->state == VGW__STATE_ASLEEP ? "it sleeps there"
					: r->is_claimed               ? "promised to it"
								      : "it runs nowhere else";
		return vgw__choose_victims(p, r, r->devices, marks, again_ms, decision);
	}
	vgw__budget_project(p, NULL, r, &projection);
	sort_devices(p, r, &projection, &order);
	decision->devices = first_fitting(r, &projection, &order);
	decision->devices_why = "there is room, and they are the emptiest";
	if (!decision->devices) {
		decision->devices = cheapest_set(p, r, &order, marks, &soonest_ms);
		decision->devices_why = "those who leave them cost least";
	}
	reason = vgw__choose_victims(p, r, decision->devices, marks, again_ms, decision);
	if (soonest_ms < *again_ms)
		*again_ms = soonest_ms;
	return reason;
}
