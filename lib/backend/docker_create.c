/* SPDX-License-Identifier: Apache-2.0 */
/* Creating and starting one container, under a name that is free. */
#include "backend/docker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CREATE_MS = 60000,
	START_MS = 120000, /* hooks that prepare GPUs take their time */
	NAMES = 20,        /* how many to try */
	PORTS = 3,         /* how often to try again when a published port is taken */
	NAME_SIZE = 132,
};

/* --- creating --- */

/* "vllmgw-org-big-0" */
static void make_name(const struct vgw__docker_config *config, int number, char out[NAME_SIZE])
{
	char model[101];
	size_t len = 0;

	for (; config->model[len] != '\0' && len < sizeof(model) - 1; len++) {
		char c = config->model[len];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '.' || c == '_';

		model[len] = is_plain ? c : '-';
	}
	model[len] = '\0';
	(void)snprintf(out, NAME_SIZE, "vllmgw-%s-%d", model, number);
}

static vgw_status create(struct vgw__docker *docker, const char *name, const char *body, int64_t deadline_ms,
	struct vgw__docker_problem *problem)
{
	char path[NAME_SIZE + 32];
	const struct vgw__docker_call call = { .doing = "create its container", .method = "POST", .path = path,
		.body = body, .deadline_ms = vgw__docker_soonest(deadline_ms, CREATE_MS),
		.cancel_fd = vgw_host_get_cancel_fd(docker->host) };
	const char *container;
	json_t *created;
	vgw_status status;

	(void)snprintf(path, sizeof(path), "/containers/create?name=%s", name);
	status = vgw__docker_call_json(&docker->daemon->client, &call, &created, problem);
	if (status != VGW_OK) {
		docker->may_have_lost = problem->trouble == VGW__DOCKER_NO_ANSWER;
		return status;
	}
	container = json_string_value(json_object_get(created, "Id"));
	if (container && container[0] && strlen(container) < VGW__DOCKER_ID &&
		strspn(container, "0123456789abcdef") == strlen(container))
		vgw__docker_hold(docker, container);
	else
		status = vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_RUNTIME,
			"the Docker Engine created a container and did not say which");
	json_decref(created);
	return status;
}

/* Under the configured name, or the first free one of ours. */
static vgw_status create_named(struct vgw__docker *docker, const char *body, int64_t deadline_ms,
	struct vgw__docker_problem *problem)
{
	const char *slash = strrchr(docker->config.replica, '/');
	int number = slash ? (int)strtol(slash + 1, NULL, 10) : 0;
	const char *configured = docker->config.container_name;
	char name[NAME_SIZE];
	vgw_status status = VGW_OK;

	for (int attempt = 0; attempt < NAMES; attempt++) {
		if (configured)
			(void)snprintf(name, sizeof(name), "%s", configured);
		else
			make_name(&docker->config, number + attempt, name);
		status = create(docker, name, body, deadline_ms, problem);
		if (status == VGW_OK || problem->trouble != VGW__DOCKER_NAME_TAKEN || (configured && attempt > 0))
			break;
		if (configured) {
			status = vgw__docker_free_name(docker, name, deadline_ms, problem);
			if (status != VGW_OK)
				break;
		}
	}
	return status;
}

/* --- starting --- */

static vgw_status start(struct vgw__docker *docker, int64_t deadline_ms, struct vgw__docker_problem *problem)
{
	char path[VGW__DOCKER_ID + 32];
	const struct vgw__docker_call call = { .doing = "start its container", .method = "POST", .path = path,
		.deadline_ms = vgw__docker_soonest(deadline_ms, START_MS),
		.cancel_fd = vgw_host_get_cancel_fd(docker->host) };
	struct vgw__control_answer answer;
	vgw_status status;

	(void)snprintf(path, sizeof(path), "/containers/%s/start", docker->container);
	status = vgw__docker_call(&docker->daemon->client, &call, &answer, problem);
	vgw__control_answer_fini(&answer);
	return status;
}

/* A container that cannot be started is of no use: it goes at once. What is not answered is left to deactivate. */
vgw_status vgw__docker_create(struct vgw__docker *docker, const char *body, int64_t deadline_ms,
	struct vgw__docker_problem *problem)
{
	struct vgw__docker_problem ignored;
	vgw_status status = VGW_OK;

	for (int attempt = 0; attempt < PORTS; attempt++) {
		status = create_named(docker, body, deadline_ms, problem);
		if (status != VGW_OK)
			return status;
		status = start(docker, deadline_ms, problem);
		if (status == VGW_OK || problem->trouble == VGW__DOCKER_NO_ANSWER)
			return status;
		if (vgw__docker_remove(docker->daemon, docker->container, deadline_ms, &ignored) != VGW_OK)
			return status;
		vgw__docker_hold(docker, "");
		if (problem->trouble != VGW__DOCKER_PORT_TAKEN)
			return status;
	}
	return status;
}
