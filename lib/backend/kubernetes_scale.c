/* SPDX-License-Identifier: Apache-2.0 */
/* The scale subresource: how many replicas there should be, and the labels of their pods. Gone means that the API
 * knows no pod any more; a pod that is only leaving still holds its devices, and is not in the workload's counts.
 * A start is given up soon when the API server is away, and whoever asked for it is told; a stop waits as long as a
 * server takes that is replaced, because the room of what cannot be stopped is lost to all others. */
#include "backend/kubernetes.h"

#include "backend/kubernetes_api.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_LOOK_MS = 100, LONGEST_LOOK_MS = 1000, ONE_LOOK_MS = 5000, STOP_PATIENCE_MS = 30000 };

static vgw_status take_scale(struct vgw__kube *kube, const json_t *root, int64_t *replicas, vgw_error *err)
{
	const json_t *count = json_object_get(json_object_get(root, "spec"), "replicas");
	const char *selector = json_string_value(json_object_get(json_object_get(root, "status"), "selector"));

	if (!selector || !selector[0] || strlen(selector) >= sizeof(kube->selector))
		return vgw_error_set(err, VGW_BACKEND, 0, "the scale of %s '%.60s' has no selector of pods",
			kube->config.resource, kube->config.workload);
	(void)snprintf(kube->selector, sizeof(kube->selector), "%s", selector);
	*replicas = json_integer_value(count); /* 0 is left out by some servers */
	return VGW_OK;
}

static struct vgw__kube_call make_call(const struct vgw__kube *kube, int64_t deadline_ms, const char *patch)
{
	bool is_set = strcmp(kube->config.resource, "statefulsets") == 0;

	return (struct vgw__kube_call){ .cluster = &kube->config.cluster, .verb = patch ? "patch" : "get",
		.group = "apps", .resource = is_set ? "statefulsets/scale" : "deployments/scale",
		.name = kube->config.workload, .patch = patch, .deadline_ms = deadline_ms,
		.cancel_fd = vgw_host_get_cancel_fd(kube->host) };
}

static vgw_status ask(struct vgw__kube *kube, int64_t deadline_ms, const char *patch, int64_t patience_ms,
	int64_t *replicas, vgw_error *err)
{
	struct vgw__kube_call call = make_call(kube, deadline_ms, patch);
	struct vgw__kube_answer answer;
	vgw_status status;

	call.patient_until_ms = vgw_now_ms() + patience_ms;
	status = vgw__kube_call(&call, &answer, err);
	if (status != VGW_OK)
		return status;
	status = take_scale(kube, answer.root, replicas, err);
	json_decref(answer.root);
	return status;
}

vgw_status vgw__kube_scale_get(struct vgw__kube *kube, int64_t deadline_ms, int64_t *replicas, vgw_error *err)
{
	return ask(kube, deadline_ms, NULL, 0, replicas, err);
}

vgw_status vgw__kube_scale_set(struct vgw__kube *kube, int64_t deadline_ms, int64_t replicas, vgw_error *err)
{
	char patch[64];
	int64_t now_asked;

	(void)snprintf(patch, sizeof(patch), "{\"spec\":{\"replicas\":%d}}", (int)replicas);
	return ask(kube, deadline_ms, patch, replicas == 0 ? STOP_PATIENCE_MS : 0, &now_asked, err);
}

vgw_status vgw__kube_scale_peek(struct vgw__kube *kube, int64_t deadline_ms, int64_t *replicas)
{
	struct vgw__kube_call call = make_call(kube, deadline_ms, NULL);
	struct vgw__kube_answer answer;
	vgw_status status;

	call.cancel_fd = -1;
	status = vgw__kube_call_once(&call, &answer, NULL);
	if (status != VGW_OK)
		return status;
	status = take_scale(kube, answer.root, replicas, NULL);
	json_decref(answer.root);
	return status;
}

vgw_status vgw__kube_scale_wait_gone(struct vgw__kube *kube, int64_t deadline_ms, vgw_error *err)
{
	size_t left = 0; /* when they were last counted */

	for (int64_t step_ms = FIRST_LOOK_MS;; step_ms = step_ms * 2 < LONGEST_LOOK_MS ? step_ms * 2 : LONGEST_LOOK_MS) {
		const int64_t now = vgw_now_ms();
		const struct vgw__kube_look look = { &kube->config, kube->selector,
			now + ONE_LOOK_MS < deadline_ms ? now + ONE_LOOK_MS : deadline_ms,
			vgw_host_get_cancel_fd(kube->host) };
		vgw_error why = VGW_ERROR_INIT;
		struct vgw__kube_pods pods;
		bool is_refused;
		vgw_status status = vgw__kube_pods_look(&pods, &look, &is_refused, &why);

		if (status == VGW_OK)
			left = pods.count + pods.leaving;
		if (status == VGW_OK && left == 0)
			return VGW_OK;
		if (status == VGW_CANCELLED || is_refused)
			return vgw_error_set(err, status, 0, "%s", why.text);
		if (vgw_now_ms() + step_ms >= deadline_ms && left == 0)
			return vgw_error_set(err, VGW_TIMEOUT, 0, "whether its pods are gone is not known: %.160s", why.text);
		if (vgw_now_ms() + step_ms >= deadline_ms)
			return vgw_error_set(err, VGW_TIMEOUT, 0,
				"%zu pods are still there; raise stop_timeout above the pods' terminationGracePeriodSeconds",
				left);
		if (vgw__kube_pause(vgw_host_get_cancel_fd(kube->host), step_ms))
			return vgw_error_set(err, VGW_CANCELLED, 0, "the stop was given up");
	}
}
