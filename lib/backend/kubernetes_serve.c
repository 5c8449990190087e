/* SPDX-License-Identifier: Apache-2.0 */
/* While the workload serves. All here but serve() and leave() runs on the watcher's thread.
 *
 *   some pod is ready, others than before ......... told, requests go there from now on
 *   none is ready, but one runs as it did ......... the last endpoints stay: a busy engine answers probes late
 *   ... for SILENCE_MS ............................ a death
 *   containers restarted, ended, or all pods gone . a death
 *   ... and it is scaled to 0 ..................... somebody's wish: an absence, which is no failure
 *   the API server does not answer ................ nothing is known, nothing changes */
#include "backend/kubernetes.h"

#include "util/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
	SILENCE_MS = 30000,
	LOOK_EVERY_MS = 2000,
	ONE_LOOK_MS = 3000,
	DNS_EVERY_MS = 2000,
	REASON_SIZE = 240,
};

static bool is_same(const struct vgw__strings *a, const struct vgw__strings *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

/* Takes *ready. */
static vgw_status publish(struct vgw__kube *kube, struct vgw__strings *ready, vgw_error *err)
{
	vgw_status status = vgw_host_set_endpoints(kube->host, (const char *const *)ready->items, ready->count, err);

	if (status != VGW_OK) {
		vgw__strings_fini(ready);
		return status;
	}
	vgw__strings_fini(&kube->published);
	kube->published = *ready;
	memset(ready, 0, sizeof(*ready));
	return VGW_OK;
}

/* --- the end nobody asked for --- */

static void die(struct vgw__kube *kube, const char *how, const char *detail)
{
	char reason[REASON_SIZE];

	(void)snprintf(reason, sizeof(reason), "%s%s%.160s", how, detail[0] ? ": " : "", detail);
	kube->is_dead = true;
	vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_WARN, "kubernetes", kube->config.model, "%s/%s: %s",
		kube->config.resource, kube->config.workload, reason);
	vgw_host_report_death(kube->host, reason);
}

static void be_absent(struct vgw__kube *kube)
{
	if (!kube->is_absent)
		vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_INFO, "kubernetes", kube->config.model,
			"%s/%s: somebody else scaled it to 0", kube->config.resource, kube->config.workload);
	kube->is_absent = true;
	atomic_store(&kube->is_up, false);
	vgw_host_report_absence(kube->host, "somebody else scaled it to 0");
}

/* Whether they went because of a wish is what the scale says. When it does not say, the next look asks again. */
static void judge_absence(struct vgw__kube *kube, int64_t deadline_ms)
{
	int64_t replicas = 0;
	vgw_status status = vgw__kube_scale_peek(kube, deadline_ms, &replicas);

	if (status == VGW_NOT_FOUND)
		die(kube, "its pods are gone", "somebody deleted the workload");
	else if (status == VGW_OK && replicas > 0)
		die(kube, "its pods are gone", "they were deleted or evicted");
	else if (status == VGW_OK)
		be_absent(kube);
}

static void judge_silence(struct vgw__kube *kube)
{
	int64_t now = vgw_now_ms();
	const struct vgw__kube_look how = { &kube->config, kube->selector, now + ONE_LOOK_MS, -1 };
	struct vgw__kube_pods pods;
	bool is_refused;

	if (kube->silent_since_ms == 0)
		kube->silent_since_ms = now;
	if (now < kube->next_look_ms)
		return;
	kube->next_look_ms = now + LOOK_EVERY_MS;
	if (vgw__kube_pods_look(&pods, &how, &is_refused, NULL) != VGW_OK)
		return;
	if (pods.count == 0)
		judge_absence(kube, how.deadline_ms);
	else if (pods.restarts > kube->restarts)
		die(kube, "its engine ended", pods.text);
	else if (pods.running == 0)
		die(kube, "none of its pods runs", pods.text);
	else if (now - kube->silent_since_ms >= SILENCE_MS)
		die(kube, "none of its pods is ready for half a minute", pods.text);
}

static void look(struct vgw__kube *kube)
{
	struct vgw__strings ready = { 0 };
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status;
	size_t listed;

	if (kube->is_dead)
		return;
	status = vgw__kube_find(kube, &ready, &listed, &why);
	if (status != VGW_OK) {
		vgw__strings_fini(&ready);
		return;
	}
	if (ready.count == 0) {
		judge_silence(kube);
		return;
	}
	kube->silent_since_ms = 0;
	if (is_same(&ready, &kube->published)) {
		vgw__strings_fini(&ready);
		return;
	}
	vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_INFO, "kubernetes", kube->config.model,
		"%zu pods are ready, they were %zu", ready.count, kube->published.count);
	if (publish(kube, &ready, &why) != VGW_OK)
		vgw__log(vgw_host_get_logger(kube->host), VGW_LOG_WARN, "kubernetes", kube->config.model,
			"its endpoints cannot be used: %s", why.text);
}

static void on_change(struct vgw__watched *watched)
{
	struct vgw__kube *kube = watched->user;
	uint64_t count;

	(void)!read(kube->fd, &count, sizeof(count));
	look(kube);
}

static void on_tick(struct vgw__watched *watched)
{
	struct vgw__kube *kube = watched->user;

	if (kube->slices && kube->silent_since_ms == 0)
		return;
	if (!kube->slices && kube->silent_since_ms == 0) {
		if (vgw_now_ms() < kube->next_look_ms)
			return;
		kube->next_look_ms = vgw_now_ms() + DNS_EVERY_MS;
	}
	look(kube);
}

/* --- beginning and end --- */

/* What has restarted before is no news. Not known: then every restart is. */
static void count_restarts(struct vgw__kube *kube)
{
	const struct vgw__kube_look how = { &kube->config, kube->selector, vgw_now_ms() + ONE_LOOK_MS,
		vgw_host_get_cancel_fd(kube->host) };
	struct vgw__kube_pods pods;
	bool is_refused;

	kube->restarts = vgw__kube_pods_look(&pods, &how, &is_refused, NULL) == VGW_OK ? pods.restarts : 0;
}

vgw_status vgw__kube_serve(struct vgw__kube *kube, struct vgw__strings *ready, vgw_error *err)
{
	vgw_status status = publish(kube, ready, err);

	if (status != VGW_OK)
		return status;
	count_restarts(kube);
	kube->silent_since_ms = 0;
	kube->next_look_ms = 0;
	kube->is_dead = false;
	kube->is_absent = false;
	kube->watched.user = kube;
	kube->watched.on_ready = on_change;
	kube->watched.on_tick = on_tick;
	kube->watched.is_repeated = true;
	return vgw__watcher_add(kube->kind->watcher, &kube->watched, kube->fd, err);
}

void vgw__kube_leave(struct vgw__kube *kube)
{
	vgw__watcher_remove(kube->kind->watcher, &kube->watched);
	vgw__kube_watch_remove(kube->slices, &kube->watch);
	vgw__strings_fini(&kube->published);
}
