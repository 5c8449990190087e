/* SPDX-License-Identifier: Apache-2.0 */
/* What a container writes, into the engine's log file: one thread per running container, so that the log can be
 * followed while it serves and its last lines are there when it dies.
 *
 *   GET /containers/ID/logs?follow=1 ──► frames (8 bytes of head: stream, 0, 0, 0, length) ──► file
 */
#ifndef VGW_BACKEND_DOCKER_LOGS_H
#define VGW_BACKEND_DOCKER_LOGS_H

#include "backend/docker_client.h"

/* Takes the bytes of the frames out of a stream that comes in pieces. Zero it at the start of a stream. */
struct vgw__docker_frames {
	unsigned char head[8];
	size_t head_len;
	uint64_t left; /* of the frame's bytes */
};

/* Calls `fn` for what the container wrote. False: these are no frames. */
bool vgw__docker_frames_feed(struct vgw__docker_frames *frames, const char *data, size_t len,
	void (*fn)(void *user, const char *data, size_t len), void *user);

struct vgw__docker_logs;

/* Copy to `fd` what is written from `since` (seconds of the clock; 0: the beginning) on. The client, and fd, must
 * outlive it. *out is the caller's: stop it. */
vgw_status vgw__docker_logs_start(struct vgw__docker_logs **out, struct vgw__docker_client *client,
	const char *container, int fd, double since, vgw_error *err);
/* Give it `grace_ms` to come to the end of what an ended container wrote, then stop it. NULL is allowed. */
void vgw__docker_logs_stop(struct vgw__docker_logs *logs, int64_t grace_ms);

#endif
