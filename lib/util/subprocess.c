/* SPDX-License-Identifier: Apache-2.0 */
/* posix_spawn rather than fork(): in a program with threads nothing but the system's own code may run between fork
 * and exec. The PATH lookup is ours, because the child's PATH counts and posix_spawnp() takes the parent's. */
#include "util/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

enum { PATH_SIZE = 4096 };

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* --- finding the program --- */

static const char *get_path(const char *const *env)
{
	for (; *env; env++)
		if (strncmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	return DEFAULT_PATH;
}

static bool is_executable(const char *path)
{
	struct stat about;

	return access(path, X_OK) == 0 && stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

/* A name with a slash is taken as it is, relative to the child's working directory. */
static vgw_status find_program(char out[PATH_SIZE], const struct vgw__spawn_request *request, vgw_error *err)
{
	const char *name = request->argv[0];
	const char *dir = get_path(request->env);

	if (strchr(name, '/')) {
		if (snprintf(out, PATH_SIZE, "%s", name) < PATH_SIZE)
			return VGW_OK;
		return vgw_error_set(err, VGW_INVALID, ENAMETOOLONG, "the program's path is too long");
	}
	while (*name != '\0' && *dir != '\0') {
		size_t len = strcspn(dir, ":");
		int n = snprintf(out, PATH_SIZE, "%.*s/%s", (int)len, dir, name);

		if (len > 0 && n < PATH_SIZE && is_executable(out))
			return VGW_OK;
		dir += len;
		dir += *dir == ':';
	}
	return vgw_error_set(err, VGW_INVALID, ENOENT,
		"there is no program '%.80s' in the PATH of its environment; give its full path", name);
}

/* --- starting it --- */

static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, all;
	int rc;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)sigdelset(&all, SIGKILL);
	(void)sigdelset(&all, SIGSTOP);
	rc = posix_spawnattr_setsigmask(attr, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attr, &all);
	if (rc == 0)
		rc = posix_spawnattr_setflags(attr,
			POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	return rc;
}

static int set_actions(posix_spawn_file_actions_t *actions, const struct vgw__spawn_request *request)
{
	int rc = posix_spawn_file_actions_adddup2(actions, request->output_fd, STDOUT_FILENO);

	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, STDERR_FILENO);
	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
	if (rc == 0 && request->cwd)
		rc = posix_spawn_file_actions_addchdir_np(actions, request->cwd);
	return rc;
}

/* 0 or an errno; posix_spawn() reports what exec said in the child, too. */
static int spawn(pid_t *pid, const char *path, const struct vgw__spawn_request *request)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int rc = posix_spawnattr_init(&attr);

	if (rc != 0)
		return rc;
	rc = posix_spawn_file_actions_init(&actions);
	if (rc == 0) {
		rc = set_attributes(&attr);
		if (rc == 0)
			rc = set_actions(&actions, request);
		if (rc == 0)
			rc = posix_spawn(pid, path, &actions, &attr, (char *const *)request->argv,
				(char *const *)request->env);
		(void)posix_spawn_file_actions_destroy(&actions);
	}
	(void)posix_spawnattr_destroy(&attr);
	return rc;
}

static bool is_lasting(int rc)
{
	return rc == ENOENT || rc == EACCES || rc == ENOEXEC || rc == ENOTDIR || rc == EPERM || rc == E2BIG ||
		rc == ELOOP || rc == ENAMETOOLONG || rc == EISDIR;
}

/* We are the only one to reap it, so its pid is still its own. A host that ignores SIGCHLD has its children reaped by
 * the kernel; then it may be gone already, and the parent in its stat tells whether it is still ours. */
static vgw_status hold_child(struct vgw__subprocess *out, pid_t pid, vgw_error *err)
{
	struct vgw__proc_stat stat;
	bool is_hidden;
	int error;

	out->pidfd = pidfd_open(pid, 0);
	if (out->pidfd >= 0 && vgw__proc_read_stat(pid, &stat) && stat.parent == getpid() &&
		vgw__proc_identify(pid, &out->identity)) {
		out->is_child = true;
		return VGW_OK;
	}
	error = out->pidfd < 0 ? errno : ESRCH;
	is_hidden = out->pidfd >= 0 && !vgw__proc_read_boot_id(out->identity.boot_id) && errno == ENOENT;
	/* A process we cannot watch must not run. Without a descriptor the pid has to do: it is an unreaped child. */
	if (out->pidfd >= 0)
		(void)pidfd_send_signal(out->pidfd, SIGKILL, NULL, 0);
	else if (error != ESRCH)
		(void)kill(pid, SIGKILL);
	if (out->pidfd >= 0)
		(void)close(out->pidfd);
	(void)waitpid(pid, NULL, 0);
	out->pidfd = -1;
	if (is_hidden)
		return vgw_error_set(err, VGW_INVALID, 0, "cannot watch the process just started: there is no /proc/sys; under "
			"systemd, take ProcSubset=pid out of the unit");
	return vgw_error_set(err, VGW_BACKEND, error, "cannot watch the process just started: %s", strerror(error));
}

vgw_status vgw__subprocess_spawn(struct vgw__subprocess *out, const struct vgw__spawn_request *request,
	vgw_error *err)
{
	char path[PATH_SIZE];
	vgw_status status;
	pid_t pid = 0;
	int rc;

	*out = (struct vgw__subprocess)VGW__SUBPROCESS_INIT;
	status = find_program(path, request, err);
	if (status != VGW_OK)
		return status;
	rc = spawn(&pid, path, request);
	if (rc != 0 && request->cwd && access(request->cwd, X_OK) != 0)
		return vgw_error_set(err, VGW_INVALID, rc, "cannot enter the working directory '%.120s': %s",
			request->cwd, strerror(errno));
	if (rc != 0)
		return vgw_error_set(err, is_lasting(rc) ? VGW_INVALID : VGW_BACKEND, rc, "cannot run '%.120s': %s",
			path, strerror(rc));
	return hold_child(out, pid, err);
}

vgw_status vgw__subprocess_open(struct vgw__subprocess *out, const struct vgw__process_identity *identity,
	vgw_error *err)
{
	*out = (struct vgw__subprocess)VGW__SUBPROCESS_INIT;
	out->identity = *identity;
	out->pidfd = identity->pid > 1 ? pidfd_open(identity->pid, 0) : -1;
	/* Only now, with the descriptor in hand: whoever passes this test is who the descriptor means. */
	if (out->pidfd >= 0 && vgw__process_is_same(identity)) {
		struct vgw__proc_stat stat;

		out->is_child = vgw__proc_read_stat(identity->pid, &stat) && stat.parent == getpid();
		return VGW_OK;
	}
	if (out->pidfd >= 0)
		(void)close(out->pidfd);
	out->pidfd = -1;
	return vgw_error_set(err, VGW_NOT_FOUND, 0, "process %d is gone", (int)identity->pid);
}

void vgw__subprocess_close(struct vgw__subprocess *process)
{
	siginfo_t info;

	if (process->pidfd < 0)
		return;
	if (process->is_child)
		(void)waitid((idtype_t)P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG);
	(void)close(process->pidfd);
	process->pidfd = -1;
}

void vgw__subprocess_signal(const struct vgw__subprocess *process, int signal)
{
	if (process->pidfd >= 0)
		(void)pidfd_send_signal(process->pidfd, signal, NULL, 0); /* ESRCH: it has ended, which is fine */
}

enum vgw__wait vgw__subprocess_wait(const struct vgw__subprocess *process, int64_t deadline_ms, int cancel_fd)
{
	struct pollfd fds[2] = { { .fd = process->pidfd, .events = POLLIN }, { .fd = cancel_fd, .events = POLLIN } };

	for (;;) {
		int64_t left_ms = deadline_ms - vgw_now_ms();

		if (left_ms < 0)
			left_ms = 0;
		(void)poll(fds, 2, left_ms > 60000 ? 60000 : (int)left_ms); /* EINTR: look again */
		if (vgw__subprocess_has_ended(process))
			return VGW__WAIT_EXITED;
		if (cancel_fd >= 0 && poll(&fds[1], 1, 0) == 1)
			return VGW__WAIT_CANCELLED;
		if (vgw_now_ms() >= deadline_ms)
			return VGW__WAIT_TIMEOUT;
	}
}

bool vgw__subprocess_has_ended(const struct vgw__subprocess *process)
{
	struct pollfd fd = { .fd = process->pidfd, .events = POLLIN };

	return process->pidfd < 0 || (poll(&fd, 1, 0) == 1 && (fd.revents & POLLIN) != 0);
}

void vgw__subprocess_get_exit(const struct vgw__subprocess *process, struct vgw__exit *out)
{
	siginfo_t info;

	memset(out, 0, sizeof(*out));
	memset(&info, 0, sizeof(info));
	if (!process->is_child || process->pidfd < 0 ||
		waitid((idtype_t)P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		info.si_pid == 0)
		return;
	out->is_known = true;
	if (info.si_code == CLD_EXITED)
		out->code = info.si_status;
	else
		out->signal = info.si_status;
}

const char *vgw__exit_describe(char text[VGW__EXIT_TEXT], const struct vgw__exit *end)
{
	const char *name = end->signal ? sigabbrev_np(end->signal) : NULL;

	if (!end->is_known)
		(void)snprintf(text, VGW__EXIT_TEXT, "ended");
	else if (end->signal)
		(void)snprintf(text, VGW__EXIT_TEXT, "killed by signal %d (SIG%s)", end->signal, name ? name : "?");
	else
		(void)snprintf(text, VGW__EXIT_TEXT, "exit code %d", end->code);
	return text;
}
