/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in kinds of controllers. Only the registry needs this list; each comes through the public door. */
#ifndef VGW_BACKEND_BUILTIN_H
#define VGW_BACKEND_BUILTIN_H

#include <vllmgw/controller.h>

/* Somebody else keeps the engine running: {"kind":"static","urls":["http://..."]}. */
extern const vgw_controller_ops vgw__static_ops;

#endif
