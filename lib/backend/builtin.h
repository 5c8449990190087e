/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in kinds of controllers. Only the registry needs this list; each comes through the public door. */
#ifndef VGW_BACKEND_BUILTIN_H
#define VGW_BACKEND_BUILTIN_H

#include <vllmgw/controller.h>

/* Somebody else keeps the engine running: {"kind":"static","urls":["http://..."]}. */
extern const vgw_controller_ops vgw__static_ops;

/* A command on this machine. Its user pointer is a struct vgw__process_kind: what the instances share. */
extern const vgw_controller_ops vgw__process_ops;

struct vgw__process_kind;

vgw_status vgw__process_kind_new(struct vgw__process_kind **out, vgw_error *err);
void vgw__process_kind_free(struct vgw__process_kind *kind); /* after the last instance; NULL is allowed */

/* A container. Its user pointer is a struct vgw__docker_kind. */
extern const vgw_controller_ops vgw__docker_ops;

struct vgw__docker_kind;

vgw_status vgw__docker_kind_new(struct vgw__docker_kind **out, vgw_error *err);
void vgw__docker_kind_free(struct vgw__docker_kind *kind); /* after the last instance; NULL is allowed */

/* A server that loads models itself. Its user pointer is a struct vgw__http_kind. */
extern const vgw_controller_ops vgw__http_ops;

struct vgw__http_kind;

vgw_status vgw__http_kind_new(struct vgw__http_kind **out, vgw_error *err);
void vgw__http_kind_free(struct vgw__http_kind *kind); /* after the last instance; NULL is allowed */

/* A workload of a Kubernetes cluster. Its user pointer is a struct vgw__kube_kind. */
extern const vgw_controller_ops vgw__kube_ops;

struct vgw__kube_kind;

vgw_status vgw__kube_kind_new(struct vgw__kube_kind **out, vgw_error *err);
void vgw__kube_kind_free(struct vgw__kube_kind *kind); /* after the last instance; NULL is allowed */

#endif
