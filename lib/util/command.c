/* SPDX-License-Identifier: Apache-2.0 */
/* A pipe from the command to us, read until the command has ended. */
#include "util/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { DIE_MS = 1000, READ_BYTES = 4096 };

/* What is there now; beyond the ceiling it is thrown away, so that the command does not block. */
static void drain(int fd, struct vgw__buf *out)
{
	char bytes[READ_BYTES];
	ssize_t len;

	while ((len = read(fd, bytes, sizeof(bytes))) > 0)
		(void)vgw__buf_append(out, bytes, (size_t)len);
}

static vgw_status wait_ended(const struct vgw__subprocess *process, int fd, int64_t deadline_ms, int cancel_fd,
	struct vgw__buf *out, vgw_error *err)
{
	struct pollfd fds[] = { { .fd = process->pidfd, .events = POLLIN }, { .fd = fd, .events = POLLIN },
		{ .fd = cancel_fd, .events = POLLIN } };

	for (;;) {
		int64_t left_ms = deadline_ms - vgw_now_ms();

		(void)poll(fds, 3, left_ms <= 0 ? 0 : left_ms > 60000 ? 60000 : (int)left_ms);
		drain(fd, out);
		if ((fds[1].revents & POLLIN) == 0 && fds[1].revents != 0)
			fds[1].fd = -1; /* closed: only the exit is left to wait for */
		if (vgw__subprocess_has_ended(process))
			return VGW_OK;
		if (cancel_fd >= 0 && (fds[2].revents & POLLIN) != 0)
			return vgw_error_set(err, VGW_CANCELLED, 0, "given up");
		if (vgw_now_ms() >= deadline_ms)
			return vgw_error_set(err, VGW_TIMEOUT, 0, "it took too long and was killed");
	}
}

static vgw_status judge_exit(const struct vgw__subprocess *process, vgw_error *err)
{
	char how[VGW__EXIT_TEXT];
	struct vgw__exit end;

	vgw__subprocess_get_exit(process, &end);
	if (end.is_known && end.code == 0 && end.signal == 0)
		return VGW_OK;
	return vgw_error_set(err, VGW_BACKEND, 0, "%s", vgw__exit_describe(how, &end));
}

vgw_status vgw__command_run(const char *const *argv, const char *const *env, int64_t deadline_ms, int cancel_fd,
	struct vgw__buf *out, vgw_error *err)
{
	struct vgw__subprocess process;
	vgw_status status;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return vgw_error_set(err, VGW_BACKEND, errno, "cannot make a pipe: %s", strerror(errno));
	status = vgw__subprocess_spawn(&process, &(const struct vgw__spawn_request){ .argv = argv, .env = env,
		.output_fd = ends[1] }, err);
	(void)close(ends[1]);
	if (status == VGW_OK && fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
		status = vgw_error_set(err, VGW_INTERNAL, errno, "cannot set up a pipe: %s", strerror(errno));
	if (status == VGW_OK)
		status = wait_ended(&process, ends[0], deadline_ms, cancel_fd, out, err);
	if (process.pidfd >= 0 && !vgw__subprocess_has_ended(&process)) {
		vgw__subprocess_signal(&process, SIGKILL);
		(void)vgw__subprocess_wait(&process, vgw_now_ms() + DIE_MS, -1);
	}
	drain(ends[0], out);
	if (status == VGW_OK)
		status = judge_exit(&process, err);
	vgw__subprocess_close(&process);
	(void)close(ends[0]);
	return status;
}
