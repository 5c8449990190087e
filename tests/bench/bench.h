/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmark's engine and its load client share: the bytes both sides agree on (so that the client
 * can check every byte that comes through a gateway), small socket and clock helpers, a latency histogram.
 */
#ifndef VGW_TESTS_BENCH_H
#define VGW_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The answer to a request that does not stream. */
#define BENCH_ANSWER                                                                                         \
	"{\"id\":\"chatcmpl-8f14e45fceea167a5a36dedd4bea2543\",\"object\":\"chat.completion\","              \
	"\"created\":1700000000,\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":"        \
	"\"assistant\",\"content\":\"A fixed answer, as short as an answer may be.\"},\"logprobs\":null,"    \
	"\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":120,\"completion_tokens\":11,"            \
	"\"total_tokens\":131}}"

/* The last event of a stream. */
#define BENCH_DONE "data: [DONE]\n\n"

enum {
	BENCH_EVENT_MIN_BYTES = 64,
	BENCH_EVENT_MAX_BYTES = 16384,
	BENCH_FILES_NEEDED = 1024,
};

/* Latencies in nanoseconds, 32 buckets per power of two: within 3 % of the truth, constant size. */
struct bench_histogram {
	uint64_t count;
	uint64_t max_ns;
	uint32_t bucket[64 * 32];
};

void bench_histogram_reset(struct bench_histogram *h);
void bench_histogram_add(struct bench_histogram *h, uint64_t ns);
/* The latency that `percent` of the samples do not exceed; 0 when there are none. */
uint64_t bench_histogram_at(const struct bench_histogram *h, double percent);

/* One event of a stream of exactly `bytes` bytes, "data: {...}\n\n"; bytes within the two limits above. */
void bench_make_event(char *out, size_t bytes);

/* Prints "PROGRAM: text" and ends the program with status 2. */
_Noreturn void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *bench_alloc(size_t bytes);
int64_t bench_now_ns(void);
/* A whole decimal number up to `max`, or the end of the program: `what` names it in the message. */
uint64_t bench_number(const char *what, const char *text, uint64_t max);
/* Raises the soft limit of open files to the hard one. */
void bench_raise_files(void);
/* Non-blocking, close-on-exec, without Nagle's delay. */
void bench_tune_socket(int fd);
/* The value of a header in a head of `len` bytes; NULL when absent. `name` in lower case. */
const char *bench_find_header(const char *head, size_t len, const char *name, size_t *value_len);

#endif
