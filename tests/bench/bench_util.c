/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers of the benchmark's two programs; see bench.h. Both are single-threaded. */
#include "bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

/* --- ends, memory, numbers --- */

void bench_die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

void *bench_alloc(size_t bytes)
{
	void *p = calloc(1, bytes);

	if (!p)
		bench_die("out of memory (%zu bytes)", bytes);
	return p;
}

uint64_t bench_number(const char *what, const char *text, uint64_t max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > max)
		bench_die("%s: '%s' is not a number from 0 to %llu", what, text, (unsigned long long)max);
	return value;
}

int64_t bench_now_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_MONOTONIC, &ts))
		bench_die("clock_gettime: %s", strerror(errno));
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* --- sockets and heads --- */

void bench_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		bench_die("getrlimit: %s", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		bench_die("setrlimit: %s", strerror(errno));
	if (limit.rlim_cur < BENCH_FILES_NEEDED)
		bench_die("at least %d open files are needed: raise ulimit -Hn", BENCH_FILES_NEEDED);
}

void bench_tune_socket(int fd)
{
	int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
		bench_die("TCP_NODELAY: %s", strerror(errno));
}

const char *bench_find_header(const char *head, size_t len, const char *name, size_t *value_len)
{
	size_t name_len = strlen(name);
	const char *end = head + len;
	const char *line = memchr(head, '\n', len);

	while (line && ++line < end) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));
		const char *value = line + name_len + 1;

		if (!eol)
			return NULL;
		if (value <= eol && value[-1] == ':' && !strncasecmp(line, name, name_len)) {
			while (value < eol && (*value == ' ' || *value == '\t'))
				value++;
			while (eol > value && (eol[-1] == '\r' || eol[-1] == ' '))
				eol--;
			*value_len = (size_t)(eol - value);
			return value;
		}
		line = eol;
	}
	return NULL;
}

/* --- the bytes both sides agree on --- */

void bench_make_event(char *out, size_t bytes)
{
	static const char before[] = "data: {\"object\":\"chat.completion.chunk\",\"content\":\"";
	static const char after[] = "\"}\n\n";
	size_t filler = bytes - (sizeof(before) - 1) - (sizeof(after) - 1);

	memcpy(out, before, sizeof(before) - 1);
	out += sizeof(before) - 1;
	for (size_t i = 0; i < filler; i++)
		out[i] = (char)('a' + i % 26);
	memcpy(out + filler, after, sizeof(after) - 1);
}

/* --- latencies --- */

static size_t bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < 32)
		return (size_t)ns;
	shift = 63u - (unsigned)__builtin_clzll(ns) - 5u;
	return (size_t)(shift + 1) * 32 + (size_t)((ns >> shift) & 31);
}

static uint64_t bucket_top(size_t index)
{
	size_t shift;

	if (index < 32)
		return index;
	shift = index / 32 - 1;
	return ((uint64_t)(32 + index % 32) << shift) + ((uint64_t)1 << shift) - 1;
}

void bench_histogram_reset(struct bench_histogram *h)
{
	memset(h, 0, sizeof(*h));
}

void bench_histogram_add(struct bench_histogram *h, uint64_t ns)
{
	h->count++;
	h->bucket[bucket_of(ns)]++;
	if (ns > h->max_ns)
		h->max_ns = ns;
}

uint64_t bench_histogram_at(const struct bench_histogram *h, double percent)
{
	uint64_t wanted = (uint64_t)((double)h->count * percent / 100.0 + 0.5);
	uint64_t seen = 0;

	for (size_t i = 0; i < sizeof(h->bucket) / sizeof(h->bucket[0]); i++) {
		seen += h->bucket[i];
		if (seen && seen >= wanted) {
			uint64_t top = bucket_top(i);

			return top < h->max_ns ? top : h->max_ns;
		}
	}
	return 0;
}
