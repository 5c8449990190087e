/* SPDX-License-Identifier: Apache-2.0 */
/* Read at each scrape: a scrape is rare and /proc is quick. What cannot be read is left out. */
#include "process_metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double start_seconds;

void process_metrics_begin(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) == 0)
		start_seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long total = 0, resident = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%ld %ld", &total, &resident) != 2)
		resident = 0;
	(void)fclose(file);
	return resident;
}

static long open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	long count = -1; /* the directory's own descriptor */

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	(void)closedir(dir);
	return count > 2 ? count - 2 : 0; /* "." and ".." */
}

char *process_metrics_append(const char *text, uint64_t connections, uint64_t keys_refused)
{
	struct rusage usage = { 0 };
	struct rlimit files = { 0 };
	char *out = NULL;

	(void)getrusage(RUSAGE_SELF, &usage);
	(void)getrlimit(RLIMIT_NOFILE, &files);
	if (asprintf(&out,
		    "%s"
		    "# HELP vllmgw_client_connections Requests held by the front, streams included.\n"
		    "# TYPE vllmgw_client_connections gauge\n"
		    "vllmgw_client_connections %" PRIu64 "\n"
		    "# HELP vllmgw_keys_refused_total Requests without a valid key.\n"
		    "# TYPE vllmgw_keys_refused_total counter\n"
		    "vllmgw_keys_refused_total %" PRIu64 "\n"
		    "# HELP process_cpu_seconds_total Processor time used, user and system.\n"
		    "# TYPE process_cpu_seconds_total counter\n"
		    "process_cpu_seconds_total %.6f\n"
		    "# HELP process_resident_memory_bytes Resident memory.\n"
		    "# TYPE process_resident_memory_bytes gauge\n"
		    "process_resident_memory_bytes %ld\n"
		    "# HELP process_open_fds Open descriptors.\n"
		    "# TYPE process_open_fds gauge\n"
		    "process_open_fds %ld\n"
		    "# HELP process_max_fds Descriptors that may be open.\n"
		    "# TYPE process_max_fds gauge\n"
		    "process_max_fds %llu\n"
		    "# HELP process_start_time_seconds When the process began.\n"
		    "# TYPE process_start_time_seconds gauge\n"
		    "process_start_time_seconds %.3f\n",
		    text, connections, keys_refused,
		    (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
		    resident_pages() * sysconf(_SC_PAGESIZE), open_descriptors(),
		    (unsigned long long)files.rlim_cur, start_seconds) < 0)
		return NULL;
	return out;
}
