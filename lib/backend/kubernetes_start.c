/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the first ready pod, and saying why there is none. It is enough that one is ready: the others are told
 * when they come. */
#include "backend/kubernetes.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_EVERY_MS = 1000, ONE_LOOK_MS = 5000 };

/* What is known of the pods while we wait. */
struct wait {
	struct vgw__kube *kube;
	int64_t deadline_ms;
	int64_t next_look_ms;
	struct vgw__kube_pods pods;
	vgw_error why; /* the last reason why nothing is known */
};

static vgw_status fail(const struct wait *wait, vgw_status status, vgw_failure failure, const char *text, vgw_error *err)
{
	vgw_host_set_failure(wait->kube->host, failure, text);
	return vgw_error_set_fault(err, status, VGW_FAULT_MODEL_START_FAILED, "model '%.60s': %s",
		wait->kube->config.model, text);
}

/* OK: go on waiting. */
static vgw_status look(struct wait *wait, vgw_error *err)
{
	struct vgw__kube *kube = wait->kube;
	int64_t now = vgw_now_ms();
	const struct vgw__kube_look how = { &kube->config, kube->selector,
		now + ONE_LOOK_MS < wait->deadline_ms ? now + ONE_LOOK_MS : wait->deadline_ms,
		vgw_host_get_cancel_fd(kube->host) };
	struct vgw__kube_pods pods;
	vgw_error why = VGW_ERROR_INIT;
	bool is_refused;
	vgw_status status;

	if (now < wait->next_look_ms)
		return VGW_OK;
	wait->next_look_ms = now + LOOK_EVERY_MS;
	status = vgw__kube_pods_look(&pods, &how, &is_refused, &why);
	if (status == VGW_OK)
		wait->pods = pods;
	if (status == VGW_OK && wait->pods.is_hopeless)
		return fail(wait, VGW_BACKEND, wait->pods.failure, wait->pods.text, err);
	if (status == VGW_OK)
		vgw_host_set_progress(kube->host, -1, wait->pods.text);
	else if (is_refused)
		return fail(wait, VGW_BACKEND, VGW_FAILURE_RUNTIME, why.text, err);
	else
		wait->why = why;
	return VGW_OK;
}

static vgw_status give_up(const struct wait *wait, vgw_error *err)
{
	char text[VGW__KUBE_TEXT + 40];

	if (wait->pods.text[0])
		(void)snprintf(text, sizeof(text), "no pod is ready in time: %s", wait->pods.text);
	else if (wait->why.text[0])
		(void)snprintf(text, sizeof(text), "no pod is ready in time: %.180s", wait->why.text);
	else
		(void)snprintf(text, sizeof(text), "no pod is ready in time: there is none");
	return fail(wait, VGW_TIMEOUT, wait->pods.failure, text, err);
}

static vgw_status wait_for_one(struct wait *wait, struct vgw__strings *ready, vgw_error *err)
{
	struct vgw__kube *kube = wait->kube;
	size_t listed;

	for (;;) {
		vgw_error why = VGW_ERROR_INIT;
		vgw_status status = vgw__kube_find(kube, ready, &listed, &why);

		if (status == VGW_OK && ready->count > 0)
			return VGW_OK;
		vgw__strings_fini(ready);
		if (status == VGW_BACKEND || status == VGW_NOT_FOUND)
			return fail(wait, VGW_BACKEND, VGW_FAILURE_RUNTIME, why.text, err);
		if (status != VGW_OK)
			wait->why = why;
		status = look(wait, err);
		if (status != VGW_OK)
			return status;
		if (vgw_now_ms() >= wait->deadline_ms)
			return give_up(wait, err);
		if (vgw__kube_wait_change(kube, wait->deadline_ms))
			return vgw_error_set(err, VGW_CANCELLED, 0, "the start was given up");
	}
}

vgw_status vgw__kube_wait_ready(struct vgw__kube *kube, int64_t deadline_ms, struct vgw__strings *ready,
	vgw_error *err)
{
	struct wait wait = { .kube = kube, .deadline_ms = deadline_ms, .why = VGW_ERROR_INIT };
	vgw_status status = VGW_OK;

	if (kube->slices)
		status = vgw__kube_watch_add(kube->slices, &kube->watch, err);
	if (status == VGW_OK)
		status = wait_for_one(&wait, ready, err);
	if (status != VGW_OK)
		vgw__kube_watch_remove(kube->slices, &kube->watch);
	return status;
}
