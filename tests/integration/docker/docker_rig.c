/* SPDX-License-Identifier: Apache-2.0 */
/* A real Docker Engine, seen from tests. */
#include "docker_rig.h"

#include "net/control.h"
#include "util/subprocess.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *get_variable(const char *name)
{
	const char *value = getenv(name);

	if (!value)
		fail_msg("%s is not set: run this through tests/support/docker_engine", name);
	return value;
}

/* --- the API --- */

static uint32_t call(const char *unix_path, const char *url, const char *method, const char *body, json_t **out)
{
	struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
	struct vgw__control_answer answer;
	vgw_error err = VGW_ERROR_INIT;
	uint32_t status;

	request.url = url;
	request.unix_path = unix_path;
	request.method = method;
	request.body = body;
	request.body_len = body ? strlen(body) : 0;
	request.deadline_ms = vgw_now_ms() + PATIENCE_MS;
	if (vgw__control_call(&request, &answer, &err) != VGW_OK)
		fail_msg("%s", err.text);
	status = answer.status;
	if (out)
		*out = json_loadb(answer.body, answer.body_len, 0, NULL);
	vgw__control_answer_fini(&answer);
	return status;
}

uint32_t docker_api(const char *method, const char *path, const char *body, json_t **out)
{
	char url[1024];

	(void)snprintf(url, sizeof(url), "http://localhost%s", path);
	return call(get_variable("VGW_DOCKER_SOCKET"), url, method, body, out);
}

uint32_t docker_get(const char *url, const char *path)
{
	char whole[256];

	(void)snprintf(whole, sizeof(whole), "%s%s", url, path);
	return call(NULL, whole, "GET", NULL, NULL);
}

json_t *docker_inspect(const char *container)
{
	char path[128];
	json_t *inspected;

	(void)snprintf(path, sizeof(path), "/containers/%s/json", container);
	assert_int_equal(docker_api("GET", path, NULL, &inspected), 200);
	return inspected;
}

bool docker_lives(const char *container)
{
	json_t *inspected;
	char path[128];
	bool is_running;

	(void)snprintf(path, sizeof(path), "/containers/%s/json", container);
	(void)docker_api("GET", path, NULL, &inspected);
	is_running = json_is_true(json_object_get(json_object_get(inspected, "State"), "Running"));
	json_decref(inspected);
	return is_running;
}

void docker_make_foreign(const char *name, const char *labels, bool is_started, char id[72])
{
	char body[512], path[128];
	json_t *created;

	(void)snprintf(body, sizeof(body), "{\"Image\":\"%s\",\"Entrypoint\":[\"/bin/sleep\",\"600\"],\"Labels\":{%s}}",
		get_variable("VGW_DOCKER_IMAGE"), labels);
	(void)snprintf(path, sizeof(path), "/containers/create?name=%s", name);
	assert_int_equal(docker_api("POST", path, body, &created), 201);
	(void)snprintf(id, 72, "%s", json_string_value(json_object_get(created, "Id")));
	json_decref(created);
	(void)snprintf(path, sizeof(path), "/containers/%s/start", id);
	if (is_started)
		assert_int_equal(docker_api("POST", path, NULL, NULL), 204);
}

static json_t *list(void)
{
	json_t *containers;

	assert_int_equal(docker_api("GET", "/containers/json?all=1", NULL, &containers), 200);
	return containers;
}

size_t docker_count(void)
{
	json_t *containers = list();
	size_t count = json_array_size(containers);

	json_decref(containers);
	return count;
}

void docker_control(const char *verb, bool has_gpus)
{
	const char *argv[] = { get_variable("VGW_DOCKER_CONTROL"), verb, NULL };
	struct vgw__subprocess process = VGW__SUBPROCESS_INIT;
	struct vgw__spawn_request request = { .argv = argv, .output_fd = STDERR_FILENO };
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__exit end;

	assert_int_equal(has_gpus ? setenv("FAKE_GPU", "1", 1) : unsetenv("FAKE_GPU"), 0);
	request.env = (const char *const *)environ;
	if (vgw__subprocess_spawn(&process, &request, &err) != VGW_OK)
		fail_msg("%s", err.text);
	assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	vgw__subprocess_get_exit(&process, &end);
	vgw__subprocess_close(&process);
	assert_int_equal(end.signal, 0);
	assert_int_equal(end.code, 0);
}

/* --- the rig --- */

int docker_set_up(void **state)
{
	return rig_set_up_kind(state, "docker");
}

int docker_tear_down(void **state)
{
	int failed = rig_tear_down(state);
	json_t *containers = list();

	for (size_t i = 0; i < json_array_size(containers); i++) {
		const json_t *id = json_object_get(json_array_get(containers, i), "Id");
		char path[128];

		(void)snprintf(path, sizeof(path), "/containers/%s?force=1&v=1", json_string_value(id));
		(void)docker_api("DELETE", path, NULL, NULL);
	}
	json_decref(containers);
	(void)docker_api("DELETE", "/networks/vgw-test", NULL, NULL);
	return failed;
}

static void make(struct rig *rig, const char *begin, const char *arguments, const char *more)
{
	vgw_error err = VGW_ERROR_INIT;
	char json[4096];

	(void)snprintf(json, sizeof(json), "{\"kind\":\"docker\",\"socket\":\"%s\",\"image\":\"%s\",\"init\":false,"
		"\"stop_timeout\":\"2s\",%s%s]%s}", get_variable("VGW_DOCKER_SOCKET"),
			get_variable("VGW_DOCKER_IMAGE"),
		begin, arguments, more);
	if (rig_create(rig, json, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

void docker_make_engine(struct rig *rig, const char *arguments, const char *more)
{
	make(rig, "\"args\":[\"--host\",\"${HOST}\",\"--port\",\"${PORT}\",\"--served-model-name\",\"${MODEL}\","
		"\"--log-lines\"", arguments, more);
}

void docker_make_shell(struct rig *rig, const char *script, const char *more)
{
	char arguments[1024];

	(void)snprintf(arguments, sizeof(arguments), "\"%s\"", script);
	make(rig, "\"entrypoint\":[\"/bin/sh\",\"-c\"],\"args\":[", arguments, more);
}

struct vgw__host_report docker_fail_to_activate(struct rig *rig, vgw_error *err)
{
	struct vgw__host_report report;

	memset(err, 0, sizeof(*err));
	assert_int_not_equal(rig_activate(rig, err), VGW_OK);
	report = rig_report_of(rig);
	print_message("          %s\n", err->text);
	return report;
}
