/* SPDX-License-Identifier: Apache-2.0 */
/* Reading /proc. /proc/PID/stat never waits for the process; /proc/PID/environ takes a lock of its memory, which a
 * process stuck in the kernel may hold, so that is not read from one in state D. */
#include "util/proc.h"

#include "util/alloc.h"
#include "util/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ENVIRON_CEILING = 4 * 1024 * 1024 };

/* Fill `text` from a small file; false when it cannot be read. */
static bool read_small(const char *path, char *text, size_t size)
{
	ssize_t len;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	do {
		len = read(fd, text, size - 1);
	} while (len < 0 && errno == EINTR);
	(void)close(fd);
	text[len > 0 ? len : 0] = '\0';
	return len > 0;
}

bool vgw__proc_read_stat(pid_t pid, struct vgw__proc_stat *out)
{
	char path[64], text[1024];
	const char *after;
	unsigned long long start;
	int parent, group, session;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || !read_small(path, text, sizeof(text)))
		return false;
	after = strrchr(text, ')'); /* the name before it may hold anything, spaces and parentheses too */
	if (!after)
		return false;
	if (sscanf(after + 1,
		" %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &out->state,
		&parent, &group, &session, &start) != 5)
		return false;
	out->pid = pid;
	out->parent = parent;
	out->group = group;
	out->session = session;
	out->start_time = start;
	return true;
}

bool vgw__proc_is_dead(const struct vgw__proc_stat *stat)
{
	return stat->state == 'Z' || stat->state == 'X' || stat->state == 'x';
}

bool vgw__proc_read_boot_id(char out[VGW__BOOT_ID_SIZE])
{
	if (!read_small("/proc/sys/kernel/random/boot_id", out, VGW__BOOT_ID_SIZE))
		return false;
	out[strcspn(out, "\n")] = '\0';
	return true;
}

bool vgw__proc_identify(pid_t pid, struct vgw__process_identity *out)
{
	struct vgw__proc_stat stat;

	if (!vgw__proc_read_stat(pid, &stat) || !vgw__proc_read_boot_id(out->boot_id))
		return false;
	out->pid = pid;
	out->start_time = stat.start_time;
	return true;
}

bool vgw__process_is_same(const struct vgw__process_identity *identity)
{
	struct vgw__proc_stat stat;
	char boot_id[VGW__BOOT_ID_SIZE];

	return vgw__proc_read_boot_id(boot_id) && strcmp(boot_id, identity->boot_id) == 0 &&
		vgw__proc_read_stat(identity->pid, &stat) && stat.start_time == identity->start_time &&
		!vgw__proc_is_dead(&stat);
}

/* --- the environment --- */

static bool read_environ(pid_t pid, struct vgw__buf *buf)
{
	char path[64];
	ssize_t len = -1;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while (vgw__buf_reserve(buf, 16384)) {
		len = read(fd, buf->data + buf->len, 16384);
		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			break;
		buf->len += (size_t)len;
	}
	(void)close(fd);
	return len == 0;
}

enum vgw__proc_env vgw__proc_match_env(pid_t pid, const char *name, const char *value)
{
	enum vgw__proc_env match = VGW__PROC_ENV_ABSENT;
	size_t name_len = strlen(name), value_len = strlen(value);
	struct vgw__proc_stat stat;
	struct vgw__buf buf;

	if (!vgw__proc_read_stat(pid, &stat) || stat.state == 'D')
		return VGW__PROC_ENV_UNKNOWN;
	vgw__buf_init(&buf, ENVIRON_CEILING);
	if (!read_environ(pid, &buf))
		match = VGW__PROC_ENV_UNKNOWN;
	for (size_t at = 0; match == VGW__PROC_ENV_ABSENT && at < buf.len;) {
		size_t len = strnlen(buf.data + at, buf.len - at);

		if (len > name_len && memcmp(buf.data + at, name, name_len) == 0 && buf.data[at + name_len] == '=') {
			const char *found = buf.data + at + name_len + 1;

			match = len == name_len + 1 + value_len && memcmp(found, value, value_len) == 0 ?
				VGW__PROC_ENV_SAME : VGW__PROC_ENV_OTHER;
		}
		at += len + 1;
	}
	vgw__buf_fini(&buf);
	return match;
}

/* --- all of them --- */

/* The pid a name in /proc stands for, 0: another file. */
static pid_t parse_pid(const char *name)
{
	char *end;
	long pid = strtol(name, &end, 10);

	return *end == '\0' && name[0] >= '1' && name[0] <= '9' && pid <= INT32_MAX ? (pid_t)pid : 0;
}

bool vgw__proc_list(struct vgw__proc_stat **out, size_t *count)
{
	struct vgw__proc_stat *list = NULL, *bigger, stat;
	const struct dirent *entry;
	size_t capacity = 0;
	bool is_whole = true;
	DIR *dir = opendir("/proc");

	*out = NULL;
	*count = 0;
	if (!dir)
		return false;
	while (is_whole && (entry = readdir(dir)) != NULL) {
		pid_t pid = parse_pid(entry->d_name);

		if (pid == 0 || !vgw__proc_read_stat(pid, &stat))
			continue;
		bigger = vgw__grow(list, &capacity, *count + 1, sizeof(*list));
		is_whole = bigger != NULL;
		if (is_whole) {
			list = bigger;
			list[(*count)++] = stat;
		}
	}
	(void)closedir(dir);
	if (!is_whole) {
		vgw__free(list);
		return false;
	}
	*out = list;
	return true;
}

uint64_t vgw__proc_now_ticks(void)
{
	struct timespec now = { 0, 0 };
	long per_second = sysconf(_SC_CLK_TCK);

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	if (per_second <= 0)
		per_second = 100;
	return (uint64_t)now.tv_sec * (uint64_t)per_second +
		(uint64_t)now.tv_nsec * (uint64_t)per_second / UINT64_C(1000000000);
}
