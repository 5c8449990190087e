/* SPDX-License-Identifier: Apache-2.0 */
/* What errors of Docker Engines mean: bodies as Docker 20.10, Docker 26.1 and Podman 4.3 send them. Also the frames
 * of a container's log. */
#include "testing.h"

#include "backend/docker_logs.h"
#include "backend/docker_problem.h"

#include <string.h>

struct row {
	uint32_t http;
	const char *body;
	enum vgw__docker_trouble trouble;
	vgw_failure failure;
	const char *says;
};

#define OTHER VGW__DOCKER_OTHER
#define USER VGW_FAILURE_USER
#define UNKNOWN VGW_FAILURE_UNKNOWN

static const struct row rows[] = {
	{ 409, "{\"message\":\"Conflict. The container name \\\"/m1\\\" is already in use by container "
		"\\\"ab12\\\". You "
		"have to remove (or rename) that container to be able to reuse that name.\"}",
			VGW__DOCKER_NAME_TAKEN, USER,
		"container_name" },
	{ 500, "{\"cause\":\"container already exists\",\"message\":\"creating container storage: the "
		"container name "
		"\\\"m1\\\" is already in use by ab12. You have to remove that container to be able to "
		"reuse that name: that "
		"name is already in use\",\"response\":500}", VGW__DOCKER_NAME_TAKEN, USER, "container_name" },
	{ 404, "{\"message\":\"No such container: m1\"}", VGW__DOCKER_NO_CONTAINER, UNKNOWN,
		"No such container" },
	{ 404, "{\"cause\":\"no such container\",\"message\":\"no container with name or ID \\\"m1\\\" "
		"found: no such "
		"container\",\"response\":404}", VGW__DOCKER_NO_CONTAINER, UNKNOWN, "no such container" },
	{ 404, "{\"message\":\"No such image: nope:1\"}", VGW__DOCKER_NO_IMAGE, USER, "docker pull" },
	{ 404, "{\"cause\":\"image not known\",\"message\":\"failed to find image nope:1: "
		"docker.io/library/nope:1: No "
		"such image\",\"response\":404}", VGW__DOCKER_NO_IMAGE, USER, "docker pull" },
	{ 500, "{\"message\":\"could not select device driver \\\"\\\" with capabilities: [[gpu]]\"}", OTHER,
		USER,
		"NVIDIA Container Toolkit" },
	{ 500, "{\"message\":\"could not select device driver \\\"cdi\\\" with capabilities: []\"}", OTHER, USER,
		"NVIDIA Container Toolkit" },
	{ 500, "{\"message\":\"failed to create task for container: failed to create shim task: OCI "
		"runtime create "
		"failed: runc create failed: unable to start container process: error during container "
		"init: error running "
		"hook #0: exit status 1, stdout: , stderr: Auto-detected mode as "
		"'legacy'\\nnvidia-container-cli: "
		"initialization error: nvml error: driver not loaded: unknown\"}", OTHER, USER, "nvidia-smi" },
	{ 400, "{\"message\":\"Unknown runtime specified nvidia\"}", OTHER, USER, "engine's configuration" },
	{ 400, "{\"message\":\"unknown or invalid runtime name: nvidia\"}", OTHER, USER,
		"engine's configuration" },
	{ 400, "{\"message\":\"failed to create shim task: OCI runtime create failed: runc create failed: "
		"unable to start "
		"container process: exec: \\\"/nope\\\": stat /nope: no such file or directory: unknown\"}",
			OTHER, USER,
		"entrypoint" },
	{ 500, "{\"cause\":\"runc: exec failed\",\"message\":\"runc: runc create failed: unable to start "
		"container "
		"process: exec: \\\"/nope\\\": stat /nope: no such file or directory: OCI runtime "
		"attempted to invoke a command "
		"that was not found\",\"response\":500}", OTHER, USER, "entrypoint" },
	{ 500, "{\"message\":\"driver failed programming external connectivity on endpoint m1 (ab12): Bind for "
		"0.0.0.0:18090 failed: port is already allocated\"}", VGW__DOCKER_PORT_TAKEN, UNKNOWN, "18090" },
	{ 404, "{\"message\":\"network nonet not found\"}", OTHER, USER, "docker network create" },
	{ 500, "{\"cause\":\"network not found\",\"message\":\"unable to find network with name or ID "
		"nonet: network not "
		"found\",\"response\":500}", OTHER, USER, "docker network create" },
	{ 400, "{\"message\":\"invalid mount config for type \\\"bind\\\": bind source path does not "
		"exist: /models\"}",
		OTHER, USER, "make that folder" },
	{ 400, "{\"message\":\"client version 1.99 is too new. Maximum supported API version is 1.45\"}",
		VGW__DOCKER_WRONG_VERSION, VGW_FAILURE_RUNTIME, "1.45" },
	{ 400, "{\"message\":\"client version 1.10 is too old. Minimum supported API version is 1.24, "
		"please upgrade your "
		"client to a newer version\"}", VGW__DOCKER_WRONG_VERSION, VGW_FAILURE_RUNTIME, "1.24" },
	{ 409, "{\"message\":\"removal of container ab12 is already in progress\"}",
		VGW__DOCKER_BEING_REMOVED, UNKNOWN,
		"in progress" },
	{ 404, "{\"message\":\"pull access denied for org/x, repository does not exist or may require "
		"'docker login': "
		"denied: requested access to the resource is denied\"}", OTHER, USER, "docker pull" },
	{ 404, "{\"message\":\"manifest for org/x:9 not found: manifest unknown: manifest unknown\"}", OTHER,
		USER,
		"no such tag" },
	{ 500, "{\"message\":\"Get \\\"https://registry-1.docker.io/v2/\\\": dial tcp: lookup "
		"registry-1.docker.io: no such "
		"host\"}", OTHER, UNKNOWN, "no such host" },
	{ 400, "{\"message\":\"invalid JSON: invalid character 'b' looking for beginning of object key "
		"string\"}", OTHER,
		USER, "invalid character" },
	{ 500, "{\"message\":\"something nobody has seen before\"}", OTHER, UNKNOWN, "something nobody" },
	{ 502, "<html>Bad gateway</html>", OTHER, VGW_FAILURE_RUNTIME, "is that a Docker Engine?" },
	{ 500, "", OTHER, VGW_FAILURE_RUNTIME, "answers 500" },
	{ 500, "[]", OTHER, VGW_FAILURE_RUNTIME, "answers 500" },
};

static void every_error_has_its_class_and_a_remedy(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__docker_problem problem;

		vgw__docker_problem_read(&problem, "start its container", rows[i].http, rows[i].body,
			strlen(rows[i].body));
		if (!strstr(problem.text, rows[i].says))
			fail_msg("\"%s\" does not say \"%s\"", problem.text, rows[i].says);
		if (problem.trouble != rows[i].trouble || problem.failure != rows[i].failure)
			fail_msg("\"%s\" is trouble %d, failure %d", problem.text, (int)problem.trouble,
				(int)problem.failure);
		assert_int_equal(problem.status, VGW_BACKEND);
		assert_int_equal(problem.http, rows[i].http);
		assert_null(strchr(problem.text, '\n'));
	}
}

/* --- frames --- */

static void collect(void *user, const char *data, size_t len)
{
	char *text = user;
	size_t used = strlen(text);

	memcpy(text + used, data, len);
	text[used + len] = '\0';
}

static const char framed[] = "\1\0\0\0\0\0\0\4one\n\2\0\0\0\0\0\0\0\2\0\0\0\0\0\0\4two\n\1\0\0\0\0\0\0\5three";

static void frames_cut_anywhere_give_the_same_text(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < sizeof(framed); cut++) {
		struct vgw__docker_frames frames = { 0 };
		char text[64] = "";

		assert_true(vgw__docker_frames_feed(&frames, framed, cut, collect, text));
		assert_true(vgw__docker_frames_feed(&frames, framed + cut, sizeof(framed) - 1 - cut, collect,
			text));
		assert_string_equal(text, "one\ntwo\nthree");
	}
}

static void what_is_no_frame_is_refused(void **state)
{
	struct vgw__docker_frames frames = { 0 };
	char text[64] = "";

	(void)state;
	assert_false(vgw__docker_frames_feed(&frames, "plain text of a terminal\n", 25, collect, text));
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_error_has_its_class_and_a_remedy),
		cmocka_unit_test(frames_cut_anywhere_give_the_same_text),
		cmocka_unit_test(what_is_no_frame_is_refused),
	};

	return cmocka_run_group_tests_name("docker_problem", tests, NULL, NULL);
}
