/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "docker" on a real Docker Engine: containers that die, are found again, or are left behind; an engine that
 * stops, hangs and comes back. */
#include "docker_rig.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void kill_container(const char *container)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/containers/%s/kill", container);
	assert_int_equal(docker_api("POST", path, NULL, NULL), 204);
}

/* --- dying --- */

static void a_killed_container_is_noticed_within_a_second(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	facts = rig_describe(rig);
	kill_container(facts.container);
	assert_in_range(rig_await_death(rig), 0, 1000);
	assert_says(rig->death, "exit code 137 (killed by SIGKILL) after");
	assert_int_equal(rig_count_deaths(rig, false), 1);
	rig_activate_well(rig);
	assert_string_not_equal(rig_describe(rig).container, facts.container);
	assert_int_equal(docker_count(), 1);
}

static void a_removed_container_is_noticed_too(void **state)
{
	struct rig *rig = *state;
	char path[128];

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	(void)snprintf(path, sizeof(path), "/containers/%s?force=1", rig_describe(rig).container);
	assert_int_equal(docker_api("DELETE", path, NULL, NULL), 204);
	assert_in_range(rig_await_death(rig), 0, 1000);
	rig_stop_well(rig); /* one that is gone already is no error */
}

static void exit_0_of_an_engine_that_serves_is_a_death(void **state)
{
	struct rig *rig = *state;
	char path[128];

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	(void)snprintf(path, sizeof(path), "/containers/%s/stop", rig_describe(rig).container);
	assert_int_equal(docker_api("POST", path, NULL, NULL), 204);
	assert_in_range(rig_await_death(rig), 0, 1000);
	assert_says(rig->death, "exit code 0 after");
}

static void a_stop_that_we_asked_for_is_no_death(void **state)
{
	struct rig *rig = *state;

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	rig_stop_well(rig);
	assert_int_equal(rig_count_deaths(rig, false), 0);
}

/* --- after our restart --- */

static void the_same_container_is_adopted_after_a_restart(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts before, after;
	vgw_error err = VGW_ERROR_INIT;
	int64_t began_ms;

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	before = rig_describe(rig);
	rig_renew(rig);
	docker_make_engine(rig, "", "");
	rig->url[0] = '\0';
	began_ms = vgw_now_ms();
	if (rig->kind->ops.adopt(rig->self, before.identity, vgw_now_ms() + PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
	assert_in_range(vgw_now_ms() - began_ms, 0, 1000);
	after = rig_describe(rig);
	assert_string_equal(after.container, before.container);
	assert_int_equal(docker_get(rig->url, "/health"), 200);
	kill_container(after.container); /* and it is watched */
	assert_in_range(rig_await_death(rig), 0, 1000);
}

static void one_of_another_configuration_is_stopped_not_adopted(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts before;
	vgw_error err = VGW_ERROR_INIT;

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	before = rig_describe(rig);
	rig_renew(rig);
	docker_make_engine(rig, ", \"--tokens\", \"7\"", "");
	assert_int_equal(rig->kind->ops.adopt(rig->self, before.identity, vgw_now_ms() + PATIENCE_MS, &err),
		VGW_NOT_FOUND);
	assert_says(err.text, "its configuration has changed");
	assert_int_equal(docker_count(), 0);
}

static void a_record_that_is_not_of_our_start_touches_nothing(void **state)
{
	struct rig *rig = *state;
	char identity[1024], id[72];

	docker_make_foreign("innocent", "\"vllmgw.nonce\":\"0123456789abcdef0123456789abcdef\",\"vllmgw.spec\":\"x\"", true,
		id);
	(void)snprintf(identity, sizeof(identity), "{\"container\":\"%s\",\"daemon\":\"unix:%s\",\"nonce\":"
		"\"fedcba9876543210fedcba9876543210\",\"spec\":\"x\",\"port\":8000}", id,
			getenv("VGW_DOCKER_SOCKET"));
	docker_make_engine(rig, "", "");
	assert_int_equal(rig->kind->ops.adopt(rig->self, identity, vgw_now_ms() + PATIENCE_MS, NULL),
		VGW_NOT_FOUND);
	assert_int_equal(rig->kind->ops.adopt(rig->self, "{}", vgw_now_ms() + PATIENCE_MS, NULL), VGW_NOT_FOUND);
	assert_true(docker_lives(id));
}

static void an_orphan_of_ours_is_removed_and_nobody_elses(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts orphan;
	char foreign[72];

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	orphan = rig_describe(rig);
	rig_renew(rig); /* and nobody remembers it */
	docker_make_foreign("neighbour",
		"\"vllmgw.instance\":\"0123456789abcdef0123456789abcdef\",\"vllmgw.replica\":\"big/0\"", true,
			foreign);
	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	assert_false(docker_lives(orphan.container));
	assert_true(docker_lives(foreign));
	assert_int_equal(docker_count(), 2);
}

/* --- the engine's own troubles --- */

static void an_engine_that_was_stopped_is_said_to_be_and_serves_again_later(void **state)
{
	struct rig *rig = *state;
	int64_t began_ms;
	vgw_error err;

	docker_make_engine(rig, "", "");
	docker_control("stop", false);
	began_ms = vgw_now_ms();
	assert_int_equal(docker_fail_to_activate(rig, &err).failure, VGW_FAILURE_RUNTIME);
	assert_in_range(vgw_now_ms() - began_ms, 0, 1000);
	assert_int_equal(err.fault, VGW_FAULT_RUNTIME_UNAVAILABLE);
	assert_says(err.text, "cannot be reached");
	docker_control("start", false);
	rig_activate_well(rig);
}

static void an_engine_that_hangs_costs_a_bounded_time(void **state)
{
	struct rig *rig = *state;
	int64_t began_ms;
	vgw_error err = VGW_ERROR_INIT;

	docker_make_engine(rig, "", "");
	docker_control("pause", false);
	vgw__host_begin(rig->host);
	began_ms = vgw_now_ms();
	assert_int_equal(rig->kind->ops.activate(rig->self, vgw_now_ms() + 500, &err), VGW_TIMEOUT);
	assert_in_range(vgw_now_ms() - began_ms, 400, 1500);
	assert_says(err.text, "does not answer");
	assert_int_equal(rig_report_of(rig).failure, VGW_FAILURE_RUNTIME);
	docker_control("resume", false);
	rig_activate_well(rig);
}

static void containers_that_ended_while_the_engine_was_down_are_noticed_when_it_is_back(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(docker_api("POST", "/networks/create", "{\"Name\":\"vgw-test\"}", NULL), 201);
	docker_make_engine(rig, "", ", \"network\": \"vgw-test\"");
	rig_activate_well(rig);
	docker_control("kill", false); /* the container goes on; an engine that comes back stops it */
	assert_int_equal(docker_get(rig->url, "/health"), 200);
	assert_int_equal(rig_count_deaths(rig, false), 0);
	docker_control("start", false);
	assert_in_range(rig_await_death(rig), 0, 5000);
	rig_activate_well(rig);
}

static void after_a_restart_of_the_engine_deaths_are_noticed_at_once_again(void **state)
{
	struct rig *rig = *state;

	docker_make_engine(rig, "", "");
	rig_activate_well(rig);
	docker_control("stop", false); /* stops the container, too */
	(void)rig_await_death(rig);
	docker_control("start", false);
	rig_activate_well(rig);
	(void)rig_count_deaths(rig, true);
	kill_container(rig_describe(rig).container);
	assert_in_range(rig_await_death(rig), 0, 2500);
}

int main(void)
{
#define IT(name) cmocka_unit_test_setup_teardown(name, docker_set_up, docker_tear_down)
	const struct CMUnitTest tests[] = {
		IT(a_killed_container_is_noticed_within_a_second),
		IT(a_removed_container_is_noticed_too),
		IT(exit_0_of_an_engine_that_serves_is_a_death),
		IT(a_stop_that_we_asked_for_is_no_death),
		IT(the_same_container_is_adopted_after_a_restart),
		IT(one_of_another_configuration_is_stopped_not_adopted),
		IT(a_record_that_is_not_of_our_start_touches_nothing),
		IT(an_orphan_of_ours_is_removed_and_nobody_elses),
		IT(an_engine_that_was_stopped_is_said_to_be_and_serves_again_later),
		IT(an_engine_that_hangs_costs_a_bounded_time),
		IT(containers_that_ended_while_the_engine_was_down_are_noticed_when_it_is_back),
		IT(after_a_restart_of_the_engine_deaths_are_noticed_at_once_again),
	};
#undef IT

	return cmocka_run_group_tests_name("docker_end", tests, NULL, NULL);
}
