/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing among targets. Sets of places are words with a bit for each; loads are our own requests under way, never
 * what an engine says of itself. */
#include "balance/choose.h"

#include "balance/hash.h"

/* How many more than its share a replica may have under way before a prompt's beginning, cached there, is no reason any
 * more: an engine serves a few at a time as quickly as one. */
enum { PREFIX_SLACK = 4 };

struct search {
	struct vgw__targets *targets;
	int64_t now_ms;
	uint32_t start; /* where ties begin: they rotate */
};

static unsigned in_flight(const struct vgw__target *target)
{
	return atomic_load_explicit(&target->in_flight, memory_order_relaxed);
}

static uint64_t bit(uint32_t place)
{
	return UINT64_C(1) << place;
}

/* --- who may be chosen ---------------------------------------------------------------------------------------- */

struct field {
	uint64_t left;   /* neither tried nor drained */
	uint64_t open;   /* of these: those one would ask */
	uint64_t trials; /* and those whose circuit wants a trial */
};

static void survey(const struct search *search, uint64_t tried, struct field *field)
{
	bool is_trial;

	*field = (struct field){ 0 };
	for (uint32_t i = 0; i < search->targets->count; i++) {
		const struct vgw__target *target = search->targets->items[i];

		if ((tried >> i & 1) || atomic_load_explicit(&target->is_drained, memory_order_relaxed))
			continue;
		field->left |= bit(i);
		if (!vgw__target_is_well(target) || !vgw__circuit_admits(&target->circuit, search->now_ms, &is_trial))
			continue;
		if (is_trial)
			field->trials |= bit(i);
		else
			field->open |= bit(i);
	}
}

/* --- policies: each takes a set that is not empty and gives a place of it -------------------------------------- */

/* What one more request would cost there; one that has just recovered is dearer. */
static uint64_t cost_of(const struct search *search, uint32_t place)
{
	const struct vgw__target *target = search->targets->items[place];

	return (uint64_t)(in_flight(target) + 1) * (VGW__CIRCUIT_WHOLE * VGW__CIRCUIT_WHOLE) /
		vgw__circuit_get_share(&target->circuit, search->now_ms);
}

static uint32_t choose_least(const struct search *search, uint64_t among)
{
	uint32_t count = search->targets->count, place = search->start % count, best = 0;
	uint64_t best_cost = UINT64_MAX, cost;

	for (uint32_t i = 0; i < count; i++, place = place + 1 == count ? 0 : place + 1) {
		if (!(among >> place & 1))
			continue;
		cost = cost_of(search, place);
		if (cost < best_cost) {
			best = place;
			best_cost = cost;
		}
	}
	return best;
}

/* Turns are counted over those who may be chosen, so that a missing one's turns are not all its neighbour's. */
static uint32_t choose_next(const struct search *search, uint64_t among)
{
	uint32_t turn = search->start % (uint32_t)__builtin_popcountll(among);

	while (turn--)
		among &= among - 1;
	return (uint32_t)__builtin_ctzll(among);
}

static uint32_t choose_of_two(const struct search *search, uint64_t among)
{
	uint64_t random = vgw__mix(search->start, (uint64_t)search->now_ms);
	struct search one = *search, other = *search;
	uint32_t a, b;

	one.start = (uint32_t)random;
	other.start = (uint32_t)(random >> 32);
	a = choose_next(&one, among);
	b = choose_next(&other, among); /* perhaps the same: so the worst is reached now and then */
	return cost_of(search, b) < cost_of(search, a) ? b : a;
}

/* Requests a target may have with the next one: 1.25 of its share of all, by the part it should get. */
static unsigned bound_of(const struct search *search, uint64_t among, uint32_t place, unsigned slack)
{
	uint64_t load = 0, shares = 0, share = 0, own;

	for (uint64_t rest = among; rest; rest &= rest - 1) {
		uint32_t at = (uint32_t)__builtin_ctzll(rest);

		load += in_flight(search->targets->items[at]);
		own = vgw__circuit_get_share(&search->targets->items[at]->circuit, search->now_ms);
		shares += own;
		share = at == place ? own : share;
	}
	return (unsigned)((5 * (load + 1) * share + 4 * shares - 1) / (4 * shares)) + slack;
}

static bool is_within(const struct search *search, uint64_t among, uint32_t place, unsigned slack)
{
	return in_flight(search->targets->items[place]) + 1 <= bound_of(search, among, place, slack);
}

/* Rendezvous: the highest of the hashes of session and replica, unless it has too much to do already. */
static uint32_t choose_for_session(const struct search *search, uint64_t among, uint64_t key)
{
	for (uint64_t left = among; left;) {
		uint64_t best_score = 0, score;
		uint32_t best = (uint32_t)__builtin_ctzll(left);

		for (uint64_t rest = left; rest; rest &= rest - 1) {
			uint32_t place = (uint32_t)__builtin_ctzll(rest);

			score = vgw__mix(key, search->targets->items[place]->identity);
			if (score > best_score) {
				best_score = score;
				best = place;
			}
		}
		if (is_within(search, among, best, 0))
			return best;
		left &= ~bit(best);
	}
	return choose_least(search, among);
}

/* Who has seen most of the prompt, if that is a quarter of it at least. A miss goes to the least busy one. */
static uint32_t choose_by_prefix(const struct search *search, uint64_t among, const struct vgw__choice *choice)
{
	uint64_t numbers = 0, seen, candidates = 0;
	uint32_t blocks = 0;

	for (uint64_t rest = among; rest; rest &= rest - 1)
		numbers |= bit(search->targets->items[__builtin_ctzll(rest)]->number);
	seen = vgw__prefix_find(choice->table, choice->prefix, numbers, &blocks);
	for (uint64_t rest = blocks * 4 >= choice->prefix->count ? among : 0; seen && rest; rest &= rest - 1) {
		uint32_t place = (uint32_t)__builtin_ctzll(rest);

		if ((seen >> search->targets->items[place]->number & 1) && is_within(search, among, place, PREFIX_SLACK))
			candidates |= bit(place);
	}
	return choose_least(search, candidates ? candidates : among);
}

/* --- the choice ----------------------------------------------------------------------------------------------- */

/* Those who have at hand what is needed, unless all of them have too much to do already. */
static uint64_t narrow(const struct search *search, uint64_t among, uint64_t preferred)
{
	uint64_t candidates = 0;

	for (uint64_t rest = among & preferred; rest; rest &= rest - 1) {
		uint32_t place = (uint32_t)__builtin_ctzll(rest);

		if (is_within(search, among, place, PREFIX_SLACK))
			candidates |= bit(place);
	}
	return candidates ? candidates : among;
}

static uint32_t choose(const struct search *search, uint64_t among, const struct vgw__choice *choice)
{
	if (choice->preferred)
		among = narrow(search, among, choice->preferred);
	if ((among & (among - 1)) == 0)
		return (uint32_t)__builtin_ctzll(among);
	switch (choice->balance) {
	case VGW_BALANCE_ROUND_ROBIN:
		return choose_next(search, among);
	case VGW_BALANCE_P2C:
		return choose_of_two(search, among);
	case VGW_BALANCE_PREFIX:
		if (choice->table && choice->prefix->count)
			return choose_by_prefix(search, among, choice);
		break;
	case VGW_BALANCE_STICKY:
		if (choice->has_key)
			return choose_for_session(search, among, choice->key);
		break;
	default:
		break;
	}
	return choose_least(search, among);
}

static bool choose_place(const struct search *search, struct vgw__choice *choice)
{
	struct field field;

	survey(search, choice->tried, &field);
	for (uint64_t rest = field.trials; rest && !choice->is_trial; rest &= rest - 1) {
		choice->place = (uint32_t)__builtin_ctzll(rest);
		choice->is_trial = vgw__circuit_claim(&search->targets->items[choice->place]->circuit, search->now_ms);
	}
	if (choice->is_trial)
		return true;
	if (!field.left)
		return false;
	choice->place = choose(search, field.open ? field.open : field.left, choice);
	return true;
}

struct vgw__target *vgw__balance_choose(struct vgw__targets *targets, struct vgw__choice *choice)
{
	struct search search = { .targets = targets, .now_ms = choice->now_ms };
	struct vgw__target *target;

	choice->is_trial = false;
	choice->place = 0;
	if (targets->count == 1) { /* nothing to choose, and it is never left out */
		target = targets->items[0];
		if ((choice->tried & 1) || atomic_load_explicit(&target->is_drained, memory_order_relaxed))
			return NULL;
		if (!vgw__circuit_admits(&target->circuit, choice->now_ms, &choice->is_trial) || choice->is_trial)
			choice->is_trial = choice->is_trial && vgw__circuit_claim(&target->circuit, choice->now_ms);
		return target;
	}
	search.start = atomic_fetch_add_explicit(&targets->next, 1, memory_order_relaxed);
	if (!choose_place(&search, choice))
		return NULL;
	target = targets->items[choice->place];
	if (choice->balance == VGW_BALANCE_PREFIX && choice->table)
		vgw__prefix_learn(choice->table, choice->prefix, target->number);
	return target;
}
