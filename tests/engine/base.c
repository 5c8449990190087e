/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, growing buffers, time and the numbers written on the command line. Hashes are in digest.c. */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void out_of_memory(void)
{
	static const char message[] = "vllmgw-engine: out of memory\n";

	fputs(message, stderr);
	abort();
}

void *xalloc(size_t bytes)
{
	void *p = calloc(1, bytes ? bytes : 1);

	if (!p)
		out_of_memory();
	return p;
}

void *xrealloc(void *old, size_t bytes)
{
	void *p = realloc(old, bytes ? bytes : 1);

	if (!p)
		out_of_memory();
	return p;
}

char *xstrndup(const char *text, size_t len)
{
	char *copy = xalloc(len + 1);

	memcpy(copy, text, len);
	return copy;
}

char *xstrdup(const char *text)
{
	return xstrndup(text, strlen(text));
}

/* --- buffers --- */

static void reserve(struct buf *b, size_t more)
{
	size_t need = b->len + more + 1;
	size_t cap = b->cap ? b->cap : 256;

	if (need <= b->cap)
		return;
	if (need < b->len)
		out_of_memory();
	while (cap < need)
		cap *= 2;
	b->data = xrealloc(b->data, cap);
	b->cap = cap;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	reserve(b, len);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_text(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_fill(struct buf *b, char c, size_t count)
{
	reserve(b, count);
	memset(b->data + b->len, c, count);
	b->len += count;
	b->data[b->len] = '\0';
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return;
	reserve(b, (size_t)len);
	va_start(args, format);
	vsnprintf(b->data + b->len, (size_t)len + 1, format, args);
	va_end(args);
	b->len += (size_t)len;
}

void buf_json(struct buf *b, const char *text, size_t len)
{
	size_t from = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(b, text + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c == '\n')
			buf_text(b, "\\n");
		else
			buf_printf(b, "\\u%04x", c);
	}
	buf_add(b, text + from, len - from);
}

void buf_drop(struct buf *b, size_t front)
{
	if (!front)
		return;
	memmove(b->data, b->data + front, b->len - front);
	b->len -= front;
	b->data[b->len] = '\0';
}

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

/* --- time and numbers --- */

int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

struct unit {
	const char *name;
	int64_t factor;
};

static bool parse_with_units(const char *text, const struct unit *units, int64_t *out)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || value < 0)
		return false;
	for (; units->name; units++) {
		if (strcmp(end, units->name) == 0) {
			double scaled = value * (double)units->factor + 0.5;

			if (!(scaled < 9e18))
				return false;
			*out = (int64_t)scaled;
			return true;
		}
	}
	return false;
}

bool parse_duration(const char *text, int64_t *us)
{
	static const struct unit units[] = {{"", 1000000}, {"us", 1}, {"ms", 1000}, {"s", 1000000},
		{"m", 60000000}, {"h", 3600000000}, {NULL, 0}};

	return parse_with_units(text, units, us);
}

bool parse_size(const char *text, int64_t *bytes)
{
	static const struct unit units[] = {{"", 1}, {"B", 1}, {"k", 1024}, {"K", 1024}, {"KiB", 1024},
		{"M", 1 << 20}, {"MiB", 1 << 20}, {"G", 1 << 30}, {"GiB", 1 << 30}, {"T", 1LL << 40},
		{"TiB", 1LL << 40}, {NULL, 0}};

	return parse_with_units(text, units, bytes);
}
