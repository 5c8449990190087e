/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of targets: names of several addresses, and what survives when a set is replaced. */
#include "testing.h"

#include "backend/targets.h"

#include <arpa/inet.h>
#include <string.h>

/* An endpoint whose name has these addresses, as a name server might have said. */
static struct vgw__endpoint *endpoint_at(const char *const *addresses, size_t count)
{
	struct vgw__endpoint *endpoint;

	assert_int_equal(vgw__endpoint_new(&endpoint, "http://127.0.0.1:8000/x", NULL), VGW_OK);
	endpoint->address_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		struct vgw__address *address = &endpoint->addresses[i];

		memset(address, 0, sizeof(*address));
		if (strchr(addresses[i], ':')) {
			struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(8000) };

			assert_int_equal(inet_pton(AF_INET6, addresses[i], &six.sin6_addr), 1);
			memcpy(&address->addr, &six, sizeof(six));
			address->len = sizeof(six);
		} else {
			struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(8000) };

			assert_int_equal(inet_pton(AF_INET, addresses[i], &four.sin_addr), 1);
			memcpy(&address->addr, &four, sizeof(four));
			address->len = sizeof(four);
		}
	}
	return endpoint;
}

static struct vgw__targets *renew(struct vgw__targets *previous, const char *const *addresses, size_t count,
	bool *is_same)
{
	struct vgw__endpoint *endpoint = endpoint_at(addresses, count);
	struct vgw__targets *targets = vgw__targets_new(&endpoint, 1, previous, is_same);

	vgw__endpoint_unref(endpoint);
	assert_non_null(targets);
	return targets;
}

static void several_addresses_of_a_name_are_several_replicas(void **state)
{
	static const char *const three[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3" };
	bool is_same;
	struct vgw__targets *targets = renew(NULL, three, 3, &is_same);

	(void)state;
	assert_int_equal(targets->count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(targets->items[i]->number, i);
		assert_int_equal(targets->items[i]->endpoint->address_count, 1);
		assert_string_equal(targets->items[i]->endpoint->authority, "127.0.0.1:8000");
		assert_string_equal(targets->items[i]->endpoint->base_path, "/x");
	}
	assert_int_not_equal(targets->items[0]->identity, targets->items[1]->identity);
	vgw__targets_unref(targets);
}

static void one_address_of_each_family_is_one_replica_with_two_ways_to_it(void **state)
{
	static const char *const both[] = { "::1", "127.0.0.1" };
	static const char *const dual[] = { "fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2" };
	bool is_same;
	struct vgw__targets *targets = renew(NULL, both, 2, &is_same);

	(void)state;
	assert_int_equal(targets->count, 1);
	assert_int_equal(targets->items[0]->endpoint->address_count, 2);
	vgw__targets_unref(targets);
	targets = renew(NULL, dual, 4, &is_same);
	assert_int_equal(targets->count, 2);
	assert_int_equal(targets->items[0]->endpoint->addresses[0].addr.ss_family, AF_INET);
	vgw__targets_unref(targets);
}

static void the_same_addresses_in_another_order_change_nothing(void **state)
{
	static const char *const one_way[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3" };
	static const char *const other_way[] = { "10.0.0.3", "10.0.0.1", "10.0.0.2" };
	bool is_same;
	struct vgw__targets *before = renew(NULL, one_way, 3, &is_same);
	struct vgw__targets *after = renew(before, other_way, 3, &is_same);

	(void)state;
	assert_true(is_same);
	assert_ptr_equal(before, after);
	vgw__targets_unref(after);
	vgw__targets_unref(before);
}

static void who_stays_keeps_its_number_and_circuit_and_a_newcomer_gets_a_free_number(void **state)
{
	static const char *const before[] = { "10.0.0.1", "10.0.0.2", "10.0.0.3" };
	static const char *const after[] = { "10.0.0.9", "10.0.0.3", "10.0.0.2" };
	bool is_same;
	struct vgw__targets *old = renew(NULL, before, 3, &is_same);
	struct vgw__target *second = old->items[1], *third = old->items[2];
	struct vgw__targets *new;

	(void)state;
	atomic_store(&second->in_flight, 5);
	new = renew(old, after, 3, &is_same);
	assert_false(is_same);
	vgw__targets_unref(old);
	assert_int_equal(new->count, 3);
	assert_int_equal(new->items[0]->number, 0);
	assert_ptr_equal(new->items[1], third);
	assert_ptr_equal(new->items[2], second);
	assert_int_equal(second->number, 1);
	assert_int_equal(atomic_load(&second->in_flight), 5);
	vgw__targets_unref(new);
}

static void a_name_that_is_not_found_for_once_keeps_its_replicas(void **state)
{
	static const char *const two[] = { "10.0.0.1", "10.0.0.2" };
	bool is_same;
	struct vgw__targets *before = renew(NULL, two, 2, &is_same);
	struct vgw__targets *after = renew(before, NULL, 0, &is_same);

	(void)state;
	assert_true(is_same);
	assert_ptr_equal(before, after);
	vgw__targets_unref(after);
	vgw__targets_unref(before);
	before = renew(NULL, NULL, 0, &is_same);
	assert_int_equal(before->count, 1); /* to be found later */
	after = renew(before, two, 2, &is_same);
	assert_false(is_same);
	assert_int_equal(after->count, 2);
	vgw__targets_unref(after);
	vgw__targets_unref(before);
}

static void one_that_others_could_stand_in_for_may_be_left_out_and_the_last_may_not(void **state)
{
	static const char *const two[] = { "10.0.0.1", "10.0.0.2" };
	bool is_same;
	struct vgw__targets *targets = renew(NULL, two, 2, &is_same);

	(void)state;
	assert_true(vgw__targets_has_other(targets, targets->items[0]));
	atomic_store(&targets->items[1]->health, VGW__HEALTH_LOADING);
	assert_false(vgw__targets_has_other(targets, targets->items[0]));
	assert_true(vgw__targets_has_other(targets, targets->items[1]));
	vgw__targets_unref(targets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_addresses_of_a_name_are_several_replicas),
		cmocka_unit_test(one_address_of_each_family_is_one_replica_with_two_ways_to_it),
		cmocka_unit_test(the_same_addresses_in_another_order_change_nothing),
		cmocka_unit_test(who_stays_keeps_its_number_and_circuit_and_a_newcomer_gets_a_free_number),
		cmocka_unit_test(a_name_that_is_not_found_for_once_keeps_its_replicas),
		cmocka_unit_test(one_that_others_could_stand_in_for_may_be_left_out_and_the_last_may_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
