/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator over malloc()ed chunks. */
#include "config_arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 4096, ALIGNMENT = _Alignof(max_align_t) };

struct config_arena_chunk {
	struct config_arena_chunk *next;
	size_t used;
	size_t size;
	_Alignas(max_align_t) unsigned char data[];
};

struct config_arena *config_arena_new(size_t limit_bytes)
{
	struct config_arena *arena = calloc(1, sizeof(*arena));

	if (arena)
		arena->limit_bytes = limit_bytes;
	return arena;
}

void config_arena_free(struct config_arena *arena)
{
	if (!arena)
		return;
	while (arena->chunks) {
		struct config_arena_chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	free(arena);
}

static struct config_arena_chunk *add_chunk(struct config_arena *arena, size_t size)
{
	size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
	struct config_arena_chunk *chunk;

	if (arena->taken_bytes + room > arena->limit_bytes)
		return NULL;
	chunk = calloc(1, sizeof(*chunk) + room);
	if (!chunk)
		return NULL;
	chunk->size = room;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	arena->taken_bytes += room;
	return chunk;
}

void *config_arena_alloc(struct config_arena *arena, size_t size)
{
	struct config_arena_chunk *chunk = arena->chunks;
	void *memory;

	if (size > SIZE_MAX / 4 || arena->is_exhausted)
		goto exhausted;
	size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!chunk || chunk->size - chunk->used < size)
		chunk = add_chunk(arena, size);
	if (!chunk)
		goto exhausted;
	memory = chunk->data + chunk->used;
	chunk->used += size;
	return memory;

exhausted:
	arena->is_exhausted = true;
	return NULL;
}

void *config_arena_calloc(struct config_arena *arena, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size) {
		arena->is_exhausted = true;
		return NULL;
	}
	return config_arena_alloc(arena, count * size);
}

char *config_arena_strndup(struct config_arena *arena, const char *text, size_t len)
{
	char *copy = config_arena_alloc(arena, len + 1);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

char *config_arena_strdup(struct config_arena *arena, const char *text)
{
	return config_arena_strndup(arena, text, strlen(text));
}

char *config_arena_printf(struct config_arena *arena, const char *format, ...)
{
	va_list args;
	char *text = NULL;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return NULL;
	text = config_arena_alloc(arena, (size_t)len + 1);
	if (!text)
		return NULL;
	va_start(args, format);
	(void)vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}
