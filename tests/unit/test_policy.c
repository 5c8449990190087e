/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles, rates, the two policies' arithmetic. */
#include "testing.h"

#include "core/policy.h"

static void percentiles_are_of_the_last_few(void **state)
{
	struct vgw__times times = {.kept = 0};

	(void)state;
	assert_int_equal(vgw__times_get(&times, 50, 42), 42);
	for (int i = 1; i <= 100; i++)
		vgw__times_add(&times, 1000 - i);
	assert_int_equal(times.count, 100);
	assert_int_equal(times.kept, VGW__TIMES_KEPT);
	/* kept: 900 ... 915 */
	assert_int_equal(vgw__times_get(&times, 0, 0), 900);
	assert_int_equal(vgw__times_get(&times, 50, 0), 907);
	assert_int_equal(vgw__times_get(&times, 95, 0), 915);
	vgw__times_add(&times, -5);
	assert_int_equal(vgw__times_get(&times, 0, 0), 0);
}

static void equal_and_huge_durations_are_kept_apart_from_nothing(void **state)
{
	struct vgw__times times = {.kept = 0};

	(void)state;
	for (int i = 0; i < 40; i++)
		vgw__times_add(&times, i % 2 ? 7 : INT64_MAX);
	assert_int_equal(vgw__times_get(&times, 50, 0), 7);
	assert_int_equal(vgw__times_get(&times, 95, 0), INT32_MAX);
}

static void decay_halves_each_half_life(void **state)
{
	(void)state;
	assert_true(vgw__decay(0, 1000) >= 1.0);
	for (int64_t age = 0; age < 10000; age += 10) {
		double now = vgw__decay(age, 1000);
		double later = vgw__decay(age + 1000, 1000);

		assert_true(later > now * 0.499 && later < now * 0.501);
		assert_true(vgw__decay(age + 10, 1000) < now);
	}
	assert_true(vgw__decay(INT64_MAX, 1000) <= 0.0);
}

static void a_rate_is_right_soon_and_forgets(void **state)
{
	struct vgw__rate rate = {.weight = 0};
	double per_ms;

	(void)state;
	assert_true(vgw__rate_get(&rate, 5, 1000) <= 0.0);
	for (int64_t at = 1000; at < 61000; at += 100)
		vgw__rate_add(&rate, at, 1, 300000);
	per_ms = vgw__rate_get(&rate, 61000, 300000);
	assert_true(per_ms > 0.0095 && per_ms < 0.0105);
	per_ms = vgw__rate_get(&rate, 61000 + 3000000, 300000);
	assert_true(per_ms < 0.0001);
}

static struct vgw__residency_config config_of(enum vgw__policy policy)
{
	return (struct vgw__residency_config){
		.policy = policy, .min_resident_ms = 10000, .hold_ms = 2000, .rate_half_life_ms = 300000};
}

static const struct vgw__demand one_waiter = {.weight = 2,
	.weighted_arrival = 2 * 50000.0,
	.due_ms = 500000,
	.urgent_ms = VGW__NEVER,
	.load_ms = 10000};

static void lru_holds_the_idle_for_hold_and_min_resident(void **state)
{
	struct vgw__residency_config config = config_of(VGW__POLICY_LRU);
	struct vgw__candidate idle = {.last_used_ms = 49000, .ready_since_ms = 45000};

	(void)state;
	idle.rate = 1; /* so that only idleness speaks */
	assert_int_equal(vgw__policy_may_go_ms(&config, &idle, &one_waiter, 50000), 55000);
	idle.ready_since_ms = 0;
	assert_int_equal(vgw__policy_may_go_ms(&config, &idle, &one_waiter, 50000), 51000);
	idle.in_flight = 1;
	assert_true(vgw__policy_may_go_ms(&config, &idle, &one_waiter, 50000) <= 500000);
}

static void cost_holds_the_idle_only_for_an_arrival_it_expects(void **state)
{
	struct vgw__residency_config config = config_of(VGW__POLICY_COST);
	struct vgw__candidate idle = {
		.last_used_ms = 49000, .ready_since_ms = 45000, .reload_ms = 100000, .departure_ms = 100000};

	(void)state;
	idle.rate = 1.0 / 60000;
	assert_int_equal(vgw__policy_may_go_ms(&config, &idle, &one_waiter, 50000), 50000);
	idle.rate = 1.0 / 1000;
	assert_int_equal(vgw__policy_may_go_ms(&config, &idle, &one_waiter, 50000), 55000);
}

static void a_busy_one_goes_when_the_waiting_outweighs_its_price_and_at_the_latest_when_due(void **state)
{
	struct vgw__residency_config config = config_of(VGW__POLICY_LRU);
	struct vgw__candidate busy = {.in_flight = 3, .rate = 1.0 / 10000, .reload_ms = 10000};
	int64_t alone_ms;
	struct vgw__demand many = one_waiter;

	(void)state;
	alone_ms = vgw__policy_may_go_ms(&config, &busy, &one_waiter, 50000);
	/* 2 x rate x 20 s x 20 s / 2 = 40 s, shared by weight 2 */
	assert_in_range(alone_ms, 50000 + 19990, 50000 + 20010);
	many.weight *= 10;
	many.weighted_arrival *= 10;
	assert_in_range(vgw__policy_may_go_ms(&config, &busy, &many, 50000), 50000 + 1990, 50000 + 2010);
	busy.rate = 10;
	assert_int_equal(vgw__policy_may_go_ms(&config, &busy, &one_waiter, 50000), one_waiter.due_ms);
}

static void lru_orders_by_last_use_and_cost_by_reuse_times_reload_per_byte(void **state)
{
	struct vgw__residency_config lru = config_of(VGW__POLICY_LRU);
	struct vgw__residency_config cost = config_of(VGW__POLICY_COST);
	struct vgw__candidate old = {
		.last_used_ms = 100, .rate = 0.001, .reload_ms = 60000, .freed_bytes = 1 << 30};
	struct vgw__candidate fresh = {
		.last_used_ms = 900, .rate = 0.00001, .reload_ms = 60000, .freed_bytes = 1 << 30};

	(void)state;
	assert_true(vgw__policy_cost(&lru, &old, 1000) < vgw__policy_cost(&lru, &fresh, 1000));
	assert_true(vgw__policy_cost(&cost, &fresh, 1000) < vgw__policy_cost(&cost, &old, 1000));
	old.rate = fresh.rate;
	old.reload_ms = 2000; /* it sleeps: cheap to bring back */
	assert_true(vgw__policy_cost(&cost, &old, 1000) < vgw__policy_cost(&cost, &fresh, 1000));
	old.rate = fresh.rate = 0;
	assert_true(vgw__policy_cost(&cost, &old, 1000) < vgw__policy_cost(&cost, &fresh, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(percentiles_are_of_the_last_few),
		cmocka_unit_test(equal_and_huge_durations_are_kept_apart_from_nothing),
		cmocka_unit_test(decay_halves_each_half_life),
		cmocka_unit_test(a_rate_is_right_soon_and_forgets),
		cmocka_unit_test(lru_holds_the_idle_for_hold_and_min_resident),
		cmocka_unit_test(cost_holds_the_idle_only_for_an_arrival_it_expects),
		cmocka_unit_test(
			a_busy_one_goes_when_the_waiting_outweighs_its_price_and_at_the_latest_when_due),
		cmocka_unit_test(lru_orders_by_last_use_and_cost_by_reuse_times_reload_per_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
