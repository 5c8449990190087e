/* SPDX-License-Identifier: Apache-2.0 */
/* The residency from outside: leases, loads, swaps, commands; with a controller that does as it is told. */
#include "testing.h"

#include "fake_controller.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CROWD = 500, SOON_MS = 20000 };

struct stage {
	struct fakes fakes;
	vgw_residency *residency;
};

static const char *const two[] = { "a", "b", NULL };

static void set_stage(struct stage *stage, const vgw_residency_options *options, const char *kind)
{
	static const vgw_residency_options plain = { .size = sizeof(plain), .backoff_ms = 5 };

	fakes_init(&stage->fakes);
	stage->residency = fakes_residency(&stage->fakes, options ? options : &plain);
	fakes_apply(stage->residency, kind, two);
}

static void strike_stage(struct stage *stage)
{
	vgw_residency_free(stage->residency);
	assert_int_equal(stage->fakes.up, 0);
	fakes_fini(&stage->fakes);
}

static int64_t soon(void)
{
	return vgw_now_ms() + SOON_MS;
}

static vgw_lease *take(struct stage *stage, const char *model)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_lease *lease;

	if (vgw_residency_acquire(&lease, stage->residency, model, soon(), &err) != VGW_OK)
		fail_msg("%s", err.text);
	return lease;
}

static json_t *state_of(struct stage *stage, const char *model, json_t **root)
{
	char *text = vgw_residency_dup_state(stage->residency);
	json_t *found = NULL, *item;
	size_t i;

	assert_non_null(text);
	*root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	vgw_free(text);
	assert_non_null(*root);
	json_array_foreach(json_object_get(*root, "models"), i, item) {
		if (strcmp(json_string_value(json_object_get(item, "name")), model) == 0)
			found = item;
	}
	assert_non_null(found);
	return found;
}

/* --- loads --- */

static void a_model_is_brought_up_when_it_is_asked_for(void **unused)
{
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	assert_string_equal(vgw_residency_get_standing(stage.residency, "a"), "unloaded");
	lease = take(&stage, "a");
	assert_string_equal(vgw_lease_get_endpoint(lease), "http://127.0.0.1:9");
	assert_false(vgw_lease_is_cut(lease));
	assert_string_equal(vgw_residency_get_standing(stage.residency, "a"), "loaded");
	vgw_lease_release(lease);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 1);
	strike_stage(&stage);
}

struct asker {
	struct stage *stage;
	pthread_t thread;
	const char *model;
	int64_t deadline_ms;
	vgw_status status;
	vgw_error err;
};

static void *ask(void *user)
{
	struct asker *asker = user;
	vgw_lease *lease;

	asker->status = vgw_residency_acquire(&lease, asker->stage->residency, asker->model, asker->deadline_ms,
		&asker->err);
	vgw_lease_release(lease);
	return NULL;
}

static void begin_asking(struct asker *asker, struct stage *stage, const char *model, int64_t deadline_ms)
{
	*asker = (struct asker){ .stage = stage, .model = model, .deadline_ms = deadline_ms };
	assert_int_equal(pthread_create(&asker->thread, NULL, ask, asker), 0);
}

static void end_asking(struct asker *asker)
{
	assert_int_equal(pthread_join(asker->thread, NULL), 0);
}

static int waiting(struct stage *stage, const char *model)
{
	json_t *root;
	int count = (int)json_integer_value(json_object_get(state_of(stage, model, &root), "waiting"));

	json_decref(root);
	return count;
}

static void wait_until_waiting(struct stage *stage, const char *model, int count)
{
	int64_t until_ms = soon();

	while (waiting(stage, model) < count)
		assert_true(vgw_now_ms() < until_ms);
}

static void five_hundred_askers_cause_one_start(void **unused)
{
	struct asker *askers = calloc(CROWD, sizeof(*askers));
	struct stage stage;

	(void)unused;
	assert_non_null(askers);
	set_stage(&stage, NULL, "fake");
	fakes_hold(&stage.fakes, "a");
	for (int i = 0; i < CROWD; i++)
		begin_asking(&askers[i], &stage, "a", soon());
	wait_until_waiting(&stage, "a", CROWD);
	fakes_release(&stage.fakes, "a");
	for (int i = 0; i < CROWD; i++) {
		end_asking(&askers[i]);
		assert_int_equal(askers[i].status, VGW_OK);
	}
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 1);
	strike_stage(&stage);
	free(askers);
}

static void the_first_asker_may_leave_and_the_load_goes_on(void **unused)
{
	struct asker first, second;
	struct stage stage;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	fakes_hold(&stage.fakes, "a");
	begin_asking(&first, &stage, "a", vgw_now_ms() + 100);
	assert_true(fakes_wait_held(&stage.fakes, "a"));
	begin_asking(&second, &stage, "a", soon());
	end_asking(&first);
	assert_int_equal(first.status, VGW_TIMEOUT);
	assert_int_equal(vgw_error_get_fault(&first.err), VGW_FAULT_MODEL_LOADING);
	assert_non_null(strstr(first.err.text, "model 'a'"));
	fakes_release(&stage.fakes, "a");
	end_asking(&second);
	assert_int_equal(second.status, VGW_OK);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 1);
	strike_stage(&stage);
}

static void two_models_alternate_in_one_place(void **unused)
{
	struct stage stage;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	for (int i = 0; i < 10; i++) {
		vgw_lease_release(take(&stage, "a"));
		vgw_lease_release(take(&stage, "b"));
	}
	assert_int_equal(fakes_read(&stage.fakes, &stage.fakes.most_up), 1);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 10);
	assert_int_equal(fakes_get(&stage.fakes, "b")->activations, 10);
	strike_stage(&stage);
}

static void a_model_in_use_is_drained_before_it_leaves(void **unused)
{
	struct asker asker;
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	lease = take(&stage, "a");
	begin_asking(&asker, &stage, "b", soon());
	wait_until_waiting(&stage, "b", 1);
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->stops), 0);
	assert_false(vgw_lease_is_cut(lease));
	vgw_lease_release(lease);
	end_asking(&asker);
	assert_int_equal(asker.status, VGW_OK);
	assert_int_equal(fakes_get(&stage.fakes, "a")->stops, 1);
	strike_stage(&stage);
}

static void an_asker_who_may_not_wait_is_told_at_once(void **unused)
{
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	assert_int_equal(vgw_residency_try_acquire(&lease, stage.residency, "a", &err), VGW_BUSY);
	assert_null(lease);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 0);
	assert_int_equal(vgw_residency_load(stage.residency, "a", soon(), NULL), VGW_OK);
	assert_int_equal(vgw_residency_try_acquire(&lease, stage.residency, "a", &err), VGW_OK);
	vgw_lease_release(lease);
	assert_int_equal(vgw_residency_acquire(&lease, stage.residency, "c", soon(), &err), VGW_NOT_FOUND);
	assert_int_equal(vgw_error_get_fault(&err), VGW_FAULT_MODEL_NOT_FOUND);
	strike_stage(&stage);
}

static void with_everything_pinned_the_refusal_is_immediate(void **unused)
{
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	assert_int_equal(vgw_residency_load(stage.residency, "a", soon(), NULL), VGW_OK);
	assert_int_equal(vgw_residency_pin(stage.residency, "a", 1, NULL), VGW_OK);
	assert_int_equal(vgw_residency_acquire(&lease, stage.residency, "b", soon(), &err), VGW_NO_CAPACITY);
	assert_int_equal(vgw_error_get_fault(&err), VGW_FAULT_NO_CAPACITY);
	assert_non_null(strstr(err.text, "model 'b'"));
	assert_int_equal(vgw_residency_pin(stage.residency, "a", 0, NULL), VGW_OK);
	vgw_lease_release(take(&stage, "b"));
	strike_stage(&stage);
}

/* --- commands --- */

static void an_unload_waits_for_the_leases_and_force_cuts_them(void **unused)
{
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	lease = take(&stage, "a");
	assert_int_equal(vgw_residency_unload(stage.residency, "a", 0, vgw_now_ms() + 20, &err), VGW_TIMEOUT);
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->stops), 0);
	assert_int_equal(vgw_residency_unload(stage.residency, "a", 1, soon(), &err), VGW_OK);
	assert_true(vgw_lease_is_cut(lease));
	assert_int_equal(fakes_get(&stage.fakes, "a")->stops, 1);
	vgw_lease_release(lease);
	lease = take(&stage, "a");
	assert_false(vgw_lease_is_cut(lease));
	vgw_lease_release(lease);
	strike_stage(&stage);
}

static void an_unload_while_it_loads_refuses_those_who_wait(void **unused)
{
	struct asker asker;
	struct stage stage;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	fakes_hold(&stage.fakes, "a");
	begin_asking(&asker, &stage, "a", soon());
	assert_true(fakes_wait_held(&stage.fakes, "a"));
	assert_int_equal(vgw_residency_unload(stage.residency, "a", 0, soon(), NULL), VGW_OK);
	end_asking(&asker);
	assert_int_equal(asker.status, VGW_CANCELLED);
	strike_stage(&stage);
}

static void a_model_sleeps_and_wakes(void **unused)
{
	const vgw_residency_options options = { .size = sizeof(options), .max_asleep = 1 };
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;

	(void)unused;
	set_stage(&stage, &options, "sleeper");
	assert_int_equal(vgw_residency_wake(stage.residency, "a", 0, &err), VGW_BUSY);
	vgw_lease_release(take(&stage, "a"));
	assert_int_equal(vgw_residency_sleep(stage.residency, "a", soon(), &err), VGW_OK);
	assert_string_equal(vgw_residency_get_standing(stage.residency, "a"), "asleep");
	assert_int_equal(vgw_residency_wake(stage.residency, "a", soon(), &err), VGW_OK);
	assert_string_equal(vgw_residency_get_standing(stage.residency, "a"), "loaded");
	vgw_lease_release(take(&stage, "b"));
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->sleeps), 2);
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->stops), 0);
	strike_stage(&stage);
}

static void the_state_and_the_decisions_are_told_as_json(void **unused)
{
	struct stage stage;
	json_t *root, *model, *replica;
	char *text;

	(void)unused;
	set_stage(&stage, NULL, "fake");
	vgw_lease_release(take(&stage, "a"));
	vgw_lease_release(take(&stage, "b"));
	model = state_of(&stage, "b", &root);
	assert_string_equal(json_string_value(json_object_get(model, "state")), "ready");
	assert_string_equal(json_string_value(json_object_get(model, "depth")), "awake");
	replica = json_array_get(json_object_get(model, "replicas"), 0);
	assert_string_equal(json_string_value(json_object_get(replica, "id")), "b/0");
	assert_string_equal(json_string_value(json_object_get(replica, "endpoint")), "http://127.0.0.1:9");
	assert_int_equal(json_integer_value(json_object_get(replica, "in_flight")), 0);
	assert_non_null(json_object_get(json_object_get(json_object_get(model, "times"), "start_ms"), "p50"));
	assert_int_equal(json_integer_value(json_object_get(json_object_get(root, "requests"), "queued")), 0);
	json_decref(root);
	text = vgw_residency_dup_decisions(stage.residency);
	assert_non_null(strstr(text, "\"evict\""));
	vgw_free(text);
	text = vgw_residency_dup_explanation(stage.residency, "a", NULL);
	assert_non_null(strstr(text, "\"b\""));
	vgw_free(text);
	strike_stage(&stage);
}

static void its_thread_is_heard_of(void **state)
{
	struct stage stage;
	int64_t deadline_ms = vgw_now_ms() + SOON_MS;

	(void)state;
	set_stage(&stage, NULL, "fake");
	assert_int_equal(vgw_residency_get_silence_ms(stage.residency), 0);
	while (vgw_residency_get_silence_ms(stage.residency) != 0)
		assert_true(vgw_now_ms() < deadline_ms);
	strike_stage(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(its_thread_is_heard_of),
		cmocka_unit_test(a_model_is_brought_up_when_it_is_asked_for),
		cmocka_unit_test(five_hundred_askers_cause_one_start),
		cmocka_unit_test(the_first_asker_may_leave_and_the_load_goes_on),
		cmocka_unit_test(two_models_alternate_in_one_place),
		cmocka_unit_test(a_model_in_use_is_drained_before_it_leaves),
		cmocka_unit_test(an_asker_who_may_not_wait_is_told_at_once),
		cmocka_unit_test(with_everything_pinned_the_refusal_is_immediate),
		cmocka_unit_test(an_unload_waits_for_the_leases_and_force_cuts_them),
		cmocka_unit_test(an_unload_while_it_loads_refuses_those_who_wait),
		cmocka_unit_test(a_model_sleeps_and_wakes),
		cmocka_unit_test(the_state_and_the_decisions_are_told_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
