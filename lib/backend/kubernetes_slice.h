/* SPDX-License-Identifier: Apache-2.0 */
/* What an EndpointSlice says: which service it belongs to, which of its pods take requests. */
#ifndef VGW_BACKEND_KUBERNETES_SLICE_H
#define VGW_BACKEND_KUBERNETES_SLICE_H

#include "util/strings.h"

#include <jansson.h>
#include <stdint.h>

#define VGW__KUBE_SERVICE_LABEL "kubernetes.io/service-name"

const char *vgw__kube_slice_get_service(const json_t *slice); /* NULL: of no service */
const char *vgw__kube_slice_get_name(const json_t *slice);

/* From all slices (an object, name -> slice) the pods of one service: the ready ones as URLs, appended to *ready
 * without repetition, and in *listed how many are not leaving, ready or not. False: no memory. */
bool vgw__kube_slice_collect(json_t *slices, const char *service, uint16_t port, struct vgw__strings *ready,
	size_t *listed);

#endif
