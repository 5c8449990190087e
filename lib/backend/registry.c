/* SPDX-License-Identifier: Apache-2.0 */
/* A short list of kinds. Each is copied into a struct of this library's size, so that a program compiled against an
 * older header works, and one against a newer header is told what this library cannot do. */
#include "backend/registry.h"

#include "backend/builtin.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/list.h"

#include <string.h>

enum { KIND_NAME_MAX = 32, KNOWN_TEXT_MAX = 160 };

/* create, destroy, activate, deactivate were there from the beginning */
#define SMALLEST_OPS offsetof(vgw_controller_ops, probe)
#define KNOWN_FLAGS \
	(VGW_CONTROLLER_UNMANAGED | VGW_CONTROLLER_CAN_SLEEP | VGW_CONTROLLER_SELF_RUNNING | VGW_CONTROLLER_PLACEABLE)

struct row {
	struct vgw__list link;
	struct vgw__controller_kind kind;
	char name[KIND_NAME_MAX + 1];
};

struct vgw__controllers {
	struct vgw__list rows;               /* in the order of registration */
	struct vgw__process_kind *processes; /* what all instances of kind "process" share */
	struct vgw__docker_kind *containers; /* and of kind "docker" */
	struct vgw__http_kind *https;        /* and of kind "http" */
	struct vgw__kube_kind *workloads;    /* and of kind "kubernetes" */
};

static struct row *find_row(const struct vgw__controllers *controllers, const char *kind)
{
	VGW__LIST_EACH(it, &controllers->rows) {
		struct row *row = VGW__CONTAINER(it, struct row, link);

		if (strcmp(row->name, kind) == 0)
			return row;
	}
	return NULL;
}

static bool is_name(const char *kind)
{
	size_t len = kind ? strlen(kind) : 0;

	return len > 0 && len <= KIND_NAME_MAX && strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static bool has_unknown_tail(const vgw_controller_ops *ops)
{
	const unsigned char *bytes = (const unsigned char *)ops;

	for (size_t i = sizeof(*ops); i < ops->size; i++)
		if (bytes[i] != 0)
			return true;
	return false;
}

static vgw_status check_ops(const vgw_controller_ops *ops, vgw_error *err)
{
	if (!ops || ops->size < SMALLEST_OPS)
		return vgw_error_set(err, VGW_INVALID, 0,
			"controller operations: set .size = sizeof(vgw_controller_ops)");
	if (!is_name(ops->kind))
		return vgw_error_set(err, VGW_INVALID, 0,
			"controller kind '%.40s': use 1 to %d of a-z 0-9 _ -", ops->kind ? ops->kind : "",
			KIND_NAME_MAX);
	if (!ops->create || !ops->destroy || !ops->activate || !ops->deactivate)
		return vgw_error_set(err, VGW_INVALID, 0,
			"controller '%s': create, destroy, activate and deactivate are required", ops->kind);
	if ((ops->flags & ~KNOWN_FLAGS) != 0 || ops->reserved != 0)
		return vgw_error_set(err, VGW_INVALID, 0, "controller '%s': unknown flags 0x%x", ops->kind,
			(unsigned)(ops->flags & ~KNOWN_FLAGS));
	if (has_unknown_tail(ops))
		return vgw_error_set(err, VGW_INVALID, 0,
			"controller '%s' uses operations of a newer library than this " VGW_VERSION,
			ops->kind);
	return VGW_OK;
}

vgw_status vgw__controllers_new(struct vgw__controllers **out, vgw_error *err)
{
	struct vgw__controllers *controllers;

	*out = NULL;
	controllers = vgw__alloc(sizeof(*controllers));
	if (!controllers)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the kinds of controllers");
	vgw__list_init(&controllers->rows);
	*out = controllers;
	return VGW_OK;
}

void vgw__controllers_free(struct vgw__controllers *controllers)
{
	struct vgw__list *link;

	if (!controllers)
		return;
	while ((link = vgw__list_first(&controllers->rows)) != NULL) {
		vgw__list_remove(link);
		vgw__free(VGW__CONTAINER(link, struct row, link));
	}
	vgw__process_kind_free(controllers->processes);
	vgw__docker_kind_free(controllers->containers);
	vgw__http_kind_free(controllers->https);
	vgw__kube_kind_free(controllers->workloads);
	vgw__free(controllers);
}

vgw_status vgw__controllers_add(struct vgw__controllers *controllers, const vgw_controller_ops *ops, void *user,
	vgw_error *err)
{
	vgw_status status = check_ops(ops, err);
	struct row *row;

	if (status != VGW_OK)
		return status;
	if (find_row(controllers, ops->kind))
		return vgw_error_set(err, VGW_EXISTS, 0, "a controller of kind '%s' is registered already", ops->kind);
	row = vgw__alloc(sizeof(*row));
	if (!row)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for controller '%s'", ops->kind);
	memcpy(&row->kind.ops, ops, ops->size < sizeof(*ops) ? ops->size : sizeof(*ops));
	memcpy(row->name, ops->kind, strlen(ops->kind));
	row->kind.ops.size = sizeof(row->kind.ops);
	row->kind.ops.kind = row->name;
	row->kind.user = user;
	vgw__list_append(&controllers->rows, &row->link);
	return VGW_OK;
}

vgw_status vgw__controllers_add_builtin(struct vgw__controllers *controllers, vgw_error *err)
{
	vgw_status status = VGW_OK;

	if (!controllers->processes)
		status = vgw__process_kind_new(&controllers->processes, err);
	if (status == VGW_OK && !controllers->containers)
		status = vgw__docker_kind_new(&controllers->containers, err);
	if (status == VGW_OK && !controllers->https)
		status = vgw__http_kind_new(&controllers->https, err);
	if (status == VGW_OK && !controllers->workloads)
		status = vgw__kube_kind_new(&controllers->workloads, err);
	if (status == VGW_OK)
		status = vgw__controllers_add(controllers, &vgw__static_ops, NULL, err);
	if (status == VGW_OK)
		status = vgw__controllers_add(controllers, &vgw__process_ops, controllers->processes, err);
	if (status == VGW_OK)
		status = vgw__controllers_add(controllers, &vgw__docker_ops, controllers->containers, err);
	if (status == VGW_OK)
		status = vgw__controllers_add(controllers, &vgw__http_ops, controllers->https, err);
	if (status == VGW_OK)
		status = vgw__controllers_add(controllers, &vgw__kube_ops, controllers->workloads, err);
	return status;
}

vgw_status vgw__controllers_find(const struct vgw__controllers *controllers,
	const struct vgw__controller_kind **out, const char *kind, vgw_error *err)
{
	const struct row *row = find_row(controllers, kind ? kind : "");
	struct vgw__buf known;

	*out = row ? &row->kind : NULL;
	if (row)
		return VGW_OK;
	vgw__buf_init(&known, KNOWN_TEXT_MAX);
	VGW__LIST_EACH(it, &controllers->rows)
		(void)vgw__buf_print(&known, "%s%s", known.len > 0 ? ", " : "",
			VGW__CONTAINER(it, struct row, link)->name);
	(void)vgw_error_set(err, VGW_INVALID, 0, "no controller of kind '%.40s'; known are %.*s", kind ? kind : "",
		(int)known.len, known.data ? known.data : "");
	vgw__buf_fini(&known);
	return VGW_INVALID;
}
