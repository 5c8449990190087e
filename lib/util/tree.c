/* SPDX-License-Identifier: Apache-2.0 */
/* One look lists all processes and marks members until nothing changes; killing is looking, SIGKILL, looking again.
 * Processes in the kernel's hands (state D) are signalled and waited for like the rest, until the deadline. */
#include "util/tree.h"

#include "util/alloc.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_PAUSE_MS = 1, LONGEST_PAUSE_MS = 20, EMPTY_LOOKS = 2 };

void vgw__tree_init(struct vgw__tree *tree, const struct vgw__process_identity *leader, const char *nonce)
{
	memset(tree, 0, sizeof(*tree));
	tree->leader = *leader;
	tree->session_until = UINT64_MAX;
	(void)snprintf(tree->nonce, sizeof(tree->nonce), "%s", nonce);
}

void vgw__tree_fini(struct vgw__tree *tree)
{
	vgw__free(tree->seen);
	memset(tree, 0, sizeof(*tree));
}

/* --- who belongs to it --- */

static bool was_seen(const struct vgw__tree *tree, const struct vgw__proc_stat *process)
{
	for (size_t i = 0; i < tree->seen_count; i++)
		if (tree->seen[i].pid == process->pid && tree->seen[i].start_time == process->start_time)
			return true;
	return false;
}

/* Of the session, by number, when the number still means the session. */
static bool is_in_session(const struct vgw__tree *tree, const struct vgw__proc_stat *process)
{
	pid_t leader = tree->leader.pid;

	if (process->session != leader && process->group != leader)
		return false;
	if (process->pid == leader)
		return process->start_time == tree->leader.start_time;
	return process->start_time <= tree->session_until && process->start_time >= tree->leader.start_time;
}

/* Another process has the leader's pid: the session of that number is another one, and ours is empty. */
static bool is_session_reused(const struct vgw__tree *tree, const struct vgw__proc_stat *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].pid == tree->leader.pid && list[i].start_time != tree->leader.start_time)
			return true;
	return false;
}

static bool is_member_by_itself(const struct vgw__tree *tree, const struct vgw__proc_stat *process, bool by_session)
{
	if (process->pid <= 1 || process->pid == getpid())
		return false;
	if (was_seen(tree, process) || (by_session && is_in_session(tree, process)))
		return true;
	return !vgw__proc_is_dead(process) && tree->nonce[0] != '\0' &&
		vgw__proc_match_env(process->pid, VGW__NONCE_NAME, tree->nonce) == VGW__PROC_ENV_SAME;
}

static bool has_marked_parent(const struct vgw__proc_stat *list, const bool *marks, size_t count,
	const struct vgw__proc_stat *process)
{
	for (size_t i = 0; i < count; i++)
		if (marks[i] && list[i].pid == process->parent)
			return process->pid != getpid();
	return false;
}

/* The children of the marked, and their children. */
static void mark_descendants(const struct vgw__proc_stat *list, bool *marks, size_t count)
{
	bool has_changed = true;

	while (has_changed) {
		has_changed = false;
		for (size_t i = 0; i < count; i++) {
			if (marks[i] || list[i].parent <= 1 || !has_marked_parent(list, marks, count, &list[i]))
				continue;
			marks[i] = true;
			has_changed = true;
		}
	}
}

static bool remember(struct vgw__tree *tree, const struct vgw__proc_stat *process)
{
	struct vgw__proc_stat *bigger;

	for (size_t i = 0; i < tree->seen_count; i++) {
		if (tree->seen[i].pid == process->pid && tree->seen[i].start_time == process->start_time) {
			tree->seen[i] = *process;
			return true;
		}
	}
	bigger = vgw__grow(tree->seen, &tree->seen_capacity, tree->seen_count + 1, sizeof(*bigger));
	if (!bigger)
		return false;
	tree->seen = bigger;
	tree->seen[tree->seen_count++] = *process;
	return true;
}

/* Whoever is not in the list any more is gone; the census then puts in who still is. */
static void mark_all_seen_dead(struct vgw__tree *tree)
{
	for (size_t i = 0; i < tree->seen_count; i++)
		tree->seen[i].state = 'X';
}

static vgw_status take_census(struct vgw__tree *tree, const struct vgw__proc_stat *list, size_t count,
	size_t *living, vgw_error *err)
{
	bool by_session = tree->session_until > 0 && !is_session_reused(tree, list, count);
	bool *marks = vgw__calloc(count + 1, sizeof(*marks));
	vgw_status status = VGW_OK;

	if (!marks)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to look through the processes");
	for (size_t i = 0; i < count; i++)
		marks[i] = is_member_by_itself(tree, &list[i], by_session);
	mark_descendants(list, marks, count);
	mark_all_seen_dead(tree);
	for (size_t i = 0; status == VGW_OK && i < count; i++) {
		if (!marks[i])
			continue;
		if (!remember(tree, &list[i]))
			status = vgw_error_set(err, VGW_NOMEM, 0, "no memory to remember the processes");
		*living += !vgw__proc_is_dead(&list[i]);
	}
	vgw__free(marks);
	return status;
}

vgw_status vgw__tree_look(struct vgw__tree *tree, size_t *living, vgw_error *err)
{
	struct vgw__proc_stat *list;
	size_t count, found = 0;
	vgw_status status;

	if (!vgw__proc_list(&list, &count))
		return vgw_error_set(err, VGW_INTERNAL, 0, "cannot read /proc");
	status = take_census(tree, list, count, &found, err);
	vgw__free(list);
	if (living)
		*living = found;
	return status;
}

/* --- its end --- */

static void kill_one(const struct vgw__tree *tree, const struct vgw__proc_stat *member)
{
	struct vgw__proc_stat now;
	siginfo_t info;
	int pidfd;

	if (vgw__proc_is_dead(member)) {
		/* A program that adopts orphans (PR_SET_CHILD_SUBREAPER) has to reap them; the leader is reaped by
		 * who started it. */
		if (member->state == 'Z' && member->parent == getpid() && member->pid != tree->leader.pid)
			(void)waitid(P_PID, (id_t)member->pid, &info, WEXITED | WNOHANG);
		return;
	}
	pidfd = pidfd_open(member->pid, 0);
	if (pidfd < 0)
		return;
	if (vgw__proc_read_stat(member->pid, &now) && now.start_time == member->start_time)
		(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
	(void)close(pidfd);
}

static void pause_ms(int64_t ms)
{
	const struct timespec time = { .tv_sec = 0, .tv_nsec = (long)ms * 1000000L };

	(void)nanosleep(&time, NULL);
}

static vgw_status name_survivor(const struct vgw__tree *tree, size_t living, vgw_error *err)
{
	for (size_t i = 0; i < tree->seen_count; i++)
		if (!vgw__proc_is_dead(&tree->seen[i]))
			return vgw_error_set(err, VGW_BACKEND, 0,
				"%zu of the engine's processes survive SIGKILL, one is pid %d in state %c", living,
				(int)tree->seen[i].pid, tree->seen[i].state);
	return vgw_error_set(err, VGW_BACKEND, 0, "the engine's processes survive SIGKILL");
}

vgw_status vgw__tree_kill(struct vgw__tree *tree, int64_t deadline_ms, vgw_error *err)
{
	int64_t pause = FIRST_PAUSE_MS;
	int empty_looks = 0;

	for (;;) {
		size_t living;
		vgw_status status = vgw__tree_look(tree, &living, err);

		if (status != VGW_OK)
			return status;
		for (size_t i = 0; i < tree->seen_count; i++)
			kill_one(tree, &tree->seen[i]);
		empty_looks = living == 0 ? empty_looks + 1 : 0;
		if (empty_looks == EMPTY_LOOKS)
			return VGW_OK;
		if (living > 0 && vgw_now_ms() >= deadline_ms)
			return name_survivor(tree, living, err);
		pause_ms(pause);
		pause = pause * 2 > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : pause * 2;
	}
}
