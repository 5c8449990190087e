/* SPDX-License-Identifier: Apache-2.0 */
/* A pod tells much about itself; one line of it is what an operator needs. The worst thing seen wins: a container
 * that cannot start, then one that ended, then a pod without a node, then what it is busy with. */
#include "backend/kubernetes_pods.h"

#include "backend/classify.h"
#include "backend/kubernetes_api.h"
#include "backend/redact.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 120, REASON_SIZE = 64 };

/* How much a finding says; a higher one replaces a lower. */
enum weight { NOTHING, BUSY_WITH, NO_NODE, FAILED, ENDED, CANNOT_START };

struct judge {
	struct vgw__kube_pods *pods;
	enum weight weight;
};

/* The kubelet's words for a container that will not come up by waiting. */
static const struct hopeless {
	const char *reason;
	const char *help;
} hopeless[] = {
	{ "ImagePullBackOff", "the image cannot be pulled" },
	{ "InvalidImageName", "the image's name is not valid" },
	{ "ErrImageNeverPull", "the image is not on the node" },
	{ "CreateContainerConfigError", "a ConfigMap or Secret it needs is missing" },
	{ "CreateContainerError", "the container cannot be created" },
	{ "RunContainerError", "the container cannot be started" },
	{ "CrashLoopBackOff", "the engine keeps ending" },
};

/* --- texts --- */

/* The last line that is not empty, fit for eyes. */
static void get_last_line(const char *text, char *out, size_t size)
{
	const struct vgw__strings no_secrets = { 0 };
	size_t len = text ? strlen(text) : 0;
	const char *start;

	while (len > 0 && strchr(" \r\n\t", text[len - 1]))
		len--;
	start = len > 0 ? memrchr(text, '\n', len) : NULL;
	start = start ? start + 1 : text;
	vgw__redact_line(out, size, start ? start : "", start ? len - (size_t)(start - text) : 0, &no_secrets);
}

static const char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static const char *get_pod(const json_t *pod)
{
	return get_text(json_object_get(pod, "metadata"), "name");
}

static bool begin_finding(struct judge *judge, enum weight weight, vgw_failure failure)
{
	if (weight <= judge->weight)
		return false;
	judge->weight = weight;
	judge->pods->failure = failure;
	return true;
}

static void find(struct judge *judge, enum weight weight, vgw_failure failure, const json_t *pod, const char *what,
	const char *message)
{
	char line[MESSAGE_SIZE];

	if (!begin_finding(judge, weight, failure))
		return;
	get_last_line(message, line, sizeof(line));
	(void)snprintf(judge->pods->text, sizeof(judge->pods->text), "pod %.60s: %s%s%s", get_pod(pod), what,
		line[0] ? ": " : "", line);
}

/* --- containers --- */

/* The class comes from all lines that were left behind; what to show is the telling one among them. */
static vgw_failure classify(const char *message, char *line, size_t size)
{
	struct vgw__classifier classifier = { .percent = -1 };
	const char *start = message;

	while (*start) {
		size_t len = strcspn(start, "\n");

		(void)vgw__classify_line(&classifier, start, len);
		start += len + (start[len] == '\n');
	}
	get_last_line(vgw__classify_get_line(&classifier), line, size);
	/* the engine's arguments are the workload's, not of our configuration: whoever mends them tells us nothing, so
	 * it is tried again */
	return classifier.failure == VGW_FAILURE_USER ? VGW_FAILURE_UNKNOWN : classifier.failure;
}

static void judge_end(struct judge *judge, const json_t *pod, const json_t *ended, enum weight weight,
	const char *help)
{
	const char *reason = get_text(ended, "reason");
	json_int_t code = json_integer_value(json_object_get(ended, "exitCode"));
	char what[REASON_SIZE * 2], line[MESSAGE_SIZE];
	vgw_failure failure = classify(get_text(ended, "message"), line, sizeof(line));

	if (strcmp(reason, "OOMKilled") == 0) {
		failure = VGW_FAILURE_MEMORY;
		(void)snprintf(line, sizeof(line), "it used more memory than its limit; raise resources.limits.memory");
	}
	(void)snprintf(what, sizeof(what), "%s%s%.30s, exit code %d", help, help[0] ? ": " : "", reason, (int)code);
	find(judge, weight, failure, pod, what, line);
}

static void judge_waiting(struct judge *judge, const json_t *pod, const json_t *status, const json_t *waiting)
{
	const json_t *ended = json_object_get(json_object_get(status, "lastState"), "terminated");
	const char *reason = get_text(waiting, "reason");
	char what[REASON_SIZE * 2];

	for (size_t i = 0; i < sizeof(hopeless) / sizeof(hopeless[0]); i++) {
		if (strcmp(hopeless[i].reason, reason) != 0)
			continue;
		judge->pods->is_hopeless = true;
		if (ended) {
			judge_end(judge, pod, ended, CANNOT_START, hopeless[i].help);
			return;
		}
		(void)snprintf(what, sizeof(what), "%s (%s)", hopeless[i].help, reason);
		find(judge, CANNOT_START, VGW_FAILURE_UNKNOWN, pod, what, get_text(waiting, "message"));
		return;
	}
	find(judge, BUSY_WITH, VGW_FAILURE_UNKNOWN, pod, reason[0] ? reason : "waiting", "");
}

static bool judge_container(struct judge *judge, const json_t *pod, const json_t *status)
{
	const json_t *state = json_object_get(status, "state");
	const json_t *waiting = json_object_get(state, "waiting"), *ended = json_object_get(state, "terminated");
	const json_t *before = json_object_get(json_object_get(status, "lastState"), "terminated");

	judge->pods->restarts += json_integer_value(json_object_get(status, "restartCount"));
	if (waiting)
		judge_waiting(judge, pod, status, waiting);
	else if (ended)
		judge_end(judge, pod, ended, ENDED, "");
	else if (before)
		judge_end(judge, pod, before, ENDED, "restarted");
	return json_object_get(state, "running") != NULL;
}

/* --- pods --- */

static void judge_conditions(struct judge *judge, const json_t *pod, const json_t *conditions)
{
	for (size_t i = 0; i < json_array_size(conditions); i++) {
		const json_t *condition = json_array_get(conditions, i);

		/* a cluster that grows by itself may give it a node yet: not hopeless */
		if (strcmp(get_text(condition, "type"), "PodScheduled") == 0 &&
			strcmp(get_text(condition, "status"), "False") == 0)
			find(judge, NO_NODE, VGW_FAILURE_MEMORY, pod, "no node has room for it",
				get_text(condition, "message"));
	}
}

static void judge_pod(struct judge *judge, const json_t *pod)
{
	const json_t *status = json_object_get(pod, "status");
	const json_t *containers = json_object_get(status, "containerStatuses");
	const json_t *first = json_object_get(status, "initContainerStatuses");
	bool is_running = json_array_size(containers) > 0;

	/* what was evicted or has ended for good is only a record: it holds nothing, and may stay for days */
	if (strcmp(get_text(status, "phase"), "Succeeded") == 0)
		return;
	if (strcmp(get_text(status, "phase"), "Failed") == 0) {
		find(judge, FAILED, VGW_FAILURE_UNKNOWN, pod, get_text(status, "reason"), get_text(status, "message"));
		return;
	}
	judge->pods->count++;
	judge_conditions(judge, pod, json_object_get(status, "conditions"));
	for (size_t i = 0; i < json_array_size(first); i++) {
		const json_t *init = json_array_get(first, i);
		const json_t *waiting = json_object_get(json_object_get(init, "state"), "waiting");

		if (waiting) /* one that has ended well is what an init container should be */
			judge_waiting(judge, pod, init, waiting);
	}
	for (size_t i = 0; i < json_array_size(containers); i++)
		is_running = judge_container(judge, pod, json_array_get(containers, i)) && is_running;
	judge->pods->running += is_running;
	if (is_running)
		find(judge, BUSY_WITH, VGW_FAILURE_UNKNOWN, pod, "running, not ready yet", "");
	else
		find(judge, BUSY_WITH, VGW_FAILURE_UNKNOWN, pod, "starting", "");
}

void vgw__kube_pods_judge(struct vgw__kube_pods *pods, const json_t *list)
{
	const json_t *items = json_object_get(list, "items");
	struct judge judge = { pods, NOTHING };

	memset(pods, 0, sizeof(*pods));
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *pod = json_array_get(items, i);

		if (json_object_get(json_object_get(pod, "metadata"), "deletionTimestamp"))
			pods->leaving++;
		else
			judge_pod(&judge, pod);
	}
}

vgw_status vgw__kube_pods_look(struct vgw__kube_pods *pods, const struct vgw__kube_look *look, bool *is_refused,
	vgw_error *err)
{
	const struct vgw__kube_call call = { .cluster = &look->config->cluster, .verb = "list", .group = "",
		.resource = "pods", .selector = look->selector, .deadline_ms = look->deadline_ms,
		.cancel_fd = look->cancel_fd };
	struct vgw__kube_answer answer;
	vgw_status status;

	memset(pods, 0, sizeof(*pods));
	status = vgw__kube_call_once(&call, &answer, err);
	*is_refused = answer.is_refused;
	if (status != VGW_OK)
		return status;
	vgw__kube_pods_judge(pods, answer.root);
	json_decref(answer.root);
	return VGW_OK;
}
