/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with the planner: who comes up, who leaves, who waits. One for each way in which others that
 * do the same were seen to fail. world.c checks every step of each. */
#include "testing.h"

#include "small_world.h"

static struct world w;

static int begin(void **unused)
{
	(void)unused;
	stage(&w, 0);
	return 0;
}

static int end(void **unused)
{
	(void)unused;
	world_end(&w);
	if (w.broken)
		fail_msg("%s", w.broken);
	return 0;
}

static void go(void)
{
	assert_true(world_begin(&w));
}

/* --- coming up --- */

static void many_ask_and_one_load_serves_them_all(void **unused)
{
	int32_t asked[40];

	(void)unused;
	go();
	for (int i = 0; i < 40; i++)
		asked[i] = world_ask(&w, A, LONG);
	world_settle(&w);
	for (int i = 0; i < 40; i++)
		assert_true(was_granted(&w, asked[i]));
	assert_int_equal(w.model[A].activations, 1);
	assert_int_equal(w.model[A].leases, 40);
}

static void the_first_asker_leaves_and_the_load_goes_on_for_the_rest(void **unused)
{
	int32_t first;
	int32_t second;

	(void)unused;
	go();
	first = world_ask(&w, A, LONG);
	second = world_ask(&w, A, LONG);
	world_cancel(&w, first);
	world_settle(&w);
	assert_true(was_granted(&w, second));
	assert_int_equal(w.model[A].activations, 1);
}

static void a_load_nobody_waits_for_goes_on_or_is_cancelled_as_configured(void **unused)
{
	(void)unused;
	go();
	world_cancel(&w, world_ask(&w, A, LONG));
	assert_int_equal(world_state(&w, A), VGW__STATE_STARTING);
	assert_false(w.model[A].op_is_cancelled);
	w.config.cancel_unwanted_load = true;
	world_command(&w, VGW__EVENT_CONFIGURED, VGW__NOBODY, false);
	assert_true(w.model[A].op_is_cancelled);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

static void two_loads_on_two_devices_run_together_and_on_one_device_in_turn(void **unused)
{
	(void)unused;
	w.config.max_resident = 0;
	w.limits.devices = 3;
	w.devices[2].budget_bytes = 10;
	w.models[A].awake_bytes[0] = 4;
	w.models[B].awake_bytes[0] = 4;
	w.models[C].devices = 4;
	w.models[C].awake_bytes[0] = 0;
	w.models[C].awake_bytes[2] = 8;
	go();
	world_ask(&w, A, LONG);
	world_ask(&w, B, LONG);
	world_ask(&w, C, LONG);
	assert_int_equal(world_state(&w, A), VGW__STATE_STARTING);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
	assert_int_equal(world_state(&w, C), VGW__STATE_STARTING);
	world_answer(&w, A, true);
	assert_int_equal(world_state(&w, B), VGW__STATE_STARTING);
	world_settle(&w);
	assert_int_equal(w.grants, 3);
}

static void a_model_larger_than_its_device_is_refused_at_once(void **unused)
{
	(void)unused;
	w.models[B].awake_bytes[0] = 11;
	go();
	assert_int_equal(refusal(&w, world_ask(&w, B, LONG)), VGW__REASON_TOO_BIG);
}

static void an_unknown_footprint_counts_as_the_whole_device_until_it_is_learned(void **unused)
{
	const int64_t measured[VGW__DEVICES_MAX] = {3, 0};
	struct vgw__event learn = {
		.kind = VGW__EVENT_FOOTPRINT, .model = A, .depth = VGW__DEPTH_STOP, .bytes = measured};

	(void)unused;
	w.config.max_resident = 0;
	w.models[A].awake_bytes[0] = VGW__UNKNOWN_BYTES;
	w.models[B].awake_bytes[0] = 7;
	go();
	w.models[A].awake_bytes[0] = 10; /* for the account */
	serve(&w, A);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 0), 10);
	w.models[A].awake_bytes[0] = 3;
	world_step(&w, &learn);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 0), 3);
	assert_true(was_granted(&w, serve(&w, B)));
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
}

/* --- telling --- */

static void a_key_that_may_not_swap_uses_what_is_there(void **unused)
{
	struct vgw__event event = {
		.kind = VGW__EVENT_REQUEST, .model = B, .deadline_ms = LONG, .may_not_swap = true};

	(void)unused;
	go();
	serve(&w, A);
	w.waiter[event.waiter = 5] =
		(struct world_waiter){.is_waiting = true, .model = B, .deadline_ms = LONG};
	world_step(&w, &event);
	assert_int_equal(refusal(&w, 5), VGW__REASON_SWAP_DENIED);
}

static void the_journal_says_who_left_and_who_did_not(void **unused)
{
	const struct vgw__decision *decision;
	struct vgw__decision plan;

	(void)unused;
	w.config.max_resident = 2;
	w.models[A].awake_bytes[0] = w.models[B].awake_bytes[0] = w.models[C].awake_bytes[0] = 4;
	w.models[A].is_pinned = true;
	go();
	serve(&w, A);
	serve(&w, B);
	world_release(&w, A);
	world_release(&w, B);
	world_command(&w, VGW__EVENT_UNPIN, B, false); /* any step lets the planner see the gates */
	vgw__planner_explain(w.planner, C, w.now_ms, &plan);
	assert_int_equal(plan.chosen[0].model, B);
	assert_int_equal(world_state(&w, B), VGW__STATE_READY); /* it was only a question */
	world_ask(&w, C, LONG);
	decision = vgw__planner_get_decision(w.planner, 0);
	assert_int_equal(decision->kind, VGW__DECISION_EVICT);
	assert_int_equal(decision->model, C);
	assert_int_equal(decision->chosen_count, 1);
	assert_int_equal(decision->chosen[0].model, B);
	assert_int_equal(decision->rejected[0].model, A);
	assert_string_equal(decision->rejected[0].why, "pinned");
}

static void a_late_request_is_told_how_long_it_would_have_taken(void **unused)
{
	(void)unused;
	go();
	for (int i = 0; i < 3; i++) {
		world_ask(&w, A, LONG);
		world_advance(&w, 8000);
		world_settle(&w);
		world_release(&w, A);
		world_command(&w, VGW__EVENT_UNLOAD, A, false);
		world_settle(&w);
	}
	assert_int_equal(refusal(&w, world_ask(&w, A, 7000)), VGW__REASON_TOO_LATE);
	assert_true(was_granted(&w, serve(&w, A)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_ask_and_one_load_serves_them_all),
		TEST(the_first_asker_leaves_and_the_load_goes_on_for_the_rest),
		TEST(a_load_nobody_waits_for_goes_on_or_is_cancelled_as_configured),
		TEST(two_loads_on_two_devices_run_together_and_on_one_device_in_turn),
		TEST(a_model_larger_than_its_device_is_refused_at_once),
		TEST(an_unknown_footprint_counts_as_the_whole_device_until_it_is_learned),
		TEST(a_key_that_may_not_swap_uses_what_is_there),
		TEST(the_journal_says_who_left_and_who_did_not),
		TEST(a_late_request_is_told_how_long_it_would_have_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
