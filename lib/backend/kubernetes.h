/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "kubernetes" from the inside: what its files share.
 *
 *   kubernetes.c          the operations
 *   kubernetes_kind.c     what the instances share
 *   kubernetes_scale.c    how many replicas there should be
 *   kubernetes_find.c     where the ready pods are: EndpointSlices, or a name in DNS
 *   kubernetes_start.c    wait until one is ready, say why none is
 *   kubernetes_serve.c    while it serves: changed endpoints are told, and the end nobody asked for
 *
 * Who may touch what: the operations come one at a time; between them, and only while `watched` is added, the
 * watcher's thread has the fields of serving. An operation takes the watch off first. */
#ifndef VGW_BACKEND_KUBERNETES_H
#define VGW_BACKEND_KUBERNETES_H

#include "backend/kubernetes_config.h"
#include "backend/kubernetes_pods.h"
#include "backend/kubernetes_slices.h"
#include "backend/watcher.h"

#include <pthread.h>
#include <stdatomic.h>

enum { VGW__KUBE_SELECTOR = 1024 };

/* What all instances share: one thread for callbacks, and one per namespace that follows its slices. */
struct vgw__kube_kind {
	struct vgw__watcher *watcher;
	pthread_mutex_t mutex;
	struct vgw__list sources; /* guarded by mutex */
};

struct vgw__kube {
	vgw_host *host;                   /* const after create, down to fd */
	struct vgw__kube_kind *kind;
	struct vgw__kube_config config;
	struct vgw__kube_slices *slices;  /* NULL: the pods are found by DNS */
	char identity[700];
	int fd;                           /* readable: the pods may have changed */
	struct vgw__kube_watch watch;
	atomic_bool is_up;                /* scaled up by us, or adopted */
	char selector[VGW__KUBE_SELECTOR]; /* labels of the workload's pods; "" before the first answer */
	struct vgw__watched watched;
	struct vgw__strings published;    /* of serving, from here */
	int64_t restarts;                 /* of the pods' containers when it began to serve */
	int64_t silent_since_ms;          /* no pod is ready since then; 0: some is */
	int64_t next_look_ms;
	bool is_dead;                     /* told already */
	bool is_absent;                   /* told again and again: nobody listens during an operation */
};

/* kubernetes_kind.c */
vgw_status vgw__kube_kind_take_slices(struct vgw__kube_kind *kind, const struct vgw__kube_cluster *cluster,
	const vgw_logger *logger, struct vgw__kube_slices **out, vgw_error *err);
void vgw__kube_kind_give_slices(struct vgw__kube_kind *kind, struct vgw__kube_slices *slices); /* NULL is allowed */

/* kubernetes_scale.c: both learn the selector. NOT_FOUND: there is no such workload. */
vgw_status vgw__kube_scale_get(struct vgw__kube *kube, int64_t deadline_ms, int64_t *replicas, vgw_error *err);
vgw_status vgw__kube_scale_set(struct vgw__kube *kube, int64_t deadline_ms, int64_t replicas, vgw_error *err);
/* One attempt, for the watcher's thread: it is not of an operation, and cannot be cancelled like one. */
vgw_status vgw__kube_scale_peek(struct vgw__kube *kube, int64_t deadline_ms, int64_t *replicas);
/* Until no pod is left, also none that is leaving. */
vgw_status vgw__kube_scale_wait_gone(struct vgw__kube *kube, int64_t deadline_ms, vgw_error *err);

/* kubernetes_find.c: as vgw__kube_slices_read() */
vgw_status vgw__kube_find(struct vgw__kube *kube, struct vgw__strings *ready, size_t *listed, vgw_error *err);
/* Between two questions; true: cancelled. */
bool vgw__kube_wait_change(const struct vgw__kube *kube, int64_t until_ms);

/* kubernetes_start.c */
vgw_status vgw__kube_wait_ready(struct vgw__kube *kube, int64_t deadline_ms, struct vgw__strings *ready,
	vgw_error *err);

/* kubernetes_serve.c */
vgw_status vgw__kube_serve(struct vgw__kube *kube, struct vgw__strings *ready, vgw_error *err); /* takes *ready */
void vgw__kube_leave(struct vgw__kube *kube); /* when it returns, nothing of it runs on the watcher's thread */

#endif
