/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with the planner: sleep, commands, configuration, restart. */
#include "testing.h"

#include "small_world.h"

static struct world w;

static int begin(void **unused)
{
	(void)unused;
	stage(&w, 0);
	return 0;
}

static int begin_with_sleepers(void **unused)
{
	(void)unused;
	stage(&w, 2);
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

static struct vgw__replica_view look(int32_t model)
{
	struct vgw__replica_view view;

	vgw__planner_view(w.planner, model, w.now_ms, &view);
	return view;
}

/* --- sleep --- */

static void a_victim_sleeps_when_it_can_and_wakes_when_asked(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	serve(&w, B);
	world_release(&w, B);
	assert_int_equal(world_state(&w, A), VGW__STATE_ASLEEP);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 1), 9);
	assert_true(was_granted(&w, serve(&w, A)));
	assert_int_equal(look(A).wakes, 1);
	assert_int_equal(look(A).cold_starts, 1);
	assert_int_equal(world_state(&w, B), VGW__STATE_ASLEEP);
}

static void the_least_recently_used_sleeper_stops_to_make_room_for_the_next(void **unused)
{
	(void)unused;
	w.config.max_asleep = 1;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_advance(&w, 10);
	serve(&w, B);
	world_release(&w, B);
	world_advance(&w, 10);
	assert_true(was_granted(&w, serve(&w, C)));
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	assert_int_equal(world_state(&w, B), VGW__STATE_ASLEEP);
}

static void a_sleeper_whose_residue_is_in_the_way_stops(void **unused)
{
	(void)unused;
	w.models[B].awake_bytes[0] = 10;
	go();
	serve(&w, A);
	world_release(&w, A);
	assert_true(was_granted(&w, serve(&w, B)));
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

static void a_wake_that_fails_becomes_a_cold_start_for_the_same_waiters(void **unused)
{
	int32_t asked;

	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_command(&w, VGW__EVENT_SLEEP, A, false);
	world_settle(&w);
	asked = world_ask(&w, A, LONG);
	assert_int_equal(world_state(&w, A), VGW__STATE_WAKING);
	world_fail(&w, A, VGW__FAILURE_UNKNOWN);
	world_settle(&w);
	assert_true(was_granted(&w, asked));
	assert_int_equal(look(A).cold_starts, 2);
}

static void a_sleep_that_frees_too_little_becomes_a_stop(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_command(&w, VGW__EVENT_SLEEP, A, false);
	world_release(&w, A);
	world_answer(&w, A, true);
	world_answer(&w, A, false);
	assert_int_equal(w.model[A].op, WORLD_OP_DEACTIVATE);
	assert_int_equal(w.model[A].op_depth, VGW__DEPTH_STOP);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

static void the_idle_sink_to_sleep_and_then_away(void **unused)
{
	(void)unused;
	w.models[A].ttl_sleep_ms = 60000;
	w.models[A].ttl_stop_ms = 300000;
	go();
	serve(&w, A);
	world_advance(&w, 100000);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY); /* its lease is out */
	world_release(&w, A);
	world_advance(&w, 60000);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ASLEEP);
	world_advance(&w, 240000);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

/* --- commands --- */

static void an_unload_lets_the_stream_end(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_command(&w, VGW__EVENT_UNLOAD, A, false);
	world_advance(&w, 8000);
	assert_false(w.model[A].was_cut);
	world_release(&w, A);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

static void a_forced_unload_does_not(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_command(&w, VGW__EVENT_UNLOAD, A, true);
	assert_true(w.model[A].was_cut);
	assert_int_equal(w.model[A].op, WORLD_OP_DEACTIVATE);
}

static void an_unload_while_loading_tells_the_waiters(void **unused)
{
	int32_t asked;

	(void)unused;
	go();
	asked = world_ask(&w, A, LONG);
	world_command(&w, VGW__EVENT_UNLOAD, A, false);
	assert_int_equal(refusal(&w, asked), VGW__REASON_UNLOADED);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	assert_int_equal(look(A).failures, 0);
}

static void a_load_by_the_operator_does_not_wait_its_turn(void **unused)
{
	(void)unused;
	w.config.min_resident_ms = 100000;
	go();
	serve(&w, A);
	assert_int_equal(world_command(&w, VGW__EVENT_LOAD, B, false), VGW__REASON_NONE);
	assert_int_equal(world_state(&w, A), VGW__STATE_DRAINING);
	world_release(&w, A);
	world_settle(&w);
	assert_int_equal(world_state(&w, B), VGW__STATE_READY);
}

static void a_preload_evicts_nobody(void **unused)
{
	(void)unused;
	go();
	world_command(&w, VGW__EVENT_PRELOAD, A, false);
	world_command(&w, VGW__EVENT_PRELOAD, B, false);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
	assert_false(look(B).is_wanted);
}

/* --- configuration and restart --- */

static void a_changed_model_drains_and_comes_back_with_its_new_configuration(void **unused)
{
	int32_t asked;

	(void)unused;
	go();
	serve(&w, A);
	w.models[A].awake_bytes[0] = 5;
	w.has_footprints_moved = true;
	world_command(&w, VGW__EVENT_MODEL_CHANGED, A, true);
	asked = world_ask(&w, A, LONG);
	assert_true(w.waiter[asked].is_waiting);
	world_release(&w, A);
	world_settle(&w);
	assert_true(was_granted(&w, asked));
	assert_int_equal(vgw__planner_used_bytes(w.planner, 0), 5);
}

static void a_removed_model_leaves_its_slot_when_its_stream_has_ended(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_command(&w, VGW__EVENT_MODEL_REMOVED, A, false);
	assert_int_equal(refusal(&w, world_ask(&w, A, LONG)), VGW__REASON_NO_SUCH_MODEL);
	assert_false(vgw__planner_is_free(w.planner, A));
	world_release(&w, A);
	world_settle(&w);
	assert_true(vgw__planner_is_free(w.planner, A));
	assert_int_equal(world_command(&w, VGW__EVENT_MODEL_ADDED, A, false), VGW__REASON_NONE);
	assert_true(was_granted(&w, serve(&w, A)));
}

static void a_smaller_limit_sends_the_oldest_away(void **unused)
{
	(void)unused;
	w.config.max_resident = 2;
	w.models[A].awake_bytes[0] = w.models[B].awake_bytes[0] = 4;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_advance(&w, 10);
	serve(&w, B);
	w.config.max_resident = 1;
	w.is_unchecked = true; /* the naive account knows no transition of limits */
	world_command(&w, VGW__EVENT_CONFIGURED, VGW__NOBODY, false);
	world_settle(&w);
	w.is_unchecked = false;
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	assert_int_equal(world_state(&w, B), VGW__STATE_READY);
}

static void engines_of_an_earlier_life_are_adopted_and_those_without_room_leave(void **unused)
{
	struct vgw__event adopt = {.kind = VGW__EVENT_ADOPT, .model = A, .depth = VGW__DEPTH_STOP};

	(void)unused;
	go();
	assert_int_equal(world_step(&w, &adopt), VGW__REASON_NONE);
	assert_true(was_granted(&w, world_ask(&w, A, LONG)));
	assert_int_equal(w.model[A].activations, 0);
	adopt.model = B;
	w.has_footprints_moved = true; /* two that do not fit are there already */
	assert_int_equal(world_step(&w, &adopt), VGW__REASON_NO_ROOM);
	assert_int_equal(world_state(&w, B), VGW__STATE_LEAVING);
	world_settle(&w);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
}

static void a_shutdown_drains_stops_and_says_when_it_is_done(void **unused)
{
	int32_t asked;

	(void)unused;
	go();
	serve(&w, A);
	asked = world_ask(&w, B, LONG);
	world_command(&w, VGW__EVENT_SHUTDOWN, VGW__NOBODY, false);
	assert_int_equal(refusal(&w, asked), VGW__REASON_SHUTDOWN);
	assert_false(w.is_shutdown_done);
	world_release(&w, A);
	world_settle(&w);
	assert_true(w.is_shutdown_done);
	assert_int_equal(refusal(&w, world_ask(&w, A, LONG)), VGW__REASON_SHUTDOWN);
}

static void a_shutdown_may_leave_the_engines_running(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_command(&w, VGW__EVENT_SHUTDOWN, VGW__NOBODY, true);
	assert_true(w.is_shutdown_done);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
}

static void a_copy_goes_its_own_way(void **unused)
{
	struct vgw__planner *copy;
	struct vgw__event timer = {.kind = VGW__EVENT_TIMER};

	(void)unused;
	go();
	serve(&w, A);
	copy = vgw__planner_new(&w.limits, w.devices, &w.config);
	assert_non_null(copy);
	vgw__planner_copy(copy, w.planner);
	world_command(&w, VGW__EVENT_UNLOAD, A, true);
	vgw__planner_step(copy, &timer, w.now_ms);
	assert_int_equal(vgw__planner_check(copy, w.now_ms, NULL), 0);
	assert_int_equal(vgw__planner_used_bytes(copy, 0), 8);
	vgw__planner_free(copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
#define SLEEP_TEST(name) cmocka_unit_test_setup_teardown(name, begin_with_sleepers, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SLEEP_TEST(a_victim_sleeps_when_it_can_and_wakes_when_asked),
		SLEEP_TEST(the_least_recently_used_sleeper_stops_to_make_room_for_the_next),
		SLEEP_TEST(a_sleeper_whose_residue_is_in_the_way_stops),
		SLEEP_TEST(a_wake_that_fails_becomes_a_cold_start_for_the_same_waiters),
		SLEEP_TEST(a_sleep_that_frees_too_little_becomes_a_stop),
		SLEEP_TEST(the_idle_sink_to_sleep_and_then_away),
		TEST(an_unload_lets_the_stream_end),
		TEST(a_forced_unload_does_not),
		TEST(an_unload_while_loading_tells_the_waiters),
		TEST(a_load_by_the_operator_does_not_wait_its_turn),
		TEST(a_preload_evicts_nobody),
		TEST(a_changed_model_drains_and_comes_back_with_its_new_configuration),
		TEST(a_removed_model_leaves_its_slot_when_its_stream_has_ended),
		TEST(a_smaller_limit_sends_the_oldest_away),
		TEST(engines_of_an_earlier_life_are_adopted_and_those_without_room_leave),
		TEST(a_shutdown_drains_stops_and_says_when_it_is_done),
		TEST(a_shutdown_may_leave_the_engines_running),
		TEST(a_copy_goes_its_own_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
