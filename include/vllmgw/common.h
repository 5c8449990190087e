/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/common.h
 * What every other header needs: export marks, the clock, the allocator. Audience: callers.
 *
 * The words used in the contracts of all headers:
 *   Owns     caller | borrowed until ... | taken | read during the call
 *   Threads  any | owner (one thread at a time per object) | init (once, before other threads) | callback
 *   Blocks   never | until ...
 */
#ifndef VLLMGW_COMMON_H
#define VLLMGW_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vllmgw/version.h>

#ifdef __cplusplus
#define VGW_BEGIN_DECLS extern "C" {
#define VGW_END_DECLS }
#else
#define VGW_BEGIN_DECLS
#define VGW_END_DECLS
#endif

#if defined(__GNUC__)
#define VGW_API __attribute__((visibility("default")))
#define VGW_CHECKED __attribute__((warn_unused_result))
#define VGW_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define VGW_API
#define VGW_CHECKED
#define VGW_PRINTF(format_index, first)
#endif

VGW_BEGIN_DECLS

/** The version of the library at run time, "0.1.0".
 *  Owns: borrowed for ever.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_version(void);

/** Milliseconds of the monotonic clock: the unit and origin of every deadline in this library.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API int64_t vgw_now_ms(void);

/** Where the library's own memory comes from. Third-party libraries keep their own allocators. */
typedef struct vgw_allocator {
	void *(*realloc_fn)(void *user, void *old, size_t size); /* old may be NULL; never called with size 0 */
	void (*free_fn)(void *user, void *memory);               /* memory may be NULL */
	void *user;
} vgw_allocator;

/** Use another allocator than malloc(). NULL restores malloc().
 *  Owns: *allocator is copied.  Threads: init, before any other function of the library.
 *  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_set_allocator(const vgw_allocator *allocator);

/** Give back text or memory that a vgw_..._dup_... function returned. NULL is allowed.
 *  Owns: taken.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_free(void *memory);

VGW_END_DECLS

#endif
