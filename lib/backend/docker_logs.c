/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of one container's log. It shares nothing but two descriptors with who started it. */
#include "backend/docker_logs.h"

#include "util/alloc.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
	AGAIN_MS = 300,               /* before asking again when the stream was cut */
	STREAM_MS = 24 * 3600 * 1000, /* a stream is renewed after a day */
};

struct vgw__docker_logs {
	struct vgw__docker_client *client; /* const after start, down to stop_fd */
	char container[VGW__DOCKER_ID];
	int fd;
	int stop_fd;
	int done_fd;
	pthread_t thread;
	struct vgw__docker_frames frames; /* the thread's, from here */
	double since;
	bool are_no_frames;
};

/* --- frames --- */

bool vgw__docker_frames_feed(struct vgw__docker_frames *frames, const char *data, size_t len,
	void (*fn)(void *user, const char *data, size_t len), void *user)
{
	while (len > 0) {
		if (frames->left > 0) {
			size_t n = frames->left < len ? (size_t)frames->left : len;

			fn(user, data, n);
			frames->left -= n;
			data += n;
			len -= n;
			continue;
		}
		frames->head[frames->head_len++] = (unsigned char)*data++;
		len--;
		if (frames->head_len < sizeof(frames->head))
			continue;
		if (frames->head[0] > 2 || frames->head[1] || frames->head[2] || frames->head[3])
			return false;
		for (size_t i = 4; i < sizeof(frames->head); i++)
			frames->left = frames->left << 8 | frames->head[i];
		frames->head_len = 0;
	}
	return true;
}

/* --- the thread --- */

static double now_wall(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A full disk loses lines; the engine goes on. */
static void write_out(void *user, const char *data, size_t len)
{
	struct vgw__docker_logs *logs = user;

	while (len > 0) {
		ssize_t n = write(logs->fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static bool on_data(void *user, uint32_t status, const char *data, size_t len)
{
	struct vgw__docker_logs *logs = user;

	(void)status;
	logs->are_no_frames = !vgw__docker_frames_feed(&logs->frames, data, len, write_out, logs);
	logs->since = now_wall();
	return !logs->are_no_frames;
}

/* True: there will be no more. */
static bool copy_stream(struct vgw__docker_logs *logs)
{
	char path[VGW__DOCKER_ID + 96];
	struct vgw__docker_call call = { .doing = "read its log", .path = path, .cancel_fd = logs->stop_fd,
		.deadline_ms = vgw_now_ms() + STREAM_MS, .on_data = on_data, .user = logs };
	struct vgw__control_answer answer = { 0 };
	struct vgw__docker_problem problem;
	struct vgw__docker_state state = { 0 };
	json_t *inspected;
	vgw_status status;

	(void)snprintf(path, sizeof(path), "/containers/%s/logs?follow=1&stdout=1&stderr=1&since=%.6f",
		logs->container, logs->since);
	memset(&logs->frames, 0, sizeof(logs->frames));
	status = vgw__docker_call(logs->client, &call, &answer, &problem);
	vgw__control_answer_fini(&answer);
	if (logs->are_no_frames || (status != VGW_OK && problem.trouble == VGW__DOCKER_NO_CONTAINER))
		return true;
	if (status != VGW_OK)
		return false;
	/* Ended well: because the container did, or because the daemon stops. */
	if (vgw__docker_inspect(logs->client, logs->container, INT64_MAX, logs->stop_fd, &inspected,
		&problem) != VGW_OK)
		return problem.trouble == VGW__DOCKER_NO_CONTAINER;
	vgw__docker_read_state(&state, inspected);
	json_decref(inspected);
	return !state.is_running;
}

static bool is_stopped_within(const struct vgw__docker_logs *logs, int ms)
{
	struct pollfd stop = { .fd = logs->stop_fd, .events = POLLIN };

	return poll(&stop, 1, ms) > 0;
}

static void *run(void *user)
{
	struct vgw__docker_logs *logs = user;

	while (!copy_stream(logs) && !is_stopped_within(logs, AGAIN_MS))
		;
	(void)eventfd_write(logs->done_fd, 1);
	return NULL;
}

static void release(struct vgw__docker_logs *logs)
{
	if (logs->stop_fd >= 0)
		(void)close(logs->stop_fd);
	if (logs->done_fd >= 0)
		(void)close(logs->done_fd);
	vgw__free(logs);
}

vgw_status vgw__docker_logs_start(struct vgw__docker_logs **out, struct vgw__docker_client *client,
	const char *container, int fd, double since, vgw_error *err)
{
	struct vgw__docker_logs *logs = vgw__alloc(sizeof(*logs));

	*out = NULL;
	if (!logs)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to follow the log of a container");
	logs->client = client;
	(void)snprintf(logs->container, sizeof(logs->container), "%s", container);
	logs->fd = fd;
	logs->since = since;
	logs->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	logs->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (logs->stop_fd < 0 || logs->done_fd < 0 || pthread_create(&logs->thread, NULL, run, logs) != 0) {
		release(logs);
		return vgw_error_set(err, VGW_INTERNAL, errno, "cannot follow the log of a container: no "
			"descriptors "
			"or threads left");
	}
	*out = logs;
	return VGW_OK;
}

void vgw__docker_logs_stop(struct vgw__docker_logs *logs, int64_t grace_ms)
{
	struct pollfd done;

	if (!logs)
		return;
	done = (struct pollfd){ .fd = logs->done_fd, .events = POLLIN };
	if (grace_ms > 0)
		(void)poll(&done, 1, (int)grace_ms);
	(void)eventfd_write(logs->stop_fd, 1);
	(void)pthread_join(logs->thread, NULL);
	release(logs);
}
