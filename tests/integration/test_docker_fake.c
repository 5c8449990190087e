/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "docker" against an engine that answers what a test wants: versions, pulls, nonsense. One exchange after the
 * other, each on a connection of its own. */
#include "process_rig.h"
#include "rawserver.h"

#include <stdlib.h>
#include <unistd.h>

#define JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
#define ANSWER(status) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n"
#define VERSION JSON "{\"ApiVersion\":\"1.41\",\"MinAPIVersion\":\"1.12\"}"

struct exchange {
	const char *asks;    /* how the request begins */
	const char *answers; /* all of it; NULL ends the list */
};

static void run_script(struct rawserver *server, void *user)
{
	for (const struct exchange *exchange = user; exchange->asks; exchange++) {
		int fd = rawserver_accept(server);
		char why[400];

		rawserver_expect_request(server, fd);
		if (fd < 0)
			return;
		if (strncmp(rawserver_get_head(server), exchange->asks, strlen(exchange->asks)) != 0) {
			(void)snprintf(why, sizeof(why), "expected %s, got %.200s", exchange->asks,
				rawserver_get_head(server));
			rawserver_fail(server, why);
			return;
		}
		rawserver_send(server, fd, exchange->answers);
		rawserver_close(server, fd);
	}
}

static int set_up(void **state)
{
	return rig_set_up_kind(state, "docker");
}

static void create(struct rig *rig, const char *more)
{
	char json[512];
	vgw_error err = VGW_ERROR_INIT;

	(void)snprintf(json, sizeof(json), "{\"kind\":\"docker\",\"socket\":\"%s/docker.sock\",\"image\":\"org/x:9\"%s}",
		rig->state_dir, more);
	if (rig_create(rig, json, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

/* The engine answers so, and the activation fails with that failure and says that. */
static void check(struct rig *rig, const struct exchange *exchanges, const char *more, vgw_failure failure,
	const char *says)
{
	struct rawserver *server;
	char path[128];
	vgw_error err = VGW_ERROR_INIT;
	const char *wrong;

	(void)snprintf(path, sizeof(path), "%s/docker.sock", rig->state_dir);
	(void)unlink(path);
	server = rawserver_start(run_script, (void *)exchanges, path);
	assert_non_null(server);
	create(rig, more);
	assert_int_not_equal(rig_activate(rig, &err), VGW_OK);
	wrong = rawserver_join(server);
	if (wrong)
		fail_msg("%s", wrong);
	assert_says(err.text, says);
	assert_int_equal(rig_report_of(rig).failure, failure);
	assert_int_equal(err.fault, failure == VGW_FAILURE_RUNTIME ? VGW_FAULT_RUNTIME_UNAVAILABLE
								   : VGW_FAULT_MODEL_START_FAILED);
}

/* --- versions --- */

static void the_version_is_the_newest_that_both_know(void **state)
{
	static const struct exchange exchanges[] = {
		{ "GET /version ", JSON "{\"ApiVersion\":\"1.45\",\"MinAPIVersion\":\"1.24\"}" },
		{ "GET /v1.45/containers/json?", ANSWER("500 No") "{\"message\":\"boom\"}" }, { NULL, NULL },
	};

	check(*state, exchanges, "", VGW_FAILURE_UNKNOWN, "boom");
}

static void it_is_not_below_what_a_newer_engine_wants_at_least(void **state)
{
	static const struct exchange exchanges[] = {
		{ "GET /version ", JSON "{\"ApiVersion\":\"1.99\",\"MinAPIVersion\":\"1.60\"}" },
		{ "GET /v1.60/containers/json?", ANSWER("500 No") "{\"message\":\"boom\"}" }, { NULL, NULL },
	};

	check(*state, exchanges, "", VGW_FAILURE_UNKNOWN, "boom");
}

static void an_engine_that_was_replaced_by_an_older_one_is_asked_again(void **state)
{
	static const struct exchange exchanges[] = {
		{ "GET /version ", JSON "{\"ApiVersion\":\"1.45\",\"MinAPIVersion\":\"1.24\"}" },
		{ "GET /v1.45/containers/json?", ANSWER("400 No")
			"{\"message\":\"client version 1.45 is too new. Maximum supported API version is "
			"1.41\"}" },
		{ "GET /version ", VERSION },
		{ "GET /v1.41/containers/json?", ANSWER("500 No") "{\"message\":\"boom\"}" }, { NULL, NULL },
	};

	check(*state, exchanges, "", VGW_FAILURE_UNKNOWN, "boom");
}

static void an_engine_of_2018_is_too_old(void **state)
{
	static const struct exchange exchanges[] = {
		{ "GET /version ", JSON "{\"ApiVersion\":\"1.38\",\"MinAPIVersion\":\"1.12\"}" }, { NULL, NULL },
	};

	check(*state, exchanges, "", VGW_FAILURE_RUNTIME, "speaks API 1.38; 1.40 or newer is needed");
}

/* --- nonsense --- */

static void what_is_no_engine_is_said_to_be_none(void **state)
{
	static const struct exchange exchanges[] = { { "GET /version ", JSON "<html>hello</html>" }, { NULL,
		NULL } };

	check(*state, exchanges, "", VGW_FAILURE_RUNTIME, "is not a Docker Engine");
}

static void an_answer_that_is_not_json_is_the_engines_fault(void **state)
{
	static const struct exchange exchanges[] = {
		{ "GET /version ", VERSION }, { "GET /v1.41/containers/json?", JSON "[{\"Id\":" }, { NULL, NULL },
	};

	check(*state, exchanges, "", VGW_FAILURE_RUNTIME, "answers what is not JSON");
}

static void a_connection_that_is_cut_is_the_engines_fault(void **state)
{
	static const struct exchange exchanges[] = { { "GET /version ",
		"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{" },
		{ NULL, NULL } };

	check(*state, exchanges, "", VGW_FAILURE_RUNTIME, "cannot be reached");
}

static void a_created_container_without_an_id_is_the_engines_fault(void **state)
{
	static const struct exchange exchanges[] = {
		{ "GET /version ", VERSION }, { "GET /v1.41/containers/json?", JSON "[]" },
		{ "GET /v1.41/images/org%2Fx%3A9/json ", JSON "{}" },
		{ "POST /v1.41/containers/create?name=vllmgw-big-0 ",
			ANSWER("201 Created") "{\"Id\":\"../../evil\"}" },
		{ NULL, NULL },
	};

	check(*state, exchanges, "", VGW_FAILURE_RUNTIME, "did not say which");
}

/* --- pulling --- */

#define LOOK_FOR "GET /v1.41/images/org%2Fx%3A9/json "
#define MISSING                                                                                              \
	{ "GET /version ", VERSION }, { "GET /v1.41/containers/json?", JSON "[]" },                          \
		{ LOOK_FOR, ANSWER("404 No") "{\"message\":\"No such image: org/x:9\"}" }

static void an_error_inside_a_pulls_answer_of_200_is_an_error(void **state)
{
	static const struct exchange exchanges[] = { MISSING,
		{ "POST /v1.41/images/create?fromImage=org%2Fx&tag=9 ", JSON
			"{\"status\":\"Pulling from org/x\",\"id\":\"9\"}\r\n"
			"{\"status\":\"Downloading\",\"progressDetail\":{\"current\":25,\"total\":100},\"id\":\"aa\"}\r\n"
			"{\"status\":\"Downloading\",\"progressDetail\":{\"current\":75,\"total\":100},\"id\":\"bb\"}\r\n"
			"{\"errorDetail\":{\"message\":\"manifest for org/x:9 not found: manifest unknown\"},"
			"\"error\":\"manifest for org/x:9 not found: manifest unknown\"}\r\n" },
		{ NULL, NULL } };
	struct rig *rig = *state;

	check(rig, exchanges, "", VGW_FAILURE_USER, "cannot pull 'org/x:9': manifest for org/x:9 not found");
	assert_string_equal(rig->last_progress, "pulling the image: 50% of 0 MB");
}

static void a_pull_that_is_denied_is_the_users(void **state)
{
	static const struct exchange exchanges[] = { MISSING,
		{ "POST /v1.41/images/create?", ANSWER("404 No") "{\"message\":\"pull access denied for "
			"org/x, repository does "
			"not exist or may require 'docker login'\"}" }, { NULL, NULL } };

	check(*state, exchanges, "", VGW_FAILURE_USER, "`docker pull` it on that machine");
}

static void a_registry_that_is_not_reached_is_tried_again_later(void **state)
{
	static const struct exchange exchanges[] = { MISSING,
		{ "POST /v1.41/images/create?", JSON "{\"error\":\"Get https://registry-1.docker.io/v2/: "
			"net/http: TLS "
			"handshake timeout\"}" }, { NULL, NULL } };

	check(*state, exchanges, "", VGW_FAILURE_UNKNOWN, "TLS handshake timeout");
}

static void pull_never_does_not_pull(void **state)
{
	static const struct exchange exchanges[] = { MISSING, { NULL, NULL } };

	check(*state, exchanges, ", \"pull\": \"never\"", VGW_FAILURE_USER, "set pull: missing");
}

/* --- Podman --- */

static void podmans_conflict_of_names_is_one_although_it_is_a_500(void **state)
{
	static const struct exchange exchanges[] = {
		{ "GET /version ", VERSION }, { "GET /v1.41/containers/json?", JSON "[]" },
		{ "GET /v1.41/images/", JSON "{}" },
		{ "POST /v1.41/containers/create?name=vllm_server ", ANSWER("500 No")
			"{\"cause\":\"that name is already in use\",\"message\":\"creating container "
			"storage: the container name "
			"\\\"vllm_server\\\" is already in use by ab12\",\"response\":500}" },
		{ "GET /v1.41/containers/vllm_server/json ",
			JSON "{\"Id\":\"ab12\",\"Config\":{\"Image\":\"web\",\"Labels\":"
			"{}}}" },
		{ NULL, NULL },
	};

	check(*state, exchanges, ", \"container_name\": \"vllm_server\"", VGW_FAILURE_USER,
		"belongs to a container that is not ours");
}

/* --- configuration --- */

static void a_mistake_in_the_configuration_is_named(void **state)
{
	static const char *const faults[][2] = {
		{ "{\"kind\":\"docker\"}", "backend.image is missing" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"imgae\":1}", "did you mean 'image'" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"gpus\":\"some\"}", "backend.gpus: expected auto, all, none" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"pull\":\"often\"}", "never, missing or always" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"mounts\":[\"./cache:/cache\"]}",
			"expected /FOLDER:/TARGET" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"mounts\":[\"/cache\"]}", "expected /FOLDER:/TARGET" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"args\":[\"${NOPE}\"]}", "unknown variable ${NOPE}" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"args\":[],\"command\":[]}", "write one of them" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"ipc\":\"host\",\"shm_size\":99}",
			"take one of them out" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"network\":\"none\"}", "nobody could reach the engine" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"container_name\":\"a/b\"}", "letters, digits" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"socket\":\"docker.sock\"}", "is no Docker Engine" },
		{ "{\"kind\":\"docker\",\"image\":\"x\",\"socket\":\"ssh://host\"}", "tcp://host:port" },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;

		assert_int_equal(rig_create(rig, faults[i][0], &err), VGW_INVALID);
		assert_null(rig->self);
		assert_says(err.text, faults[i][1]);
	}
}

static void no_socket_is_said_with_what_to_do(void **state)
{
	struct rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	create(rig, "");
	assert_int_not_equal(rig_activate(rig, &err), VGW_OK);
	assert_says(err.text, "there is no such socket");
	assert_int_equal(err.fault, VGW_FAULT_RUNTIME_UNAVAILABLE);
}

int main(void)
{
#define IT(name) cmocka_unit_test_setup_teardown(name, set_up, rig_tear_down)
	const struct CMUnitTest tests[] = {
		IT(the_version_is_the_newest_that_both_know),
		IT(it_is_not_below_what_a_newer_engine_wants_at_least),
		IT(an_engine_that_was_replaced_by_an_older_one_is_asked_again),
		IT(an_engine_of_2018_is_too_old),
		IT(what_is_no_engine_is_said_to_be_none),
		IT(an_answer_that_is_not_json_is_the_engines_fault),
		IT(a_connection_that_is_cut_is_the_engines_fault),
		IT(a_created_container_without_an_id_is_the_engines_fault),
		IT(an_error_inside_a_pulls_answer_of_200_is_an_error),
		IT(a_pull_that_is_denied_is_the_users),
		IT(a_registry_that_is_not_reached_is_tried_again_later),
		IT(pull_never_does_not_pull),
		IT(podmans_conflict_of_names_is_one_although_it_is_a_500),
		IT(a_mistake_in_the_configuration_is_named),
		IT(no_socket_is_said_with_what_to_do),
	};
#undef IT

	return cmocka_run_group_tests_name("docker_fake", tests, NULL, NULL);
}
