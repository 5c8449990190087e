/* SPDX-License-Identifier: Apache-2.0 */
/* The library's one door to memory: zeroed, overflow-checked, replaceable (vgw_set_allocator). Every function
 * may return NULL and every caller checks. */
#ifndef VGW_UTIL_ALLOC_H
#define VGW_UTIL_ALLOC_H

#include <stddef.h>

void *vgw__alloc(size_t size);                                  /* zeroed */
void *vgw__calloc(size_t count, size_t size);                   /* zeroed, NULL on overflow */
void *vgw__realloc(void *old, size_t size);                     /* new bytes are not zeroed; old survives a failure */
void *vgw__grow(void *old, size_t *capacity, size_t need, size_t item); /* geometric; NULL: old survives */
char *vgw__strdup(const char *text);                            /* NULL for NULL is a failure: do not pass it */
char *vgw__strndup(const char *text, size_t len);
char *vgw__printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
void vgw__free(void *memory);

#endif
