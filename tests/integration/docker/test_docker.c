/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "docker" on a real Docker Engine: what starts, what serves, what fails and how it says so. */
#include "docker_rig.h"

#include <stdlib.h>
#include <string.h>

/* --- serving --- */

static void a_container_is_created_serves_and_is_gone_after_the_stop(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	json_t *inspected;
	const json_t *labels;
	char text[8192];

	docker_make_engine(rig, ", \"--load-time\", \"300ms\"", "");
	rig_activate_well(rig);
	assert_int_equal(docker_get(rig->url, "/health"), 200);
	assert_int_equal(strncmp(rig->url, "http://127.0.0.1:", 17), 0);
	assert_true(rig->progress_count > 0);
	facts = rig_describe(rig);
	inspected = docker_inspect(facts.container);
	labels = json_object_get(json_object_get(inspected, "Config"), "Labels");
	assert_string_equal(json_string_value(json_object_get(labels, "vllmgw.model")), "big");
	assert_string_equal(json_string_value(json_object_get(labels, "vllmgw.replica")), "big/0");
	assert_string_equal(json_string_value(json_object_get(inspected, "Name")), "/vllmgw-big-0");
	json_decref(inspected);
	rig_read_log(rig, text, sizeof(text));
	assert_says(text, "Application startup complete");
	rig_stop_well(rig);
	assert_int_equal(docker_count(), 0);
	assert_string_equal(rig_describe(rig).container, "");
	assert_string_equal(rig_describe(rig).identity, "");
}

static void activating_twice_keeps_the_container(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	rig_activate_well(rig);
	assert_string_equal(rig_describe(rig).container, facts.container);
	assert_int_equal(docker_count(), 1);
}

static void on_a_named_network_the_engine_is_reached_by_its_own_address(void **state)
{
	struct rig *rig = *state;
	json_t *inspected;

	assert_int_equal(docker_api("POST", "/networks/create",
		"{\"Name\":\"vgw-test\",\"CheckDuplicate\":true}", NULL),
		201);
	docker_make_engine(rig, "", ", \"network\": \"vgw-test\", \"container_name\": \"vllm_server\"");
	rig_activate_well(rig);
	assert_int_equal(strncmp(rig->url, "http://10.201.", 14), 0);
	assert_non_null(strstr(rig->url, ":8000"));
	inspected = docker_inspect("vllm_server");
	assert_true(json_object_size(json_object_get(json_object_get(inspected, "HostConfig"),
		"PortBindings")) == 0);
	json_decref(inspected);
	rig_stop_well(rig);
}

static void with_the_network_of_the_host_the_port_is_a_fresh_one(void **state)
{
	struct rig *rig = *state;

	docker_make_engine(rig, "", ", \"network\": \"host\", \"ipc\": \"host\"");
	rig_activate_well(rig);
	assert_null(strstr(rig->url, ":8000"));
	assert_int_equal(docker_get(rig->url, "/v1/models"), 200);
}

static void mounts_environment_and_limits_reach_the_container(void **state)
{
	struct rig *rig = *state;
	json_t *inspected;
	const json_t *host;
	char text[8192];

	docker_make_engine(rig, "", ", \"mounts\": [\"/tmp:/data:ro\", \"vgw-cache:/cache\"], "
		"\"shm_size\": 134217728,"
		"\"memory_limit\": 536870912, \"env\": {\"HF_TOKEN\": \"hf_verysecret\", \"WHO\": \"${MODEL}\"}");
	rig_activate_well(rig);
	inspected = docker_inspect(rig_describe(rig).container);
	host = json_object_get(inspected, "HostConfig");
	assert_int_equal(json_integer_value(json_object_get(host, "ShmSize")), 134217728);
	assert_int_equal(json_integer_value(json_object_get(host, "Memory")), 536870912);
	assert_int_equal(json_array_size(json_object_get(inspected, "Mounts")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(inspected, "Config"),
		"StopTimeout")), 2);
	json_decref(inspected);
	assert_null(strstr(rig->logged, "hf_verysecret"));
	assert_null(strstr(rig_describe(rig).identity, "hf_verysecret"));
	rig_read_log(rig, text, sizeof(text));
	rig_stop_well(rig);
	(void)docker_api("DELETE", "/volumes/vgw-cache", NULL, NULL);
}

/* --- failing --- */

static void a_missing_image_says_how_to_get_it(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, "", ", \"pull\": \"never\"");
	assert_int_equal(docker_api("POST", "/images/vllmgw-test%2Fengine:1/tag?repo=kept&tag=1", NULL, NULL),
		201);
	assert_int_equal(docker_api("DELETE", "/images/vllmgw-test%2Fengine:1?noprune=1", NULL, NULL), 200);
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "No such image: vllmgw-test/engine:1");
	assert_says(err.text, "docker pull");
	assert_int_equal(docker_api("POST", "/images/kept:1/tag?repo=vllmgw-test/engine&tag=1", NULL, NULL), 201);
	assert_int_equal(docker_api("DELETE", "/images/kept:1?noprune=1", NULL, NULL), 200);
	assert_int_equal(docker_count(), 0);
	rig_activate_well(rig); /* the user has pulled it */
}

static void a_pull_that_fails_says_so(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, "", ", \"pull\": \"always\"");
	(void)docker_fail_to_activate(rig, &err);
	assert_says(err.text, "cannot pull 'vllmgw-test/engine:1'");
	assert_int_equal(err.fault, VGW_FAULT_MODEL_START_FAILED);
	assert_int_equal(docker_count(), 0);
}

static void a_missing_network_is_the_users(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, "", ", \"network\": \"nonet\"");
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "docker network create");
	assert_int_equal(docker_count(), 0);
}

static void a_missing_program_is_the_users_and_leaves_nothing(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, "", ", \"entrypoint\": [\"/nope\"]");
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "the image has no such program");
	assert_int_equal(docker_count(), 0);
}

static void an_unknown_runtime_is_the_users(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, "", ", \"runtime\": \"nvidia\"");
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "runtime");
}

static void a_name_of_somebody_elses_container_is_refused_and_that_one_left_alone(void **state)
{
	struct rig *rig = *state;
	char id[72];
	vgw_error err;

	docker_make_foreign("vllm_server", "", true, id);
	docker_make_engine(rig, "", ", \"container_name\": \"vllm_server\"");
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "belongs to a container that is not ours");
	rig_stop_well(rig);
	assert_true(docker_lives(id));
}

static void a_generated_name_that_is_taken_is_passed_over(void **state)
{
	struct rig *rig = *state;
	json_t *inspected;
	char id[72];

	docker_make_foreign("vllmgw-big-0", "", true, id);
	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	inspected = docker_inspect(rig_describe(rig).container);
	assert_string_equal(json_string_value(json_object_get(inspected, "Name")), "/vllmgw-big-1");
	json_decref(inspected);
	rig_stop_well(rig);
	assert_true(docker_lives(id));
}

static void a_crash_while_loading_tells_its_code_and_the_decisive_line(void **state)
{
	struct rig *rig = *state;
	struct vgw__host_report report;
	vgw_error err;

	docker_make_engine(rig, ", \"--fault\", \"start-oom\", \"--load-time\", \"200ms\"", "");
	report = docker_fail_to_activate(rig, &err);
	assert_int_equal(report.failure, VGW_FAILURE_MEMORY);
	assert_says(report.failure_text, "exit code 1 after");
	assert_says(report.failure_text, "CUDA out of memory");
	rig_stop_well(rig);
	assert_int_equal(docker_count(), 0);
}

static void an_unknown_argument_is_the_users(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, ", \"--fault\", \"start-unknown-arg\"", "");
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "unrecognized arguments");
}

static void more_memory_than_the_limit_is_told_from_a_crash(void **state)
{
	struct rig *rig = *state;
	struct vgw__host_report report;
	vgw_error err;

	docker_make_shell(rig, "x=0123456789; while :; do x=$x$x; done", ", \"memory_limit\": 33554432");
	report = docker_fail_to_activate(rig, &err);
	assert_int_equal(report.failure, VGW_FAILURE_MEMORY);
	assert_says(report.failure_text, "more memory than it may");
}

static void a_container_that_never_serves_is_given_up_in_time(void **state)
{
	struct rig *rig = *state;
	int64_t before = vgw_now_ms();
	vgw_error err;

	docker_make_shell(rig, "echo starting; exec sleep 600", ", \"start_timeout\": \"700ms\"");
	(void)docker_fail_to_activate(rig, &err);
	assert_int_equal(err.status, VGW_TIMEOUT);
	assert_int_equal(err.fault, VGW_FAULT_MODEL_START_TIMEOUT);
	assert_says(err.text, "last line: starting");
	rig_stop_well(rig);
	assert_in_range(vgw_now_ms() - before, 700, 5000);
	assert_int_equal(docker_count(), 0);
}

static void another_models_name_is_a_mistake_of_the_user(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, ", \"--fault\", \"wrong-model\"", "");
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "set served_name");
}

static void a_start_can_be_given_up(void **state)
{
	struct rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;
	int64_t before = vgw_now_ms();

	docker_make_engine(rig, ", \"--fault\", \"start-never-ready\"", "");
	vgw__host_begin(rig->host);
	vgw__host_cancel(rig->host);
	assert_int_equal(rig->kind->ops.activate(rig->self, vgw_now_ms() + PATIENCE_MS, &err), VGW_CANCELLED);
	assert_in_range(vgw_now_ms() - before, 0, 2000);
	rig_stop_well(rig);
	assert_int_equal(docker_count(), 0);
}

/* --- GPUs --- */

static void without_the_toolkit_gpus_are_refused_and_nothing_is_left(void **state)
{
	struct rig *rig = *state;
	vgw_error err;

	docker_make_engine(rig, "", ", \"gpus\": \"all\"");
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_USER);
	assert_says(err.text, "NVIDIA Container Toolkit");
	assert_int_equal(docker_count(), 0);
}

static void read_devices(struct rig *rig, char *out, size_t size)
{
	json_t *inspected = docker_inspect(rig_describe(rig).container);
	const json_t *requests = json_object_get(json_object_get(inspected, "HostConfig"), "DeviceRequests");
	char *text = json_dumps(json_array_get(requests, 0), JSON_COMPACT | JSON_SORT_KEYS);

	(void)snprintf(out, size, "%s", text ? text : "");
	free(text);
	json_decref(inspected);
}

static void with_it_the_placement_and_the_list_become_device_ids(void **state)
{
	static const struct {
		const char *configured;
		const char *placed; /* NULL: nobody said where */
		const char *asked;
	} rows[] = {
		{ ", \"gpus\": \"all\"", NULL, "\"DeviceIDs\":[\"0\",\"1\"]" }, /* those of the rig's spec */
		{ ", \"gpus\": \"all\"", "1", "\"DeviceIDs\":[\"1\"]" },
		{ ", \"gpus\": [\"GPU-7\", 3]", "1", "\"DeviceIDs\":[\"GPU-7\",\"3\"]" },
		{ "", "2,3", "\"DeviceIDs\":[\"2\",\"3\"]" },
		{ ", \"gpus\": \"auto\"", NULL, "" },
		{ ", \"gpus\": \"none\"", "1", "" },
	};
	struct rig *rig = *state;
	char devices[256];

	docker_control("stop", false);
	docker_control("start", true);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		docker_make_engine(rig, "", rows[i].configured);
		assert_true(vgw__host_place(rig->host, rows[i].placed, 0));
		rig_activate_well(rig);
		read_devices(rig, devices, sizeof(devices));
		if (rows[i].asked[0])
			assert_says(devices, rows[i].asked);
		else
			assert_string_equal(devices, "");
		rig_stop_well(rig);
		rig_renew(rig);
	}
	docker_control("stop", false);
	docker_control("start", false);
}

int main(void)
{
#define IT(name) cmocka_unit_test_setup_teardown(name, docker_set_up, docker_tear_down)
	const struct CMUnitTest tests[] = {
		IT(a_container_is_created_serves_and_is_gone_after_the_stop),
		IT(activating_twice_keeps_the_container),
		IT(on_a_named_network_the_engine_is_reached_by_its_own_address),
		IT(with_the_network_of_the_host_the_port_is_a_fresh_one),
		IT(mounts_environment_and_limits_reach_the_container),
		IT(a_missing_image_says_how_to_get_it),
		IT(a_pull_that_fails_says_so),
		IT(a_missing_network_is_the_users),
		IT(a_missing_program_is_the_users_and_leaves_nothing),
		IT(an_unknown_runtime_is_the_users),
		IT(a_name_of_somebody_elses_container_is_refused_and_that_one_left_alone),
		IT(a_generated_name_that_is_taken_is_passed_over),
		IT(a_crash_while_loading_tells_its_code_and_the_decisive_line),
		IT(an_unknown_argument_is_the_users),
		IT(more_memory_than_the_limit_is_told_from_a_crash),
		IT(a_container_that_never_serves_is_given_up_in_time),
		IT(another_models_name_is_a_mistake_of_the_user),
		IT(a_start_can_be_given_up),
		IT(without_the_toolkit_gpus_are_refused_and_nothing_is_left),
		IT(with_it_the_placement_and_the_list_become_device_ids),
	};
#undef IT

	return cmocka_run_group_tests_name("docker", tests, NULL, NULL);
}
