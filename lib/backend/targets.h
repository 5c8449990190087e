/* SPDX-License-Identifier: Apache-2.0 */
/* The endpoints over which a model's requests are spread, as one counted set. The set never changes; a new one
 * replaces it. What is counted per endpoint is atomic, because all workers share the set. */
#ifndef VGW_BACKEND_TARGETS_H
#define VGW_BACKEND_TARGETS_H

#include "net/endpoint.h"

#include <stdatomic.h>

struct vgw__target {
	struct vgw__endpoint *endpoint;
	atomic_uint in_flight;      /* requests of ours under way on it */
	atomic_uint_fast64_t total; /* requests ever sent to it */
};

struct vgw__targets {
	atomic_uint refs;
	atomic_uint next; /* where the next search for a target begins: ties rotate */
	uint32_t count;
	struct vgw__target items[];
};

/* Takes its own references to the endpoints. NULL without memory. */
struct vgw__targets *vgw__targets_new(struct vgw__endpoint *const *endpoints, size_t count);
struct vgw__targets *vgw__targets_ref(struct vgw__targets *targets);
void vgw__targets_unref(struct vgw__targets *targets); /* NULL is allowed */

#endif
