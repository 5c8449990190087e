/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "kubernetes": a Deployment or StatefulSet that is scaled up from nothing and down to it.
 *
 *   activate    scale to `replicas` (more, that somebody else asked for, stay) ──► wait for a ready pod ──► serve
 *   deactivate  scale to 0 ──► wait until the API knows no pod any more
 *   adopt       it is scaled up already: serve if a pod is ready soon, else scale it to 0, as nobody waits for it */
#include "backend/kubernetes.h"

#include "backend/builtin.h"
#include "util/alloc.h"
#include "util/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { ADOPT_ASK_MS = 3000 };

/* --- one instance --- */

static void kube_destroy(void *self)
{
	struct vgw__kube *kube = self;

	if (!kube)
		return;
	vgw__kube_leave(kube);
	vgw__kube_kind_give_slices(kube->kind, kube->slices);
	if (kube->fd >= 0)
		(void)close(kube->fd);
	vgw__kube_config_fini(&kube->config);
	vgw__free(kube);
}

/* Says which workload it is; the state file keeps it, and a record of another one is not taken for it. */
static bool print_identity(struct vgw__kube *kube)
{
	json_t *root = json_pack("{s:s, s:s, s:s, s:s}", "api_server", kube->config.cluster.api_server, "namespace",
		kube->config.cluster.space, "resource", kube->config.resource, "name", kube->config.workload);
	size_t len = root ? json_dumpb(root, kube->identity, sizeof(kube->identity) - 1, JSON_COMPACT) : 0;

	json_decref(root);
	kube->identity[len < sizeof(kube->identity) ? len : 0] = '\0';
	return len > 0 && len < sizeof(kube->identity);
}

static vgw_status set_up(struct vgw__kube *kube, vgw_error *err)
{
	if (!print_identity(kube))
		return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend.api_server is too long",
			kube->config.model);
	kube->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kube->fd < 0)
		return vgw_error_set(err, VGW_INTERNAL, 0, "model '%.60s': no descriptor left", kube->config.model);
	kube->watch.fd = kube->fd;
	kube->watch.service = kube->config.service;
	if (kube->config.dns)
		return VGW_OK;
	return vgw__kube_kind_take_slices(kube->kind, &kube->config.cluster, vgw_host_get_logger(kube->host),
		&kube->slices, err);
}

static vgw_status kube_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user, vgw_error *err)
{
	struct vgw__kube *kube;
	vgw_status status;

	*self = NULL;
	kube = vgw__alloc(sizeof(*kube));
	if (!kube)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	kube->host = host;
	kube->kind = user;
	kube->fd = -1;
	atomic_init(&kube->is_up, false);
	status = vgw__kube_config_read(&kube->config, spec, err);
	if (status == VGW_OK)
		status = set_up(kube, err);
	if (status != VGW_OK) {
		kube_destroy(kube);
		return status;
	}
	*self = kube;
	return VGW_OK;
}

static void kube_describe(void *self, vgw_replica_facts *facts)
{
	const struct vgw__kube *kube = self;

	if (atomic_load(&kube->is_up))
		(void)snprintf(facts->identity, sizeof(facts->identity), "%s", kube->identity);
}

/* --- the operations --- */

/* What the API server says when it does not do as it is asked; the model is not to blame. */
static vgw_status fail(const struct vgw__kube *kube, vgw_status status, const char *text, vgw_error *err)
{
	if (status != VGW_CANCELLED)
		vgw_host_set_failure(kube->host, VGW_FAILURE_RUNTIME, text);
	return vgw_error_set(err, status, 0, "model '%.60s': %s", kube->config.model, text);
}

static vgw_status scale_up(struct vgw__kube *kube, int64_t deadline_ms, vgw_error *err)
{
	vgw_error why = VGW_ERROR_INIT;
	int64_t replicas = 0;
	vgw_status status = vgw__kube_scale_get(kube, deadline_ms, &replicas, &why);

	if (status == VGW_OK && replicas < kube->config.replicas) {
		atomic_store(&kube->is_up, true);
		status = vgw__kube_scale_set(kube, deadline_ms, kube->config.replicas, &why);
		if (status == VGW_OK)
			vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_INFO, "kubernetes", kube->config.model,
				"scaled %s '%s' from %d to %d", kube->config.resource, kube->config.workload, (int)replicas,
				(int)kube->config.replicas);
	}
	return status == VGW_OK ? status : fail(kube, status, why.text, err);
}

static vgw_status kube_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__kube *kube = self;
	struct vgw__strings ready = { 0 };
	vgw_status status;

	vgw__kube_leave(kube);
	if (kube->config.start_timeout_ms < deadline_ms - vgw_now_ms())
		deadline_ms = vgw_now_ms() + kube->config.start_timeout_ms;
	status = scale_up(kube, deadline_ms, err);
	if (status != VGW_OK)
		return status;
	atomic_store(&kube->is_up, true);
	status = vgw__kube_wait_ready(kube, deadline_ms, &ready, err);
	if (status == VGW_OK)
		status = vgw__kube_serve(kube, &ready, err);
	vgw__strings_fini(&ready);
	return status;
}

static vgw_status scale_down(struct vgw__kube *kube, int64_t deadline_ms, vgw_error *err)
{
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status = vgw__kube_scale_set(kube, deadline_ms, 0, &why);

	if (status == VGW_NOT_FOUND) { /* the workload was deleted, and its pods with it */
		atomic_store(&kube->is_up, false);
		return VGW_OK;
	}
	if (status == VGW_OK)
		status = vgw__kube_scale_wait_gone(kube, deadline_ms, &why);
	if (status != VGW_OK)
		return fail(kube, status, why.text, err);
	atomic_store(&kube->is_up, false);
	vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_INFO, "kubernetes", kube->config.model,
		"scaled %s '%s' to 0, its pods are gone", kube->config.resource, kube->config.workload);
	return VGW_OK;
}

static vgw_status kube_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__kube *kube = self;

	vgw__kube_leave(kube);
	if (depth != VGW_DEPTH_STOP)
		vgw_host_set_depth(kube->host, VGW_DEPTH_STOP);
	if (kube->config.stop_timeout_ms < deadline_ms - vgw_now_ms())
		deadline_ms = vgw_now_ms() + kube->config.stop_timeout_ms;
	return scale_down(kube, deadline_ms, err);
}

static vgw_status kube_adopt(void *self, const char *identity, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__kube *kube = self;
	struct vgw__strings ready = { 0 };
	vgw_error why = VGW_ERROR_INIT;
	int64_t replicas = 0, ask_until_ms = vgw_now_ms() + ADOPT_ASK_MS;
	vgw_status status;

	vgw__kube_leave(kube);
	if (identity[0] && strcmp(identity, kube->identity) != 0)
		return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': the record is of another workload",
			kube->config.model);
	status = vgw__kube_scale_get(kube, ask_until_ms < deadline_ms ? ask_until_ms : deadline_ms, &replicas, &why);
	if (status != VGW_OK)
		return fail(kube, status, why.text, err);
	if (replicas == 0)
		return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': it is scaled to 0", kube->config.model);
	status = vgw__kube_wait_ready(kube, vgw_now_ms() + (deadline_ms - vgw_now_ms()) / 2, &ready, &why);
	if (status == VGW_OK)
		status = vgw__kube_serve(kube, &ready, &why);
	vgw__strings_fini(&ready);
	if (status == VGW_OK) {
		atomic_store(&kube->is_up, true);
		vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_INFO, "kubernetes", kube->config.model,
			"adopted %s '%s' with %d replicas", kube->config.resource, kube->config.workload, (int)replicas);
		return VGW_OK;
	}
	vgw__kube_leave(kube);
	if (vgw_host_is_cancelled(kube->host))
		return fail(kube, VGW_CANCELLED, why.text, err);
	vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_WARN, "kubernetes", kube->config.model,
		"scaling %s '%s' to 0: %s", kube->config.resource, kube->config.workload, why.text);
	status = scale_down(kube, deadline_ms, err);
	return status == VGW_OK ? vgw_error_set(err, VGW_NOT_FOUND, 0, "%s", why.text) : status;
}

const vgw_controller_ops vgw__kube_ops = {
	.size = sizeof(vgw_controller_ops),
	.kind = "kubernetes",
	.flags = VGW_CONTROLLER_SELF_RUNNING,
	.create = kube_create,
	.destroy = kube_destroy,
	.activate = kube_activate,
	.deactivate = kube_deactivate,
	.adopt = kube_adopt,
	.describe = kube_describe,
};
