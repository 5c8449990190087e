/* SPDX-License-Identifier: Apache-2.0 */
/* Speaking to a Docker Engine, or to Podman's imitation of one: where it is, which version of its API we use, and
 * calls that end in time. Every call blocks, but none longer than it may. Any thread. */
#ifndef VGW_BACKEND_DOCKER_CLIENT_H
#define VGW_BACKEND_DOCKER_CLIENT_H

#include "backend/docker_problem.h"
#include "net/control.h"

#include <jansson.h>
#include <stdatomic.h>

enum {
	VGW__DOCKER_QUICK_MS = 10000, /* the longest that a call may take which has nothing to wait for */
	VGW__DOCKER_ID = 72,
};

struct vgw__docker_client {
	char *name;       /* "unix:/var/run/docker.sock", "http://host:2375": for messages and to compare */
	char *base;       /* what comes before the path */
	char *unix_path;  /* NULL: by TCP */
	char *ca_file;    /* NULL unless https with a folder of certificates */
	char *cert_file;
	char *key_file;
	atomic_uint version; /* 41 for "1.41"; 0: not asked yet */
};

/* "/path", "unix:///path", "tcp://host:port", "http://..." or "https://..."; NULL: $DOCKER_HOST, else
 * /var/run/docker.sock. INVALID, NOMEM. On failure the client is empty. */
vgw_status vgw__docker_client_init(struct vgw__docker_client *client, const char *where, vgw_error *err);
void vgw__docker_client_fini(struct vgw__docker_client *client); /* also of a zeroed one */

struct vgw__docker_call {
	const char *doing;  /* for messages: "start its container" */
	const char *method; /* NULL: GET */
	const char *path;   /* behind the version: "/containers/json?all=1" */
	const char *body;   /* JSON, or NULL */
	int64_t deadline_ms;
	int cancel_fd;      /* -1: none */
	bool (*on_data)(void *user, uint32_t status, const char *data, size_t len); /* as control calls do */
	void *user;
};

/* VGW_OK for the statuses 2xx and 304; else *problem says what is wrong. Asks for the versions first, once. */
vgw_status vgw__docker_call(struct vgw__docker_client *client, const struct vgw__docker_call *call,
	struct vgw__control_answer *answer, struct vgw__docker_problem *problem);
/* The same for an answer that must be JSON; *out is the caller's, NULL on failure. */
vgw_status vgw__docker_call_json(struct vgw__docker_client *client, const struct vgw__docker_call *call,
	json_t **out, struct vgw__docker_problem *problem);

/* What is told about a container that we go by. */
struct vgw__docker_state {
	bool is_running;
	bool is_oom_killed;
	int exit_code;
	char error[160];
};

void vgw__docker_read_state(struct vgw__docker_state *out, const json_t *inspected);

/* GET /containers/ID/json: inspect one. */
vgw_status vgw__docker_inspect(struct vgw__docker_client *client, const char *container, int64_t deadline_ms,
	int cancel_fd, json_t **out, struct vgw__docker_problem *problem);

int64_t vgw__docker_soonest(int64_t deadline_ms, int64_t limit_ms); /* the deadline, or a while from now */
/* `text` as a part of a URL, in memory from util/alloc; NULL: no memory. */
char *vgw__docker_quote(const char *text);

#endif
