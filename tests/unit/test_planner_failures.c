/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with the planner: starts that fail, engines that die, memory that does not come back. */
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

static struct vgw__replica_view look(int32_t model)
{
	struct vgw__replica_view view;

	vgw__planner_view(w.planner, model, w.now_ms, &view);
	return view;
}

/* --- failed starts --- */

static void a_failed_load_tells_all_its_waiters_once(void **unused)
{
	int32_t asked[30];

	(void)unused;
	go();
	for (int i = 0; i < 30; i++)
		asked[i] = world_ask(&w, A, LONG);
	world_fail(&w, A, VGW__FAILURE_UNKNOWN);
	for (int i = 0; i < 30; i++)
		assert_int_equal(refusal(&w, asked[i]), VGW__REASON_START_FAILED);
	assert_int_equal(w.model[A].activations, 1);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_BACKOFF);
	assert_int_equal(look(A).ref, 77); /* the decisive line of its log */
}

static void out_of_memory_evicts_what_can_be_evicted_and_tries_once_more(void **unused)
{
	int32_t asked;

	(void)unused;
	w.config.max_resident = 0;
	w.models[A].awake_bytes[0] = 2;
	w.models[B].awake_bytes[0] = 4;
	go();
	serve(&w, A);
	world_release(&w, A);
	asked = world_ask(&w, B, LONG);
	world_fail(&w, B, VGW__FAILURE_OOM);
	assert_true(w.waiter[asked].is_waiting);
	world_settle(&w);
	assert_true(was_granted(&w, asked));
	assert_int_equal(w.model[B].activations, 2);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

static void out_of_memory_twice_is_a_failure(void **unused)
{
	int32_t asked;

	(void)unused;
	go();
	asked = world_ask(&w, A, LONG);
	world_fail(&w, A, VGW__FAILURE_OOM);
	world_answer(&w, A, true);
	world_answer(&w, A, true);
	assert_int_equal(world_state(&w, A), VGW__STATE_STARTING);
	world_fail(&w, A, VGW__FAILURE_OOM);
	assert_int_equal(refusal(&w, asked), VGW__REASON_START_FAILED);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_BACKOFF);
	assert_int_equal(w.model[A].activations, 2);
}

static void a_disturbed_profiling_is_tried_once_more(void **unused)
{
	int32_t asked;

	(void)unused;
	go();
	asked = world_ask(&w, A, LONG);
	world_fail(&w, A, VGW__FAILURE_DISTURBED);
	world_settle(&w);
	assert_true(was_granted(&w, asked));
}

static void a_user_error_is_not_tried_again_before_the_configuration_changes(void **unused)
{
	(void)unused;
	go();
	world_ask(&w, A, LONG);
	world_fail(&w, A, VGW__FAILURE_USER);
	world_settle(&w);
	world_advance(&w, 86400000);
	assert_int_equal(refusal(&w, world_ask(&w, A, LONG)), VGW__REASON_BROKEN);
	assert_int_equal(w.model[A].activations, 1);
	world_command(&w, VGW__EVENT_MODEL_CHANGED, A, true);
	assert_true(was_granted(&w, serve(&w, A)));
}

static void a_reset_is_a_way_out_of_every_failure(void **unused)
{
	(void)unused;
	go();
	world_ask(&w, A, LONG);
	world_fail(&w, A, VGW__FAILURE_USER);
	world_settle(&w);
	assert_int_equal(world_command(&w, VGW__EVENT_LOAD, A, false), VGW__REASON_BROKEN);
	world_command(&w, VGW__EVENT_RESET, A, false);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	assert_true(was_granted(&w, serve(&w, A)));
}

static void a_crash_loop_is_damped(void **unused)
{
	int64_t end_ms = w.now_ms + 3600000;

	(void)unused;
	go();
	while (w.now_ms < end_ms) {
		world_ask(&w, A, 500);
		world_settle(&w);
		if (world_state(&w, A) == VGW__STATE_READY)
			world_die(&w, A, VGW__FAILURE_NONE); /* exit 0 is a crash too */
		world_settle(&w);
		world_advance(&w, 1000);
	}
	/* 1 + 2 + 4 + 8 s, then the breaker: one attempt in ten minutes */
	assert_in_range(w.model[A].activations, 5, 12);
	assert_true(look(A).failures >= 5);
}

static void a_model_that_served_well_is_forgiven(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_die(&w, A, VGW__FAILURE_NONE);
	world_settle(&w);
	world_ask(&w, A, LONG); /* the first failure is worth waiting for */
	assert_int_equal(w.grants, 1);
	world_advance(&w, 2000);
	world_settle(&w);
	assert_int_equal(w.grants, 2);
	assert_int_equal(look(A).failures, 1);
	world_advance(&w, 60000);
	assert_int_equal(look(A).failures, 0);
}

static void a_start_without_progress_is_cancelled_and_with_progress_is_not(void **unused)
{
	struct vgw__event progress = {.kind = VGW__EVENT_PROGRESS, .model = A, .eta_ms = 700};
	int32_t asked;

	(void)unused;
	w.models[A].start_timeout_ms = 10000;
	go();
	asked = world_ask(&w, A, LONG);
	for (int i = 0; i < 5; i++) {
		world_advance(&w, 8000);
		progress.ticket = w.model[A].op_ticket;
		world_step(&w, &progress);
	}
	assert_false(w.model[A].op_is_cancelled);
	assert_int_equal(look(A).eta_ms, 700);
	world_advance(&w, 10000);
	assert_true(w.model[A].op_is_cancelled);
	world_settle(&w);
	assert_int_equal(refusal(&w, asked), VGW__REASON_START_TIMEOUT);
}

static void one_that_dies_while_it_starts_has_failed(void **unused)
{
	int32_t asked;

	(void)unused;
	go();
	asked = world_ask(&w, A, LONG);
	world_die(&w, A, VGW__FAILURE_USER);
	world_answer(&w, A, true); /* its operation did not notice */
	assert_int_equal(refusal(&w, asked), VGW__REASON_START_FAILED);
	world_settle(&w);
	assert_int_equal(look(A).until_ms, VGW__NEVER);
}

/* --- memory --- */

static void the_next_start_waits_until_the_memory_is_back(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_ask(&w, B, LONG);
	world_answer(&w, A, true); /* IDLE was said: this is the stop */
	world_release(&w, A);
	world_answer(&w, A, true);
	assert_int_equal(world_state(&w, A), VGW__STATE_LEAVING);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
	world_settle(&w);
	assert_true(was_granted(&w, 0));
}

static void memory_that_does_not_come_back_stays_charged_until_it_does(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_ask(&w, B, LONG);
	world_release(&w, A);       /* IDLE */
	world_answer(&w, A, true);  /* stopped */
	world_answer(&w, A, false); /* not back */
	assert_int_equal(world_state(&w, A), VGW__STATE_STUCK);
	assert_int_equal(refusal(&w, 0), VGW__REASON_NO_ROOM);
	assert_int_equal(refusal(&w, world_ask(&w, A, LONG)), VGW__REASON_STUCK);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 0), 8);
	world_advance(&w, 30000); /* tried again */
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	assert_true(was_granted(&w, serve(&w, B)));
}

static void the_operator_can_force_a_stuck_one(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_command(&w, VGW__EVENT_UNLOAD, A, false);
	world_release(&w, A);
	world_advance(&w, 200000); /* the stop never returns */
	assert_int_equal(world_state(&w, A), VGW__STATE_STUCK);
	world_command(&w, VGW__EVENT_RESET, A, true);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_failed_load_tells_all_its_waiters_once),
		TEST(out_of_memory_evicts_what_can_be_evicted_and_tries_once_more),
		TEST(out_of_memory_twice_is_a_failure),
		TEST(a_disturbed_profiling_is_tried_once_more),
		TEST(a_user_error_is_not_tried_again_before_the_configuration_changes),
		TEST(a_reset_is_a_way_out_of_every_failure),
		TEST(a_crash_loop_is_damped),
		TEST(a_model_that_served_well_is_forgiven),
		TEST(a_start_without_progress_is_cancelled_and_with_progress_is_not),
		TEST(one_that_dies_while_it_starts_has_failed),
		TEST(the_next_start_waits_until_the_memory_is_back),
		TEST(memory_that_does_not_come_back_stays_charged_until_it_does),
		TEST(the_operator_can_force_a_stuck_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
