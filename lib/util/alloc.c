/* SPDX-License-Identifier: Apache-2.0 */
/* One allocator for the whole library, so that a program can bring its own and a test can fail the n-th call. */
#include "util/alloc.h"

#include <vllmgw/common.h>

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *libc_realloc(void *user, void *old, size_t size)
{
	(void)user;
	return realloc(old, size);
}

static void libc_free(void *user, void *memory)
{
	(void)user;
	free(memory);
}

static const vgw_allocator libc_allocator = { libc_realloc, libc_free, NULL };
static vgw_allocator current = { libc_realloc, libc_free, NULL };

void vgw_set_allocator(const vgw_allocator *allocator)
{
	current = allocator ? *allocator : libc_allocator;
}

void vgw_free(void *memory)
{
	vgw__free(memory);
}

void *vgw__alloc(size_t size)
{
	void *memory = current.realloc_fn(current.user, NULL, size ? size : 1);

	if (memory)
		memset(memory, 0, size);
	return memory;
}

void *vgw__calloc(size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	return vgw__alloc(bytes);
}

void *vgw__realloc(void *old, size_t size)
{
	return current.realloc_fn(current.user, old, size ? size : 1);
}

void *vgw__grow(void *old, size_t *capacity, size_t need, size_t item)
{
	size_t want = *capacity ? *capacity : 8;
	size_t bytes;
	void *bigger;

	if (need <= *capacity && old)
		return old;
	while (want < need) {
		if (want > SIZE_MAX / 2)
			return NULL;
		want *= 2;
	}
	if (__builtin_mul_overflow(want, item, &bytes))
		return NULL;
	bigger = vgw__realloc(old, bytes);
	if (bigger)
		*capacity = want;
	return bigger;
}

char *vgw__strndup(const char *text, size_t len)
{
	char *copy = vgw__alloc(len + 1);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

char *vgw__strdup(const char *text)
{
	return vgw__strndup(text, strlen(text));
}

char *vgw__printf(const char *format, ...)
{
	va_list ap;
	char *text;
	int len;

	va_start(ap, format);
	len = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (len < 0)
		return NULL;
	text = vgw__alloc((size_t)len + 1);
	if (!text)
		return NULL;
	va_start(ap, format);
	(void)vsnprintf(text, (size_t)len + 1, format, ap);
	va_end(ap);
	return text;
}

void vgw__free(void *memory)
{
	current.free_fn(current.user, memory);
}
