/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of controllers by name. Built-in kinds and the user's come through the same door. */
#ifndef VGW_BACKEND_REGISTRY_H
#define VGW_BACKEND_REGISTRY_H

#include <vllmgw/controller.h>

struct vgw__controllers;

/* One kind; lives as long as the registry and never moves. */
struct vgw__controller_kind {
	vgw_controller_ops ops; /* entries that the caller's struct was too short for are NULL */
	void *user;
};

vgw_status vgw__controllers_new(struct vgw__controllers **out, vgw_error *err);
void vgw__controllers_free(struct vgw__controllers *controllers); /* after the last instance; NULL is allowed */

/* INVALID (a required entry is missing, the name is no name, the struct is of a newer library), EXISTS, NOMEM.
 * *ops is copied, its `kind` too. Init: not while others look kinds up. */
vgw_status vgw__controllers_add(struct vgw__controllers *controllers, const vgw_controller_ops *ops, void *user,
	vgw_error *err);
vgw_status vgw__controllers_add_builtin(struct vgw__controllers *controllers, vgw_error *err);

/* INVALID with the known kinds in the text when there is none of that name. */
vgw_status vgw__controllers_find(const struct vgw__controllers *controllers,
	const struct vgw__controller_kind **out, const char *kind, vgw_error *err);

#endif
