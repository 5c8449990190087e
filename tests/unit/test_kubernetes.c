/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "kubernetes" without a cluster: its configuration, and what objects of the API mean. */
#include "testing.h"

#include "backend/kubernetes_config.h"
#include "backend/kubernetes_pods.h"
#include "backend/kubernetes_slice.h"

#include <stdlib.h>
#include <string.h>

#define BACKEND(more) "{\"kind\":\"kubernetes\"" more "}"
#define OUTSIDE ",\"namespace\":\"llm\",\"api_server\":\"https://h:6443/\""

static vgw_status read_config(struct vgw__kube_config *config, const char *json, vgw_error *err)
{
	const vgw_replica_spec spec = { .size = sizeof(spec), .model = "big", .served_name = "org/big",
		.replica = "big/0", .backend_json = json };

	return vgw__kube_config_read(config, &spec, err);
}

/* --- configuration --- */

static void mistakes_are_named_with_their_remedy(void **state)
{
	static const struct {
		const char *json;
		const char *says;
	} mistakes[] = {
		{ BACKEND(OUTSIDE), "needs `deployment: NAME` or `statefulset: NAME`" },
		{ BACKEND(OUTSIDE ",\"deployment\":\"a\",\"statefulset\":\"b\""), "not both" },
		{ BACKEND(OUTSIDE ",\"deployment\":\"Big_Model\""), "backend.deployment is 'Big_Model'; a name in Kubernetes" },
		{ BACKEND(OUTSIDE ",\"deployment\":\"../secrets\""), "a name in Kubernetes" },
		{ BACKEND(OUTSIDE ",\"deployment\":\"a\",\"replicas\":0"), "backend.replicas is 0; expected 1 to 256" },
		{ BACKEND(OUTSIDE ",\"deployment\":\"a\",\"port\":99999"), "backend.port is 99999" },
		{ BACKEND(OUTSIDE ",\"deployment\":\"a\",\"service\":\"s\",\"dns\":\"d\""), "keep one" },
		{ BACKEND(OUTSIDE ",\"deployment\":\"a\",\"replica\":2"), "replica" },
		{ BACKEND(",\"deployment\":\"a\""), "this is no pod (KUBERNETES_SERVICE_HOST is not set)" },
		{ BACKEND(",\"deployment\":\"a\",\"api_server\":\"https://h\""), "needs `namespace: NAME`" },
		{ BACKEND(",\"deployment\":\"a\",\"namespace\":\"n\",\"api_server\":\"h:6443\""), "expected https://host:port" },
		{ BACKEND(",\"deployment\":\"a\",\"namespace\":\"n\",\"api_server\":\"http://h\",\"token_file\":\"/t\""),
			"a token would be sent in clear" },
	};

	(void)state;
	assert_int_equal(unsetenv("KUBERNETES_SERVICE_HOST"), 0);
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct vgw__kube_config config;
		vgw_error err = VGW_ERROR_INIT;

		assert_int_equal(read_config(&config, mistakes[i].json, &err), VGW_INVALID);
		vgw__kube_config_fini(&config);
		if (!strstr(err.text, mistakes[i].says) || !strstr(err.text, "model 'big'"))
			fail_msg("\"%s\" does not say \"%s\"", err.text, mistakes[i].says);
	}
}

static void what_is_not_said_has_a_default(void **state)
{
	struct vgw__kube_config config;

	(void)state;
	assert_int_equal(read_config(&config, BACKEND(OUTSIDE ",\"statefulset\":\"a\""), NULL), VGW_OK);
	assert_string_equal(config.resource, "statefulsets");
	assert_string_equal(config.service, "a");
	assert_string_equal(config.cluster.api_server, "https://h:6443");
	assert_null(config.cluster.token_file); /* that of another cluster is not given away */
	assert_null(config.cluster.ca_file);
	assert_int_equal(config.port, 8000);
	assert_int_equal(config.replicas, 1);
	vgw__kube_config_fini(&config);
}

static void in_a_pod_the_service_account_is_used(void **state)
{
	struct vgw__kube_config config;

	(void)state;
	assert_int_equal(setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1), 0);
	assert_int_equal(setenv("KUBERNETES_SERVICE_PORT", "6443", 1), 0);
	assert_int_equal(read_config(&config, BACKEND(",\"namespace\":\"llm\",\"deployment\":\"a\""), NULL), VGW_OK);
	assert_string_equal(config.cluster.api_server, "https://[fd00::1]:6443");
	assert_string_equal(config.cluster.token_file, "/var/run/secrets/kubernetes.io/serviceaccount/token");
	assert_string_equal(config.cluster.ca_file, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt");
	vgw__kube_config_fini(&config);
	assert_int_equal(unsetenv("KUBERNETES_SERVICE_HOST"), 0);
}

/* --- EndpointSlices --- */

#define SLICE(service, family, endpoints)                                                                    \
	"{\"metadata\":{\"name\":\"s\",\"labels\":{\"kubernetes.io/service-name\":\"" service "\"}},"        \
	"\"addressType\":\"" family "\",\"endpoints\":[" endpoints "]}"
#define POD(address, conditions) "{\"addresses\":[\"" address "\"],\"conditions\":{" conditions "}}"

/* "url url ... /listed" */
static void expect_endpoints(const char *slices, const char *expected)
{
	json_t *root = json_loads(slices, 0, NULL);
	struct vgw__strings ready = { 0 };
	char text[512] = "";
	size_t listed = 0;

	assert_non_null(root);
	assert_true(vgw__kube_slice_collect(root, "big", 8000, &ready, &listed));
	for (size_t i = 0; i < ready.count; i++) {
		size_t len = strlen(text);

		(void)snprintf(text + len, sizeof(text) - len, "%s ", ready.items[i]);
	}
	(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "/%zu", listed);
	assert_string_equal(text, expected);
	vgw__strings_fini(&ready);
	json_decref(root);
}

static void only_ready_pods_of_the_service_take_requests(void **state)
{
	(void)state;
	expect_endpoints("{}", "/0");
	expect_endpoints("{\"a\":" SLICE("big", "IPv4", POD("10.0.0.1", "\"ready\":true") "," POD("10.0.0.2",
		"\"ready\":false") "," POD("10.0.0.3", "\"ready\":false,\"serving\":true,\"terminating\":true")) ",\"b\":"
		SLICE("other", "IPv4", POD("10.0.0.4", "\"ready\":true")) "}", "http://10.0.0.1:8000 /2");
}

static void absent_and_null_conditions_mean_ready(void **state)
{
	(void)state;
	expect_endpoints("{\"a\":" SLICE("big", "IPv4", POD("10.0.0.1", "") "," POD("10.0.0.2", "\"ready\":null")) "}",
		"http://10.0.0.1:8000 http://10.0.0.2:8000 /2");
}

static void a_pod_in_two_slices_or_families_is_one(void **state)
{
	(void)state;
	expect_endpoints("{\"a\":" SLICE("big", "IPv4", POD("10.0.0.1", "")) ",\"b\":" SLICE("big", "IPv4",
		POD("10.0.0.1", "")) ",\"c\":" SLICE("big", "IPv6", POD("fd00::1", "")) "}", "http://10.0.0.1:8000 /2");
	expect_endpoints("{\"c\":" SLICE("big", "IPv6", POD("fd00::1", "")) ",\"d\":" SLICE("big", "FQDN",
		POD("h.example", "")) "}", "http://[fd00::1]:8000 /1");
}

static void nonsense_in_slices_is_passed_over(void **state)
{
	(void)state;
	expect_endpoints("{\"a\":7,\"b\":{\"metadata\":[]},\"c\":" SLICE("big", "IPv4", "{},{\"addresses\":[]},"
		"{\"addresses\":[5]}") "}", "/0");
}

/* --- pods --- */

static void judge(struct vgw__kube_pods *pods, const char *items)
{
	char text[4096];
	json_t *root;

	(void)snprintf(text, sizeof(text), "{\"items\":[%s]}", items);
	root = json_loads(text, 0, NULL);
	assert_non_null(root);
	vgw__kube_pods_judge(pods, root);
	json_decref(root);
}

#define STATUS(name, status) "{\"metadata\":{\"name\":\"" name "\"},\"status\":{" status "}}"

static void the_worst_of_several_pods_is_told(void **state)
{
	struct vgw__kube_pods pods;

	(void)state;
	judge(&pods, STATUS("a", "\"containerStatuses\":[{\"state\":{\"running\":{}},\"restartCount\":0}]") ","
		STATUS("b", "\"containerStatuses\":[{\"restartCount\":4,\"state\":{\"waiting\":{\"reason\":"
			    "\"CrashLoopBackOff\",\"message\":\"back-off\"}},\"lastState\":{\"terminated\":{\"exitCode\":1,"
			    "\"reason\":\"Error\",\"message\":\"a\\nCUDA out of memory\\nbye\\n\"}}}]") ","
		STATUS("c", "\"phase\":\"Pending\""));
	assert_int_equal(pods.count, 3);
	assert_int_equal(pods.running, 1);
	assert_int_equal(pods.restarts, 4);
	assert_true(pods.is_hopeless);
	assert_int_equal(pods.failure, VGW_FAILURE_MEMORY);
	assert_string_equal(pods.text, "pod b: the engine keeps ending: Error, exit code 1: CUDA out of memory");
}

static void leaving_pods_and_records_of_old_ones_are_told_apart(void **state)
{
	struct vgw__kube_pods pods;

	(void)state;
	judge(&pods, "{\"metadata\":{\"name\":\"a\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"}},"
		STATUS("b", "\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"low on memory\"") ","
		STATUS("c", "\"phase\":\"Succeeded\""));
	assert_int_equal(pods.leaving, 1);
	assert_int_equal(pods.count, 0);
	assert_string_equal(pods.text, "pod b: Evicted: low on memory");
}

static void an_init_container_that_cannot_start_is_hopeless(void **state)
{
	struct vgw__kube_pods pods;

	(void)state;
	judge(&pods, STATUS("a", "\"initContainerStatuses\":[{\"state\":{\"terminated\":{\"exitCode\":0}}},{\"state\":{"
		"\"waiting\":{\"reason\":\"InvalidImageName\",\"message\":\"bad\"}}}],\"containerStatuses\":[{\"state\":{"
		"\"waiting\":{\"reason\":\"PodInitializing\"}}}]"));
	assert_true(pods.is_hopeless);
	assert_string_equal(pods.text, "pod a: the image's name is not valid (InvalidImageName): bad");
}

static void wrong_arguments_may_be_mended_without_us(void **state)
{
	struct vgw__kube_pods pods;

	(void)state;
	judge(&pods, STATUS("a", "\"containerStatuses\":[{\"state\":{\"terminated\":{\"exitCode\":2,\"reason\":\"Error\","
		"\"message\":\"vllm: error: unrecognized arguments: --x\"}}}]"));
	assert_int_equal(pods.failure, VGW_FAILURE_UNKNOWN);
	assert_false(pods.is_hopeless);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_are_named_with_their_remedy),
		cmocka_unit_test(what_is_not_said_has_a_default),
		cmocka_unit_test(in_a_pod_the_service_account_is_used),
		cmocka_unit_test(only_ready_pods_of_the_service_take_requests),
		cmocka_unit_test(absent_and_null_conditions_mean_ready),
		cmocka_unit_test(a_pod_in_two_slices_or_families_is_one),
		cmocka_unit_test(nonsense_in_slices_is_passed_over),
		cmocka_unit_test(the_worst_of_several_pods_is_told),
		cmocka_unit_test(leaving_pods_and_records_of_old_ones_are_told_apart),
		cmocka_unit_test(an_init_container_that_cannot_start_is_hopeless),
		cmocka_unit_test(wrong_arguments_may_be_mended_without_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
