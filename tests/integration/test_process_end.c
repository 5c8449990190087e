/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "process": engines that die, are stopped, talk too much, or survive us. */
#include "process_rig.h"

#include "util/proc.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* --- dying and being stopped --- */

static void a_crash_is_reported_at_once(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0);
	assert_in_range(rig_await_death(rig), 0, 300);
	assert_says(rig->death, "killed by signal 9");
	assert_int_equal(rig->deaths, 1);
	assert_int_equal(rig_describe(rig).pid, 0);
	rig_activate_well(rig); /* and it can be brought up again */
	assert_int_not_equal(rig_describe(rig).pid, facts.pid);
}

static void exit_0_of_an_engine_that_serves_is_a_death(void **state)
{
	struct rig *rig = *state;

	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	assert_int_equal(kill((pid_t)rig_describe(rig).pid, SIGTERM), 0);
	(void)rig_await_death(rig);
	assert_says(rig->death, "exit code 0 after");
}

static void an_engine_that_ignores_sigterm_is_killed_after_the_stop_timeout(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	int64_t before;

	rig_make_engine(rig, ", \"--fault\", \"ignore-sigterm\"", ", \"stop_timeout_ms\": 300");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	before = vgw_now_ms();
	rig_stop_well(rig);
	assert_in_range(vgw_now_ms() - before, 300, 1500);
	assert_false(rig_lives((pid_t)facts.pid));
}

static void a_stopped_engine_is_killed_after_the_stop_timeout(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	rig_make_engine(rig, "", ", \"stop_timeout\": \"100ms\"");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	assert_int_equal(kill((pid_t)facts.pid, SIGSTOP), 0);
	rig_stop_well(rig);
	assert_false(rig_lives((pid_t)facts.pid));
}

static void a_grandchild_of_another_session_that_holds_the_log_is_swept(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	int64_t before;

	rig_make_engine(rig, ", \"--fault\", \"grandchild\"", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	assert_true(rig_count_of_engine(facts.identity) >= 2);
	before = vgw_now_ms();
	rig_stop_well(rig);
	assert_in_range(vgw_now_ms() - before, 0, 2000);
	assert_int_equal(rig_count_of_engine(facts.identity), 0);
}

static void workers_that_outlive_a_crash_are_swept_before_the_next_start(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	rig_make_engine(rig, ", \"--fault\", \"grandchild\"", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0);
	(void)rig_await_death(rig);
	assert_true(rig_count_of_engine(facts.identity) >= 1);
	rig_activate_well(rig);
	assert_int_equal(rig_count_of_engine(facts.identity), 0);
}

static void asked_to_sleep_it_stops_and_says_so(void **state)
{
	struct rig *rig = *state;

	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	vgw__host_begin(rig->host);
	assert_int_equal(rig->kind->ops.deactivate(rig->self, VGW_DEPTH_SLEEP, vgw_now_ms() + PATIENCE_MS, NULL),
		VGW_OK);
	assert_true(rig_report_of(rig).has_depth);
	assert_int_equal(rig_report_of(rig).depth, VGW_DEPTH_STOP);
	assert_int_equal(rig_describe(rig).pid, 0);
}

static void a_flood_of_output_blocks_nobody(void **state)
{
	struct rig *rig = *state;

	rig_make_engine(rig, ", \"--log-flood\", \"96MiB\", \"--load-time\", \"300ms\"", "");
	rig_activate_well(rig);
	rig_stop_well(rig);
}

static void logs_of_earlier_starts_are_kept(void **state)
{
	struct rig *rig = *state;
	char path[600];

	rig_make_shell(rig, "echo start; exit 1", "");
	for (int i = 0; i < 6; i++) {
		assert_int_equal(rig_activate(rig, NULL), VGW_BACKEND);
		rig_stop_well(rig);
	}
	for (int i = 1; i <= 3; i++) {
		(void)snprintf(path, sizeof(path), "%s.%d", rig_describe(rig).log_path, i);
		assert_int_equal(access(path, R_OK), 0);
	}
	(void)snprintf(path, sizeof(path), "%s.4", rig_describe(rig).log_path);
	assert_int_equal(access(path, R_OK), -1);
	assert_says(rig_describe(rig).log_path, "/logs/big.log");
}

static void without_a_folder_to_write_to_it_serves_all_the_same(void **state)
{
	struct rig *rig = *state;

	(void)snprintf(rig->state_dir + strlen(rig->state_dir), 8, "/no/dir");
	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	assert_says(rig->logged, "kept in memory");
	assert_string_equal(rig_describe(rig).log_path, "");
	rig->state_dir[strlen(rig->state_dir) - 7] = '\0';
}

/* --- after a restart of ours --- */

/* Destroy the controller, as a gateway that was killed would, and make another of the same configuration. */
static void start_over(struct rig *rig, const char *arguments)
{
	rig->kind->ops.destroy(rig->self);
	rig->self = NULL;
	rig->url[0] = '\0';
	rig_make_engine(rig, arguments, "");
}

static vgw_status adopt(struct rig *rig, const char *identity)
{
	vgw__host_begin(rig->host);
	return rig->kind->ops.adopt(rig->self, identity, vgw_now_ms() + PATIENCE_MS, NULL);
}

static void an_engine_survives_us_and_is_found_again(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	char url[128];

	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	(void)snprintf(url, sizeof(url), "%s", rig->url);
	start_over(rig, "");
	assert_true(rig_lives((pid_t)facts.pid));
	assert_int_equal(adopt(rig, facts.identity), VGW_OK);
	assert_int_equal(rig_describe(rig).pid, facts.pid);
	assert_string_equal(rig_describe(rig).identity, facts.identity);
	assert_string_equal(rig->url, url);
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0); /* its death is noticed as before */
	(void)rig_await_death(rig);
	rig_stop_well(rig);
	assert_int_equal(adopt(rig, facts.identity), VGW_NOT_FOUND);
}

static void an_engine_of_another_configuration_is_stopped_not_adopted(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	start_over(rig, ", \"--itl\", \"1ms\"");
	assert_int_equal(adopt(rig, facts.identity), VGW_NOT_FOUND);
	assert_int_equal(rig_count_of_engine(facts.identity), 0);
}

static void workers_of_an_engine_that_died_meanwhile_are_swept(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	rig_make_engine(rig, ", \"--fault\", \"grandchild\"", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	start_over(rig, ", \"--fault\", \"grandchild\"");
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0);
	while (rig_lives((pid_t)facts.pid))
		(void)poll(NULL, 0, 1);
	assert_true(rig_count_of_engine(facts.identity) >= 1);
	assert_int_equal(adopt(rig, facts.identity), VGW_NOT_FOUND);
	assert_int_equal(rig_count_of_engine(facts.identity), 0);
}

/* Replace what follows "key": in the identity. */
static void forge(char *out, size_t size, const char *identity, const char *key, const char *value)
{
	const char *at = strstr(identity, key);

	assert_non_null(at);
	at += strlen(key);
	(void)snprintf(out, size, "%.*s%s%s", (int)(at - identity), identity, value, at + strcspn(at, ",}"));
}

static void a_forged_or_stale_identity_harms_nobody(void **state)
{
	static const char *const broken[] = { "", "{", "[]", "{\"pid\":1}", "null", "{\"pid\":\"x\"}" };
	struct rig *rig = *state;
	struct vgw__process_identity stranger;
	vgw_replica_facts facts;
	char forged[1200], twice[1200], number[32];
	pid_t child = fork();

	if (child == 0) {
		for (;;)
			(void)pause();
	}
	assert_true(child > 0);
	assert_true(vgw__proc_identify(child, &stranger));
	rig_make_engine(rig, "", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	start_over(rig, "");
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(adopt(rig, broken[i]), VGW_NOT_FOUND);
	forge(forged, sizeof(forged), facts.identity, "\"boot_id\":", "\"00000000-0000-0000-0000-000000000000\"");
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND);
	forge(forged, sizeof(forged), facts.identity, "\"nonce\":", "\"\"");
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND);
	forge(forged, sizeof(forged), facts.identity, "\"nonce\":", "\"00000000000000000000000000000000\"");
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND);
	assert_true(rig_lives((pid_t)facts.pid));

	/* A foreign process with everything right about it but that we did not start it. */
	(void)snprintf(number, sizeof(number), "%d", (int)child);
	forge(forged, sizeof(forged), facts.identity, "\"pid\":", number);
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)stranger.start_time);
	forge(twice, sizeof(twice), forged, "\"start_time\":", number);
	assert_int_equal(adopt(rig, twice), VGW_NOT_FOUND);
	assert_true(rig_lives(child));
	assert_true(rig_lives((pid_t)facts.pid));
	forge(twice, sizeof(twice), facts.identity, "\"pid\":", "1");
	assert_int_equal(adopt(rig, twice), VGW_NOT_FOUND);
	/* Its pid is somebody else's by now: he is let be, and what carries our nonce is swept. */
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)stranger.start_time - 1);
	forge(twice, sizeof(twice), forged, "\"start_time\":", number);
	assert_int_equal(adopt(rig, twice), VGW_NOT_FOUND);
	assert_true(rig_lives(child));
	assert_int_equal(rig_count_of_engine(facts.identity), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_crash_is_reported_at_once,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(exit_0_of_an_engine_that_serves_is_a_death,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(an_engine_that_ignores_sigterm_is_killed_after_the_stop_timeout,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_stopped_engine_is_killed_after_the_stop_timeout,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_grandchild_of_another_session_that_holds_the_log_is_swept,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(workers_that_outlive_a_crash_are_swept_before_the_next_start,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(asked_to_sleep_it_stops_and_says_so,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_flood_of_output_blocks_nobody,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(logs_of_earlier_starts_are_kept,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(without_a_folder_to_write_to_it_serves_all_the_same,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(an_engine_survives_us_and_is_found_again,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(an_engine_of_another_configuration_is_stopped_not_adopted,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(workers_of_an_engine_that_died_meanwhile_are_swept,
			rig_set_up, rig_tear_down),
		cmocka_unit_test_setup_teardown(a_forged_or_stale_identity_harms_nobody,
			rig_set_up, rig_tear_down),
	};

	return cmocka_run_group_tests_name("process_end", tests, NULL, NULL);
}
