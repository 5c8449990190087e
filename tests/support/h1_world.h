/* SPDX-License-Identifier: Apache-2.0 */
/* A loop, an h1 transport, a scripted server and two calls: what each test of the transport begins with. */
#ifndef VGW_TESTS_H1_WORLD_H
#define VGW_TESTS_H1_WORLD_H

#include "net/transport.h"
#include "rawserver.h"
#include "upcall.h"

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"

struct h1_world {
	vgw_loop *loop;
	struct vgw__transport *transport;
	struct rawserver *server;
	struct vgw__endpoint *endpoint;
	struct vgw__span body;
	struct vgw__upstream_request request; /* a POST with a small body, to `endpoint` */
	struct upcall call;
	struct upcall second;
};

int h1_world_set_up(void **state);
int h1_world_tear_down(void **state);
/* Destroys the transport, which closes its idle connections, and makes another. */
void h1_world_renew(struct h1_world *world, int64_t idle_ms);
void h1_world_aim(struct h1_world *world, const char *url);
void h1_world_serve(struct h1_world *world, rawserver_fn script, void *user);
void h1_world_join(struct h1_world *world); /* asserts that the script went as expected */
void h1_world_finish_first(struct h1_world *world);
void h1_world_finish_second(struct h1_world *world);

#endif
