/* SPDX-License-Identifier: Apache-2.0 */
/* --check: everything that can be told of a configuration without serving it. */
#include "serve.h"

#include "apply.h"
#include "keys.h"
#include "limits_redis.h"
#include "tls.h"

#include <stdio.h>
#include <string.h>

static vgw_status check_keys(vgw_gateway *gateway, const struct config *config, vgw_error *err)
{
	struct keys *keys = keys_new(gateway);
	const char *problem;
	char why[512] = "out of memory";
	vgw_status status = VGW_OK;

	if (!keys || keys_stage(keys, config, why, sizeof(why)) != 0)
		status = vgw_error_set(err, VGW_INVALID, 0, "%.230s", why);
	problem = strcmp(config->auth.store, "memory") != 0 ? limits_redis_check(config->auth.store) : NULL;
	if (problem)
		status = vgw_error_set(err, VGW_INVALID, 0, "auth.store: '%.100s' %s",
			strchr(config->auth.store, '@') ? "***" : config->auth.store, problem);
	keys_free(keys);
	return status;
}

static vgw_status check_tls(const struct config *config, vgw_error *err)
{
	struct tls *tls = tls_new();
	char why[512] = "out of memory";
	int result = tls ? tls_stage(tls, config, why, sizeof(why)) : -1;

	tls_free(tls);
	if (result > 0)
		(void)fprintf(stderr, "warning: %s\n", why);
	return result < 0 ? vgw_error_set(err, VGW_INVALID, 0, "%.230s", why) : VGW_OK;
}

vgw_status serve_check(const struct config *config, vgw_error *err)
{
	vgw_gateway_options options;
	struct apply_room room = { 0 };
	vgw_registry *registry = NULL;
	vgw_gateway *gateway = NULL;
	vgw_status status;

	status = apply_gateway_options(&options, &room, config, (vgw_logger){ 0 }, err);
	options.state_dir = NULL; /* nothing is written, nothing taken over */
	if (status == VGW_OK)
		status = vgw_gateway_new(&gateway, &options, err);
	if (status == VGW_OK)
		status = apply_registry(&registry, config, err);
	if (status == VGW_OK)
		status = check_keys(gateway, config, err);
	if (status == VGW_OK)
		status = check_tls(config, err);
	vgw_registry_unref(registry);
	vgw_gateway_free(gateway);
	apply_room_free(&room);
	return status;
}
