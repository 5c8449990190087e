/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of targets, made of endpoints and of the set before. */
#include "backend/targets.h"

#include "util/alloc.h"
#include "util/hash.h"

#include <netinet/in.h>
#include <string.h>

/* --- targets -------------------------------------------------------------------------------------------------- */

static void unref_target(struct vgw__target *target)
{
	if (!target || atomic_fetch_sub_explicit(&target->refs, 1, memory_order_acq_rel) != 1)
		return;
	vgw__endpoint_unref(target->endpoint);
	vgw__circuit_fini(&target->circuit);
	vgw__lora_free(atomic_load(&target->lora));
	vgw__free(target);
}

static uint64_t identify(const struct vgw__endpoint *endpoint)
{
	uint64_t hash = vgw__hash_text(VGW__HASH_INIT, endpoint->url);

	if (!endpoint->is_one_of_many)
		return hash;
	for (size_t i = 0; i < endpoint->addresses[0].len; i++)
		hash = (hash ^ ((const unsigned char *)&endpoint->addresses[0].addr)[i]) * UINT64_C(1099511628211);
	return hash;
}

/* Takes the reference of the endpoint. */
static struct vgw__target *new_target(struct vgw__endpoint *endpoint)
{
	struct vgw__target *target = vgw__alloc(sizeof(*target));

	if (!target || !vgw__circuit_init(&target->circuit)) {
		vgw__free(target);
		vgw__endpoint_unref(endpoint);
		return NULL;
	}
	atomic_init(&target->refs, 1);
	target->number = UINT32_MAX;
	target->endpoint = endpoint;
	target->identity = identify(endpoint);
	return target;
}

/* --- which addresses ------------------------------------------------------------------------------------------ */

static bool is_same_address(const struct vgw__address *a, const struct vgw__address *b)
{
	return a->len == b->len && memcmp(&a->addr, &b->addr, a->len) == 0;
}

/* The family whose addresses are replicas: that with more of them. One of each is one engine with two. */
static int family_of(const struct vgw__endpoint *endpoint)
{
	uint32_t four = 0, six = 0;

	for (uint32_t i = 0; i < endpoint->address_count; i++) {
		four += endpoint->addresses[i].addr.ss_family == AF_INET;
		six += endpoint->addresses[i].addr.ss_family == AF_INET6;
	}
	if (four <= 1 && six <= 1)
		return AF_UNSPEC;
	return four >= six ? AF_INET : AF_INET6;
}

/* Two sets of addresses in any order: name servers rotate them. */
static bool has_same_addresses(const struct vgw__endpoint *a, const struct vgw__endpoint *b)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < a->address_count; i++) {
		uint32_t j = 0;

		while (j < b->address_count && !is_same_address(&a->addresses[i], &b->addresses[j]))
			j++;
		found += j < b->address_count;
	}
	return a->address_count == b->address_count && found == a->address_count;
}

/* --- sets ----------------------------------------------------------------------------------------------------- */

/* A set being made. */
struct making {
	struct vgw__targets *set;
	struct vgw__targets *previous;
	uint32_t kept;
};

static bool is_in(const struct vgw__targets *set, const struct vgw__target *target)
{
	for (uint32_t i = 0; i < set->count; i++) {
		if (set->items[i] == target)
			return true;
	}
	return false;
}

/* Takes the reference. False: no memory. */
static bool add(struct making *making, struct vgw__target *target)
{
	if (!target)
		return false;
	if (making->set->count == VGW__TARGETS_MAX) {
		unref_target(target);
		return true; /* as many as take part */
	}
	making->set->items[making->set->count++] = target;
	return true;
}

static bool keep(struct making *making, struct vgw__target *target)
{
	atomic_fetch_add_explicit(&target->refs, 1, memory_order_relaxed);
	making->kept++;
	return add(making, target);
}

/* Targets of the same URL in the set before, in their order; `at` goes on behind the one returned. */
static struct vgw__target *next_of(const struct making *making, const char *url, uint32_t *at)
{
	while (making->previous && *at < making->previous->count) {
		struct vgw__target *target = making->previous->items[(*at)++];

		if (strcmp(target->endpoint->url, url) == 0 && !is_in(making->set, target))
			return target;
	}
	return NULL;
}

static bool add_all_of(struct making *making, struct vgw__endpoint *endpoint, bool *has_some)
{
	struct vgw__target *target;
	uint32_t at = 0;
	bool is_ok = true;

	*has_some = false;
	while (is_ok && (target = next_of(making, endpoint->url, &at)) != NULL) {
		is_ok = keep(making, target);
		*has_some = true;
	}
	return is_ok;
}

static bool add_whole(struct making *making, struct vgw__endpoint *endpoint)
{
	struct vgw__target *target;
	uint32_t at = 0;

	while ((target = next_of(making, endpoint->url, &at)) != NULL) {
		if (!target->endpoint->is_one_of_many && has_same_addresses(endpoint, target->endpoint))
			return keep(making, target);
	}
	return add(making, new_target(vgw__endpoint_ref(endpoint)));
}

static bool add_address(struct making *making, const struct vgw__endpoint *endpoint, const struct vgw__address *address)
{
	struct vgw__endpoint *one;
	struct vgw__target *target;
	uint32_t at = 0;

	while ((target = next_of(making, endpoint->url, &at)) != NULL) {
		if (target->endpoint->is_one_of_many && is_same_address(&target->endpoint->addresses[0], address))
			return keep(making, target);
	}
	one = vgw__endpoint_new_one(endpoint, address);
	return one && add(making, new_target(one));
}

static bool add_endpoint(struct making *making, struct vgw__endpoint *endpoint)
{
	int family = family_of(endpoint);
	bool is_ok = true, has_some;

	if (!endpoint->address_count) { /* the name server is silent for once: what was known still holds */
		is_ok = add_all_of(making, endpoint, &has_some);
		return is_ok && (has_some || add_whole(making, endpoint));
	}
	if (family == AF_UNSPEC)
		return add_whole(making, endpoint);
	for (uint32_t i = 0; is_ok && i < endpoint->address_count; i++) {
		if (endpoint->addresses[i].addr.ss_family == family)
			is_ok = add_address(making, endpoint, &endpoint->addresses[i]);
	}
	return is_ok;
}

/* Each newcomer gets the lowest number that nobody has. */
static void number(struct vgw__targets *set)
{
	uint64_t taken = 0;

	for (uint32_t i = 0; i < set->count; i++) {
		if (set->items[i]->number < VGW__TARGETS_MAX)
			taken |= UINT64_C(1) << set->items[i]->number;
	}
	for (uint32_t i = 0; i < set->count; i++) {
		if (set->items[i]->number < VGW__TARGETS_MAX)
			continue;
		set->items[i]->number = 0;
		while ((taken >> set->items[i]->number) & 1)
			set->items[i]->number++;
		taken |= UINT64_C(1) << set->items[i]->number;
	}
}

struct vgw__targets *vgw__targets_new(struct vgw__endpoint *const *endpoints, size_t count,
	struct vgw__targets *previous, bool *is_same)
{
	struct making making = { .previous = previous };
	bool is_ok = true;

	*is_same = false;
	making.set = vgw__alloc(sizeof(*making.set) + VGW__TARGETS_MAX * sizeof(making.set->items[0]));
	if (!making.set)
		return NULL;
	atomic_init(&making.set->refs, 1);
	for (size_t i = 0; is_ok && i < count; i++)
		is_ok = add_endpoint(&making, endpoints[i]);
	*is_same = is_ok && previous && making.kept == making.set->count && making.kept == previous->count;
	if (!is_ok || *is_same) {
		vgw__targets_unref(making.set);
		return is_ok ? vgw__targets_ref(previous) : NULL;
	}
	number(making.set);
	return making.set;
}

struct vgw__targets *vgw__targets_ref(struct vgw__targets *targets)
{
	atomic_fetch_add_explicit(&targets->refs, 1, memory_order_relaxed);
	return targets;
}

void vgw__targets_unref(struct vgw__targets *targets)
{
	if (!targets || atomic_fetch_sub_explicit(&targets->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < targets->count; i++)
		unref_target(targets->items[i]);
	vgw__free(targets);
}

bool vgw__targets_has_other(const struct vgw__targets *targets, const struct vgw__target *but)
{
	for (uint32_t i = 0; i < targets->count; i++) {
		const struct vgw__target *target = targets->items[i];

		if (target != but && vgw__target_is_well(target) &&
			atomic_load_explicit(&target->circuit.state, memory_order_relaxed) == VGW__CIRCUIT_CLOSED)
			return true;
	}
	return false;
}

const char *vgw__health_name(enum vgw__health_state state)
{
	static const char *const names[] = {
#define XX(name, text) [VGW__HEALTH_##name] = text,
		VGW__HEALTH_MAP(XX)
#undef XX
	};

	return names[state];
}
