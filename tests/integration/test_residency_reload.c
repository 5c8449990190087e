/* SPDX-License-Identifier: Apache-2.0 */
/* Another set of models while engines run and leases are held. */
#include "testing.h"

#include "fake_controller.h"

#include <string.h>

enum { SOON_MS = 20000 };

struct stage {
	struct fakes fakes;
	vgw_residency *residency;
};

static int64_t soon(void)
{
	return vgw_now_ms() + SOON_MS;
}

static void set_stage(struct stage *stage)
{
	const vgw_residency_options options = { .size = sizeof(options), .max_resident = 2 };

	fakes_init(&stage->fakes);
	stage->residency = fakes_residency(&stage->fakes, &options);
}

static void strike_stage(struct stage *stage)
{
	vgw_residency_free(stage->residency);
	assert_int_equal(stage->fakes.up, 0);
	fakes_fini(&stage->fakes);
}

static vgw_lease *take(struct stage *stage, const char *model)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_lease *lease;

	if (vgw_residency_acquire(&lease, stage->residency, model, soon(), &err) != VGW_OK)
		fail_msg("%s", err.text);
	return lease;
}

struct wish {
	const char *name;
	const char *kind;
	const char *backend_json;
};

static vgw_status apply(struct stage *stage, const struct wish *wishes, size_t count, vgw_error *err)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	vgw_status status;

	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	for (size_t i = 0; i < count; i++) {
		options.name = wishes[i].name;
		options.kind = wishes[i].kind;
		options.backend_json = wishes[i].backend_json;
		assert_int_equal(vgw_registry_add(registry, &options, NULL), VGW_OK);
	}
	status = vgw_residency_apply(stage->residency, registry, err);
	vgw_registry_unref(registry);
	return status;
}

static void unchanged_models_keep_their_engine_and_their_leases(void **unused)
{
	static const struct wish before[] = { { "a", "fake", "{}" }, { "b", "fake", "{}" } };
	static const struct wish after[] = { { "c", "fake", "{}" }, { "a", "fake", "{}" } };
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage);
	assert_int_equal(apply(&stage, before, 2, NULL), VGW_OK);
	lease = take(&stage, "a");
	vgw_lease_release(take(&stage, "b"));
	assert_int_equal(apply(&stage, after, 2, NULL), VGW_OK);
	assert_false(vgw_lease_is_cut(lease));
	vgw_lease_release(take(&stage, "a"));
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 1);
	assert_int_equal(fakes_get(&stage.fakes, "a")->created, 1);
	assert_null(vgw_residency_get_standing(stage.residency, "b"));
	vgw_lease_release(lease);
	/* b was not in the new set: its engine goes, which leaves the place to c. */
	vgw_lease_release(take(&stage, "c"));
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "b")->stops), 1);
	strike_stage(&stage);
}

static void a_changed_model_drains_and_starts_anew_at_its_next_use(void **unused)
{
	static const struct wish before[] = { { "a", "fake", "{}" } };
	static const struct wish after[] = { { "a", "fake", "{\"x\":1}" } };
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage);
	assert_int_equal(apply(&stage, before, 1, NULL), VGW_OK);
	lease = take(&stage, "a");
	assert_int_equal(apply(&stage, after, 1, NULL), VGW_OK);
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->stops), 0);
	assert_int_equal(vgw_residency_try_acquire(&(vgw_lease *){ NULL }, stage.residency, "a", NULL), VGW_BUSY);
	vgw_lease_release(lease);
	vgw_lease_release(take(&stage, "a"));
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 2);
	assert_int_equal(fakes_get(&stage.fakes, "a")->stops, 1);
	assert_int_equal(fakes_get(&stage.fakes, "a")->created, 2);
	strike_stage(&stage);
	assert_int_equal(stage.fakes.items[0].destroyed, 2);
}

static void a_model_that_changes_twice_before_it_drained_takes_the_last(void **unused)
{
	static const struct wish one[] = { { "a", "fake", "{}" } };
	static const struct wish two[] = { { "a", "fake", "{\"x\":1}" } };
	static const struct wish three[] = { { "a", "fake", "{\"x\":2}" } };
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage);
	assert_int_equal(apply(&stage, one, 1, NULL), VGW_OK);
	lease = take(&stage, "a");
	assert_int_equal(apply(&stage, two, 1, NULL), VGW_OK);
	assert_int_equal(apply(&stage, three, 1, NULL), VGW_OK);
	vgw_lease_release(lease);
	vgw_lease_release(take(&stage, "a"));
	assert_int_equal(fakes_get(&stage.fakes, "a")->created, 3);
	strike_stage(&stage);
	assert_int_equal(stage.fakes.items[0].destroyed, 3);
}

static void a_bad_set_changes_nothing(void **unused)
{
	static const struct wish before[] = { { "a", "fake", "{}" } };
	static const struct wish bad[] = { { "b", "fake", "{}" }, { "a", "fake", "{\"broken\":1}" } };
	static const struct wish worse[] = { { "b", "fake", "{}" }, { "a", "no-such-kind", "{}" } };
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage);
	assert_int_equal(apply(&stage, before, 1, NULL), VGW_OK);
	lease = take(&stage, "a");
	assert_int_equal(apply(&stage, bad, 2, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "model 'a'"));
	assert_int_equal(apply(&stage, worse, 2, &err), VGW_INVALID);
	assert_null(vgw_residency_get_standing(stage.residency, "b"));
	vgw_lease_release(take(&stage, "a"));
	vgw_lease_release(lease);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 1);
	assert_int_equal(fakes_get(&stage.fakes, "b")->destroyed, fakes_get(&stage.fakes, "b")->created);
	strike_stage(&stage);
}

static void an_engine_of_somebody_else_is_always_up_and_cannot_be_unloaded(void **unused)
{
	static const struct wish before[] = { { "s", "static", "{\"kind\":\"static\",\"urls\":[\"http://127.0.0.1:1\"]}" } };
	static const struct wish after[] = { { "s", "static", "{\"kind\":\"static\",\"urls\":[\"http://127.0.0.1:2\"]}" } };
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;
	vgw_lease *lease;

	(void)unused;
	set_stage(&stage);
	assert_int_equal(apply(&stage, before, 1, NULL), VGW_OK);
	assert_string_equal(vgw_residency_get_standing(stage.residency, "s"), "loaded");
	lease = take(&stage, "s");
	assert_string_equal(vgw_lease_get_endpoint(lease), "http://127.0.0.1:1");
	assert_int_equal(vgw_residency_unload(stage.residency, "s", 0, 0, &err), VGW_INVALID);
	assert_int_equal(apply(&stage, after, 1, NULL), VGW_OK);
	assert_string_equal(vgw_lease_get_endpoint(lease), "http://127.0.0.1:1");
	vgw_lease_release(lease);
	lease = take(&stage, "s");
	assert_string_equal(vgw_lease_get_endpoint(lease), "http://127.0.0.1:2");
	vgw_lease_release(lease);
	strike_stage(&stage);
}

static void fewer_places_let_the_least_recently_used_go(void **unused)
{
	static const struct wish wishes[] = { { "a", "fake", "{}" }, { "b", "fake", "{}" } };
	const vgw_residency_options one = { .size = sizeof(one), .max_resident = 1 };
	struct stage stage;

	(void)unused;
	set_stage(&stage);
	assert_int_equal(apply(&stage, wishes, 2, NULL), VGW_OK);
	vgw_lease_release(take(&stage, "a"));
	vgw_lease_release(take(&stage, "b"));
	assert_int_equal(fakes_read(&stage.fakes, &stage.fakes.up), 2);
	assert_int_equal(vgw_residency_configure(stage.residency, &one, NULL), VGW_OK);
	assert_int_equal(vgw_residency_unload(stage.residency, "a", 0, soon(), NULL), VGW_OK);
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "b")->stops), 0);
	assert_int_equal(fakes_read(&stage.fakes, &fakes_get(&stage.fakes, "a")->stops), 1);
	strike_stage(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unchanged_models_keep_their_engine_and_their_leases),
		cmocka_unit_test(a_changed_model_drains_and_starts_anew_at_its_next_use),
		cmocka_unit_test(a_model_that_changes_twice_before_it_drained_takes_the_last),
		cmocka_unit_test(a_bad_set_changes_nothing),
		cmocka_unit_test(an_engine_of_somebody_else_is_always_up_and_cannot_be_unloaded),
		cmocka_unit_test(fewer_places_let_the_least_recently_used_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
