/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time by the processes' own CPU clocks (nanoseconds, from the scheduler), memory from /proc. */
#include "bench_watch.h"

#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void bench_watch_parse(struct bench_watch *watch, const char *pids)
{
	watch->count = 0;
	while (*pids) {
		char *end;
		long pid = strtol(pids, &end, 10);

		if (end == pids || pid <= 0 || (*end && *end != ',') || watch->count == BENCH_WATCHED_MAX)
			bench_die("'%s' is not a list of at most %d process ids", pids, BENCH_WATCHED_MAX);
		watch->pid[watch->count++] = (pid_t)pid;
		pids = *end ? end + 1 : end;
	}
}

int64_t bench_watch_cpu_ns(const struct bench_watch *watch)
{
	int64_t sum = 0;

	for (size_t i = 0; i < watch->count; i++) {
		struct timespec ts;
		clockid_t id;
		int error = clock_getcpuclockid(watch->pid[i], &id);

		if (error || clock_gettime(id, &ts))
			bench_die("the CPU clock of process %d: %s", (int)watch->pid[i],
				strerror(error ? error : errno));
		sum += (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	}
	return sum;
}

int64_t bench_watch_rss_kib(const struct bench_watch *watch)
{
	int64_t sum = 0;

	for (size_t i = 0; i < watch->count; i++) {
		static const char *const files[] = {"smaps_rollup", "status"};
		long kib = -1;

		for (size_t k = 0; kib < 0 && k < sizeof(files) / sizeof(files[0]); k++) {
			char line[256];
			FILE *file;

			snprintf(line, sizeof(line), "/proc/%d/%s", (int)watch->pid[i], files[k]);
			file = fopen(line, "re");
			while (file && kib < 0 && fgets(line, sizeof(line), file))
				if (sscanf(line, "Rss: %ld", &kib) != 1)
					(void)sscanf(line, "VmRSS: %ld", &kib);
			if (file)
				fclose(file);
		}
		if (kib < 0)
			bench_die("the memory of process %d cannot be read", (int)watch->pid[i]);
		sum += kib;
	}
	return sum;
}
