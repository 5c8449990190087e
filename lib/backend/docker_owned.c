/* SPDX-License-Identifier: Apache-2.0 */
/* Containers that bear our labels. Ours are those of this gateway (its instance name), that no living instance holds;
 * they are removed when they are in the way. Everybody else's are never touched. */
#include "backend/docker.h"

#include "util/alloc.h"
#include "util/log.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_LEAST_MS = 5000, REMOVE_MS = 30000, AGAIN_MS = 100 };

static const char *get_label(const json_t *labels, const char *name)
{
	const char *text = json_string_value(json_object_get(labels, name));

	return text ? text : "";
}

vgw_status vgw__docker_remove(struct vgw__docker_daemon *daemon, const char *container, int64_t deadline_ms,
	struct vgw__docker_problem *problem)
{
	int64_t at_least_ms = vgw_now_ms() + AT_LEAST_MS;
	char path[VGW__DOCKER_ID + 32];
	struct vgw__docker_call call = { .doing = "remove its container", .method = "DELETE", .path = path,
		.cancel_fd = -1 };

	if (deadline_ms < at_least_ms)
		deadline_ms = at_least_ms;
	call.deadline_ms = vgw__docker_soonest(deadline_ms, REMOVE_MS);
	(void)snprintf(path, sizeof(path), "/containers/%s?force=1&v=1", container);
	for (;;) {
		struct vgw__control_answer answer;
		vgw_status status = vgw__docker_call(&daemon->client, &call, &answer, problem);

		vgw__control_answer_fini(&answer);
		if (status == VGW_OK || problem->trouble == VGW__DOCKER_NO_CONTAINER)
			return VGW_OK;
		if (problem->trouble != VGW__DOCKER_BEING_REMOVED || vgw_now_ms() + AGAIN_MS > call.deadline_ms)
			return status;
		(void)poll(NULL, 0, AGAIN_MS);
	}
}

/* A container of the list, or of an inspection: is it ours and nobody's? */
static bool is_leftover(struct vgw__docker *docker, const char *container, const json_t *labels)
{
	char instance[VGW__NONCE_SIZE];

	return vgw__docker_get_instance(docker->kind, docker->config.state_dir, instance, NULL) == VGW_OK &&
		strcmp(get_label(labels, VGW__LABEL_INSTANCE), instance) == 0 &&
		!vgw__docker_is_held(docker->kind, container, NULL, 0);
}

/* GET /containers/json?all=1&filters={"label":["vllmgw.instance=...","vllmgw.replica=..."]} */
static vgw_status list_replica(struct vgw__docker *docker, int64_t deadline_ms, json_t **out,
	struct vgw__docker_problem *problem)
{
	char instance[VGW__NONCE_SIZE];
	vgw_status status = vgw__docker_get_instance(docker->kind, docker->config.state_dir, instance, NULL);
	char *labels[2] = { vgw__printf("%s=%s", VGW__LABEL_INSTANCE, instance),
		vgw__printf("%s=%s", VGW__LABEL_REPLICA, docker->config.replica) };
	json_t *filters = labels[0] && labels[1] ? json_pack("{s:[s,s]}", "label", labels[0], labels[1]) : NULL;
	char *text = filters ? json_dumps(filters, JSON_COMPACT) : NULL;
	char *quoted = text ? vgw__docker_quote(text) : NULL;
	char *path = quoted ? vgw__printf("/containers/json?all=1&filters=%s", quoted) : NULL;
	const struct vgw__docker_call call = { .doing = "list its containers", .path = path,
		.deadline_ms = vgw__docker_soonest(deadline_ms, VGW__DOCKER_QUICK_MS),
		.cancel_fd = vgw_host_get_cancel_fd(docker->host) };

	*out = NULL;
	if (status != VGW_OK || !path)
		status = vgw__docker_problem_set(problem, VGW_NOMEM, VGW_FAILURE_UNKNOWN, "no memory");
	else
		status = vgw__docker_call_json(&docker->daemon->client, &call, out, problem);
	free(text);
	json_decref(filters);
	vgw__free(labels[0]);
	vgw__free(labels[1]);
	vgw__free(quoted);
	vgw__free(path);
	return status;
}

vgw_status vgw__docker_sweep(struct vgw__docker *docker, int64_t deadline_ms, struct vgw__docker_problem *problem)
{
	json_t *list;
	vgw_status status = list_replica(docker, deadline_ms, &list, problem);

	for (size_t i = 0; status == VGW_OK && i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *container = json_string_value(json_object_get(item, "Id"));

		if (!container || strlen(container) >= VGW__DOCKER_ID ||
			!is_leftover(docker, container, json_object_get(item, "Labels")))
			continue;
		vgw__log(vgw_host_get_logger(docker->host), VGW_LOG_WARN, "docker", docker->config.model,
			"removing container %.12s, left by an earlier run", container);
		status = vgw__docker_remove(docker->daemon, container, deadline_ms, problem);
	}
	json_decref(list);
	if (status == VGW_OK)
		docker->may_have_lost = false;
	return status;
}

vgw_status vgw__docker_free_name(struct vgw__docker *docker, const char *name, int64_t deadline_ms,
	struct vgw__docker_problem *problem)
{
	json_t *inspected;
	const json_t *labels;
	const char *container, *image, *other;
	char model[64];
	vgw_status status = vgw__docker_inspect(&docker->daemon->client, name, deadline_ms,
		vgw_host_get_cancel_fd(docker->host), &inspected, problem);

	if (status != VGW_OK)
		return problem->trouble == VGW__DOCKER_NO_CONTAINER ? VGW_OK : status;
	labels = json_object_get(json_object_get(inspected, "Config"), "Labels");
	image = json_string_value(json_object_get(json_object_get(inspected, "Config"), "Image"));
	container = json_string_value(json_object_get(inspected, "Id"));
	other = get_label(labels, VGW__LABEL_INSTANCE);
	if (container && strlen(container) < VGW__DOCKER_ID && is_leftover(docker, container, labels)) {
		status = vgw__docker_remove(docker->daemon, container, deadline_ms, problem);
	} else if (container && vgw__docker_is_held(docker->kind, container, model, sizeof(model))) {
		status = vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_UNKNOWN,
			"the name '%.60s' is in use by model '%.40s'; only one of them can run at a time, "
			"or give them different names (container_name)", name, model);
	} else {
		status = vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_USER,
			"the name '%.60s' belongs to a container that is not ours (%.12s, image %.40s%s); "
			"remove it "
			"with `docker rm -f`, or set another container_name", name, container ? container : "?",
			image ? image : "?", other[0] ? ", of another vllmgw" : "");
	}
	json_decref(inspected);
	return status;
}
