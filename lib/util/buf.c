/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded byte buffer. */
#include "util/buf.h"

#include "util/alloc.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void vgw__buf_init(struct vgw__buf *buf, size_t ceiling)
{
	*buf = (struct vgw__buf){ .ceiling = ceiling };
}

void vgw__buf_fini(struct vgw__buf *buf)
{
	vgw__free(buf->data);
	*buf = (struct vgw__buf){ 0 };
}

void vgw__buf_reset(struct vgw__buf *buf)
{
	buf->len = 0;
}

bool vgw__buf_reserve(struct vgw__buf *buf, size_t more)
{
	size_t want = buf->capacity ? buf->capacity : 256;
	char *bigger;

	if (more > buf->ceiling || buf->len > buf->ceiling - more)
		return false;
	if (buf->capacity - buf->len >= more)
		return true;
	while (want < buf->len + more)
		want *= 2;
	if (want > buf->ceiling)
		want = buf->ceiling;
	bigger = vgw__realloc(buf->data, want);
	if (!bigger)
		return false;
	buf->data = bigger;
	buf->capacity = want;
	return true;
}

bool vgw__buf_append(struct vgw__buf *buf, const void *data, size_t len)
{
	if (!vgw__buf_reserve(buf, len))
		return false;
	if (len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	return true;
}

bool vgw__buf_append_count(struct vgw__buf *buf, uint64_t count)
{
	char digits[20];
	char *at = digits + sizeof(digits);

	do
		*--at = (char)('0' + count % 10);
	while (count /= 10);
	return vgw__buf_append(buf, at, (size_t)(digits + sizeof(digits) - at));
}

bool vgw__buf_print(struct vgw__buf *buf, const char *format, ...)
{
	size_t room = buf->capacity - buf->len;
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(room ? buf->data + buf->len : NULL, room, format, ap);
	va_end(ap);
	if (len < 0)
		return false;
	if ((size_t)len < room) {
		buf->len += (size_t)len;
		return true;
	}
	if (!vgw__buf_reserve(buf, (size_t)len + 1))
		return false;
	va_start(ap, format);
	(void)vsnprintf(buf->data + buf->len, (size_t)len + 1, format, ap);
	va_end(ap);
	buf->len += (size_t)len;
	return true;
}

void vgw__buf_consume(struct vgw__buf *buf, size_t len)
{
	assert(len <= buf->len);
	if (len && len < buf->len)
		memmove(buf->data, buf->data + len, buf->len - len);
	buf->len -= len;
}
