/* SPDX-License-Identifier: Apache-2.0 */
/* The image of a container: there already, or pulled. */
#ifndef VGW_BACKEND_DOCKER_IMAGE_H
#define VGW_BACKEND_DOCKER_IMAGE_H

#include "backend/docker_client.h"
#include "backend/docker_config.h"

/* Make sure that it is there, as `pull` wants it; progress goes to the host. Blocks as long as pulling takes. */
vgw_status vgw__docker_image_ensure(struct vgw__docker_client *client, const struct vgw__docker_config *config,
	vgw_host *host, int64_t deadline_ms, struct vgw__docker_problem *problem);

#endif
