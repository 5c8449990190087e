/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a daemon's events. Its mutex guards the list of watches; nothing is called and nothing waited for
 * under it, for a watch is told by writing to its descriptor. */
#include "backend/docker_events.h"

#include "util/alloc.h"
#include "util/buf.h"
#include "util/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
	STREAM_MS = 30000,       /* then everything is looked at again */
	FIRST_AGAIN_MS = 100,    /* before trying a daemon again that does not answer; doubles up to */
	LAST_AGAIN_MS = 2000,
	INSPECT_MS = 5000,
	LINE_CEILING = 64 * 1024,
	OVERLAP_S = 2,           /* the daemon's clock may be a little behind ours */
};

/* type=container, event=die (Podman: died), as a query. Whose they are is told by the ids: Podman knows labels only with
 * their values. */
#define FILTERS "%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22die%22%2C%22died%22%5D%7D"

struct vgw__docker_events {
	struct vgw__docker_client *client; /* const after new, down to stop_fd */
	vgw_logger logger;
	int stop_fd;
	bool has_thread;             /* guarded by mutex */
	pthread_t thread;
	pthread_mutex_t mutex;
	struct vgw__list watches;    /* guarded by mutex */
	struct vgw__buf line;        /* the thread's */
	bool was_silent;             /* the thread's: the daemon did not answer, and that was said */
};

/* --- telling --- */

static void tell(struct vgw__docker_events *events, const char *container, int exit_code)
{
	(void)pthread_mutex_lock(&events->mutex);
	VGW__LIST_EACH(it, &events->watches) {
		struct vgw__docker_watch *watch = VGW__CONTAINER(it, struct vgw__docker_watch, link);

		if (strcmp(watch->container, container) != 0)
			continue;
		if (exit_code >= 0)
			watch->exit_code = exit_code;
		(void)eventfd_write(watch->fd, 1);
	}
	(void)pthread_mutex_unlock(&events->mutex);
}

/* --- the stream --- */

/* A number as Docker says it: in a text. -1: none. */
static int read_code(const json_t *attributes)
{
	const char *text = json_string_value(json_object_get(attributes, "exitCode"));

	if (!text)
		text = json_string_value(json_object_get(attributes, "containerExitCode"));
	return text && text[0] >= '0' && text[0] <= '9' ? (int)strtol(text, NULL, 10) : -1;
}

static void take_event(struct vgw__docker_events *events)
{
	json_t *event = json_loadb(events->line.data, events->line.len, 0, NULL);
	const json_t *actor = json_object_get(event, "Actor");
	const char *container = json_string_value(json_object_get(actor, "ID"));

	if (!container)
		container = json_string_value(json_object_get(event, "id"));
	if (container)
		tell(events, container, read_code(json_object_get(actor, "Attributes")));
	json_decref(event);
}

static bool on_data(void *user, uint32_t status, const char *data, size_t len)
{
	struct vgw__docker_events *events = user;

	(void)status;
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;

		(void)vgw__buf_append(&events->line, data, n); /* of one that is too long nothing is understood */
		if (end) {
			take_event(events);
			vgw__buf_reset(&events->line);
			n++;
		}
		data += n;
		len -= n;
	}
	return true;
}

/* Until the stream is cut, renewed or we stop. */
static vgw_status read_stream(struct vgw__docker_events *events, time_t since)
{
	char path[sizeof(FILTERS) + 64];
	const struct vgw__docker_call call = { .doing = "read its events", .path = path,
		.cancel_fd = events->stop_fd,
		.deadline_ms = vgw_now_ms() + STREAM_MS, .on_data = on_data, .user = events };
	struct vgw__control_answer answer = { 0 };
	struct vgw__docker_problem problem;
	vgw_status status;

	(void)snprintf(path, sizeof(path), "/events?since=%lld&filters=%s", (long long)(since - OVERLAP_S),
		FILTERS);
	vgw__buf_reset(&events->line);
	status = vgw__docker_call(events->client, &call, &answer, &problem);
	vgw__control_answer_fini(&answer);
	return status;
}

/* --- looking --- */

/* The ids of all watches in one list; NULL: none, or no memory. */
static char (*copy_ids(struct vgw__docker_events *events, size_t *count))[VGW__DOCKER_ID]
{
	char(*ids)[VGW__DOCKER_ID];
	size_t i = 0;

	*count = 0;
	(void)pthread_mutex_lock(&events->mutex);
	VGW__LIST_EACH(it, &events->watches)
		i++;
	ids = i > 0 ? vgw__calloc(i, sizeof(*ids)) : NULL;
	VGW__LIST_EACH(it, &events->watches)
		if (ids)
			memcpy(ids[(*count)++], VGW__CONTAINER(it, struct vgw__docker_watch, link)->container,
				VGW__DOCKER_ID);
	(void)pthread_mutex_unlock(&events->mutex);
	return ids;
}

static void note_silence(struct vgw__docker_events *events, const char *text)
{
	if (!events->was_silent && text)
		vgw__log(&events->logger, VGW_LOG_WARN, "docker", NULL, "%s", text);
	if (events->was_silent && !text)
		vgw__log(&events->logger, VGW_LOG_INFO, "docker", NULL, "the Docker Engine at %s answers again",
			events->client->name);
	events->was_silent = text != NULL;
}

/* Look at every container. False: the daemon does not answer. */
static bool look(struct vgw__docker_events *events)
{
	struct vgw__docker_problem problem = { 0 };
	size_t count, i;
	char(*ids)[VGW__DOCKER_ID] = copy_ids(events, &count);

	for (i = 0; i < count; i++) {
		struct vgw__docker_state state;
		json_t *inspected;
		vgw_status status = vgw__docker_inspect(events->client, ids[i], vgw_now_ms() + INSPECT_MS,
			events->stop_fd, &inspected, &problem);

		if (status != VGW_OK && problem.trouble == VGW__DOCKER_NO_CONTAINER)
			tell(events, ids[i], -1);
		if (status != VGW_OK && problem.trouble != VGW__DOCKER_NO_CONTAINER)
			break;
		vgw__docker_read_state(&state, inspected);
		if (status == VGW_OK && !state.is_running)
			tell(events, ids[i], state.exit_code);
		json_decref(inspected);
	}
	vgw__free(ids);
	if (problem.status != VGW_CANCELLED)
		note_silence(events, i < count ? problem.text : NULL);
	return i == count;
}

/* --- the thread --- */

static bool is_stopped_within(const struct vgw__docker_events *events, int ms)
{
	struct pollfd stop = { .fd = events->stop_fd, .events = POLLIN };

	return poll(&stop, 1, ms) > 0;
}

static void *run(void *user)
{
	struct vgw__docker_events *events = user;
	int again_ms = FIRST_AGAIN_MS;

	while (!is_stopped_within(events, 0)) {
		time_t since = time(NULL); /* before looking: what happens between the two is in the stream */
		int64_t began_ms = vgw_now_ms();

		if (look(events))
			(void)read_stream(events, since);
		if (vgw_now_ms() - began_ms > 2 * LAST_AGAIN_MS)
			again_ms = FIRST_AGAIN_MS;
		if (is_stopped_within(events, again_ms))
			break;
		again_ms = again_ms * 2 < LAST_AGAIN_MS ? again_ms * 2 : LAST_AGAIN_MS;
	}
	return NULL;
}

vgw_status vgw__docker_events_new(struct vgw__docker_events **out, struct vgw__docker_client *client,
	const vgw_logger *logger, vgw_error *err)
{
	struct vgw__docker_events *events = vgw__alloc(sizeof(*events));

	*out = NULL;
	if (!events)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a Docker Engine's events");
	events->client = client;
	events->logger = *logger;
	vgw__list_init(&events->watches);
	vgw__buf_init(&events->line, LINE_CEILING);
	(void)pthread_mutex_init(&events->mutex, NULL);
	events->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (events->stop_fd < 0) {
		(void)vgw_error_set(err, VGW_INTERNAL, errno, "cannot make an eventfd: %s", strerror(errno));
		vgw__docker_events_free(events);
		return VGW_INTERNAL;
	}
	*out = events;
	return VGW_OK;
}

void vgw__docker_events_free(struct vgw__docker_events *events)
{
	if (!events)
		return;
	if (events->has_thread) {
		(void)eventfd_write(events->stop_fd, 1);
		(void)pthread_join(events->thread, NULL);
	}
	if (events->stop_fd >= 0)
		(void)close(events->stop_fd);
	vgw__buf_fini(&events->line);
	(void)pthread_mutex_destroy(&events->mutex);
	vgw__free(events);
}

vgw_status vgw__docker_watch_add(struct vgw__docker_events *events, struct vgw__docker_watch *watch,
	const char *container, vgw_error *err)
{
	bool has_thread;

	watch->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watch->fd < 0)
		return vgw_error_set(err, VGW_INTERNAL, errno, "cannot make an eventfd: %s", strerror(errno));
	(void)snprintf(watch->container, sizeof(watch->container), "%s", container);
	watch->exit_code = -1;
	watch->is_added = true;
	(void)pthread_mutex_lock(&events->mutex);
	vgw__list_append(&events->watches, &watch->link);
	if (!events->has_thread)
		events->has_thread = pthread_create(&events->thread, NULL, run, events) == 0;
	has_thread = events->has_thread;
	(void)pthread_mutex_unlock(&events->mutex);
	if (has_thread)
		return VGW_OK;
	vgw__docker_watch_remove(events, watch);
	return vgw_error_set(err, VGW_INTERNAL, 0, "cannot start the thread of a Docker Engine's events");
}

void vgw__docker_watch_remove(struct vgw__docker_events *events, struct vgw__docker_watch *watch)
{
	if (!watch->is_added)
		return;
	(void)pthread_mutex_lock(&events->mutex);
	vgw__list_remove(&watch->link);
	(void)pthread_mutex_unlock(&events->mutex);
	(void)close(watch->fd);
	watch->is_added = false;
}

int vgw__docker_watch_get_exit(struct vgw__docker_events *events, const struct vgw__docker_watch *watch)
{
	int exit_code;

	(void)pthread_mutex_lock(&events->mutex);
	exit_code = watch->exit_code;
	(void)pthread_mutex_unlock(&events->mutex);
	return exit_code;
}
