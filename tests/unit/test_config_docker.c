/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a backend of kind "docker": what they become, and what is said when they are wrong. */
#include "config_testing.h"

static void a_container_is_described_as_json_with_its_defaults(void **state)
{
	char *lines;
	struct config *config = config_load_text(
		"models:\n  m: {backend: {kind: docker, image: vllm/vllm-openai:latest, args: [--port, "
		"\"${PORT}\"],\n"
		"    gpus: all, network: vllm_network, ipc: host, mounts: [\"/a:/b\"], shm_size: null,\n"
		"    env: {A: b}, stop_timeout: 1m}}\n", NULL, &lines);

	(void)state;
	assert_string_equal(lines, "");
	free(lines);
	assert_non_null(config);
	assert_string_equal(config->models.items[0].backend_kind, "docker");
	assert_true(config->models.items[0].is_managed);
	assert_string_equal(config->models.items[0].backend_json,
		"{\"kind\":\"docker\",\"image\":\"vllm/vllm-openai:latest\",\"args\":[\"--port\",\"${PORT}\"],"
		"\"entrypoint\":[],\"env\":{\"A\":\"b\"},\"gpu_memory_utilization\":\"none\",\"mounts\":[\"/a:/b\"],\"gpus\":\"all\","
		"\"network\":\"vllm_network\",\"ipc\":\"host\",\"init\":true,\"pull\":\"missing\","
		"\"start_timeout\":1200000,\"stop_timeout\":60000}");
	config_free(config);
}

static void check_gpus(const char *written, const char *wanted)
{
	char text[160], json[64];
	struct config *config;

	(void)snprintf(text, sizeof(text), "models: {m: {backend: {kind: docker, image: x, gpus: %s}}}\n",
		written);
	(void)snprintf(json, sizeof(json), "\"gpus\":%s,", wanted);
	config = config_load_good(text, NULL);
	if (!strstr(config->models.items[0].backend_json, json))
		fail_msg("%s gives %s", written, config->models.items[0].backend_json);
	config_free(config);
}

static void gpus_are_auto_all_none_a_number_or_a_list(void **state)
{
	(void)state;
	check_gpus("auto", "\"auto\"");
	check_gpus("all", "\"all\"");
	check_gpus("none", "\"none\"");
	check_gpus("2", "2");
	check_gpus("[0, GPU-7]", "[\"0\",\"GPU-7\"]");
	check_gpus("[]", "[]");
}

static void what_is_shown_reads_back_as_the_same(void **state)
{
	struct config *config = config_load_good(
		"models:\n  a: {backend: {kind: docker, image: x, gpus: [0, 1], shm_size: 1GiB, env: "
		"{HF_TOKEN: t}}}\n"
		"  b: {backend: {kind: docker, image: x, gpus: 2, pull: never}}\n", NULL);
	char *text = config_print_text(config, false);
	struct config *again = config_load_good(text, NULL);

	(void)state;
	assert_non_null(strstr(text, "gpus: [0, 1]"));
	assert_non_null(strstr(text, "HF_TOKEN: \"***\""));
	assert_string_equal(again->models.items[1].backend_json, config->models.items[1].backend_json);
	free(text);
	config_free(again);
	config_free(config);
}

static void a_mistake_is_named_with_its_place_and_remedy(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "models:\n  m: {backend: {kind: docker}}\n",
			"c.yaml:2:7: models.m.backend: key 'image' is missing; it is text" },
		{ "models:\n  m: {backend: {kind: docker, image: x, gpus: some}}\n",
			"c.yaml:2:47: models.m.backend.gpus: 'some' is neither auto, all, none, a number nor a "
			"list such as "
			"[0, 1]" },
		{ "models:\n  m: {backend: {kind: docker, image: x, gpus: {a: 1}}}\n",
			"c.yaml:2:47: models.m.backend.gpus: expected auto, all, none, how many, or a list such "
			"as [0, 1], "
			"found a mapping" },
		{ "models:\n  m: {backend: {kind: docker, image: x, pull: maybe}}\n",
			"c.yaml:2:47: models.m.backend.pull: 'maybe' is none of never, missing, always" },
		{ "models:\n  m: {backend: {kind: docker, image: x, netwrok: y}}\n",
			"c.yaml:2:41: models.m.backend.netwrok: unknown key; did you mean 'network'?" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_container_is_described_as_json_with_its_defaults),
		cmocka_unit_test(gpus_are_auto_all_none_a_number_or_a_list),
		cmocka_unit_test(what_is_shown_reads_back_as_the_same),
		cmocka_unit_test(a_mistake_is_named_with_its_place_and_remedy),
	};

	return cmocka_run_group_tests_name("config_docker", tests, NULL, NULL);
}
