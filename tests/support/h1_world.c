/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_world.h. */
#include "testing.h"

#include "h1_world.h"

#include <stdlib.h>

void h1_world_aim(struct h1_world *world, const char *url)
{
	vgw__endpoint_unref(world->endpoint);
	assert_int_equal(vgw__endpoint_new(&world->endpoint, url, NULL), VGW_OK);
	world->request.endpoint = world->endpoint;
}

void h1_world_serve(struct h1_world *world, rawserver_fn script, void *user)
{
	world->server = rawserver_start(script, user, NULL);
	assert_non_null(world->server);
	h1_world_aim(world, rawserver_get_url(world->server));
}

void h1_world_join(struct h1_world *world)
{
	const char *why = rawserver_join(world->server);

	world->server = NULL;
	if (why)
		fail_msg("%s", why);
}

void h1_world_renew(struct h1_world *world, int64_t idle_ms)
{
	if (world->transport)
		world->transport->ops->destroy(world->transport);
	assert_int_equal(vgw__h1_new(&world->transport, world->loop, idle_ms, NULL), VGW_OK);
}

int h1_world_set_up(void **state)
{
	struct h1_world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	assert_int_equal(vgw_loop_new(&world->loop, NULL), VGW_OK);
	h1_world_renew(world, 4000);
	world->body = (struct vgw__span){ "{\"model\":\"m\"}", 13 };
	world->request = (struct vgw__upstream_request){
		.method = "POST",
		.path = "/v1/chat/completions",
		.body = &world->body,
		.body_count = 1,
		.has_body = true,
		.connect_timeout_ms = 2000,
	};
	*state = world;
	return 0;
}

int h1_world_tear_down(void **state)
{
	struct h1_world *world = *state;

	upcall_fini(&world->call);
	upcall_fini(&world->second);
	world->transport->ops->destroy(world->transport);
	vgw_loop_free(world->loop);
	vgw__endpoint_unref(world->endpoint);
	free(world);
	return 0;
}

void h1_world_finish_first(struct h1_world *world)
{
	upcall_start(&world->call, world->transport, &world->request);
	upcall_finish(world->loop, &world->call);
}

void h1_world_finish_second(struct h1_world *world)
{
	upcall_start(&world->second, world->transport, &world->request);
	upcall_finish(world->loop, &world->second);
}
