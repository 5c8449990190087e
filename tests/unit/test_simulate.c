/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator: hand-counted schedules, and the contenders on a trace drawn here. */
#include "testing.h"

#include "core/simulate.h"

#define ROWS 300

static const struct vgw__device_config gpu = {0, false};
static const struct vgw__engine_times times[3] = {
	{20000, 3000, 2000, 2000},
	{20000, 3000, 2000, 2000},
	{20000, 3000, 2000, 2000},
};
static struct vgw__model_config models[3];
static struct vgw__arrival arrivals[ROWS];

static struct vgw__simulation simulation_of(size_t count)
{
	for (int m = 0; m < 3; m++)
		models[m].devices = 1;
	return (struct vgw__simulation){
		.config = {.max_resident = 1, .max_wait_ms = 600000},
		.device_count = 1,
		.devices = &gpu,
		.model_count = 3,
		.models = models,
		.times = times,
		.arrival_count = count,
		.arrivals = arrivals,
	};
}

static struct vgw__simulated run(const struct vgw__simulation *simulation, enum vgw__contender contender)
{
	struct vgw__simulated out;

	assert_int_equal(vgw__simulate(&out, simulation, contender, NULL), VGW_OK);
	return out;
}

static void two_models_asked_in_turn_swap_each_time(void **state)
{
	struct vgw__simulation simulation = simulation_of(3);
	struct vgw__simulated out;

	(void)state;
	arrivals[0] = (struct vgw__arrival){0, 0, 1000};
	arrivals[1] = (struct vgw__arrival){60000, 1, 1000};
	arrivals[2] = (struct vgw__arrival){120000, 0, 1000};
	for (int contender = 0; contender < VGW__CONTENDER_COUNT; contender++) {
		out = run(&simulation, (enum vgw__contender)contender);
		assert_int_equal(out.cold_starts, 3);
		assert_int_equal(out.served, 3);
		assert_int_equal(out.wait_p50_ms, 23000); /* stop 3 s, start 20 s */
		assert_int_equal(out.wait_max_ms, 23000);
		assert_int_equal(out.span_ms, 144000);
		assert_true(out.goodput > 0.999);
	}
}

static void a_request_behind_the_lock_waits_for_a_swap_that_is_not_its_own(void **state)
{
	struct vgw__simulation simulation = simulation_of(4);

	(void)state;
	simulation.config.max_resident = 2;
	arrivals[0] = (struct vgw__arrival){0, 0, 1000};
	arrivals[1] = (struct vgw__arrival){30000, 1, 1000};
	arrivals[2] = (struct vgw__arrival){30001, 0, 1000};
	arrivals[3] = (struct vgw__arrival){30002, 0, 1000};
	assert_int_equal(run(&simulation, VGW__CONTENDER_FIRST_COME).wait_max_ms, 20000);
	assert_int_equal(run(&simulation, VGW__CONTENDER_FIRST_COME).wait_p50_ms, 19999);
	assert_int_equal(run(&simulation, VGW__CONTENDER_LRU).wait_p50_ms, 0);
}

static void sleeping_makes_a_swap_cheap(void **state)
{
	struct vgw__simulation simulation = simulation_of(3);
	struct vgw__simulated out;

	(void)state;
	arrivals[0] = (struct vgw__arrival){0, 0, 1000};
	arrivals[1] = (struct vgw__arrival){60000, 1, 1000};
	arrivals[2] = (struct vgw__arrival){120000, 0, 1000};
	simulation.config.max_asleep = 2;
	for (int m = 0; m < 3; m++)
		models[m].can_sleep = true;
	out = run(&simulation, VGW__CONTENDER_LRU);
	for (int m = 0; m < 3; m++)
		models[m].can_sleep = false;
	assert_int_equal(out.cold_starts, 2);
	assert_int_equal(out.wakes, 1);
	assert_int_equal(out.wait_p50_ms, 20000);
}

static void draw_trace(void)
{
	uint64_t random = 88172645463325252ull;
	int64_t at_ms = 0;

	for (int i = 0; i < ROWS; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		at_ms += (int64_t)(random % 40000);
		arrivals[i] = (struct vgw__arrival){at_ms,
			(random >> 20) % 10 < 7 ? 0 : 1 + (int32_t)((random >> 30) % 2),
			500 + (int64_t)((random >> 40) % 3000)};
	}
}

static void no_contender_beats_the_clairvoyant_and_cost_comes_close(void **state)
{
	struct vgw__simulation simulation = simulation_of(ROWS);
	struct vgw__simulated best;
	struct vgw__simulated cost;

	(void)state;
	draw_trace();
	simulation.config.min_resident_ms = 10000;
	best = run(&simulation, VGW__CONTENDER_CLAIRVOYANT);
	cost = run(&simulation, VGW__CONTENDER_COST);
	for (int contender = 0; contender < VGW__CONTENDER_COUNT; contender++) {
		struct vgw__simulated out = run(&simulation, (enum vgw__contender)contender);

		assert_int_equal(out.served, ROWS);
		assert_true(out.wait_p95_ms >= best.wait_p95_ms);
	}
	assert_true(cost.wait_p95_ms <= best.wait_p95_ms * 6 / 5);
}

static void the_same_trace_gives_the_same_figures(void **state)
{
	struct vgw__simulation simulation = simulation_of(ROWS);
	struct vgw__simulated first;
	struct vgw__simulated second;

	(void)state;
	draw_trace();
	first = run(&simulation, VGW__CONTENDER_COST);
	second = run(&simulation, VGW__CONTENDER_COST);
	assert_memory_equal(&first, &second, sizeof(first));
}

static void a_trace_that_makes_no_sense_is_refused(void **state)
{
	struct vgw__simulation simulation = simulation_of(2);
	struct vgw__simulated out;
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	arrivals[0] = (struct vgw__arrival){10, 0, 1000};
	arrivals[1] = (struct vgw__arrival){9, 0, 1000};
	assert_int_equal(vgw__simulate(&out, &simulation, VGW__CONTENDER_LRU, &err), VGW_INVALID);
	arrivals[1] = (struct vgw__arrival){11, 3, 1000};
	assert_int_equal(vgw__simulate(&out, &simulation, VGW__CONTENDER_LRU, NULL), VGW_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_models_asked_in_turn_swap_each_time),
		cmocka_unit_test(a_request_behind_the_lock_waits_for_a_swap_that_is_not_its_own),
		cmocka_unit_test(sleeping_makes_a_swap_cheap),
		cmocka_unit_test(no_contender_beats_the_clairvoyant_and_cost_comes_close),
		cmocka_unit_test(the_same_trace_gives_the_same_figures),
		cmocka_unit_test(a_trace_that_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
