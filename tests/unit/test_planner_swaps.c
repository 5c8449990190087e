/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with the planner: who leaves so that another can come, and when. One for each way in which
 * others that do the same were seen to fail. world.c checks every step of each. */
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

static void an_idle_resident_makes_room(void **unused)
{
	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	assert_true(was_granted(&w, serve(&w, B)));
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

static void the_least_recently_used_goes_first(void **unused)
{
	(void)unused;
	w.config.max_resident = 2;
	w.models[A].awake_bytes[0] = w.models[B].awake_bytes[0] = w.models[C].awake_bytes[0] = 4;
	go();
	serve(&w, A);
	world_advance(&w, 10);
	serve(&w, B);
	world_release(&w, B);
	world_advance(&w, 10);
	world_release(&w, A);
	serve(&w, C);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
}

static void a_stream_is_not_cut_by_a_swap(void **unused)
{
	int32_t asked;

	(void)unused;
	w.config.max_wait_ms = 5000;
	go();
	serve(&w, A);
	asked = world_ask(&w, B, LONG);
	world_advance(&w, 20000);
	assert_int_equal(world_state(&w, A), VGW__STATE_DRAINING);
	assert_false(w.model[A].was_cut);
	world_release(&w, A);
	world_settle(&w);
	assert_true(was_granted(&w, asked));
}

static void a_stream_that_never_ends_is_cut_at_the_drain_deadline(void **unused)
{
	int32_t asked;

	(void)unused;
	w.config.max_wait_ms = 5000;
	w.models[A].drain_timeout_ms = 30000;
	go();
	serve(&w, A);
	asked = world_ask(&w, B, LONG);
	world_advance(&w, 5000 + 30000);
	assert_true(w.model[A].was_cut);
	world_settle(&w);
	assert_true(was_granted(&w, asked));
}

static void overlapping_use_of_one_model_does_not_starve_another(void **unused)
{
	int32_t asked;
	int64_t began_ms;

	(void)unused;
	w.config.max_wait_ms = 20000;
	go();
	serve(&w, A);
	asked = world_ask(&w, B, LONG);
	began_ms = w.now_ms;
	while (w.waiter[asked].is_waiting && w.now_ms - began_ms < 100000 && !w.broken) {
		/* two clients in a loop: the gate is never idle while it is open */
		world_use(&w, A);
		world_advance(&w, 500);
		world_release(&w, A);
		if (!w.model[A].is_gate_open)
			world_release(&w, A);
		if (w.model[A].op != WORLD_OP_NONE)
			world_answer(&w, A, true);
		if (w.model[B].op != WORLD_OP_NONE)
			world_answer(&w, B, true);
	}
	assert_true(was_granted(&w, asked));
	assert_true(w.waiter[asked].answered_ms - began_ms <= 20000 + 4 * 500);
}

static void nobody_waits_longer_than_max_wait_without_being_told(void **unused)
{
	int32_t asked;

	(void)unused;
	w.config.max_wait_ms = 20000;
	go();
	asked = world_ask(&w, A, LONG);
	world_ask(&w, B, LONG); /* A is still loading, with reservations: it cannot go */
	world_advance(&w, 20000);
	assert_int_equal(refusal(&w, 1), VGW__REASON_MAX_WAIT);
	assert_true(w.waiter[asked].is_waiting); /* its load is under way */
}

static void what_was_just_loaded_serves_those_it_was_loaded_for(void **unused)
{
	int32_t for_b;
	int32_t for_a;

	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	for_b = world_ask(&w, B, LONG);
	for_a = world_ask(&w, A, LONG); /* A drains for B already */
	world_settle(&w);
	assert_true(was_granted(&w, for_b));
	assert_true(w.waiter[for_a].is_waiting);
	world_advance(&w, 1000);
	assert_int_not_equal(w.model[B].leases, 0);
	assert_int_not_equal(world_state(&w, B), VGW__STATE_LEAVING);
	world_release(&w, B);
	world_settle(&w);
	assert_true(was_granted(&w, for_a));
}

static void a_victim_asked_for_again_is_the_next_batch(void **unused)
{
	int32_t asked[10];

	(void)unused;
	go();
	serve(&w, A);
	world_release(&w, A);
	serve(&w, B);
	for (int i = 0; i < 10; i++)
		asked[i] = world_ask(&w, A, LONG);
	world_release(&w, B);
	world_settle(&w);
	for (int i = 0; i < 10; i++)
		assert_true(was_granted(&w, asked[i]));
	assert_int_equal(w.model[A].activations, 2);
}

static void a_drain_is_revoked_when_nobody_wants_the_room_any_more(void **unused)
{
	int32_t asked;
	int32_t queued;

	(void)unused;
	w.config.max_wait_ms = 1000;
	go();
	serve(&w, A);
	asked = world_ask(&w, B, LONG);
	world_advance(&w, 1000);
	assert_int_equal(world_state(&w, A), VGW__STATE_DRAINING);
	queued = world_ask(&w, A, LONG);
	world_cancel(&w, asked);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	assert_true(was_granted(&w, queued));
}

static void an_idle_unload_that_meets_a_request_is_revoked_and_its_late_idle_is_stale(void **unused)
{
	struct vgw__event idle = {.kind = VGW__EVENT_IDLE, .model = A};
	uint64_t stale;

	(void)unused;
	w.models[A].ttl_stop_ms = 60000;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_advance(&w, 60000);
	assert_int_equal(world_state(&w, A), VGW__STATE_DRAINING);
	idle.ticket = w.model[A].gate_ticket;
	assert_true(was_granted(&w, world_ask(&w, A, LONG)));
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	stale = vgw__planner_stale_count(w.planner);
	world_step(&w, &idle);
	assert_int_equal(vgw__planner_stale_count(w.planner), stale + 1);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	assert_int_equal(w.model[A].activations, 1);
}

static void a_loading_model_with_waiters_is_no_victim(void **unused)
{
	(void)unused;
	go();
	world_ask(&w, A, LONG);
	world_ask(&w, B, LONG);
	world_advance(&w, 60000);
	assert_int_equal(world_state(&w, A), VGW__STATE_STARTING);
	assert_false(w.model[A].op_is_cancelled);
	world_answer(&w, A, true);
	assert_true(was_granted(&w, 0));
}

static void min_resident_batches_two_that_alternate(void **unused)
{
	int32_t for_b;

	(void)unused;
	w.config.min_resident_ms = 10000;
	go();
	serve(&w, A);
	world_release(&w, A);
	for_b = world_ask(&w, B, LONG);
	world_advance(&w, 9999);
	assert_true(w.waiter[for_b].is_waiting);
	assert_true(world_use(&w, A));
	world_release(&w, A);
	world_advance(&w, 1);
	world_settle(&w);
	assert_true(was_granted(&w, for_b));
}

static void everything_pinned_is_a_clear_refusal_at_once(void **unused)
{
	(void)unused;
	w.models[A].is_pinned = true;
	go();
	serve(&w, A);
	world_release(&w, A);
	assert_int_equal(refusal(&w, world_ask(&w, B, LONG)), VGW__REASON_NO_ROOM);
	world_command(&w, VGW__EVENT_UNPIN, A, false);
	assert_true(was_granted(&w, serve(&w, B)));
}

static void two_of_a_group_are_never_resident_together(void **unused)
{
	(void)unused;
	w.config.max_resident = 0;
	w.models[A].awake_bytes[0] = w.models[B].awake_bytes[0] = w.models[C].awake_bytes[0] = 2;
	w.models[A].groups = w.models[B].groups = 1;
	go();
	serve(&w, A);
	world_release(&w, A);
	serve(&w, C);
	assert_true(was_granted(&w, serve(&w, B)));
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	assert_int_equal(world_state(&w, C), VGW__STATE_READY);
}

static void nobody_leaves_who_need_not(void **unused)
{
	(void)unused;
	w.config.max_resident = 0;
	w.models[A].awake_bytes[0] = 2;
	w.models[B].awake_bytes[0] = 6;
	w.models[C].awake_bytes[0] = 6;
	go();
	serve(&w, A);
	world_release(&w, A);
	world_advance(&w, 10);
	serve(&w, B);
	world_release(&w, B);
	world_advance(&w, 10);
	/* A is older, but its 2 are not needed once B's 6 are free */
	assert_true(was_granted(&w, serve(&w, C)));
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_idle_resident_makes_room),
		TEST(the_least_recently_used_goes_first),
		TEST(a_stream_is_not_cut_by_a_swap),
		TEST(a_stream_that_never_ends_is_cut_at_the_drain_deadline),
		TEST(overlapping_use_of_one_model_does_not_starve_another),
		TEST(nobody_waits_longer_than_max_wait_without_being_told),
		TEST(what_was_just_loaded_serves_those_it_was_loaded_for),
		TEST(a_victim_asked_for_again_is_the_next_batch),
		TEST(a_drain_is_revoked_when_nobody_wants_the_room_any_more),
		TEST(an_idle_unload_that_meets_a_request_is_revoked_and_its_late_idle_is_stale),
		TEST(a_loading_model_with_waiters_is_no_victim),
		TEST(min_resident_batches_two_that_alternate),
		TEST(everything_pinned_is_a_clear_refusal_at_once),
		TEST(two_of_a_group_are_never_resident_together),
		TEST(nobody_leaves_who_need_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
