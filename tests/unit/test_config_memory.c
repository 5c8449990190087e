/* SPDX-License-Identifier: Apache-2.0 */
/* Loading when memory ends, at every place where it can. */
#include "config_testing.h"

#include <jansson.h>

static const char text[] =
	"listen: [127.0.0.1:80, unix:/s]\nadmin: {key: ${K}}\ndevices: {gpu0: {memory: 24GiB}}\n"
	"defaults: {request: {defaults: {a: [1, {b: c}]}}}\n"
	"models:\n  a: {backend: {kind: static, urls: [http://h, http://i]}, aliases: [x, y]}\n"
	"  b: {backend: {kind: process, command: [a, b], env: {C: d}}, fallback: {model: a}, memory: {gpu0: "
	"1GiB}}\n";

static const char *const environment[] = { "K=v", "VLLMGW_LIMITS_BODY=1MiB", NULL };

static int load_within(size_t bytes, struct config_report *report)
{
	struct config_source source = { .path = "c.yaml",
		.text = text,
		.len = strlen(text),
		.environment = environment,
		.memory_bytes = bytes };
	struct config *config;
	int failure = config_load(&config, &source, report);

	config_free(config);
	return failure;
}

static void a_load_that_runs_out_of_memory_says_so_and_leaks_nothing(void **state)
{
	struct config_report *report = calloc(1, sizeof(*report));
	size_t failures = 0;
	size_t bytes = 1;

	(void)state;
	assert_non_null(report);
	for (; load_within(bytes, report) != 0; bytes += 4096) {
		assert_int_equal(report->errors.total, 1);
		assert_string_equal(
			report->errors.lines[0].text, "out of memory while reading the configuration");
		assert_true(++failures < 1000);
	}
	assert_true(failures > 4);
	free(report);
}

static size_t allocations_left;

static void *fail_late(size_t size)
{
	if (allocations_left == 0)
		return NULL;
	allocations_left--;
	return malloc(size);
}

static void a_schema_that_runs_out_of_memory_fails(void **state)
{
	int failure = -1;
	size_t failures = 0;

	(void)state;
	json_set_alloc_funcs(fail_late, free);
	for (size_t count = 0; failure != 0; count += 7) {
		FILE *out = fopen("/dev/null", "w");

		assert_non_null(out);
		allocations_left = count;
		failure = config_print_schema(out);
		assert_int_equal(fclose(out), 0);
		failures += failure != 0;
		assert_true(count < 100000);
	}
	json_set_alloc_funcs(malloc, free);
	assert_true(failures > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_load_that_runs_out_of_memory_says_so_and_leaks_nothing),
		cmocka_unit_test(a_schema_that_runs_out_of_memory_fails),
	};

	return cmocka_run_group_tests_name("config_memory", tests, NULL, NULL);
}
