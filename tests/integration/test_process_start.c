/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "process": engines that come up, and how it is told when they do not. */
#include "process_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- coming up --- */

static void an_engine_comes_up_serves_and_goes(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	char url[64];

	rig_make_engine(rig, ", \"--load-time\", \"200ms\"", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	assert_true(rig_lives((pid_t)facts.pid));
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%ld",
		strtol(strstr(facts.identity, "\"port\":") + 7, NULL, 10));
	assert_string_equal(rig->url, url);
	assert_int_equal(rig->kind->ops.probe(rig->self, vgw_now_ms() + 2000, NULL), VGW_OK);
	assert_true(rig->progress_count > 3);
	assert_int_equal(rig->last_percent, 99);
	rig_activate_well(rig); /* idempotent */
	assert_int_equal(rig_describe(rig).pid, facts.pid);
	rig_stop_well(rig);
	assert_int_equal(rig_count_of_engine(facts.identity), 0);
	assert_int_equal(rig_describe(rig).pid, 0);
	assert_int_equal(rig->deaths, 0);
	rig_stop_well(rig); /* idempotent */
}

static int compare_times(const void *a, const void *b)
{
	return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

/* The simulator prints its last line when it has begun to listen: the log file's time is that moment. A machine with
 * time to spare prints less than 50 ms; the bound is for busy ones, and still far below an engine's own load time. */
static void readiness_is_noticed_soon_after_the_engine_listens(void **state)
{
	struct rig *rig = *state;
	int late_ms[5];

	rig_make_engine(rig, ", \"--load-time\", \"300ms\"", "");
	for (int i = 0; i < 5; i++) {
		struct timespec now;
		struct stat about;

		rig_activate_well(rig);
		(void)clock_gettime(CLOCK_REALTIME, &now);
		assert_int_equal(stat(rig_describe(rig).log_path, &about), 0);
		late_ms[i] = (int)((now.tv_sec - about.st_mtim.tv_sec) * 1000 +
			(now.tv_nsec - about.st_mtim.tv_nsec) / 1000000);
		rig_stop_well(rig);
	}
	qsort(late_ms, 5, sizeof(late_ms[0]), compare_times);
	print_message("noticed %d, in the middle %d, at worst %d ms after the engine listened\n", late_ms[0],
		late_ms[2], late_ms[4]);
	assert_in_range(late_ms[1], 0, 1000);
}

static void an_engine_that_listens_while_it_loads_is_not_ready_before_it_is(void **state)
{
	struct rig *rig = *state;
	int64_t before = vgw_now_ms();

	rig_make_engine(rig, ", \"--load-time\", \"400ms\", \"--fault\", \"health-lies\"", "");
	rig_activate_well(rig);
	assert_true(vgw_now_ms() - before >= 400);
}

static void every_start_gets_a_fresh_port(void **state)
{
	struct rig *rig = *state;
	char first[128];

	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	(void)snprintf(first, sizeof(first), "%s", rig->url);
	rig_stop_well(rig);
	rig_activate_well(rig);
	assert_string_not_equal(first, rig->url);
}

static void the_engine_inherits_nothing_and_meets_no_shell(void **state)
{
	struct rig *rig = *state;
	char path[64], text[4096];
	struct dirent *entry;
	int fds = 0;
	DIR *dir;
	ssize_t len;
	int fd;

	rig_make_engine(rig, ", \"--model\", \"$(touch /tmp/never);x y\"", ", \"cwd\": \"/\"");
	(void)setenv("https_proxy", "http://127.0.0.1:1", 1);
	(void)setenv("VLLM_SERVER_DEV_MODE", "1", 1);
	(void)setenv("VLLMGW_ADMIN_KEY", "secret-of-the-gateway", 1);
	(void)setenv("HF_HOME", "/hf", 1);
	rig_activate_well(rig);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)rig_describe(rig).pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char link[128], target[512] = "";

		(void)snprintf(link, sizeof(link), "%s/%.20s", path, entry->d_name);
		if (readlink(link, target, sizeof(target) - 1) <= 0)
			continue;
		fds++;
		/* its own sockets and epolls apart: nothing but /dev/null and the log */
		if (strncmp(target, "/", 1) == 0 && strcmp(target, "/dev/null") != 0)
			assert_string_equal(target, rig_describe(rig).log_path);
	}
	(void)closedir(dir);
	assert_true(fds >= 3);
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)rig_describe(rig).pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = read(fd, text, sizeof(text));
	(void)close(fd);
	assert_true(len > 0);
	assert_non_null(memmem(text, (size_t)len, "$(touch /tmp/never);x y", 24)); /* with its end: one argument */
	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)rig_describe(rig).pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = read(fd, text, sizeof(text));
	(void)close(fd);
	assert_true(len > 0);
	assert_null(memmem(text, (size_t)len, "https_proxy", 11));
	assert_null(memmem(text, (size_t)len, "VLLM_SERVER_DEV_MODE", 20));
	assert_null(memmem(text, (size_t)len, "secret-of-the-gateway", 21));
	assert_non_null(memmem(text, (size_t)len, "HF_HOME=/hf", 12));
	assert_non_null(memmem(text, (size_t)len, "CUDA_VISIBLE_DEVICES=0,1", 25));
}

static void variables_reach_the_environment_of_the_engine(void **state)
{
	struct rig *rig = *state;
	char log[4096];

	rig_make_shell(rig, "env; exit 1",
		", \"env\": {\"A\": \"${MODEL} on ${DEVICES}\", \"B\": 7, \"C\": \"$${PORT}\"},"
		"\"inherit_env\": [\"PATH\"]");
	assert_int_equal(rig_activate(rig, NULL), VGW_BACKEND);
	rig_read_log(rig, log, sizeof(log));
	assert_says(log, "A=org/big on 0,1\n");
	assert_says(log, "B=7\n");
	assert_says(log, "C=${PORT}\n");
	assert_null(strstr(log, "HOME="));
}

/* --- not coming up --- */

static void expect_failure(struct rig *rig, const char *arguments, vgw_status status, vgw_fault fault,
	vgw_failure failure, const char *said)
{
	vgw_error err = VGW_ERROR_INIT;
	char identity[1024];

	rig_make_engine(rig, arguments, ", \"start_timeout\": \"2s\"");
	assert_int_equal(rig_activate(rig, &err), status);
	(void)snprintf(identity, sizeof(identity), "%s", rig_describe(rig).identity);
	assert_int_equal(err.fault, fault);
	assert_int_equal(rig_report_of(rig).failure, failure);
	assert_says(err.text, said);
	assert_says(err.text, "big");
	assert_says(rig_report_of(rig).failure_text, said);
	rig_stop_well(rig);
	assert_int_equal(rig_count_of_engine(identity), 0);
}

static void out_of_memory_is_told_by_its_line(void **state)
{
	expect_failure(*state, ", \"--fault\", \"start-oom\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_MEMORY, "CUDA out of memory");
}

static void an_unknown_argument_is_the_users_failure(void **state)
{
	expect_failure(*state, ", \"--fault\", \"start-unknown-arg\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_USER, "unrecognized arguments: --foo");
}

static void exit_0_before_it_serves_is_a_failure_like_any_other(void **state)
{
	expect_failure(*state, ", \"--fault\", \"start-exit0\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_UNKNOWN, "exit code 0");
}

static void one_that_never_serves_is_given_up_at_the_start_timeout(void **state)
{
	int64_t before = vgw_now_ms();

	expect_failure(*state, ", \"--fault\", \"start-never-ready\"", VGW_TIMEOUT, VGW_FAULT_MODEL_START_TIMEOUT,
		VGW_FAILURE_UNKNOWN, "not ready after 2 s");
	assert_in_range(vgw_now_ms() - before, 2000, 4000);
}

static void one_that_serves_another_model_is_refused(void **state)
{
	expect_failure(*state, ", \"--fault\", \"wrong-model\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_USER, "and not 'org/big'");
}

static void a_program_that_is_not_there_is_the_users_failure(void **state)
{
	struct rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	assert_int_equal(rig_create(rig, "{\"kind\":\"process\",\"command\":[\"no-such-engine\",\"${PORT}\"]}",
		NULL), VGW_OK);
	assert_int_equal(rig_activate(rig, &err), VGW_BACKEND);
	assert_int_equal(rig_report_of(rig).failure, VGW_FAILURE_USER);
	assert_says(err.text, "no-such-engine");
	rig_stop_well(rig);
}

static void an_exit_while_starting_is_noticed_at_once(void **state)
{
	struct rig *rig = *state;
	int64_t before = vgw_now_ms();

	rig_make_shell(rig, "exit 3", "");
	assert_int_equal(rig_activate(rig, NULL), VGW_BACKEND);
	assert_in_range(vgw_now_ms() - before, 0, 500);
	assert_says(rig_report_of(rig).failure_text, "exit code 3");
}

static void a_wrapper_that_leaves_its_engine_behind_is_told_what_to_do(void **state)
{
	struct rig *rig = *state;
	char identity[1024];

	rig_make_shell(rig, "sleep 605 & exit 0", "");
	assert_int_equal(rig_activate(rig, NULL), VGW_BACKEND);
	(void)snprintf(identity, sizeof(identity), "%s", rig_describe(rig).identity);
	assert_says(rig_report_of(rig).failure_text, "exec");
	rig_stop_well(rig);
	assert_int_equal(rig_count_of_engine(identity), 0);
}

static void *cancel_soon(void *user)
{
	struct rig *rig = user;

	while (rig_describe(rig).pid == 0)
		(void)poll(NULL, 0, 1);
	vgw__host_cancel(rig->host);
	return NULL;
}

static void a_start_can_be_cancelled(void **state)
{
	struct rig *rig = *state;
	char identity[1024];
	pthread_t thread;
	int64_t before;

	rig_make_engine(rig, ", \"--load-time\", \"100s\"", "");
	vgw__host_begin(rig->host);
	before = vgw_now_ms();
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, rig), 0);
	assert_int_equal(rig->kind->ops.activate(rig->self, vgw_now_ms() + PATIENCE_MS, NULL), VGW_CANCELLED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_in_range(vgw_now_ms() - before, 0, 1000);
	(void)snprintf(identity, sizeof(identity), "%s", rig_describe(rig).identity);
	rig_stop_well(rig);
	assert_int_equal(rig_count_of_engine(identity), 0);
}

static void secrets_are_in_no_message(void **state)
{
	struct rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	rig_make_shell(rig, "echo using $HF_TOKEN and abcdefgh; exit 1",
		", \"env\": {\"HF_TOKEN\": \"hf_very_secret\","
		"\"MY_API_KEY\": \"abcdefgh\"}");
	assert_int_equal(rig_activate(rig, &err), VGW_BACKEND);
	assert_says(err.text, "using [redacted] and [redacted]");
	assert_null(strstr(rig_report_of(rig).failure_text, "secret"));
	assert_null(strstr(rig->logged, "secret"));
}

static void a_key_among_the_arguments_is_warned_of(void **state)
{
	struct rig *rig = *state;

	rig_make_engine(rig, ", \"--api-key\", \"sk-123456\"", ", \"api_key\": \"sk-123456\"");
	assert_says(rig->logged, "can be read by every user");
	assert_null(strstr(rig->logged, "sk-123456"));
	rig_activate_well(rig); /* and the probe knows the key */
}

/* --- configuration --- */

static void a_wrong_configuration_is_told_what_would_be_right(void **state)
{
	static const struct {
		const char *json;
		const char *said;
	} rows[] = {
		{ "{\"kind\":\"process\"}", "needs `command" },
		{ "{\"kind\":\"process\",\"command\":\"vllm serve\"}", "expected a list" },
		{ "{\"kind\":\"process\",\"command\":[\"vllm\"]}", "--port ${PORT}" },
		{ "{\"kind\":\"process\",\"command\":[\"vllm\",\"${PROT}\"],\"port\":1}", "unknown variable ${PROT}" },
		{ "{\"kind\":\"process\",\"command\":[\"vllm\",\"${PORT}\"],\"comand\":[]}", "did you mean 'command'" },
		{ "{\"kind\":\"process\",\"command\":[\"a\",\"${PORT}\"],\"stop_timeout\":\"5\"}", "such as 250ms" },
		{ "{\"kind\":\"process\",\"command\":[\"a\",\"${PORT}\"],\"env\":{\"A=B\":\"\"}}", "no = in the name" },
		{ "{\"kind\":\"process\",\"command\":[\"a\",\"${PORT}\"],\"host\":\"gpu.lan\"}", "numeric address" },
		{ "{\"kind\":\"process\",\"command\":[\"a\"],\"port\":70000}", "expected 1 to 65535" },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;

		assert_int_equal(rig_create(rig, rows[i].json, &err), VGW_INVALID);
		assert_null(rig->self);
		assert_says(err.text, rows[i].said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_engine_comes_up_serves_and_goes,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(readiness_is_noticed_soon_after_the_engine_listens,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(an_engine_that_listens_while_it_loads_is_not_ready_before_it_is,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(every_start_gets_a_fresh_port,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(the_engine_inherits_nothing_and_meets_no_shell,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(variables_reach_the_environment_of_the_engine,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(out_of_memory_is_told_by_its_line,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(an_unknown_argument_is_the_users_failure,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(exit_0_before_it_serves_is_a_failure_like_any_other,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(one_that_never_serves_is_given_up_at_the_start_timeout,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(one_that_serves_another_model_is_refused,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_program_that_is_not_there_is_the_users_failure,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(an_exit_while_starting_is_noticed_at_once,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_wrapper_that_leaves_its_engine_behind_is_told_what_to_do,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_start_can_be_cancelled,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(secrets_are_in_no_message,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_key_among_the_arguments_is_warned_of,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_wrong_configuration_is_told_what_would_be_right,
			rig_set_up, rig_tear_down),
	};

	return cmocka_run_group_tests_name("process_start", tests, NULL, NULL);
}
