/* SPDX-License-Identifier: Apache-2.0 */
/* Where models come up when they may choose: four GPUs of 10, a host of 40, models a, b, c, d of 8 each on any one of
 * them, unless the test says otherwise. world.c checks every step: no device over its budget, no two operations on one
 * device at a time, sets whole, sleepers waking where they went to sleep. */
#include "testing.h"

#include "small_world.h"

enum { D = C + 1, HOST = 4, GPUS = 4 };

static struct world w;

static void let_run_on(int32_t model, uint32_t devices, int32_t needed, int64_t bytes)
{
	w.models[model].devices = devices;
	w.models[model].devices_needed = needed;
	for (int32_t d = 0; d < w.limits.devices; d++)
		w.models[model].awake_bytes[d] = ((devices >> d) & 1u) ? bytes : 0;
}

static int begin(void **unused)
{
	(void)unused;
	memset(&w, 0, sizeof(w));
	w.now_ms = 1000;
	w.limits = (struct vgw__planner_limits){.models = 4, .devices = HOST + 1, .waiters = WORLD_WAITERS};
	for (int32_t d = 0; d < GPUS; d++)
		w.devices[d].budget_bytes = 10;
	w.devices[HOST].budget_bytes = 40;
	w.devices[HOST].is_host = true;
	for (int32_t m = 0; m < 4; m++)
		let_run_on(m, 0xf, 1, 8);
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

static void let_sleep(int32_t max_asleep)
{
	w.config.max_asleep = max_asleep;
	for (int32_t m = 0; m < 4; m++) {
		w.models[m].can_sleep = true;
		for (int32_t d = 0; d < GPUS; d++)
			w.models[m].asleep_bytes[d] = 1;
		w.models[m].asleep_bytes[HOST] = 8;
	}
}

/* Served, and free to leave. */
static uint32_t use(int32_t model)
{
	world_advance(&w, 10);
	assert_true(was_granted(&w, serve(&w, model)));
	world_release(&w, model);
	return w.model[model].devices;
}

static struct vgw__decision explain(int32_t model)
{
	struct vgw__event look = {.kind = VGW__EVENT_TIMER};
	struct vgw__decision decision;

	world_step(&w, &look); /* with what the gates have seen */
	vgw__planner_explain(w.planner, model, w.now_ms, &decision);
	return decision;
}

/* --- with room --- */

static void each_model_gets_a_device_of_its_own_while_there_is_one(void **unused)
{
	(void)unused;
	for (int32_t m = 0; m < 4; m++)
		let_run_on(m, 0xf, 1, 4);
	go();
	assert_int_equal(use(A), 1);
	assert_int_equal(use(B), 2);
	assert_int_equal(use(C), 4);
	assert_int_equal(use(D), 8);
	assert_int_equal(w.model[A].activations + w.model[B].activations + w.model[C].activations, 3);
}

static void loads_on_different_devices_run_at_the_same_time(void **unused)
{
	(void)unused;
	go();
	for (int32_t m = 0; m < 4; m++)
		(void)world_ask(&w, m, LONG);
	for (int32_t m = 0; m < 4; m++)
		assert_int_equal(world_state(&w, m), VGW__STATE_STARTING);
	world_settle(&w);
	assert_int_equal(w.grants, 4);
}

static void with_few_bytes_it_goes_where_most_are_free(void **unused)
{
	(void)unused;
	w.devices[2].budget_bytes = 20;
	go();
	assert_int_equal(use(A), 4);
}

static void without_budgets_the_devices_are_shared_out_all_the_same(void **unused)
{
	(void)unused;
	for (int32_t d = 0; d < GPUS; d++)
		w.devices[d].budget_bytes = 0;
	go();
	assert_int_equal(use(A) | use(B) | use(C) | use(D), 0xf);
}

static void a_device_that_is_too_small_for_it_is_not_taken(void **unused)
{
	(void)unused;
	w.devices[0].budget_bytes = 7;
	w.devices[1].budget_bytes = 7;
	let_run_on(A, 7, 1, 8);
	let_run_on(B, 3, 1, 8);
	go();
	assert_int_equal(use(A), 4);
	assert_int_equal(refusal(&w, world_ask(&w, B, LONG)), VGW__REASON_TOO_BIG);
}

static void as_many_as_there_are_is_a_fixed_set(void **unused)
{
	(void)unused;
	let_run_on(A, 6, 2, 8);
	let_run_on(B, 6, 0, 8);
	go();
	assert_int_equal(use(A), 6);
	assert_int_equal(use(B), 6);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

/* --- sets --- */

static void a_wide_model_gets_all_of_its_devices_or_none(void **unused)
{
	(void)unused;
	w.models[A].devices_needed = 2;
	w.models[B].devices_needed = 3;
	go();
	assert_int_equal(use(A), 3);
	assert_int_equal(use(C), 4);
	assert_int_equal(use(D), 8);
	(void)world_ask(&w, B, LONG);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT); /* two must leave first */
	world_settle(&w);
	assert_int_equal(world_state(&w, B), VGW__STATE_READY);
	assert_int_equal(world_state(&w, D), VGW__STATE_READY);
	assert_int_equal(w.model[B].devices, 7);
}

static void more_sets_than_anybody_compares_are_windows_of_neighbours(void **unused)
{
	(void)unused;
	w.limits.devices = VGW__DEVICES_MAX;
	for (int32_t d = 0; d < VGW__DEVICES_MAX; d++)
		w.devices[d] = (struct vgw__device_config){.budget_bytes = 10, .is_host = d == VGW__DEVICES_MAX - 1};
	for (int32_t m = 0; m < 4; m++)
		let_run_on(m, 0x7fff, m == D ? 7 : 4, 8);
	go();
	assert_int_equal(use(A) | use(B) | use(C), 0xfff);
	assert_int_equal(use(D), 0x7f); /* any seven neighbours of a and b cost both, but not the youngest */
	assert_int_equal(world_state(&w, C), VGW__STATE_READY);
}

/* --- without room --- */

static void the_least_recently_used_leaves_wherever_it_is(void **unused)
{
	(void)unused;
	for (int32_t m = 0; m < 4; m++)
		let_run_on(m, 7, 1, 8);
	go();
	(void)use(A);
	(void)use(B);
	(void)use(C);
	(void)use(A);
	assert_int_equal(explain(D).chosen_count, 1);
	assert_int_equal(explain(D).chosen[0].model, B);
	assert_string_equal(explain(D).devices_why, "those who leave them cost least");
	assert_int_equal(use(D), 2);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
}

static void a_sleeper_leaves_before_somebody_awake(void **unused)
{
	(void)unused;
	let_sleep(1);
	for (int32_t m = 0; m < 4; m++)
		let_run_on(m, 3, 1, 10);
	go();
	assert_int_equal(use(A), 1);
	assert_int_equal(use(B), 2);
	assert_int_equal(world_command(&w, VGW__EVENT_SLEEP, B, false), VGW__REASON_NONE);
	world_settle(&w);
	assert_int_equal(use(C), 2);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY);
	assert_int_equal(world_state(&w, B), VGW__STATE_ABSENT);
}

static void devices_of_the_pinned_are_left_to_them(void **unused)
{
	(void)unused;
	for (int32_t m = 0; m < 4; m++)
		let_run_on(m, 3, 1, 8);
	w.models[A].is_pinned = true;
	go();
	assert_int_equal(use(A), 1);
	assert_int_equal(use(B), 2);
	assert_int_equal(use(C), 2);
	let_run_on(D, 1, 0, 8);
	world_command(&w, VGW__EVENT_MODEL_CHANGED, D, true);
	assert_int_equal(refusal(&w, world_ask(&w, D, LONG)), VGW__REASON_NO_ROOM);
}

static void who_is_in_use_makes_it_wait_and_not_go_elsewhere_half(void **unused)
{
	int32_t asked;

	(void)unused;
	w.config.max_wait_ms = 60000;
	for (int32_t m = 0; m < 4; m++)
		let_run_on(m, 3, m == C ? 2 : 1, 8);
	go();
	(void)serve(&w, A);
	(void)serve(&w, B);
	asked = world_ask(&w, C, LONG);
	assert_int_equal(world_state(&w, C), VGW__STATE_ABSENT);
	world_release(&w, A);
	assert_int_equal(world_state(&w, A), VGW__STATE_READY); /* b alone would not be enough */
	world_release(&w, B);
	world_settle(&w);
	assert_true(was_granted(&w, asked));
}

/* --- staying --- */

static void a_sleeper_wakes_where_its_residue_lies(void **unused)
{
	(void)unused;
	let_sleep(2);
	go();
	assert_int_equal(use(A), 1);
	assert_int_equal(use(B), 2);
	world_command(&w, VGW__EVENT_SLEEP, B, false);
	world_settle(&w);
	assert_int_equal(world_state(&w, B), VGW__STATE_ASLEEP);
	assert_string_equal(explain(B).devices_why, "it sleeps there");
	assert_int_equal(use(B), 2);
}

static void an_adopted_engine_keeps_the_set_it_runs_on(void **unused)
{
	struct vgw__event adopt = {.kind = VGW__EVENT_ADOPT, .model = A, .depth = VGW__DEPTH_STOP, .devices = 0xc};

	(void)unused;
	w.models[A].devices_needed = 2;
	go();
	assert_int_equal(world_step(&w, &adopt), VGW__REASON_NONE);
	assert_int_equal(w.model[A].devices, 0xc);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 2), 8);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 0), 0);
	assert_int_equal(use(B), 1);
}

static void an_engine_found_where_it_may_not_run_or_nobody_knows_where_goes(void **unused)
{
	struct vgw__event adopt = {.kind = VGW__EVENT_ADOPT, .model = A, .depth = VGW__DEPTH_STOP, .devices = 8};

	(void)unused;
	let_run_on(A, 7, 1, 8);
	go();
	w.model[A].has_engine = w.model[A].is_awake = w.model[A].holds_awake = true;
	w.model[A].devices = 1; /* what it is charged for until it has gone */
	assert_int_equal(world_step(&w, &adopt), VGW__REASON_NO_ROOM);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
	w.model[A].has_engine = w.model[A].is_awake = w.model[A].holds_awake = true;
	adopt.devices = 0;
	assert_int_equal(world_step(&w, &adopt), VGW__REASON_NO_ROOM);
	world_settle(&w);
	assert_int_equal(world_state(&w, A), VGW__STATE_ABSENT);
}

static void what_was_measured_on_one_device_is_believed_of_the_others(void **unused)
{
	const int64_t bytes[] = {4, -1, -1, -1, -1};
	struct vgw__event measured = {.kind = VGW__EVENT_FOOTPRINT, .model = A, .depth = VGW__DEPTH_STOP,
		.bytes = bytes};

	(void)unused;
	for (int32_t d = 0; d < GPUS; d++)
		w.models[A].awake_bytes[d] = VGW__UNKNOWN_BYTES;
	w.has_footprints_moved = true;
	go();
	assert_int_equal(use(A), 1);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 0), 10);
	world_step(&w, &measured);
	world_command(&w, VGW__EVENT_UNLOAD, A, false);
	world_settle(&w);
	(void)use(B);
	assert_int_equal(use(A), 2);
	assert_int_equal(vgw__planner_used_bytes(w.planner, 1), 4);
}

/* --- any state --- */

/* What is free when nothing is under way, counted by the world. */
static int32_t count_roomy(int32_t model)
{
	int32_t roomy = 0;

	for (int32_t d = 0; d < GPUS; d++)
		roomy += ((w.models[model].devices >> d) & 1u) &&
			 vgw__planner_used_bytes(w.planner, d) + w.models[model].awake_bytes[d] <=
				 w.devices[d].budget_bytes;
	return roomy;
}

static uint64_t draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

static void nobody_leaves_where_there_is_room_and_the_answer_is_always_the_same(void **unused)
{
	uint64_t seed = 7;

	(void)unused;
	for (int life = 0; life < 200; life++) {
		(void)begin(NULL);
		for (int32_t m = 0; m < 4; m++) {
			uint32_t devices = 1 + (uint32_t)(draw(&seed) % 15);
			int32_t needed = devices & (devices - 1) ? 1 + (int32_t)(draw(&seed) % 2) : 1;

			let_run_on(m, devices, needed, 2 + (int64_t)(draw(&seed) % 9));
		}
		go();
		for (int step = 0; step < 12; step++) {
			int32_t model = (int32_t)(draw(&seed) % 4);
			struct vgw__decision one = explain(model);
			struct vgw__decision two = explain(model);
			uint32_t devices;
			bool is_up;

			assert_int_equal(one.devices, two.devices);
			if (world_state(&w, model) == VGW__STATE_ABSENT)
				assert_int_equal(one.chosen_count == 0,
					count_roomy(model) >= w.models[model].devices_needed);
			is_up = world_state(&w, model) == VGW__STATE_READY;
			devices = use(model);
			assert_true(is_up || devices == one.devices);
		}
		assert_null(w.broken);
		world_end(&w);
	}
	go();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_model_gets_a_device_of_its_own_while_there_is_one),
		TEST(loads_on_different_devices_run_at_the_same_time),
		TEST(with_few_bytes_it_goes_where_most_are_free),
		TEST(without_budgets_the_devices_are_shared_out_all_the_same),
		TEST(a_device_that_is_too_small_for_it_is_not_taken),
		TEST(as_many_as_there_are_is_a_fixed_set),
		TEST(a_wide_model_gets_all_of_its_devices_or_none),
		TEST(more_sets_than_anybody_compares_are_windows_of_neighbours),
		TEST(the_least_recently_used_leaves_wherever_it_is),
		TEST(a_sleeper_leaves_before_somebody_awake),
		TEST(devices_of_the_pinned_are_left_to_them),
		TEST(who_is_in_use_makes_it_wait_and_not_go_elsewhere_half),
		TEST(a_sleeper_wakes_where_its_residue_lies),
		TEST(an_adopted_engine_keeps_the_set_it_runs_on),
		TEST(an_engine_found_where_it_may_not_run_or_nobody_knows_where_goes),
		TEST(what_was_measured_on_one_device_is_believed_of_the_others),
		TEST(nobody_leaves_where_there_is_room_and_the_answer_is_always_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
