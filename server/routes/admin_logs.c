/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an engine's log, and what is added to it: ?lines=N (200), ?follow=1.
 *
 * A followed file is looked at ten times a second; one that was replaced (rotated, or the engine started anew) is read
 * from the beginning of the new one. */
#include "routes/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LINES_DEFAULT = 200,
	LINES_MAX = 100000,
	TAIL_MAX_BYTES = 128 * 1024, /* what an errand takes in one piece with ease */
	FOLLOW_BYTES = 16 * 1024,
};

struct following {
	struct vigil vigil;
	char *path; /* behind this struct */
	ino_t inode;
	off_t at;
	off_t end; /* of what is sent, when not all that comes is */
};

static const char text_type[] = "text/plain; charset=utf-8";

/* --- the end of it -------------------------------------------------------------------------------------------- */

/* Where the last `lines` of the text begin. */
static size_t find_tail(const char *text, size_t len, long lines)
{
	size_t at = len;

	if (at && text[at - 1] == '\n')
		at--;
	for (; at > 0; at--) {
		if (text[at - 1] == '\n' && --lines == 0)
			return at;
	}
	return 0;
}

/* The last part of the file, whole lines of it. From malloc(), ends with a NUL; NULL: errno tells. */
static char *read_tail(int fd, long lines, struct stat *facts, size_t *len)
{
	char *text = malloc(TAIL_MAX_BYTES + 1);
	off_t from;
	ssize_t count;
	size_t start;

	if (!text || fstat(fd, facts) != 0) {
		free(text);
		return NULL;
	}
	from = facts->st_size > TAIL_MAX_BYTES ? facts->st_size - TAIL_MAX_BYTES : 0;
	count = pread(fd, text, TAIL_MAX_BYTES, from);
	*len = count > 0 ? (size_t)count : 0;
	facts->st_size = from + (off_t)*len;
	start = find_tail(text, *len, lines);
	*len -= start;
	memmove(text, text + start, *len);
	text[*len] = '\0';
	for (size_t i = 0; i < *len; i++) {
		if (text[i] == '\0')
			text[i] = ' ';
	}
	return text;
}

/* --- what is added to it -------------------------------------------------------------------------------------- */

static void read_more(struct following *following)
{
	char text[FOLLOW_BYTES];
	struct stat facts;
	ssize_t count;
	int fd = open(following->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return; /* between two files */
	if (fstat(fd, &facts) == 0) {
		if (facts.st_ino != following->inode || facts.st_size < following->at)
			following->at = 0;
		following->inode = facts.st_ino;
	}
	while ((count = pread(fd, text, sizeof(text), following->at)) > 0) {
		if (!errand_write(following->vigil.errand, text, (size_t)count))
			break; /* the client is slow: the file keeps it */
		following->at += count;
	}
	(void)close(fd);
}

static bool tick(struct vigil *vigil, int64_t now_ms)
{
	(void)now_ms;
	read_more((struct following *)vigil);
	return true;
}

static void follow(struct errand *errand, const char *path, const struct stat *facts, const char *text, size_t len)
{
	size_t size = strlen(path) + 1;
	struct following *following = errand_alloc(errand, sizeof(*following) + size);

	if (!following) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	following->vigil = (struct vigil){ .errand = errand, .tick = tick };
	following->path = memcpy(following + 1, path, size);
	following->inode = facts->st_ino;
	following->at = facts->st_size;
	if (!desk_keep(errand_get_desk(errand), &following->vigil))
		return;
	errand_begin(errand, text_type);
	(void)errand_write(errand, text, len);
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

/* What was given back to the file system reads as zeros. */
static size_t drop_zeros(char *text, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\0')
			text[kept++] = text[i];
	}
	return kept;
}

/* As much as the client takes now. False: it has everything, or the file is another one by now. */
static bool send_more(struct following *sending)
{
	char text[FOLLOW_BYTES];
	struct stat facts;
	ssize_t count = 0;
	bool is_slow = false;
	int fd = open(sending->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return false;
	if (fstat(fd, &facts) != 0 || facts.st_ino != sending->inode)
		sending->at = sending->end;
	while (!is_slow && sending->at < sending->end && (count = pread(fd, text, sizeof(text), sending->at)) > 0) {
		is_slow = !errand_write(sending->vigil.errand, text, drop_zeros(text, (size_t)count));
		sending->at += is_slow ? 0 : count;
	}
	(void)close(fd);
	return is_slow;
}

static bool send_on(struct vigil *vigil, int64_t now_ms)
{
	(void)now_ms;
	if (send_more((struct following *)vigil))
		return true;
	errand_end(vigil->errand);
	return false;
}

void admin_send_log(struct errand *errand, const char *path)
{
	size_t size = strlen(path) + 1;
	struct following *sending = errand_alloc(errand, sizeof(*sending) + size);
	struct stat facts = { 0 };

	if (!sending) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	(void)stat(path, &facts); /* without a file: nothing */
	sending->vigil = (struct vigil){ .errand = errand, .tick = send_on };
	sending->path = memcpy(sending + 1, path, size);
	sending->inode = facts.st_ino;
	sending->end = facts.st_size;
	if (!desk_keep(errand_get_desk(errand), &sending->vigil))
		return;
	errand_begin(errand, text_type);
	if (send_more(sending))
		return;
	desk_let_go(errand_get_desk(errand), &sending->vigil);
	errand_end(errand);
}

/* --- the route ------------------------------------------------------------------------------------------------ */

static long get_lines(const char *given)
{
	long lines = given ? strtol(given, NULL, 10) : LINES_DEFAULT;

	return lines < 1 ? 1 : lines > LINES_MAX ? LINES_MAX : lines;
}

void admin_answer_log(struct errand *errand, const char *path)
{
	const struct errand_request *request = errand_get_request(errand);
	const char *wants_more = request->query[ROUTE_QUERY_FOLLOW];
	struct stat facts = { 0 };
	size_t len = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char *text = fd >= 0 ? read_tail(fd, get_lines(request->query[ROUTE_QUERY_LINES]), &facts, &len) : NULL;
	bool is_missing = fd < 0 && errno == ENOENT;

	if (fd >= 0)
		(void)close(fd);
	if (!text && !is_missing) {
		errand_answer_fault(errand, VGW_FAULT_INTERNAL_ERROR, "the log file cannot be read");
		return;
	}
	if (wants_more && strcmp(wants_more, "0") != 0) {
		follow(errand, path, &facts, text ? text : "", len);
		free(text);
	} else {
		errand_answer(errand, 200, text_type, text ? text : strdup(""), free);
	}
}

void admin_logs(struct errand *errand)
{
	vgw_error err = VGW_ERROR_INIT;
	char *path = vgw_residency_dup_log_path(admin_get_residency(errand), errand_get_request(errand)->name, &err);

	if (path)
		admin_answer_log(errand, path);
	else
		admin_answer_error(errand, &err);
	vgw_free(path);
}
