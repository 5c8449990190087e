/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to a Kubernetes API server, and what its refusals mean. */
#ifndef VGW_BACKEND_KUBERNETES_API_H
#define VGW_BACKEND_KUBERNETES_API_H

#include "backend/kubernetes_config.h"

#include <jansson.h>

/* One call. The words are those of a Role's rule, because a refusal names the rule to add. */
struct vgw__kube_call {
	const struct vgw__kube_cluster *cluster;
	const char *verb;      /* "get", "list", "watch" or "patch" */
	const char *group;     /* "" (core), "apps", "discovery.k8s.io" */
	const char *version;   /* of the group; NULL: "v1" */
	const char *resource;  /* "pods", "deployments/scale" */
	const char *name;      /* NULL: all of them */
	const char *selector;  /* labels; NULL: none */
	const char *more;      /* more of the query ("watch=1&..."), NULL: none */
	const char *patch;     /* a merge patch as JSON text; NULL: none */
	int64_t deadline_ms;
	int64_t patient_until_ms; /* so long it is tried while the server is busy or away; 0: a few times */
	int cancel_fd;
	/* NULL: the answer is one JSON object. Otherwise pieces of a good answer as they come; false ends the call. */
	bool (*on_data)(void *user, const char *data, size_t len);
	void *user;
};

struct vgw__kube_answer {
	uint32_t http;   /* 0: there was none */
	json_t *root;    /* of a good answer; json_decref() it */
	bool is_refused; /* 4xx: asking again will not help */
};

/* One attempt, and another one after a denial (401, 403): a server that has just started knows no accounts and no roles
 * for a moment, and tokens rotate; each reads it anew. What failed is said with its remedy.
 * TIMEOUT, CANCELLED, NOT_FOUND (404), BACKEND (all else), NOMEM. */
vgw_status vgw__kube_call_once(const struct vgw__kube_call *call, struct vgw__kube_answer *answer, vgw_error *err);

/* A few attempts, or as many as patience allows, while the server is busy, away, or has changed the object. */
vgw_status vgw__kube_call(const struct vgw__kube_call *call, struct vgw__kube_answer *answer, vgw_error *err);

/* Waits until then or until cancel_fd is readable (true). */
bool vgw__kube_pause(int cancel_fd, int64_t ms);

#endif
