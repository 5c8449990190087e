/* SPDX-License-Identifier: Apache-2.0 */
/* Engines that are up without our doing: found at the start, dead at once, brought up again by somebody else. */
#include "testing.h"

#include <vllmgw/event.h>
#include <vllmgw/residency.h>

#include <stdatomic.h>
#include <string.h>

enum { SOON_MS = 20000 };

/* One shared server; what happens to it is the test's doing. */
struct shared {
	vgw_host *host;
	atomic_int deaths;
	atomic_int returns;
};

static vgw_status create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user, vgw_error *err)
{
	struct shared *shared = user;

	(void)spec;
	(void)err;
	shared->host = host;
	*self = shared;
	return VGW_OK;
}

static void destroy(void *self)
{
	(void)self;
}

static vgw_status come_up(void *self, int64_t deadline_ms, vgw_error *err)
{
	(void)deadline_ms;
	return vgw_host_set_endpoint(((struct shared *)self)->host, "http://127.0.0.1:9", err);
}

static vgw_status go_down(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	(void)self;
	(void)depth;
	(void)deadline_ms;
	(void)err;
	return VGW_OK;
}

static vgw_status serve(void *self, int64_t deadline_ms, vgw_error *err)
{
	(void)self;
	(void)deadline_ms;
	(void)err;
	return VGW_OK;
}

/* It is there, and gone before anybody was told. */
static vgw_status find(void *self, const char *identity, int64_t deadline_ms, vgw_error *err)
{
	struct shared *shared = self;

	(void)identity;
	if (come_up(self, deadline_ms, err) != VGW_OK)
		return VGW_BACKEND;
	vgw_host_report_death(shared->host, "its machine went away");
	return VGW_OK;
}

static const vgw_controller_ops shared_ops = { .size = sizeof(vgw_controller_ops), .kind = "shared",
	.flags = VGW_CONTROLLER_SELF_RUNNING, .create = create, .destroy = destroy, .activate = come_up, .deactivate = go_down,
	.probe = serve, .adopt = find };

static void on_event(void *user, const vgw_event *event)
{
	struct shared *shared = user;

	if (event->kind != VGW_EVENT_TRANSITION)
		return;
	if (strcmp(event->cause, "crashed") == 0)
		atomic_fetch_add(&shared->deaths, 1);
	if (strcmp(event->to, "absent") == 0)
		atomic_fetch_add(&shared->returns, 1);
}

static void one_that_died_while_it_was_found_lives_when_it_is_found_again(void **state)
{
	const vgw_residency_options options = { .size = sizeof(options), .backoff_ms = 1, .settle_ms = 1 };
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	int64_t until_ms = vgw_now_ms() + SOON_MS;
	struct shared shared = { 0 };
	vgw_subscription *subscription;
	vgw_residency *residency;
	vgw_registry *registry;
	vgw_lease *lease;

	(void)state;
	assert_int_equal(vgw_residency_new(&residency, &options, NULL), VGW_OK);
	assert_int_equal(vgw_residency_add_controller(residency, &shared_ops, &shared, NULL), VGW_OK);
	assert_int_equal(vgw_residency_subscribe(&subscription, residency, on_event, &shared, NULL), VGW_OK);
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	model.name = "m";
	model.kind = "shared";
	model.backend_json = "{\"kind\":\"shared\"}";
	assert_int_equal(vgw_registry_add(registry, &model, NULL), VGW_OK);
	assert_int_equal(vgw_residency_apply(residency, registry, NULL), VGW_OK);
	while (!atomic_load(&shared.returns))
		assert_true(vgw_now_ms() < until_ms);
	assert_int_equal(atomic_load(&shared.deaths), 1);

	vgw_host_report_presence(shared.host, "its machine is back");
	while (vgw_residency_try_acquire(&lease, residency, "m", NULL) != VGW_OK)
		assert_true(vgw_now_ms() < until_ms);
	vgw_lease_release(lease);
	vgw_subscription_end(subscription); /* whatever was said has been heard */
	assert_int_equal(atomic_load(&shared.deaths), 1);
	assert_string_equal(vgw_residency_get_standing(residency, "m"), "loaded");
	vgw_registry_unref(registry);
	vgw_residency_free(residency);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_died_while_it_was_found_lives_when_it_is_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
