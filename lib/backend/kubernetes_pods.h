/* SPDX-License-Identifier: Apache-2.0 */
/* The pods of a workload: are there any, and why do they not serve? */
#ifndef VGW_BACKEND_KUBERNETES_PODS_H
#define VGW_BACKEND_KUBERNETES_PODS_H

#include "backend/kubernetes_config.h"

#include <jansson.h>

enum { VGW__KUBE_TEXT = 200 };

struct vgw__kube_pods {
	size_t count;          /* not leaving */
	size_t leaving;        /* deleted, but still there: they hold their devices */
	size_t running;        /* of count: all containers run */
	int64_t restarts;      /* of containers, all pods together */
	bool is_hopeless;      /* waiting longer will not help */
	vgw_failure failure;
	char text[VGW__KUBE_TEXT]; /* the most telling thing about them; "" */
};

/* Reads a PodList. */
void vgw__kube_pods_judge(struct vgw__kube_pods *pods, const json_t *list);

struct vgw__kube_look {
	const struct vgw__kube_config *config;
	const char *selector;
	int64_t deadline_ms;
	int cancel_fd;
};

/* Asks once. *is_refused: the server will not say, whenever it is asked. */
vgw_status vgw__kube_pods_look(struct vgw__kube_pods *pods, const struct vgw__kube_look *look, bool *is_refused,
	vgw_error *err);

#endif
