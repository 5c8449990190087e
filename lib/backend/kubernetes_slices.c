/* SPDX-License-Identifier: Apache-2.0 */
/* List, then watch from there: the server sends one JSON object per line for each change, and bookmarks that only
 * move the place from where to go on. A watch that ends is opened again at that place; one whose place is too old
 * (410), or that breaks, begins with a new list. While the server cannot be watched, listing again and again is a
 * poll. Of the two versions of the API, alike in what is read here, the one is taken that the server has: clusters
 * before 1.21 have v1beta1 only, those since 1.25 v1 only, and a cluster may be upgraded meanwhile.
 * The mutex guards all below it; the thread does not hold it while it waits. */
#include "backend/kubernetes_slices.h"

#include "backend/kubernetes_api.h"
#include "backend/kubernetes_slice.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	VERSION_SIZE = 64,
	LINE_BYTES = 8 << 20,
	LIST_MS = 10000,
	WATCH_S = 60,          /* the server ends a watch after this: a connection that died silently is noticed */
	WATCH_GRACE_MS = 15000,
	SHORT_WATCH_MS = 1000, /* one that ends sooner is not opened again at once */
	FIRST_PAUSE_MS = 500,
	LONGEST_PAUSE_MS = 10000,
	POLL_MS = 2000,        /* between two lists while the watch breaks */
};

struct vgw__kube_slices {
	struct vgw__kube_cluster cluster; /* const after new, down to stop_fd */
	vgw_logger logger;
	int stop_fd;
	bool is_beta;               /* the thread's own: the server has v1beta1 only */
	char version[VERSION_SIZE]; /* the thread's own: from where to watch */
	struct vgw__buf line;       /* the thread's own: an event not yet complete */
	bool is_gone;               /* the thread's own: the version is too old */
	bool is_broken;             /* the thread's own: what came is no event */
	pthread_mutex_t mutex;
	pthread_t thread;       /* from here guarded by mutex */
	bool has_thread;
	bool is_known;          /* items are what the server said last */
	bool is_refused;        /* the server will not say: `why` has the reason */
	vgw_error why;
	json_t *items;          /* slice name -> EndpointSlice */
	struct vgw__list watches;
};

static void wake(int fd)
{
	const uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

/* NULL: all of them. */
static void notify_locked(const struct vgw__kube_slices *slices, const char *service)
{
	VGW__LIST_EACH(it, &slices->watches) {
		const struct vgw__kube_watch *watch = VGW__CONTAINER(it, struct vgw__kube_watch, link);

		if (!service || strcmp(watch->service, service) == 0)
			wake(watch->fd);
	}
}

static void keep_version(struct vgw__kube_slices *slices, const json_t *object)
{
	const char *version = json_string_value(json_object_get(json_object_get(object, "metadata"), "resourceVersion"));

	if (version && strlen(version) < sizeof(slices->version) && strspn(version, "0123456789") == strlen(version))
		(void)snprintf(slices->version, sizeof(slices->version), "%s", version);
}

static struct vgw__kube_call make_call(const struct vgw__kube_slices *slices, const char *verb, int64_t patience_ms)
{
	return (struct vgw__kube_call){ .cluster = &slices->cluster, .verb = verb, .group = "discovery.k8s.io",
		.version = slices->is_beta ? "v1beta1" : "v1", .resource = "endpointslices",
		.selector = VGW__KUBE_SERVICE_LABEL, .deadline_ms = vgw_now_ms() + patience_ms,
		.cancel_fd = slices->stop_fd };
}

/* --- list --- */

static void note_unknown(struct vgw__kube_slices *slices, const vgw_error *why, bool is_refused)
{
	bool is_news;

	(void)pthread_mutex_lock(&slices->mutex);
	is_news = strcmp(slices->why.text, why->text) != 0;
	slices->is_known = false;
	slices->is_refused = is_refused;
	slices->why = *why;
	notify_locked(slices, NULL);
	(void)pthread_mutex_unlock(&slices->mutex);
	if (is_news)
		vgw__log(&slices->logger, VGW_LOG_WARN, "kubernetes", NULL, "EndpointSlices of %s: %s",
			slices->cluster.space, why->text);
}

static bool take_list(struct vgw__kube_slices *slices, json_t *root)
{
	json_t *list = json_object_get(root, "items");
	json_t *items = json_object();
	bool is_good = items != NULL;

	for (size_t i = 0; is_good && i < json_array_size(list); i++) {
		json_t *slice = json_array_get(list, i);
		const char *name = vgw__kube_slice_get_name(slice);

		if (name && vgw__kube_slice_get_service(slice))
			is_good = json_object_set(items, name, slice) == 0;
	}
	if (!is_good) {
		json_decref(items);
		return false;
	}
	keep_version(slices, root);
	(void)pthread_mutex_lock(&slices->mutex);
	json_decref(slices->items);
	slices->items = items;
	slices->is_known = true;
	slices->is_refused = false;
	memset(&slices->why, 0, sizeof(slices->why));
	notify_locked(slices, NULL);
	(void)pthread_mutex_unlock(&slices->mutex);
	return true;
}

static vgw_status ask_list(struct vgw__kube_slices *slices, struct vgw__kube_answer *answer, vgw_error *err)
{
	struct vgw__kube_call call = make_call(slices, "list", LIST_MS);
	vgw_status status = vgw__kube_call_once(&call, answer, err);

	if (status != VGW_NOT_FOUND)
		return status;
	slices->is_beta = !slices->is_beta;
	call = make_call(slices, "list", LIST_MS);
	*err = (vgw_error)VGW_ERROR_INIT;
	return vgw__kube_call_once(&call, answer, err);
}

static bool list_all(struct vgw__kube_slices *slices)
{
	vgw_error why = VGW_ERROR_INIT;
	struct vgw__kube_answer answer;
	bool is_taken;

	if (ask_list(slices, &answer, &why) != VGW_OK) {
		if (why.status != VGW_CANCELLED)
			note_unknown(slices, &why, answer.is_refused && answer.http != 401);
		return false;
	}
	slices->version[0] = '\0';
	is_taken = take_list(slices, answer.root);
	json_decref(answer.root);
	return is_taken;
}

/* --- watch --- */

static void take_change(struct vgw__kube_slices *slices, const char *type, json_t *slice)
{
	const char *name = vgw__kube_slice_get_name(slice), *service = vgw__kube_slice_get_service(slice);

	if (!name || !service)
		return;
	(void)pthread_mutex_lock(&slices->mutex);
	if (strcmp(type, "DELETED") == 0)
		(void)json_object_del(slices->items, name);
	else if (json_object_set(slices->items, name, slice) != 0)
		slices->is_broken = true;
	notify_locked(slices, service);
	(void)pthread_mutex_unlock(&slices->mutex);
}

/* False: no more of this watch. */
static bool take_event(struct vgw__kube_slices *slices, const char *line, size_t len)
{
	json_t *event = json_loadb(line, len, 0, NULL);
	const char *type = json_string_value(json_object_get(event, "type"));
	json_t *object = json_object_get(event, "object");

	if (!type || !object) {
		slices->is_broken = true;
	} else if (strcmp(type, "ERROR") == 0) {
		slices->is_gone = json_integer_value(json_object_get(object, "code")) == 410;
		slices->is_broken = !slices->is_gone;
	} else {
		if (strcmp(type, "BOOKMARK") != 0)
			take_change(slices, type, object);
		keep_version(slices, object);
	}
	json_decref(event);
	return !slices->is_gone && !slices->is_broken;
}

static bool on_data(void *user, const char *data, size_t len)
{
	struct vgw__kube_slices *slices = user;
	size_t from = slices->line.len, done = 0;

	if (!vgw__buf_append(&slices->line, data, len)) {
		slices->is_broken = true;
		return false;
	}
	for (;;) {
		const char *end = memchr(slices->line.data + from, '\n', slices->line.len - from);
		size_t stop;

		if (!end)
			break;
		stop = (size_t)(end - slices->line.data);
		if (stop > done && !take_event(slices, slices->line.data + done, stop - done))
			return false;
		done = from = stop + 1;
	}
	vgw__buf_consume(&slices->line, done);
	return true;
}

/* True: it may be opened again where it ended. */
static bool watch_once(struct vgw__kube_slices *slices)
{
	char more[160];
	struct vgw__kube_call call = make_call(slices, "watch", WATCH_S * 1000 + WATCH_GRACE_MS);
	int64_t began_ms = vgw_now_ms();
	vgw_error why = VGW_ERROR_INIT;
	struct vgw__kube_answer answer;
	vgw_status status;

	(void)snprintf(more, sizeof(more), "watch=1&allowWatchBookmarks=true&timeoutSeconds=%d&resourceVersion=%s",
		WATCH_S, slices->version);
	call.more = more;
	call.on_data = on_data;
	call.user = slices;
	vgw__buf_reset(&slices->line);
	slices->is_gone = false;
	slices->is_broken = false;
	status = vgw__kube_call_once(&call, &answer, &why);
	if (status == VGW_OK && !slices->is_gone && !slices->is_broken) {
		if (vgw_now_ms() - began_ms < SHORT_WATCH_MS)
			(void)vgw__kube_pause(slices->stop_fd, SHORT_WATCH_MS);
		return true;
	}
	if (slices->is_gone || answer.http == 410)
		return false;
	if (status != VGW_CANCELLED)
		vgw__log(&slices->logger, VGW_LOG_DEBUG, "kubernetes", NULL, "the watch of %s broke: %s",
			slices->cluster.space, why.text[0] ? why.text : "what came is no event");
	(void)vgw__kube_pause(slices->stop_fd, POLL_MS);
	return false;
}

static void *run(void *user)
{
	struct vgw__kube_slices *slices = user;
	int64_t pause_ms = FIRST_PAUSE_MS;

	while (!vgw__kube_pause(slices->stop_fd, 0)) {
		if (!list_all(slices)) {
			(void)vgw__kube_pause(slices->stop_fd, pause_ms);
			pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
			continue;
		}
		pause_ms = FIRST_PAUSE_MS;
		while (!vgw__kube_pause(slices->stop_fd, 0) && watch_once(slices))
			continue;
	}
	return NULL;
}

/* --- life --- */

vgw_status vgw__kube_slices_new(struct vgw__kube_slices **out, const struct vgw__kube_cluster *cluster,
	const vgw_logger *logger, vgw_error *err)
{
	struct vgw__kube_slices *slices = vgw__alloc(sizeof(*slices));

	*out = NULL;
	if (!slices)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch EndpointSlices");
	slices->logger = *logger;
	vgw__list_init(&slices->watches);
	vgw__buf_init(&slices->line, LINE_BYTES);
	(void)pthread_mutex_init(&slices->mutex, NULL);
	slices->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	slices->items = json_object();
	if (slices->stop_fd < 0 || !slices->items || !vgw__kube_cluster_copy(&slices->cluster, cluster)) {
		vgw__kube_slices_free(slices);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory, or no descriptor, to watch EndpointSlices");
	}
	*out = slices;
	return VGW_OK;
}

void vgw__kube_slices_free(struct vgw__kube_slices *slices)
{
	if (!slices)
		return;
	if (slices->has_thread) {
		wake(slices->stop_fd);
		(void)pthread_join(slices->thread, NULL);
	}
	if (slices->stop_fd >= 0)
		(void)close(slices->stop_fd);
	(void)pthread_mutex_destroy(&slices->mutex);
	json_decref(slices->items);
	vgw__buf_fini(&slices->line);
	vgw__kube_cluster_fini(&slices->cluster);
	vgw__free(slices);
}

const struct vgw__kube_cluster *vgw__kube_slices_get_cluster(const struct vgw__kube_slices *slices)
{
	return &slices->cluster;
}

static int start_thread_locked(struct vgw__kube_slices *slices)
{
	sigset_t all, before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&slices->thread, NULL, run, slices);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	slices->has_thread = rc == 0;
	return rc;
}

vgw_status vgw__kube_watch_add(struct vgw__kube_slices *slices, struct vgw__kube_watch *watch, vgw_error *err)
{
	int rc = 0;

	(void)pthread_mutex_lock(&slices->mutex);
	if (!slices->has_thread)
		rc = start_thread_locked(slices);
	if (rc == 0 && !watch->is_added) {
		vgw__list_append(&slices->watches, &watch->link);
		watch->is_added = true;
	}
	(void)pthread_mutex_unlock(&slices->mutex);
	wake(watch->fd);
	if (rc == 0)
		return VGW_OK;
	return vgw_error_set(err, VGW_INTERNAL, rc, "cannot start the thread that watches EndpointSlices: %s",
		strerror(rc));
}

void vgw__kube_watch_remove(struct vgw__kube_slices *slices, struct vgw__kube_watch *watch)
{
	if (!slices)
		return;
	(void)pthread_mutex_lock(&slices->mutex);
	if (watch->is_added)
		vgw__list_remove(&watch->link);
	watch->is_added = false;
	(void)pthread_mutex_unlock(&slices->mutex);
}

/* --- reading --- */

vgw_status vgw__kube_slices_read(struct vgw__kube_slices *slices, const char *service, uint16_t port,
	struct vgw__strings *ready, size_t *listed, vgw_error *err)
{
	vgw_status status = VGW_OK;
	bool is_good = true;

	*listed = 0;
	(void)pthread_mutex_lock(&slices->mutex);
	if (slices->is_known) {
		is_good = vgw__kube_slice_collect(slices->items, service, port, ready, listed);
	} else {
		status = vgw_error_set(err, slices->is_refused ? slices->why.status : VGW_BUSY, slices->why.sys_errno, "%s",
			slices->why.text[0] ? slices->why.text : "the EndpointSlices are not listed yet");
	}
	(void)pthread_mutex_unlock(&slices->mutex);
	return is_good ? status : vgw_error_set(err, VGW_NOMEM, 0, "no memory for the endpoints of '%.60s'", service);
}
