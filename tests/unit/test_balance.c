/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing among targets: every policy, circuits, health, and the table of prompts. */
#include "testing.h"

#include "balance/choose.h"
#include "balance/health.h"

#include <string.h>

enum { COUNT = 4, NOW_MS = 100000 };

static struct vgw__targets *make(size_t count)
{
	struct vgw__endpoint *endpoints[VGW__TARGETS_MAX];
	struct vgw__targets *targets;
	char url[64];
	bool is_same;

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(url, sizeof(url), "http://127.0.0.%zu:8000", i + 1);
		assert_int_equal(vgw__endpoint_new(&endpoints[i], url, NULL), VGW_OK);
	}
	targets = vgw__targets_new(endpoints, count, NULL, &is_same);
	assert_non_null(targets);
	assert_false(is_same);
	for (size_t i = 0; i < count; i++)
		vgw__endpoint_unref(endpoints[i]);
	return targets;
}

static uint32_t choose_among(struct vgw__targets *targets, vgw_balance balance, uint64_t key, uint64_t tried)
{
	struct vgw__choice choice = { .balance = balance, .has_key = key != 0, .key = key, .tried = tried, .now_ms = NOW_MS };

	return vgw__balance_choose(targets, &choice) ? choice.place : UINT32_MAX;
}

static void load(struct vgw__targets *targets, uint32_t place, unsigned in_flight)
{
	atomic_store(&targets->items[place]->in_flight, in_flight);
}

static void break_circuit(struct vgw__target *target, int64_t at_ms)
{
	const struct vgw__circuit_failure failure = { .why = "no", .may_open = true };

	for (int i = 0; i < VGW__CIRCUIT_IN_A_ROW; i++)
		(void)vgw__circuit_fail(&target->circuit, &failure, at_ms);
	assert_int_equal(atomic_load(&target->circuit.state), VGW__CIRCUIT_OPEN);
}

static void least_outstanding_takes_the_least_busy_one_and_ties_rotate(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	uint32_t seen = 0;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		seen |= 1u << choose_among(targets, VGW_BALANCE_LEAST_OUTSTANDING, 0, 0);
	assert_int_equal(seen, 15);
	for (uint32_t i = 0; i < COUNT; i++)
		load(targets, i, i == 2 ? 1 : 3);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(choose_among(targets, VGW_BALANCE_LEAST_OUTSTANDING, 0, 0), 2);
	vgw__targets_unref(targets);
}

static void round_robin_gives_each_its_turn_whatever_its_load(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	int counts[COUNT] = { 0 };

	(void)state;
	load(targets, 1, 100);
	for (int i = 0; i < 10 * COUNT; i++)
		counts[choose_among(targets, VGW_BALANCE_ROUND_ROBIN, 0, 0)]++;
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(counts[i], 10);
	vgw__targets_unref(targets);
}

static void the_turns_of_a_missing_one_are_shared_by_all_others(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	int counts[COUNT] = { 0 };

	(void)state;
	atomic_store(&targets->items[1]->health, VGW__HEALTH_DOWN);
	for (int i = 0; i < 30; i++)
		counts[choose_among(targets, VGW_BALANCE_ROUND_ROBIN, 0, 0)]++;
	assert_int_equal(counts[0], 10);
	assert_int_equal(counts[1], 0);
	assert_int_equal(counts[2], 10);
	assert_int_equal(counts[3], 10);
	vgw__targets_unref(targets);
}

static void two_choices_prefer_the_less_busy_and_reach_all(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	int counts[COUNT] = { 0 };

	(void)state;
	load(targets, 3, 50);
	for (int i = 0; i < 1000; i++)
		counts[choose_among(targets, VGW_BALANCE_P2C, 0, 0)]++;
	assert_in_range(counts[3], 1, 150); /* both draws must hit it: one in sixteen */
	for (int i = 0; i < 3; i++)
		assert_in_range(counts[i], 200, 420);
	vgw__targets_unref(targets);
}

static void a_session_stays_where_it_is_and_moves_only_when_its_replica_is_gone(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	int counts[COUNT] = { 0 };
	uint32_t home[200];

	(void)state;
	for (uint64_t key = 1; key < 200; key++) {
		home[key] = choose_among(targets, VGW_BALANCE_STICKY, key * 7919, 0);
		counts[home[key]]++;
		assert_int_equal(choose_among(targets, VGW_BALANCE_STICKY, key * 7919, 0), home[key]);
	}
	for (int i = 0; i < COUNT; i++)
		assert_in_range(counts[i], 25, 80);
	atomic_store(&targets->items[1]->is_drained, true);
	for (uint64_t key = 1; key < 200; key++) {
		uint32_t now = choose_among(targets, VGW_BALANCE_STICKY, key * 7919, 0);

		assert_int_not_equal(now, 1);
		if (home[key] != 1)
			assert_int_equal(now, home[key]);
	}
	vgw__targets_unref(targets);
}

static void a_session_goes_elsewhere_when_its_replica_has_more_than_its_bounded_share(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	uint32_t home = choose_among(targets, VGW_BALANCE_STICKY, 42, 0);

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++)
		load(targets, i, 10);
	assert_int_equal(choose_among(targets, VGW_BALANCE_STICKY, 42, 0), home); /* 11 <= ceil(1.25 * 41 / 4) = 13 */
	load(targets, home, 12);
	assert_int_equal(choose_among(targets, VGW_BALANCE_STICKY, 42, 0), home); /* 13 <= ceil(1.25 * 43 / 4) = 14 */
	load(targets, home, 15);
	assert_int_not_equal(choose_among(targets, VGW_BALANCE_STICKY, 42, 0), home); /* 16 > ceil(1.25 * 46 / 4) = 15 */
	vgw__targets_unref(targets);
}

static void who_has_what_is_needed_is_chosen_until_it_has_too_much_to_do(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	struct vgw__choice choice = { .preferred = 4, .now_ms = NOW_MS };

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		assert_non_null(vgw__balance_choose(targets, &choice));
		assert_int_equal(choice.place, 2);
	}
	load(targets, 2, 40);
	assert_non_null(vgw__balance_choose(targets, &choice));
	assert_int_not_equal(choice.place, 2);
	load(targets, 2, 0);
	choice.tried = 4;
	assert_non_null(vgw__balance_choose(targets, &choice));
	assert_int_not_equal(choice.place, 2);
	vgw__targets_unref(targets);
}

static void what_was_tried_is_not_tried_again_and_the_end_is_said(void **state)
{
	struct vgw__targets *targets = make(COUNT);

	(void)state;
	for (vgw_balance balance = 0; balance < VGW_BALANCE_COUNT; balance++) {
		uint64_t tried = 0;

		for (int i = 0; i < COUNT; i++) {
			uint32_t place = choose_among(targets, balance, 99, tried);

			assert_in_range(place, 0, COUNT - 1);
			assert_int_equal(tried >> place & 1, 0);
			tried |= UINT64_C(1) << place;
		}
		assert_int_equal(choose_among(targets, balance, 99, tried), UINT32_MAX);
	}
	vgw__targets_unref(targets);
}

static void an_open_circuit_is_left_out_then_tried_by_one_request_at_a_time(void **state)
{
	struct vgw__targets *targets = make(COUNT);
	struct vgw__choice trial = { .now_ms = NOW_MS + VGW__CIRCUIT_OPEN_MS };

	(void)state;
	break_circuit(targets->items[2], NOW_MS);
	for (int i = 0; i < 20; i++)
		assert_int_not_equal(choose_among(targets, VGW_BALANCE_LEAST_OUTSTANDING, 0, 0), 2);
	assert_ptr_equal(vgw__balance_choose(targets, &trial), targets->items[2]);
	assert_true(trial.is_trial);
	for (int i = 0; i < 20; i++) {
		assert_ptr_not_equal(vgw__balance_choose(targets, &trial), targets->items[2]);
		assert_false(trial.is_trial);
	}
	vgw__targets_unref(targets);
}

static void when_all_are_doubtful_they_are_asked_all_the_same_but_never_a_drained_one(void **state)
{
	struct vgw__targets *targets = make(COUNT);

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++)
		break_circuit(targets->items[i], NOW_MS);
	assert_in_range(choose_among(targets, VGW_BALANCE_LEAST_OUTSTANDING, 0, 0), 0, COUNT - 1);
	for (uint32_t i = 0; i < COUNT; i++)
		atomic_store(&targets->items[i]->is_drained, true);
	assert_int_equal(choose_among(targets, VGW_BALANCE_LEAST_OUTSTANDING, 0, 0), UINT32_MAX);
	vgw__targets_unref(targets);
}

static void who_has_just_recovered_gets_less_than_its_share(void **state)
{
	struct vgw__targets *targets = make(2);

	(void)state;
	vgw__circuit_warm_up(&targets->items[0]->circuit, NOW_MS - VGW__CIRCUIT_WARM_MS / 2);
	load(targets, 0, 2);
	load(targets, 1, 3);
	for (int i = 0; i < 4; i++)
		assert_int_equal(choose_among(targets, VGW_BALANCE_LEAST_OUTSTANDING, 0, 0), 1);
	load(targets, 1, 6);
	for (int i = 0; i < 4; i++)
		assert_int_equal(choose_among(targets, VGW_BALANCE_LEAST_OUTSTANDING, 0, 0), 0);
	vgw__targets_unref(targets);
}

/* --- checks ----------------------------------------------------------------------------------------------------- */

static void three_bad_checks_take_a_replica_out_and_two_good_ones_bring_it_back(void **state)
{
	struct vgw__targets *targets = make(1);
	struct vgw__target *target = targets->items[0];

	(void)state;
	assert_true(vgw__health_take(target, 200, NOW_MS));
	assert_false(vgw__health_take(target, 0, NOW_MS));
	assert_false(vgw__health_take(target, 500, NOW_MS));
	assert_true(vgw__target_is_well(target));
	assert_true(vgw__health_take(target, 0, NOW_MS));
	assert_false(vgw__target_is_well(target));
	assert_false(vgw__health_take(target, 200, NOW_MS));
	assert_false(vgw__health_take(target, 0, NOW_MS)); /* one good one is not two in a row */
	assert_false(vgw__health_take(target, 200, NOW_MS));
	assert_true(vgw__health_take(target, 404, NOW_MS)); /* an engine without the route */
	assert_true(vgw__target_is_well(target));
	assert_int_equal(vgw__circuit_get_share(&target->circuit, NOW_MS), 1);
	vgw__targets_unref(targets);
}

static void a_503_is_loading_at_once_and_the_first_200_ends_it(void **state)
{
	struct vgw__targets *targets = make(1);
	struct vgw__target *target = targets->items[0];

	(void)state;
	assert_true(vgw__health_take(target, 503, NOW_MS));
	assert_int_equal(atomic_load(&target->health), VGW__HEALTH_LOADING);
	assert_false(vgw__target_is_well(target));
	for (int i = 0; i < 10; i++)
		assert_false(vgw__health_take(target, 503, NOW_MS));
	assert_true(vgw__health_take(target, 200, NOW_MS));
	assert_true(vgw__target_is_well(target));
	vgw__targets_unref(targets);
}

/* --- prompts ------------------------------------------------------------------------------------------------------ */

struct prompts {
	struct vgw__targets *targets;
	struct vgw__prefix_table *table;
	struct vgw__prefix prefix;
	char text[20000];
};

static void begin(struct prompts *prompts, size_t entries)
{
	prompts->targets = make(COUNT);
	prompts->table = vgw__prefix_table_new(entries);
	assert_non_null(prompts->table);
	for (size_t i = 0; i < sizeof(prompts->text); i++)
		prompts->text[i] = (char)('a' + (i * i / 7 + i) % 26);
}

static void end(struct prompts *prompts)
{
	vgw__prefix_table_free(prompts->table);
	vgw__targets_unref(prompts->targets);
}

static uint32_t choose_for(struct prompts *prompts, uint64_t salt, const char *text, size_t len)
{
	struct vgw__choice choice = {
		.balance = VGW_BALANCE_PREFIX, .now_ms = NOW_MS, .table = prompts->table, .prefix = &prompts->prefix,
	};

	vgw__prefix_hash(&prompts->prefix, prompts->table, salt, text, len);
	assert_non_null(vgw__balance_choose(prompts->targets, &choice));
	return choice.place;
}

static void a_conversation_returns_to_the_replica_that_has_its_beginning(void **state)
{
	static struct prompts prompts;
	uint32_t home;

	(void)state;
	begin(&prompts, 4096);
	home = choose_for(&prompts, 1, prompts.text, 1000);
	for (size_t len = 1500; len < sizeof(prompts.text); len += 500)
		assert_int_equal(choose_for(&prompts, 1, prompts.text, len), home);
	end(&prompts);
}

static void another_model_or_tenant_shares_nothing(void **state)
{
	static struct prompts prompts;
	uint32_t blocks;

	(void)state;
	begin(&prompts, 4096);
	(void)choose_for(&prompts, 1, prompts.text, 1000);
	vgw__prefix_hash(&prompts.prefix, prompts.table, 2, prompts.text, 1000);
	assert_int_equal(vgw__prefix_find(prompts.table, &prompts.prefix, 15, &blocks), 0);
	vgw__prefix_hash(&prompts.prefix, prompts.table, 1, prompts.text, 1000);
	assert_int_not_equal(vgw__prefix_find(prompts.table, &prompts.prefix, 15, &blocks), 0);
	assert_int_equal(blocks, 1000 / VGW__PREFIX_BLOCK_BYTES);
	end(&prompts);
}

static void a_busy_replica_is_left_although_it_knows_the_prompt(void **state)
{
	static struct prompts prompts;
	uint32_t home;

	(void)state;
	begin(&prompts, 4096);
	home = choose_for(&prompts, 1, prompts.text, 1000);
	load(prompts.targets, home, 4); /* 5 <= ceil(1.25 * 5 / 4) + 4 */
	assert_int_equal(choose_for(&prompts, 1, prompts.text, 1000), home);
	load(prompts.targets, home, 40);
	assert_int_not_equal(choose_for(&prompts, 1, prompts.text, 1000), home);
	end(&prompts);
}

static void a_little_in_common_is_no_reason_and_a_miss_goes_to_the_least_busy(void **state)
{
	static struct prompts prompts;
	uint32_t home;

	(void)state;
	begin(&prompts, 4096);
	home = choose_for(&prompts, 1, prompts.text, 10 * VGW__PREFIX_BLOCK_BYTES);
	load(prompts.targets, home, 1);
	assert_int_not_equal(choose_for(&prompts, 1, prompts.text, 100 * VGW__PREFIX_BLOCK_BYTES), home);
	end(&prompts);
}

static void a_full_table_forgets_the_oldest_and_never_grows(void **state)
{
	static struct prompts prompts;
	uint32_t blocks;

	(void)state;
	begin(&prompts, 1024);
	for (uint64_t salt = 0; salt < 3000; salt++)
		(void)choose_for(&prompts, salt, prompts.text, 4 * VGW__PREFIX_BLOCK_BYTES);
	vgw__prefix_hash(&prompts.prefix, prompts.table, 2999, prompts.text, 4 * VGW__PREFIX_BLOCK_BYTES);
	assert_int_not_equal(vgw__prefix_find(prompts.table, &prompts.prefix, 15, &blocks), 0);
	vgw__prefix_hash(&prompts.prefix, prompts.table, 0, prompts.text, 4 * VGW__PREFIX_BLOCK_BYTES);
	assert_int_equal(vgw__prefix_find(prompts.table, &prompts.prefix, 15, &blocks), 0);
	end(&prompts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(least_outstanding_takes_the_least_busy_one_and_ties_rotate),
		cmocka_unit_test(round_robin_gives_each_its_turn_whatever_its_load),
		cmocka_unit_test(the_turns_of_a_missing_one_are_shared_by_all_others),
		cmocka_unit_test(two_choices_prefer_the_less_busy_and_reach_all),
		cmocka_unit_test(a_session_stays_where_it_is_and_moves_only_when_its_replica_is_gone),
		cmocka_unit_test(a_session_goes_elsewhere_when_its_replica_has_more_than_its_bounded_share),
		cmocka_unit_test(who_has_what_is_needed_is_chosen_until_it_has_too_much_to_do),
		cmocka_unit_test(what_was_tried_is_not_tried_again_and_the_end_is_said),
		cmocka_unit_test(an_open_circuit_is_left_out_then_tried_by_one_request_at_a_time),
		cmocka_unit_test(when_all_are_doubtful_they_are_asked_all_the_same_but_never_a_drained_one),
		cmocka_unit_test(who_has_just_recovered_gets_less_than_its_share),
		cmocka_unit_test(three_bad_checks_take_a_replica_out_and_two_good_ones_bring_it_back),
		cmocka_unit_test(a_503_is_loading_at_once_and_the_first_200_ends_it),
		cmocka_unit_test(a_conversation_returns_to_the_replica_that_has_its_beginning),
		cmocka_unit_test(another_model_or_tenant_shares_nothing),
		cmocka_unit_test(a_busy_replica_is_left_although_it_knows_the_prompt),
		cmocka_unit_test(a_little_in_common_is_no_reason_and_a_miss_goes_to_the_least_busy),
		cmocka_unit_test(a_full_table_forgets_the_oldest_and_never_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
