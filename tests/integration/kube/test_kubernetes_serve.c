/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "kubernetes": what happens to a workload that serves, and workloads that were there before us. */
#include "kube_rig.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#define BIG "deployments/big"

static void serve(struct kube_rig *rig, const char *more)
{
	kube_rig_make(rig, BIG, more);
	kube_rig_activate_well(rig);
	kube_rig_await_count(rig, BIG, "ready", kube_rig_count(rig, BIG, "replicas"));
}

/* --- endpoints that change --- */

static void pods_that_come_and_go_are_told_at_once(void **state)
{
	struct kube_rig *rig = *state;

	serve(rig, "");
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":3}");
	kube_rig_await_urls(rig, 3);
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
	kube_rig_await_urls(rig, 2);
	assert_true(kube_rig_serves(rig->urls[0]));
	assert_true(kube_rig_serves(rig->urls[1]));
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	kube_rig_stop_well(rig);
}

static void a_lost_pod_among_several_is_no_death(void **state)
{
	struct kube_rig *rig = *state;
	char lost[64];

	serve(rig, ", \"replicas\": 2");
	kube_rig_await_urls(rig, 2);
	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"arguments\":[\"--load-time\",\"300ms\"]}}");
	(void)snprintf(lost, sizeof(lost), "%s", rig->urls[0]);
	kube_rig_do(rig, "delete_pod", "{\"workload\":\"" BIG "\"}");
	kube_rig_await_urls(rig, 1);
	assert_string_not_equal(rig->urls[0], lost);
	kube_rig_await_urls(rig, 2); /* its replacement */
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	kube_rig_stop_well(rig);
}

static void a_watch_that_is_cut_goes_on_where_it_was(void **state)
{
	struct kube_rig *rig = *state;

	serve(rig, "");
	kube_rig_do(rig, "cut_watches", "{}");
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
	kube_rig_await_urls(rig, 2);
	kube_rig_stop_well(rig);
}

static void a_watch_whose_past_is_forgotten_begins_with_a_list(void **state)
{
	struct kube_rig *rig = *state;

	for (int is_early = 0; is_early < 2; is_early++) {
		if (is_early == 0)
			serve(rig, "");
		else
			kube_rig_activate_well(rig);
		kube_rig_do(rig, "fault", "{\"verb\":\"watch\",\"resource\":\"endpointslices\",\"code\":500}");
		kube_rig_do(rig, "compact", is_early ? "{\"early\":true}" : "{}");
		kube_rig_do(rig, "cut_watches", "{}");
		kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
		kube_rig_await_urls(rig, 2);
		kube_rig_stop_well(rig);
	}
}

static void the_version_of_slices_is_the_one_that_the_server_has(void **state)
{
	struct kube_rig *rig = *state;

	kube_rig_do(rig, "speak", "{\"version\":\"v1beta1\"}"); /* Kubernetes 1.17 to 1.20 */
	serve(rig, "");
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
	kube_rig_await_urls(rig, 2);
	kube_rig_do(rig, "speak", "{\"version\":\"v1\"}"); /* upgraded, beyond 1.24 */
	kube_rig_do(rig, "cut_watches", "{}");
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":3}");
	kube_rig_await_urls(rig, 3);
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	kube_rig_stop_well(rig);
}

static void a_server_without_slices_is_named(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	kube_rig_do(rig, "speak", "{\"version\":\"v2\"}");
	kube_rig_make(rig, BIG, "");
	assert_int_not_equal(kube_rig_activate(rig, KUBE_PATIENCE_MS, &err), VGW_OK);
	assert_says(err.text, "knows no endpointslices (404)");
	kube_rig_stop_well(rig);
}

static void without_the_right_to_watch_it_is_polled(void **state)
{
	struct kube_rig *rig = *state;

	kube_rig_do(rig, "deny", "{\"verb\":\"watch\",\"resource\":\"endpointslices\"}");
	serve(rig, "");
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
	kube_rig_await_urls(rig, 2);
	assert_true(kube_rig_has_logged(rig, "verbs: [watch]"));
	kube_rig_stop_well(rig);
}

static void an_api_server_that_fails_changes_nothing_for_those_who_serve(void **state)
{
	struct kube_rig *rig = *state;
	int publications;

	serve(rig, "");
	publications = kube_rig_get_publications(rig);
	kube_rig_do(rig, "token", "{\"token\":\"another\"}");
	kube_rig_do(rig, "cut_watches", "{}");
	kube_rig_await_call(rig, "list endpointslices");
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	assert_int_equal(kube_rig_get_publications(rig), publications);
	assert_true(kube_rig_serves(rig->urls[0]));
	kube_rig_write_token(rig, "another"); /* it is back */
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
	kube_rig_await_urls(rig, 2);
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	kube_rig_stop_well(rig);
}

/* --- deaths --- */

/* The best of three, because a busy machine is late itself. */
static void an_engine_that_dies_is_noticed_within_a_second(void **state)
{
	struct kube_rig *rig = *state;
	int64_t best_ms = INT64_MAX;

	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"end_reason\":\"OOMKilled\"}}");
	kube_rig_make(rig, BIG, "");
	for (int i = 0; i < 3 && best_ms >= 1000; i++) {
		int64_t before;

		kube_rig_activate_well(rig); /* it comes again after a death, too */
		kube_rig_await_count(rig, BIG, "ready", 1);
		before = vgw_now_ms();
		kube_rig_do(rig, "crash", "{\"workload\":\"" BIG "\"}");
		kube_rig_await_death(rig);
		best_ms = vgw_now_ms() - before < best_ms ? vgw_now_ms() - before : best_ms;
		assert_says(rig->death, "OOMKilled, exit code 137");
		kube_rig_stop_well(rig);
	}
	print_message("noticed %d ms after the order\n", (int)best_ms);
	assert_true(best_ms < 1000);
}

static void being_scaled_down_by_somebody_else_is_an_absence_and_no_death(void **state)
{
	struct kube_rig *rig = *state;
	vgw_replica_facts facts = { .size = sizeof(facts) };

	serve(rig, "");
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":0}");
	kube_rig_await_absence(rig);
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	rig->kind->ops.describe(rig->self, &facts);
	assert_string_equal(facts.identity, "");
	kube_rig_activate_well(rig); /* at the next use */
	assert_true(kube_rig_serves(rig->urls[0]));
	kube_rig_stop_well(rig);
}

static void pods_that_are_gone_without_a_wish_are_a_death(void **state)
{
	struct kube_rig *rig = *state;

	serve(rig, "");
	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"is_stuck\":true}}");
	kube_rig_do(rig, "delete_pod", "{\"workload\":\"" BIG "\"}");
	kube_rig_await_death(rig);
	assert_says(rig->death, "its pods are gone: they were deleted or evicted");
	kube_rig_stop_well(rig);
}

static void a_workload_that_is_deleted_is_a_death_and_can_be_stopped(void **state)
{
	struct kube_rig *rig = *state;

	serve(rig, "");
	kube_rig_do(rig, "forget", "{\"workload\":\"" BIG "\"}");
	kube_rig_await_death(rig);
	assert_says(rig->death, "somebody deleted the workload");
	kube_rig_stop_well(rig);
}

static void a_pod_that_is_only_late_with_its_probes_keeps_its_requests(void **state)
{
	struct kube_rig *rig = *state;
	int publications;

	serve(rig, "");
	publications = kube_rig_get_publications(rig);
	(void)json_decref(kube_rig_order(rig, "state", "{}"));
	kube_rig_do(rig, "hold_unready", "{\"workload\":\"" BIG "\",\"value\":true}");
	kube_rig_await_count(rig, BIG, "ready", 0);
	kube_rig_do(rig, "hold_unready", "{\"workload\":\"" BIG "\",\"value\":false}");
	kube_rig_await_count(rig, BIG, "ready", 1);
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	assert_int_equal(kube_rig_get_publications(rig), publications);
	assert_true(kube_rig_serves(rig->urls[0]));
	kube_rig_stop_well(rig);
}

/* --- workloads that were there before --- */

static vgw_status adopt(struct kube_rig *rig, const char *identity, int64_t patience_ms, vgw_error *err)
{
	vgw__host_begin(rig->host);
	return rig->kind->ops.adopt(rig->self, identity, vgw_now_ms() + patience_ms, err);
}

static void a_workload_that_is_up_is_adopted_without_a_record(void **state)
{
	struct kube_rig *rig = *state;
	vgw_replica_facts facts = { .size = sizeof(facts) };
	vgw_error err = VGW_ERROR_INIT;

	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":1}");
	kube_rig_await_count(rig, BIG, "ready", 1);
	kube_rig_make(rig, BIG, "");
	if (adopt(rig, "", KUBE_PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
	assert_int_equal(rig->url_count, 1);
	rig->kind->ops.describe(rig->self, &facts);
	assert_int_equal(adopt(rig, facts.identity, KUBE_PATIENCE_MS, &err), VGW_OK);
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
	kube_rig_await_urls(rig, 2); /* it is watched */
	kube_rig_stop_well(rig);
}

static void what_is_scaled_to_nothing_is_not_adopted(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	kube_rig_make(rig, BIG, "");
	assert_int_equal(adopt(rig, "", KUBE_PATIENCE_MS, &err), VGW_NOT_FOUND);
	assert_int_equal(adopt(rig, "{\"name\":\"other\"}", KUBE_PATIENCE_MS, &err), VGW_NOT_FOUND);
	assert_int_equal(kube_rig_get_publications(rig), 0);
}

static void what_was_still_starting_is_scaled_to_nothing(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"arguments\":[\"--load-time\",\"1h\"]}}");
	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":1}");
	kube_rig_make(rig, BIG, "");
	assert_int_equal(adopt(rig, "", 6000, &err), VGW_NOT_FOUND);
	assert_int_equal(kube_rig_count(rig, BIG, "pods"), 0);
}

static void an_unknown_state_is_left_alone(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":1}");
	kube_rig_do(rig, "token", "{\"token\":\"another\"}");
	kube_rig_make(rig, BIG, "");
	assert_int_equal(adopt(rig, "", KUBE_PATIENCE_MS, &err), VGW_BACKEND);
	assert_int_equal(kube_rig_count(rig, BIG, "replicas"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kube_rig_set_up, kube_rig_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(pods_that_come_and_go_are_told_at_once),
		TEST(a_lost_pod_among_several_is_no_death),
		TEST(a_watch_that_is_cut_goes_on_where_it_was),
		TEST(a_watch_whose_past_is_forgotten_begins_with_a_list),
		TEST(the_version_of_slices_is_the_one_that_the_server_has),
		TEST(a_server_without_slices_is_named),
		TEST(without_the_right_to_watch_it_is_polled),
		TEST(an_api_server_that_fails_changes_nothing_for_those_who_serve),
		TEST(an_engine_that_dies_is_noticed_within_a_second),
		TEST(being_scaled_down_by_somebody_else_is_an_absence_and_no_death),
		TEST(pods_that_are_gone_without_a_wish_are_a_death),
		TEST(a_workload_that_is_deleted_is_a_death_and_can_be_stopped),
		TEST(a_pod_that_is_only_late_with_its_probes_keeps_its_requests),
		TEST(a_workload_that_is_up_is_adopted_without_a_record),
		TEST(what_is_scaled_to_nothing_is_not_adopted),
		TEST(what_was_still_starting_is_scaled_to_nothing),
		TEST(an_unknown_state_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, kube_rig_end_cluster);
}
