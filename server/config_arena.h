/* SPDX-License-Identifier: Apache-2.0 */
/* One region of memory with a ceiling, freed at once: what a configuration lives in. A function that meets
 * NULL may give up quietly; config_load() looks at `is_exhausted` at the end. */
#ifndef VGW_SERVER_CONFIG_ARENA_H
#define VGW_SERVER_CONFIG_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct config_arena_chunk;

struct config_arena {
	struct config_arena_chunk *chunks; /* newest first */
	size_t taken_bytes;
	size_t limit_bytes;
	bool is_exhausted; /* an allocation failed */
};

struct config_arena *config_arena_new(size_t limit_bytes); /* NULL: no memory */
void config_arena_free(struct config_arena *arena);        /* NULL is allowed */

/* Zeroed, aligned for anything; NULL when malloc() or the ceiling says no. */
void *config_arena_alloc(struct config_arena *arena, size_t size);
void *config_arena_calloc(struct config_arena *arena, size_t count, size_t size);
char *config_arena_strndup(struct config_arena *arena, const char *text, size_t len);
char *config_arena_strdup(struct config_arena *arena, const char *text);
char *config_arena_printf(struct config_arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
