/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "kubernetes": workloads that come up and go, and how it is told when they do not. */
#include "kube_rig.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#define BIG "deployments/big"

/* --- up and down --- */

static void a_deployment_comes_up_serves_and_goes(void **state)
{
	struct kube_rig *rig = *state;
	vgw_replica_facts facts = { .size = sizeof(facts) };

	kube_rig_make(rig, BIG, "");
	kube_rig_activate_well(rig);
	assert_int_equal(rig->url_count, 1);
	assert_true(kube_rig_serves(rig->urls[0]));
	assert_int_equal(kube_rig_count(rig, BIG, "replicas"), 1);
	rig->kind->ops.describe(rig->self, &facts);
	assert_says(facts.identity, "\"name\":\"big\"");
	kube_rig_activate_well(rig); /* idempotent */
	assert_int_equal(kube_rig_count(rig, BIG, "pods"), 1);
	kube_rig_stop_well(rig);
	assert_int_equal(kube_rig_count(rig, BIG, "pods"), 0);
	assert_false(kube_rig_serves(rig->urls[0]));
	assert_int_equal(kube_rig_get_deaths(rig), 0);
	memset(facts.identity, 0, sizeof(facts.identity));
	rig->kind->ops.describe(rig->self, &facts);
	assert_string_equal(facts.identity, "");
	kube_rig_stop_well(rig); /* idempotent */
}

static void a_stateful_set_does_as_well(void **state)
{
	struct kube_rig *rig = *state;

	kube_rig_make(rig, "statefulsets/set", "");
	kube_rig_activate_well(rig);
	assert_true(kube_rig_serves(rig->urls[0]));
	kube_rig_stop_well(rig);
	assert_int_equal(kube_rig_count(rig, "statefulsets/set", "pods"), 0);
}

static void a_name_in_dns_leads_to_the_pods_without_their_slices(void **state)
{
	struct kube_rig *rig = *state;

	/* a workload's first pod has this address, and it is a name that needs no server to resolve */
	kube_rig_do(rig, "deny", "{\"verb\":\"list\",\"resource\":\"endpointslices\"}");
	kube_rig_make(rig, BIG, ", \"dns\": \"127.77.0.4\"");
	kube_rig_activate_well(rig);
	assert_int_equal(rig->url_count, 1);
	assert_says(rig->urls[0], "http://127.77.0.4:");
	kube_rig_stop_well(rig);
}

static void several_replicas_share_the_requests(void **state)
{
	struct kube_rig *rig = *state;

	kube_rig_make(rig, BIG, ", \"replicas\": 3");
	kube_rig_activate_well(rig);
	kube_rig_await_urls(rig, 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(kube_rig_serves(rig->urls[i]));
	kube_rig_stop_well(rig);
}

static void more_replicas_that_an_autoscaler_asked_for_stay(void **state)
{
	struct kube_rig *rig = *state;

	kube_rig_do(rig, "scale", "{\"workload\":\"" BIG "\",\"replicas\":2}");
	kube_rig_make(rig, BIG, "");
	kube_rig_activate_well(rig);
	kube_rig_await_urls(rig, 2);
	assert_int_equal(kube_rig_count(rig, BIG, "replicas"), 2);
	kube_rig_stop_well(rig);
}

static void gone_means_that_no_pod_is_left_not_even_a_leaving_one(void **state)
{
	struct kube_rig *rig = *state;
	int64_t before;

	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"arguments\":[\"--stop-time\",\"900ms\"]}}");
	kube_rig_make(rig, BIG, "");
	kube_rig_activate_well(rig);
	before = vgw_now_ms();
	kube_rig_stop_well(rig);
	assert_true(vgw_now_ms() - before >= 900);
	assert_int_equal(kube_rig_count(rig, BIG, "pods"), 0);
}

static void pods_that_do_not_go_are_told_with_what_to_change(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"arguments\":[\"--fault\",\"ignore-sigterm\"],"
				"\"grace\":3}}");
	kube_rig_make(rig, BIG, "");
	kube_rig_activate_well(rig);
	vgw__host_begin(rig->host);
	assert_int_equal(rig->kind->ops.deactivate(rig->self, VGW_DEPTH_SLEEP, vgw_now_ms() + 1200, &err), VGW_TIMEOUT);
	assert_says(err.text, "1 pods are still there");
	assert_says(err.text, "terminationGracePeriodSeconds");
	assert_true(kube_rig_report(rig).has_depth);
	assert_int_equal(kube_rig_report(rig).depth, VGW_DEPTH_STOP);
	kube_rig_stop_well(rig);
}

static void *cancel_when_there_is_a_pod(void *user)
{
	struct kube_rig *rig = user;

	kube_rig_await_count(rig, BIG, "pods", 1);
	vgw__host_cancel(rig->host);
	return NULL;
}

static void a_start_is_given_up_at_once(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;
	pthread_t thread;
	int64_t before = vgw_now_ms();

	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"arguments\":[\"--load-time\",\"1h\"]}}");
	kube_rig_make(rig, BIG, "");
	vgw__host_begin(rig->host);
	assert_int_equal(pthread_create(&thread, NULL, cancel_when_there_is_a_pod, rig), 0);
	assert_int_equal(rig->kind->ops.activate(rig->self, vgw_now_ms() + 3600 * 1000, &err), VGW_CANCELLED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(vgw_now_ms() - before < KUBE_PATIENCE_MS);
	kube_rig_stop_well(rig);
	assert_int_equal(kube_rig_count(rig, BIG, "pods"), 0);
}

/* --- pods that do not come up --- */

static void refuse_to_start(struct kube_rig *rig, const char *set, int64_t patience_ms, vgw_failure failure,
	const char *const *says)
{
	vgw_error err = VGW_ERROR_INIT;
	char order[512];

	(void)snprintf(order, sizeof(order), "{\"workload\":\"" BIG "\",\"set\":%s}", set);
	kube_rig_do(rig, "set", order);
	kube_rig_make(rig, BIG, "");
	assert_int_not_equal(kube_rig_activate(rig, patience_ms, &err), VGW_OK);
	assert_int_equal(err.fault, VGW_FAULT_MODEL_START_FAILED);
	assert_int_equal(kube_rig_report(rig).failure, failure);
	for (; *says; says++)
		assert_says(kube_rig_report(rig).failure_text, *says);
	kube_rig_stop_well(rig);
}

static void an_image_that_is_missing_is_told_at_once(void **state)
{
	static const char *const says[] = { "cannot be pulled", "registry.example/none:1", NULL };

	refuse_to_start(*state, "{\"mode\":\"image-missing\"}", KUBE_PATIENCE_MS, VGW_FAILURE_UNKNOWN, says);
}

static void a_secret_that_is_missing_is_told_at_once(void **state)
{
	static const char *const says[] = { "ConfigMap or Secret", "hf-token", NULL };

	refuse_to_start(*state, "{\"mode\":\"config-missing\"}", KUBE_PATIENCE_MS, VGW_FAILURE_UNKNOWN, says);
}

static void an_engine_that_keeps_ending_is_told_with_its_last_words(void **state)
{
	static const char *const says[] = { "the engine keeps ending", "exit code 3", "ValueError: no such model", NULL };

	refuse_to_start(*state, "{\"mode\":\"crashloop\",\"arguments\":[\"--fault\",\"start-exit:3\",\"--load-time\","
				"\"10ms\"],\"end_message\":\"Traceback\\nValueError: no such model\\n\"}",
		KUBE_PATIENCE_MS, VGW_FAILURE_UNKNOWN, says);
}

static void an_engine_without_memory_is_told_as_such(void **state)
{
	static const char *const says[] = { "torch.OutOfMemoryError", NULL };

	refuse_to_start(*state, "{\"mode\":\"crashloop\",\"arguments\":[\"--fault\",\"start-exit:1\",\"--load-time\","
				"\"10ms\"],\"end_message\":\"torch.OutOfMemoryError: 2 GiB\\nbye\\n\"}",
		KUBE_PATIENCE_MS, VGW_FAILURE_MEMORY, says);
}

static void a_pod_without_a_node_waits_until_the_deadline(void **state)
{
	static const char *const says[] = { "no node has room", "Insufficient nvidia.com/gpu", NULL };
	int64_t before = vgw_now_ms();

	refuse_to_start(*state, "{\"mode\":\"unschedulable\"}", 2500, VGW_FAILURE_MEMORY, says);
	assert_true(vgw_now_ms() - before >= 2500);
}

/* --- an API server that does not do as it is asked --- */

static void fail_with(struct kube_rig *rig, const char *order, const char *json, const char *const *says)
{
	vgw_error err = VGW_ERROR_INIT;
	int64_t before = vgw_now_ms();

	kube_rig_do(rig, order, json);
	assert_int_not_equal(kube_rig_activate(rig, 600 * 1000, &err), VGW_OK);
	assert_int_equal(kube_rig_report(rig).failure, VGW_FAILURE_RUNTIME);
	for (; *says; says++)
		assert_says(err.text, *says);
	assert_true(vgw_now_ms() - before < KUBE_PATIENCE_MS);
	kube_rig_do(rig, "allow_all", "{}");
}

static void a_right_that_is_missing_is_named_as_the_rule_to_add(void **state)
{
	static const char *const scale[] = { "may not patch deployments/scale",
		"{apiGroups: [\"apps\"], resources: [deployments/scale], verbs: [patch]}", "namespace llm", NULL };
	static const char *const list[] = { "apiGroups: [\"discovery.k8s.io\"], resources: [endpointslices]", NULL };
	static const char *const pods[] = { "{apiGroups: [\"\"], resources: [pods], verbs: [list]}", NULL };
	struct kube_rig *rig = *state;

	kube_rig_make(rig, BIG, "");
	fail_with(rig, "deny", "{\"verb\":\"patch\",\"resource\":\"deployments/scale\"}", scale);
	kube_rig_do(rig, "set", "{\"workload\":\"" BIG "\",\"set\":{\"arguments\":[\"--load-time\",\"1h\"]}}");
	fail_with(rig, "deny", "{\"verb\":\"list\",\"resource\":\"pods\"}", pods);
	kube_rig_do(rig, "cut_watches", "{}");
	kube_rig_do(rig, "fault", "{\"verb\":\"watch\",\"resource\":\"endpointslices\",\"code\":500}");
	fail_with(rig, "deny", "{\"verb\":\"list\",\"resource\":\"endpointslices\"}", list);
	kube_rig_stop_well(rig);
}

static void a_token_that_is_not_accepted_is_told_and_the_new_one_is_read(void **state)
{
	static const char *const says[] = { "does not accept the token in ", "/token (401)", NULL };
	struct kube_rig *rig = *state;

	kube_rig_make(rig, BIG, "");
	fail_with(rig, "token", "{\"token\":\"second-token\"}", says);
	kube_rig_write_token(rig, "second-token\n");
	kube_rig_activate_well(rig);
	kube_rig_stop_well(rig);
}

static void a_token_file_that_is_not_there_is_told(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;
	char path[128];

	kube_rig_make(rig, BIG, "");
	(void)snprintf(path, sizeof(path), "%s/token", rig->folder);
	assert_int_equal(remove(path), 0);
	assert_int_equal(kube_rig_activate(rig, 5000, &err), VGW_BACKEND);
	assert_says(err.text, "No such file or directory");
	assert_says(err.text, "automountServiceAccountToken");
}

static void a_workload_that_does_not_exist_is_told(void **state)
{
	static const char *const says[] = { "has no deployments 'nope' (404)", NULL };
	struct kube_rig *rig = *state;

	kube_rig_make(rig, "deployments/nope", "");
	fail_with(rig, "state", "{}", says);
	kube_rig_stop_well(rig); /* what does not exist does not run */
}

static void a_server_with_another_certificate_is_not_spoken_to(void **state)
{
	struct kube_rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	assert_int_equal(setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1", 1), 0);
	assert_int_equal(setenv("KUBERNETES_SERVICE_PORT", strrchr(rig->api, ':') + 1, 1), 0);
	{
		const vgw_replica_spec spec = { .size = sizeof(spec), .model = "big", .served_name = "org/big",
			.replica = "big/0", .backend_json = "{\"kind\":\"kubernetes\",\"namespace\":\"llm\",\"deployment\":"
							    "\"big\",\"token_file\":\"/etc/hostname\",\"ca_file\":"
							    "\"/etc/ssl/certs/ca-certificates.crt\"}" };

		assert_int_equal(rig->kind->ops.create(&rig->self, &spec, rig->host, rig->kind->user, &err), VGW_OK);
	}
	assert_int_equal(kube_rig_activate(rig, 5000, &err), VGW_BACKEND);
	assert_says(err.text, "ertificate");
	assert_int_equal(unsetenv("KUBERNETES_SERVICE_HOST"), 0);
}

static void conflicts_throttling_and_failures_are_sat_out(void **state)
{
	struct kube_rig *rig = *state;

	kube_rig_do(rig, "fault", "{\"verb\":\"patch\",\"resource\":\"deployments/scale\",\"code\":409,\"times\":2}");
	kube_rig_do(rig, "fault", "{\"verb\":\"get\",\"resource\":\"deployments/scale\",\"code\":429}");
	kube_rig_do(rig, "fault", "{\"verb\":\"list\",\"resource\":\"endpointslices\",\"code\":500,\"times\":2}");
	kube_rig_do(rig, "fault", "{\"verb\":\"list\",\"resource\":\"pods\",\"code\":500}");
	kube_rig_make(rig, BIG, "");
	kube_rig_activate_well(rig);
	assert_true(kube_rig_serves(rig->urls[0]));
	kube_rig_stop_well(rig);
}

static void a_server_that_has_just_started_and_knows_no_rights_yet_is_asked_again(void **state)
{
	static const char *const rights[] = { "get\",\"resource\":\"deployments/scale",
		"patch\",\"resource\":\"deployments/scale", "list\",\"resource\":\"endpointslices",
		"list\",\"resource\":\"pods" };
	struct kube_rig *rig = *state;

	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
		char order[128];

		(void)snprintf(order, sizeof(order), "{\"verb\":\"%s\",\"code\":403}", rights[i]);
		kube_rig_do(rig, "fault", order);
	}
	kube_rig_make(rig, BIG, "");
	kube_rig_activate_well(rig);
	kube_rig_do(rig, "fault", "{\"verb\":\"patch\",\"resource\":\"deployments/scale\",\"code\":403}");
	kube_rig_stop_well(rig);
}

static void a_stop_waits_for_a_server_that_is_away(void **state)
{
	struct kube_rig *rig = *state;

	kube_rig_make(rig, BIG, "");
	kube_rig_activate_well(rig);
	kube_rig_do(rig, "fault", "{\"verb\":\"patch\",\"resource\":\"deployments/scale\",\"code\":503,\"times\":5}");
	kube_rig_stop_well(rig);
	assert_int_equal(kube_rig_count(rig, BIG, "pods"), 0);
}

static void conflicts_without_end_are_told(void **state)
{
	static const char *const says[] = { "somebody else keeps changing it", "(409)", "apply your changes", NULL };
	struct kube_rig *rig = *state;

	kube_rig_make(rig, BIG, "");
	fail_with(rig, "fault",
		"{\"verb\":\"patch\",\"resource\":\"deployments/scale\",\"code\":409,\"times\":1000}", says);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kube_rig_set_up, kube_rig_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_deployment_comes_up_serves_and_goes),
		TEST(a_stateful_set_does_as_well),
		TEST(a_name_in_dns_leads_to_the_pods_without_their_slices),
		TEST(several_replicas_share_the_requests),
		TEST(more_replicas_that_an_autoscaler_asked_for_stay),
		TEST(gone_means_that_no_pod_is_left_not_even_a_leaving_one),
		TEST(pods_that_do_not_go_are_told_with_what_to_change),
		TEST(a_start_is_given_up_at_once),
		TEST(an_image_that_is_missing_is_told_at_once),
		TEST(a_secret_that_is_missing_is_told_at_once),
		TEST(an_engine_that_keeps_ending_is_told_with_its_last_words),
		TEST(an_engine_without_memory_is_told_as_such),
		TEST(a_pod_without_a_node_waits_until_the_deadline),
		TEST(a_right_that_is_missing_is_named_as_the_rule_to_add),
		TEST(a_token_that_is_not_accepted_is_told_and_the_new_one_is_read),
		TEST(a_token_file_that_is_not_there_is_told),
		TEST(a_workload_that_does_not_exist_is_told),
		TEST(a_server_with_another_certificate_is_not_spoken_to),
		TEST(conflicts_throttling_and_failures_are_sat_out),
		TEST(conflicts_without_end_are_told),
		TEST(a_server_that_has_just_started_and_knows_no_rights_yet_is_asked_again),
		TEST(a_stop_waits_for_a_server_that_is_away),
	};

	return cmocka_run_group_tests(tests, NULL, kube_rig_end_cluster);
}
