/* SPDX-License-Identifier: Apache-2.0 */
/* The vgw_host_* functions. A small state under one mutex: the report of the running operation, and the
 * endpoints told last. Cancellation is an atomic flag for loops and an eventfd for poll(); the flag is set first, so
 * who wakes by the descriptor sees it. */
#include "backend/host.h"

#include "backend/targets.h"
#include "util/alloc.h"
#include "util/error.h"
#include "util/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct vgw_host {
	struct vgw__host_events events; /* const after new, down to cancel_fd */
	void *user;
	vgw_logger logger;
	const struct vgw__deny *deny;          /* borrowed; NULL: every address will do */
	int cancel_fd;
	atomic_bool is_cancelled;
	bool has_mutex;
	pthread_mutex_t mutex;
	struct vgw__host_report report;  /* guarded by mutex */
	struct vgw__targets *targets;    /* guarded by mutex; NULL: none told yet */
	char *devices;                   /* the thread's that runs the operation; NULL: nobody said */
	uint32_t memory_share;           /* as devices */
};

vgw_status vgw__host_new(vgw_host **out, const struct vgw__host_events *events, void *user,
	const vgw_logger *logger, vgw_error *err)
{
	vgw_host *host;

	*out = NULL;
	host = vgw__alloc(sizeof(*host));
	if (!host)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a controller's host");
	host->events = *events;
	host->user = user;
	if (logger)
		host->logger = *logger;
	host->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (host->cancel_fd < 0) {
		(void)vgw_error_set(err, VGW_INTERNAL, errno, "cannot make an eventfd for a controller: %s",
			strerror(errno));
		vgw__host_free(host);
		return VGW_INTERNAL;
	}
	if (pthread_mutex_init(&host->mutex, NULL) != 0) {
		vgw__host_free(host);
		return vgw_error_set(err, VGW_INTERNAL, 0, "cannot make a mutex for a controller");
	}
	host->has_mutex = true;
	*out = host;
	return VGW_OK;
}

void vgw__host_free(vgw_host *host)
{
	if (!host)
		return;
	if (host->has_mutex)
		(void)pthread_mutex_destroy(&host->mutex);
	if (host->cancel_fd >= 0)
		(void)close(host->cancel_fd);
	vgw__targets_unref(host->targets);
	vgw__free(host->devices);
	vgw__free(host);
}

void vgw__host_set_deny(vgw_host *host, const struct vgw__deny *deny)
{
	host->deny = deny;
}

vgw_status vgw__host_check_endpoint(const vgw_host *host, struct vgw__endpoint *endpoint, vgw_error *err)
{
	return host->deny ? vgw__deny_filter(host->deny, endpoint, err) : VGW_OK;
}

void vgw__host_begin(vgw_host *host)
{
	uint64_t count;

	atomic_store(&host->is_cancelled, false);
	(void)!read(host->cancel_fd, &count, sizeof(count)); /* EAGAIN: it was not set */
	(void)pthread_mutex_lock(&host->mutex);
	memset(&host->report, 0, sizeof(host->report));
	(void)pthread_mutex_unlock(&host->mutex);
}

void vgw__host_cancel(vgw_host *host)
{
	const uint64_t one = 1;

	atomic_store(&host->is_cancelled, true);
	/* Cannot fail but for a full counter, and then the descriptor is readable already. */
	(void)!write(host->cancel_fd, &one, sizeof(one));
}

bool vgw__host_place(vgw_host *host, const char *devices, uint32_t share)
{
	char *copy = devices ? vgw__strdup(devices) : NULL;

	if (devices && !copy)
		return false;
	vgw__free(host->devices);
	host->devices = copy;
	host->memory_share = share;
	return true;
}

const char *vgw_host_get_devices(const vgw_host *host)
{
	return host->devices;
}

uint32_t vgw_host_get_memory_share(const vgw_host *host)
{
	return host->memory_share;
}

void vgw__host_get_report(vgw_host *host, struct vgw__host_report *out)
{
	(void)pthread_mutex_lock(&host->mutex);
	*out = host->report;
	(void)pthread_mutex_unlock(&host->mutex);
}

struct vgw__targets *vgw__host_ref_targets(vgw_host *host)
{
	struct vgw__targets *targets;

	(void)pthread_mutex_lock(&host->mutex);
	targets = host->targets ? vgw__targets_ref(host->targets) : NULL;
	(void)pthread_mutex_unlock(&host->mutex);
	return targets;
}

/* False: no memory; what was told before still holds. */
static bool keep_targets(vgw_host *host, struct vgw__endpoint *const *endpoints, size_t count)
{
	struct vgw__targets *before = vgw__host_ref_targets(host);
	bool is_same;
	struct vgw__targets *targets = vgw__targets_new(endpoints, count, before, &is_same);
	struct vgw__targets *old;

	vgw__targets_unref(before);
	if (!targets)
		return false;
	(void)pthread_mutex_lock(&host->mutex);
	old = host->targets;
	host->targets = targets;
	(void)pthread_mutex_unlock(&host->mutex);
	vgw__targets_unref(old);
	return true;
}

vgw_status vgw_host_set_endpoint(vgw_host *host, const char *url, vgw_error *err)
{
	return vgw_host_set_endpoints(host, &url, 1, err);
}

vgw_status vgw_host_set_endpoints(vgw_host *host, const char *const *urls, size_t count, vgw_error *err)
{
	struct vgw__endpoint **endpoints;
	vgw_status status = VGW_OK;
	size_t made = 0;

	vgw__error_reset(err);
	if (!host || !urls || count == 0)
		return vgw_error_set(err, VGW_INVALID, 0, "an endpoint needs at least one URL");
	if (count > VGW__TARGETS_MAX)
		return vgw_error_set(err, VGW_INVALID, 0, "%zu URLs for one replica; at most %d are taken", count,
			VGW__TARGETS_MAX);
	endpoints = vgw__calloc(count, sizeof(*endpoints));
	if (!endpoints)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for %zu endpoints", count);
	while (status == VGW_OK && made < count) {
		if (!urls[made])
			status = vgw_error_set(err, VGW_INVALID, 0, "URL number %zu is NULL", made + 1);
		else
			status = vgw__endpoint_new(&endpoints[made], urls[made], err);
		if (status == VGW_OK)
			status = vgw__host_check_endpoint(host, endpoints[made++], err);
	}
	if (status == VGW_OK && !keep_targets(host, endpoints, count))
		status = vgw_error_set(err, VGW_NOMEM, 0, "no memory for %zu endpoints", count);
	if (status == VGW_OK && host->events.on_endpoints)
		host->events.on_endpoints(host->user, endpoints, count);
	while (made > 0)
		vgw__endpoint_unref(endpoints[--made]);
	vgw__free(endpoints);
	return status;
}

bool vgw_host_is_cancelled(const vgw_host *host)
{
	return atomic_load(&host->is_cancelled);
}

int vgw_host_get_cancel_fd(const vgw_host *host)
{
	return host->cancel_fd;
}

void vgw_host_set_progress(vgw_host *host, int percent, const char *text)
{
	if (percent < -1)
		percent = -1;
	if (percent > 100)
		percent = 100;
	if (host->events.on_progress)
		host->events.on_progress(host->user, percent, text ? text : "");
}

void vgw_host_set_failure(vgw_host *host, vgw_failure failure, const char *text)
{
	(void)pthread_mutex_lock(&host->mutex);
	host->report.failure = failure;
	(void)snprintf(host->report.failure_text, sizeof(host->report.failure_text), "%s", text ? text : "");
	vgw__text_mend(host->report.failure_text);
	(void)pthread_mutex_unlock(&host->mutex);
}

void vgw_host_set_depth(vgw_host *host, vgw_depth depth)
{
	(void)pthread_mutex_lock(&host->mutex);
	host->report.has_depth = true;
	host->report.depth = depth;
	(void)pthread_mutex_unlock(&host->mutex);
}

void vgw_host_report_death(vgw_host *host, const char *reason)
{
	if (host->events.on_death)
		host->events.on_death(host->user, reason ? reason : "no reason given");
}

void vgw_host_report_absence(vgw_host *host, const char *reason)
{
	if (host->events.on_absence)
		host->events.on_absence(host->user, reason ? reason : "no reason given");
}

void vgw_host_report_presence(vgw_host *host, const char *reason)
{
	if (host->events.on_presence)
		host->events.on_presence(host->user, reason ? reason : "no reason given");
}

const vgw_logger *vgw_host_get_logger(const vgw_host *host)
{
	return &host->logger;
}
