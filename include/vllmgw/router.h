/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/router.h
 * From the name in a request to your object: exact names, prefixes, a default. Pure: no I/O, no threads, no clock.
 * Audience: callers.  Stability: stable since 0.1.
 *
 * The first rule that applies wins: exact name, then the longest matching prefix ("big-*"), then the default.
 */
#ifndef VLLMGW_ROUTER_H
#define VLLMGW_ROUTER_H

#include <vllmgw/common.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

typedef struct vgw_router vgw_router;

/**
 * An empty router.
 * Owns:    *out belongs to the caller: vgw_router_free(). NULL on failure.
 * Threads: any.
 * Blocks:  never.
 * Errors:  NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_router_new(vgw_router **out, vgw_error *err);

/** Free a router; your targets are left alone. NULL is allowed.
 *  Owns: taken.  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_router_free(vgw_router *router);

/**
 * Send `pattern` to `target`: a plain name, or a prefix with a final '*' ("big-*"; "*" alone matches everything).
 * Owns:    pattern is copied; target is borrowed until vgw_router_free() and may not be NULL.
 * Threads: owner; finding may go on in several threads once nobody adds any more.
 * Blocks:  never.
 * Errors:  EXISTS (pattern given before), INVALID (empty, longer than 512 bytes, '*' elsewhere), NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_router_add(vgw_router *router, const char *pattern, void *target, vgw_error *err);

/** The target of names that match nothing, and of requests that name nothing; NULL takes it back.
 *  Owns: target is borrowed until vgw_router_free().  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_router_set_default(vgw_router *router, void *target);

/** The target for a name of `len` bytes (0: no name given), or NULL. Never allocates.
 *  Owns: borrowed as given to vgw_router_add(); name is read during the call.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void *vgw_router_find(const vgw_router *router, const char *name, size_t len);

VGW_END_DECLS

#endif
