/* SPDX-License-Identifier: Apache-2.0 */
/* The EndpointSlices of a namespace, kept current by one thread that lists and then watches them.
 *
 *   API server ── list, watch ──► thread ──► slices by name ──► addresses of a service
 *                                      └──► descriptors of the watches become readable
 */
#ifndef VGW_BACKEND_KUBERNETES_SLICES_H
#define VGW_BACKEND_KUBERNETES_SLICES_H

#include "backend/kubernetes_config.h"

#include "util/list.h"
#include "util/strings.h"

struct vgw__kube_slices;

/* Lives inside the watching object. Zero it before first use. */
struct vgw__kube_watch {
	int fd;                /* an eventfd of the watching object's: readable when the service may have changed */
	const char *service;   /* borrowed while added */
	struct vgw__list link; /* private from here */
	bool is_added;
};

vgw_status vgw__kube_slices_new(struct vgw__kube_slices **out, const struct vgw__kube_cluster *cluster,
	const vgw_logger *logger, vgw_error *err);
void vgw__kube_slices_free(struct vgw__kube_slices *slices); /* after the last watch was removed; NULL is allowed */
const struct vgw__kube_cluster *vgw__kube_slices_get_cluster(const struct vgw__kube_slices *slices);

/* The thread starts with the first one. */
vgw_status vgw__kube_watch_add(struct vgw__kube_slices *slices, struct vgw__kube_watch *watch, vgw_error *err);
void vgw__kube_watch_remove(struct vgw__kube_slices *slices, struct vgw__kube_watch *watch); /* idempotent */

/* The pods of a service as "http://ADDRESS:PORT", appended to *ready; *listed counts those that are not leaving,
 * ready or not. BUSY: not known (yet); BACKEND, NOT_FOUND: the server refuses to say; NOMEM. */
vgw_status vgw__kube_slices_read(struct vgw__kube_slices *slices, const char *service, uint16_t port,
	struct vgw__strings *ready, size_t *listed, vgw_error *err);

#endif
