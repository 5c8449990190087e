/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time and memory of other processes, read at the edges of a phase. */
#ifndef VGW_TESTS_BENCH_WATCH_H
#define VGW_TESTS_BENCH_WATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { BENCH_WATCHED_MAX = 16 };

/* The processes that make up one thing: nginx is a master and a worker. */
struct bench_watch {
	pid_t pid[BENCH_WATCHED_MAX];
	size_t count;
};

/* Reads "PID,PID,..."; ends the program when it is anything else. */
void bench_watch_parse(struct bench_watch *watch, const char *pids);
/* Nanoseconds on a CPU of all threads, those that have ended included; user and kernel time. */
int64_t bench_watch_cpu_ns(const struct bench_watch *watch);
/* Resident memory in KiB, counted exactly where the kernel can (smaps_rollup). */
int64_t bench_watch_rss_kib(const struct bench_watch *watch);

#endif
