/* SPDX-License-Identifier: Apache-2.0 */
/* Rotating, reading and trimming the file of one engine. One thread at a time. */
#include "backend/engine_log.h"

#include "util/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LINE_CEILING = 4096,          /* of a longer line the beginning is kept */
	READ_BYTES = 64 * 1024,
	READS_PER_CALL = 16,
	BEHIND_BYTES = 2 * 1024 * 1024, /* who is farther behind a flood goes on at its end */
	NAME_MAX_BYTES = 100,
	HOLE_UNIT = 4096,
};

/* --- names --- */

static uint32_t hash_name(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return hash;
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
		c == '.';
}

bool vgw__engine_log_make_path(char out[VGW__LOG_PATH_SIZE], const char *state_dir, const char *model,
	const char *replica)
{
	const char *slash = replica ? strrchr(replica, '/') : NULL;
	long number = slash ? strtol(slash + 1, NULL, 10) : 0;
	char name[NAME_MAX_BYTES + 1], hash[16] = "", suffix[24] = "";
	bool is_changed = false;
	size_t len = 0;

	for (; model[len] != '\0' && len < NAME_MAX_BYTES; len++) {
		bool is_good = is_plain(model[len]) && !(len == 0 && model[0] == '.');

		name[len] = is_good ? model[len] : '_';
		is_changed = is_changed || !is_good;
	}
	name[len] = '\0';
	if (is_changed || model[len] != '\0')
		(void)snprintf(hash, sizeof(hash), "-%08x", hash_name(model));
	if (number > 0)
		(void)snprintf(suffix, sizeof(suffix), "@%ld", number);
	return snprintf(out, VGW__LOG_PATH_SIZE, "%s/logs/%s%s%s.log", state_dir, name, hash, suffix) <
		VGW__LOG_PATH_SIZE;
}

/* --- opening --- */

static void rotate(const char *path)
{
	char from[VGW__LOG_PATH_SIZE + 16], to[VGW__LOG_PATH_SIZE + 16];

	for (int i = VGW__LOG_KEEP; i > 0; i--) {
		(void)snprintf(to, sizeof(to), "%s.%d", path, i);
		if (i > 1)
			(void)snprintf(from, sizeof(from), "%s.%d", path, i - 1);
		else
			(void)snprintf(from, sizeof(from), "%s", path);
		(void)rename(from, to); /* usually there is none yet; one that cannot be moved is written on */
	}
}

static bool make_folder(const char *path)
{
	char folder[VGW__LOG_PATH_SIZE];
	char *slash;

	(void)snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (!slash)
		return false;
	*slash = '\0';
	return mkdir(folder, 0750) == 0 || errno == EEXIST;
}

/* A memory file, opened anew because only open() can make it append. */
static int open_in_memory(void)
{
	char link[64];
	int memory = memfd_create("vllmgw-engine-log", MFD_CLOEXEC);
	int fd;

	if (memory < 0)
		return -1;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", memory);
	fd = open(link, O_RDWR | O_APPEND | O_CLOEXEC);
	(void)close(memory);
	return fd;
}

static void start_reading(struct vgw__engine_log *log, int fd, const char *path)
{
	log->fd = fd;
	log->offset = 0;
	log->is_skipping = false;
	(void)snprintf(log->path, sizeof(log->path), "%s", path);
	vgw__buf_init(&log->partial, LINE_CEILING);
}

vgw_status vgw__engine_log_create(struct vgw__engine_log *log, const char *path, vgw_error *err)
{
	int fd;

	log->fd = -1;
	if (path[0] == '\0') {
		fd = open_in_memory();
	} else if (!make_folder(path)) {
		return vgw_error_set(err, VGW_BACKEND, errno, "cannot make the folder of '%.120s': %s", path,
			strerror(errno));
	} else {
		rotate(path);
		fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	}
	if (fd < 0)
		return vgw_error_set(err, VGW_BACKEND, errno, "cannot write the engine's log '%.120s': %s", path,
			strerror(errno));
	start_reading(log, fd, path);
	return VGW_OK;
}

vgw_status vgw__engine_log_resume(struct vgw__engine_log *log, const char *path, vgw_error *err)
{
	struct stat about;
	int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);

	log->fd = -1;
	if (fd < 0)
		return vgw_error_set(err, errno == ENOENT ? VGW_NOT_FOUND : VGW_BACKEND, errno,
			"cannot open the engine's log '%.120s': %s", path, strerror(errno));
	start_reading(log, fd, path);
	if (fstat(fd, &about) == 0 && about.st_size > READ_BYTES)
		log->offset = about.st_size - READ_BYTES;
	return VGW_OK;
}

void vgw__engine_log_close(struct vgw__engine_log *log)
{
	if (log->fd < 0)
		return;
	(void)close(log->fd);
	log->fd = -1;
	vgw__buf_fini(&log->partial);
}

/* --- reading --- */

static void take_bytes(struct vgw__engine_log *log, const char *data, size_t len, vgw__log_line_fn fn, void *user)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;
		size_t room = LINE_CEILING - log->partial.len;

		while (n > 0 && data[0] == '\0') { /* a hole */
			data++;
			len--;
			n--;
		}
		if (!log->is_skipping && !vgw__buf_append(&log->partial, data, n < room ? n : room))
			log->is_skipping = true; /* no memory: the line is lost, the next is not */
		if (n > room)
			log->is_skipping = true;
		if (end) {
			fn(user, log->partial.data ? log->partial.data : "", log->partial.len);
			vgw__buf_reset(&log->partial);
			log->is_skipping = false;
			n++;
		}
		data += n;
		len -= n;
	}
}

bool vgw__engine_log_read(struct vgw__engine_log *log, vgw__log_line_fn fn, void *user)
{
	struct stat about;
	char *data;
	ssize_t len = 0;
	int reads = 0;

	if (log->fd < 0 || fstat(log->fd, &about) != 0 || about.st_size == log->offset)
		return true;
	if (about.st_size - log->offset > BEHIND_BYTES) {
		log->offset = about.st_size - BEHIND_BYTES / 2;
		vgw__buf_reset(&log->partial);
	}
	if (about.st_size < log->offset)
		log->offset = 0; /* somebody truncated it */
	data = vgw__alloc(READ_BYTES);
	if (!data)
		return true;
	while (reads++ < READS_PER_CALL) {
		len = pread(log->fd, data, READ_BYTES, log->offset);
		if (len <= 0)
			break;
		log->offset += len;
		take_bytes(log, data, (size_t)len, fn, user);
	}
	vgw__free(data);
	return len <= 0;
}

void vgw__engine_log_drain(struct vgw__engine_log *log, vgw__log_line_fn fn, void *user)
{
	/* A grandchild may go on writing; a flood is skipped over, so a few calls reach the end as it was. */
	for (int i = 0; i < 8 && !vgw__engine_log_read(log, fn, user); i++)
		;
	if (log->fd >= 0 && log->partial.len > 0) {
		fn(user, log->partial.data, log->partial.len);
		vgw__buf_reset(&log->partial);
	}
}

void vgw__engine_log_trim(const struct vgw__engine_log *log, int64_t ceiling_bytes)
{
	struct stat about;
	int64_t hole;

	if (log->fd < 0 || fstat(log->fd, &about) != 0 || (int64_t)about.st_blocks * 512 <= ceiling_bytes)
		return;
	hole = (about.st_size - ceiling_bytes / 2) / HOLE_UNIT * HOLE_UNIT;
	if (hole <= 0)
		return;
	/* A file system that has no holes: better an empty log than a full disk. */
	if (fallocate(log->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, hole) != 0)
		(void)!ftruncate(log->fd, 0);
}
