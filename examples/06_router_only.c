/* SPDX-License-Identifier: Apache-2.0 */
/* Only the router: a program that has its own way of talking to engines, and wants names, prefixes and a default.
 *
 *   example_06_router_only gpt-4o-mini qwen-coder-32b whatever */
#include <vllmgw/router.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pool {
	const char *name;
};

int main(int argc, char **argv)
{
	static struct pool small = { "small pool" }, coders = { "coders' pool" }, rest = { "everybody's pool" };
	vgw_error err = VGW_ERROR_INIT;
	vgw_router *router = NULL;
	vgw_status status = vgw_router_new(&router, &err);

	if (status == VGW_OK)
		status = vgw_router_add(router, "gpt-4o-mini", &small, &err);
	if (status == VGW_OK)
		status = vgw_router_add(router, "qwen-coder-*", &coders, &err);
	if (status != VGW_OK) {
		fprintf(stderr, "error: %s\n", err.text);
		vgw_router_free(router);
		return EXIT_FAILURE;
	}
	vgw_router_set_default(router, &rest);
	for (int i = 1; i < argc; i++) {
		const struct pool *pool = vgw_router_find(router, argv[i], strlen(argv[i]));

		printf("%s -> %s\n", argv[i], pool->name);
	}
	vgw_router_free(router);
	return EXIT_SUCCESS;
}
