/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas of kind "kubernetes" on a cluster of kube_api.py: workloads deployments/big and statefulsets/set, both
 * scaled to 0, whose pods are engines of this build. */
#ifndef VGW_TESTS_KUBE_RIG_H
#define VGW_TESTS_KUBE_RIG_H

#include "testing.h"

#include "backend/host.h"
#include "backend/registry.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <sys/types.h>

enum { KUBE_PATIENCE_MS = 20000, KUBE_URLS = 8 };

struct kube_rig {
	struct vgw__controllers *controllers;
	const struct vgw__controller_kind *kind;
	vgw_host *host;
	void *self;
	char folder[64];
	char api[64];        /* "https://127.0.0.1:PORT" */
	char orders[64];     /* "http://127.0.0.1:PORT" */
	int engine_port;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	char urls[KUBE_URLS][64]; /* guarded by mutex, to the end */
	size_t url_count;
	int publications;
	int deaths;
	int absences;
	char death[256];
	char progress[256];
	char logged[16384];
};

int kube_rig_set_up(void **state);
int kube_rig_tear_down(void **state);
int kube_rig_end_cluster(void **state); /* of the group: the tests share a cluster, each finds it as new */

/* With more members (", \"replicas\": 2") after those that name workload, namespace, server, token and CA. */
vgw_status kube_rig_try_make(struct kube_rig *rig, const char *workload, const char *more, vgw_error *err);
void kube_rig_make(struct kube_rig *rig, const char *workload, const char *more);

vgw_status kube_rig_activate(struct kube_rig *rig, int64_t patience_ms, vgw_error *err);
void kube_rig_activate_well(struct kube_rig *rig);
void kube_rig_stop_well(struct kube_rig *rig);
/* What it says to people when it fails. */
struct vgw__host_report kube_rig_report(struct kube_rig *rig);

/* Orders to the cluster, as kube_api.py names them; the answer is its state. json_decref() it. */
json_t *kube_rig_order(struct kube_rig *rig, const char *order, const char *json);
void kube_rig_do(struct kube_rig *rig, const char *order, const char *json);
/* "replicas", "pods" or "ready" of a workload. */
int kube_rig_count(struct kube_rig *rig, const char *workload, const char *what);

/* Each fails the test when it takes ages. */
void kube_rig_await_urls(struct kube_rig *rig, size_t count);
void kube_rig_await_death(struct kube_rig *rig); /* and forgets it */
void kube_rig_await_absence(struct kube_rig *rig);
int kube_rig_get_deaths(struct kube_rig *rig);
int kube_rig_get_publications(struct kube_rig *rig);
bool kube_rig_has_logged(struct kube_rig *rig, const char *text);
void kube_rig_await_count(struct kube_rig *rig, const char *workload, const char *what, int count);
void kube_rig_await_call(struct kube_rig *rig, const char *call); /* "list endpointslices": since the last order */

void kube_rig_write_token(struct kube_rig *rig, const char *token);
/* Does the engine behind a URL answer /health? */
bool kube_rig_serves(const char *url);

#define assert_says(text, wanted)                                                                                \
	do {                                                                                                     \
		if (!strstr(text, wanted))                                                                       \
			fail_msg("\"%s\" does not say \"%s\"", text, wanted);                                    \
	} while (0)

#endif
