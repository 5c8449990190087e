/* SPDX-License-Identifier: Apache-2.0 */
/* The circuit breaker, with a clock of the test's own. */
#include "testing.h"

#include "backend/circuit.h"

#include <string.h>

struct stage {
	struct vgw__circuit circuit;
	uint64_t ended;
	int64_t now_ms;
};

static void begin(struct stage *stage)
{
	memset(stage, 0, sizeof(*stage));
	stage->now_ms = 1000;
	assert_true(vgw__circuit_init(&stage->circuit));
}

static enum vgw__circuit_news fail_as(struct stage *stage, bool may_open, bool is_trial)
{
	const struct vgw__circuit_failure failure = {
		.why = "it answered 500", .ended = stage->ended++, .may_open = may_open, .is_trial = is_trial,
	};

	return vgw__circuit_fail(&stage->circuit, &failure, stage->now_ms);
}

static enum vgw__circuit_news fails(struct stage *stage)
{
	return fail_as(stage, true, false);
}

static void succeed(struct stage *stage)
{
	stage->ended++;
	assert_int_equal(vgw__circuit_succeed(&stage->circuit, false, stage->now_ms), VGW__CIRCUIT_SAME);
}

static bool admits(struct stage *stage)
{
	bool is_trial;

	return vgw__circuit_admits(&stage->circuit, stage->now_ms, &is_trial);
}

static void break_it(struct stage *stage)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(fails(stage), VGW__CIRCUIT_SAME);
	assert_int_equal(fails(stage), VGW__CIRCUIT_HAS_OPENED);
}

static void five_failures_in_a_row_open_it_for_thirty_seconds(void **state)
{
	struct stage stage;
	char reason[VGW__CIRCUIT_REASON_SIZE];

	(void)state;
	begin(&stage);
	break_it(&stage);
	assert_false(admits(&stage));
	vgw__circuit_get_reason(&stage.circuit, reason);
	assert_string_equal(reason, "5 failures in a row, the last: it answered 500");
	stage.now_ms += VGW__CIRCUIT_OPEN_MS - 1;
	assert_false(admits(&stage));
	stage.now_ms++;
	assert_true(admits(&stage));
	vgw__circuit_fini(&stage.circuit);
}

static void a_success_in_between_begins_the_row_anew(void **state)
{
	struct stage stage;

	(void)state;
	begin(&stage);
	for (int round = 0; round < 4; round++) { /* 16 of 20 failed would be another reason: stay below the sample */
		for (int i = 0; i < 4; i++)
			assert_int_equal(fails(&stage), VGW__CIRCUIT_SAME);
		succeed(&stage);
		stage.now_ms += VGW__CIRCUIT_WINDOW_MS + 1;
	}
	assert_true(admits(&stage));
	vgw__circuit_fini(&stage.circuit);
}

static void half_of_twenty_within_a_minute_open_it(void **state)
{
	struct stage stage;
	int turns = 0;

	(void)state;
	begin(&stage);
	while (fails(&stage) == VGW__CIRCUIT_SAME) {
		succeed(&stage);
		stage.now_ms += 1000;
		assert_in_range(++turns, 1, 20);
	}
	assert_int_equal(turns, 10); /* the 11th failure is the 21st request of the window; the 10th was the 19th */
	assert_false(admits(&stage));
	vgw__circuit_fini(&stage.circuit);
}

static void a_failure_in_three_never_opens_it(void **state)
{
	struct stage stage;

	(void)state;
	begin(&stage);
	for (int i = 0; i < 200; i++) {
		succeed(&stage);
		succeed(&stage);
		assert_int_equal(fails(&stage), VGW__CIRCUIT_SAME);
		stage.now_ms += 100;
	}
	vgw__circuit_fini(&stage.circuit);
}

static void the_last_one_is_never_left_out(void **state)
{
	struct stage stage;

	(void)state;
	begin(&stage);
	for (int i = 0; i < 100; i++)
		assert_int_equal(fail_as(&stage, false, false), VGW__CIRCUIT_SAME);
	assert_true(admits(&stage));
	assert_int_equal(fails(&stage), VGW__CIRCUIT_HAS_OPENED); /* another one has come */
	vgw__circuit_fini(&stage.circuit);
}

static void half_open_admits_one_and_its_failure_doubles_the_wait_up_to_five_minutes(void **state)
{
	static const int64_t waits_ms[] = { 30000, 60000, 120000, 240000, 300000, 300000 };
	struct stage stage;

	(void)state;
	begin(&stage);
	break_it(&stage);
	for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
		stage.now_ms += waits_ms[i] - 1;
		assert_false(vgw__circuit_claim(&stage.circuit, stage.now_ms));
		stage.now_ms++;
		assert_true(vgw__circuit_claim(&stage.circuit, stage.now_ms));
		assert_false(vgw__circuit_claim(&stage.circuit, stage.now_ms));
		assert_false(admits(&stage));
		assert_int_equal(fail_as(&stage, true, true), VGW__CIRCUIT_HAS_OPENED);
	}
	vgw__circuit_fini(&stage.circuit);
}

static void a_trial_that_comes_to_nothing_leaves_room_for_the_next(void **state)
{
	struct stage stage;

	(void)state;
	begin(&stage);
	break_it(&stage);
	stage.now_ms += VGW__CIRCUIT_OPEN_MS;
	assert_true(vgw__circuit_claim(&stage.circuit, stage.now_ms));
	vgw__circuit_abandon(&stage.circuit);
	assert_true(vgw__circuit_claim(&stage.circuit, stage.now_ms));
	vgw__circuit_fini(&stage.circuit);
}

static void an_answer_to_an_old_request_does_not_close_it(void **state)
{
	struct stage stage;

	(void)state;
	begin(&stage);
	break_it(&stage);
	succeed(&stage);
	assert_false(admits(&stage));
	stage.now_ms += VGW__CIRCUIT_OPEN_MS;
	assert_true(vgw__circuit_claim(&stage.circuit, stage.now_ms));
	succeed(&stage);
	assert_false(admits(&stage));
	vgw__circuit_fini(&stage.circuit);
}

static void a_trial_that_succeeds_closes_it_and_its_share_grows_slowly(void **state)
{
	struct stage stage;
	uint32_t before = 0, share;

	(void)state;
	begin(&stage);
	assert_int_equal(vgw__circuit_get_share(&stage.circuit, stage.now_ms), VGW__CIRCUIT_WHOLE);
	break_it(&stage);
	stage.now_ms += VGW__CIRCUIT_OPEN_MS;
	assert_true(vgw__circuit_claim(&stage.circuit, stage.now_ms));
	assert_int_equal(vgw__circuit_succeed(&stage.circuit, true, stage.now_ms), VGW__CIRCUIT_HAS_CLOSED);
	assert_true(admits(&stage));
	for (int i = 0; i <= 10; i++) {
		share = vgw__circuit_get_share(&stage.circuit, stage.now_ms + i * VGW__CIRCUIT_WARM_MS / 10);
		assert_true(share > before || share == VGW__CIRCUIT_WHOLE);
		before = share;
	}
	assert_int_equal(vgw__circuit_get_share(&stage.circuit, stage.now_ms), 1);
	assert_int_equal(before, VGW__CIRCUIT_WHOLE);
	break_it(&stage); /* and the next opening is a short one again */
	stage.now_ms += VGW__CIRCUIT_OPEN_MS;
	assert_true(admits(&stage));
	vgw__circuit_fini(&stage.circuit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_failures_in_a_row_open_it_for_thirty_seconds),
		cmocka_unit_test(a_success_in_between_begins_the_row_anew),
		cmocka_unit_test(half_of_twenty_within_a_minute_open_it),
		cmocka_unit_test(a_failure_in_three_never_opens_it),
		cmocka_unit_test(the_last_one_is_never_left_out),
		cmocka_unit_test(half_open_admits_one_and_its_failure_doubles_the_wait_up_to_five_minutes),
		cmocka_unit_test(a_trial_that_comes_to_nothing_leaves_room_for_the_next),
		cmocka_unit_test(an_answer_to_an_old_request_does_not_close_it),
		cmocka_unit_test(a_trial_that_succeeds_closes_it_and_its_share_grows_slowly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
