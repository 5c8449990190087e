/* SPDX-License-Identifier: Apache-2.0 */
/* The public question: models and options by their names become the planner's. */
#include "testing.h"

#include <vllmgw/simulate.h>

#include <string.h>

enum { ROUNDS = 40 };

static vgw_registry *make_registry(const char *const *names, size_t count, const vgw_memory *memory)
{
	vgw_registry *registry = NULL;

	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	for (size_t i = 0; i < count; i++) {
		vgw_model_options options = VGW_MODEL_OPTIONS_INIT;

		options.name = names[i];
		options.kind = "process";
		options.backend_json = "{\"kind\":\"process\",\"command\":[\"true\"]}";
		options.memory = memory;
		options.memory_count = memory ? 1 : 0;
		assert_int_equal(vgw_registry_add(registry, &options, NULL), VGW_OK);
	}
	return registry;
}

/* a, b, a, b...: a minute apart. */
static void alternate(vgw_arrival *arrivals)
{
	for (int i = 0; i < ROUNDS; i++)
		arrivals[i] = (vgw_arrival){ (int64_t)i * 60000, 1000, i % 2 ? "b" : "a" };
}

static void alternating_models_swap_unless_both_may_stay(void **state)
{
	static const char *const names[] = { "a", "b" };
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_simulation simulation = VGW_SIMULATION_INIT;
	vgw_arrival arrivals[ROUNDS];
	vgw_engine_times times[] = { { "a", 10000, 1000, 0, 0 }, { "b", 10000, 1000, 0, 0 } };
	vgw_simulated one, two;

	(void)state;
	alternate(arrivals);
	simulation.registry = make_registry(names, 2, NULL);
	simulation.options = &options;
	simulation.times = times;
	simulation.time_count = 2;
	simulation.arrivals = arrivals;
	simulation.arrival_count = ROUNDS;
	assert_int_equal(vgw_simulate(&one, &simulation, VGW_CONTENDER_LRU, NULL), VGW_OK);
	options.max_resident = 2;
	assert_int_equal(vgw_simulate(&two, &simulation, VGW_CONTENDER_LRU, NULL), VGW_OK);
	assert_int_equal(one.cold_starts, ROUNDS);
	assert_int_equal(one.wait_p50_ms, 11000);
	assert_int_equal(two.cold_starts, 2);
	assert_int_equal(two.wait_p50_ms, 0);
	assert_int_equal(two.served, ROUNDS);
	assert_true(two.device_hours > one.device_hours);
	vgw_registry_unref((vgw_registry *)(uintptr_t)simulation.registry);
}

static void a_device_that_holds_one_model_counts_like_a_limit_of_one(void **state)
{
	static const char *const names[] = { "a", "b" };
	vgw_memory device = { "gpu0", 100 }, footprint = { "gpu0", 60 };
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_simulation simulation = VGW_SIMULATION_INIT;
	vgw_arrival arrivals[ROUNDS];
	vgw_simulated run;

	(void)state;
	alternate(arrivals);
	options.max_resident = VGW_UNLIMITED;
	options.devices = &device;
	options.device_count = 1;
	simulation.registry = make_registry(names, 2, &footprint);
	simulation.options = &options;
	simulation.arrivals = arrivals;
	simulation.arrival_count = ROUNDS;
	assert_int_equal(vgw_simulate(&run, &simulation, VGW_CONTENDER_LRU, NULL), VGW_OK);
	assert_true(run.cold_starts > 10);
	vgw_registry_unref((vgw_registry *)(uintptr_t)simulation.registry);
}

static void no_contender_beats_the_clairvoyant(void **state)
{
	static const char *const names[] = { "a", "b" };
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_simulation simulation = VGW_SIMULATION_INIT;
	vgw_arrival arrivals[ROUNDS];
	vgw_simulated bound, run;

	(void)state;
	alternate(arrivals);
	simulation.registry = make_registry(names, 2, NULL);
	simulation.options = &options;
	simulation.arrivals = arrivals;
	simulation.arrival_count = ROUNDS;
	assert_int_equal(vgw_simulate(&bound, &simulation, VGW_CONTENDER_CLAIRVOYANT, NULL), VGW_OK);
	for (int i = 0; i < VGW_CONTENDER_COUNT; i++) {
		assert_int_equal(vgw_simulate(&run, &simulation, (vgw_contender)i, NULL), VGW_OK);
		assert_true(run.wait_p95_ms >= bound.wait_p95_ms);
	}
	vgw_registry_unref((vgw_registry *)(uintptr_t)simulation.registry);
}

static void a_question_that_makes_no_sense_is_refused_with_its_place(void **state)
{
	static const char *const names[] = { "a" };
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_simulation simulation = VGW_SIMULATION_INIT;
	vgw_arrival arrivals[] = { { 5, 1, "a" }, { 5, 1, "nobody" } };
	vgw_error err = VGW_ERROR_INIT;
	vgw_simulated run;

	(void)state;
	simulation.registry = make_registry(names, 1, NULL);
	simulation.options = &options;
	simulation.arrivals = arrivals;
	simulation.arrival_count = 2;
	assert_int_equal(vgw_simulate(&run, &simulation, VGW_CONTENDER_LRU, &err), VGW_INVALID);
	assert_string_equal(err.text, "arrival 2: there is no model 'nobody'");
	arrivals[1] = (vgw_arrival){ 4, 1, "a" };
	assert_int_equal(vgw_simulate(&run, &simulation, VGW_CONTENDER_LRU, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "arrival 2"));
	assert_int_equal(vgw_simulate(&run, &simulation, VGW_CONTENDER_COUNT, &err), VGW_INVALID);
	assert_string_equal(vgw_contender_get_name(VGW_CONTENDER_FIRST_COME), "first-come");
	vgw_registry_unref((vgw_registry *)(uintptr_t)simulation.registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alternating_models_swap_unless_both_may_stay),
		cmocka_unit_test(a_device_that_holds_one_model_counts_like_a_limit_of_one),
		cmocka_unit_test(no_contender_beats_the_clairvoyant),
		cmocka_unit_test(a_question_that_makes_no_sense_is_refused_with_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
