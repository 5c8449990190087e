/* SPDX-License-Identifier: Apache-2.0 */
/* From a configuration to what the library and the front take. */
#ifndef VGW_SERVER_APPLY_H
#define VGW_SERVER_APPLY_H

#include "config.h"
#include "front/front.h"

/* One model into a registry that is being filled. */
vgw_status apply_model(vgw_registry *registry, const struct config_model *model, vgw_error *err);
/* A registry with all models. The error's text begins with the place of the model in the file. */
vgw_status apply_registry(vgw_registry **out, const struct config *config, vgw_error *err);

/* What the gateway's options point to. */
struct apply_room {
	vgw_residency_options residency;
	vgw_memory *devices;
};

/* `room` must outlive the use of *options; then apply_room_free(). VGW_NOMEM. */
vgw_status apply_gateway_options(vgw_gateway_options *options, struct apply_room *room, const struct config *config,
	vgw_logger logger, vgw_error *err);
void apply_room_free(struct apply_room *room);

/* `listens` has room for `room`; systemd's descriptors take a place each. -1 with a sentence. */
int apply_listens(struct front_listen *listens, size_t room, size_t *count, const struct config *config, char *why,
	size_t size);

/* Who may say whom a request is from; `networks` has room for NETWORKS_MAX. */
void apply_proxies(struct front_options *options, struct network *networks, const struct config *config);

#endif
