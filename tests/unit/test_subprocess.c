/* SPDX-License-Identifier: Apache-2.0 */
/* Starting programs, addressing them, and finding everything they started. */
#include "testing.h"

#include "util/duration.h"
#include "util/subprocess.h"
#include "util/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

#define NONCE "0123456789abcdef0123456789abcdef"

static const char *const plain_env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", VGW__NONCE_NAME "=" NONCE, NULL };

static vgw_status spawn(struct vgw__subprocess *process, const char *const *argv, const char *const *env, int output)
{
	const struct vgw__spawn_request request = { .argv = argv, .env = env, .output_fd = output };

	return vgw__subprocess_spawn(process, &request, NULL);
}

/* A file in memory for the child's output. */
static int new_output(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* What the child has written, in `text`. */
static void read_output(int fd, char *text, size_t size)
{
	ssize_t len = pread(fd, text, size - 1, 0);

	assert_true(len >= 0);
	text[len] = '\0';
}

/* Look until the child has written `wanted`. */
static void await_output(int fd, const char *wanted)
{
	int64_t deadline = vgw_now_ms() + PATIENCE_MS;
	char text[4096];

	do {
		read_output(fd, text, sizeof(text));
		assert_true(vgw_now_ms() < deadline);
		(void)poll(NULL, 0, 2);
	} while (!strstr(text, wanted));
}

static void run(const char *const *argv, const char *const *env, char *text, size_t size, struct vgw__exit *end)
{
	struct vgw__subprocess process;
	int output = new_output();

	assert_int_equal(spawn(&process, argv, env, output), VGW_OK);
	assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	vgw__subprocess_get_exit(&process, end);
	vgw__subprocess_close(&process);
	read_output(output, text, size);
	(void)close(output);
}

/* --- starting --- */

static void arguments_reach_the_program_as_they_are(void **state)
{
	static const char *const argv[] = { "printf", "%s|", "a b", "$HOME", "`id`", "*; exit 3", "", NULL };
	struct vgw__exit end;
	char text[256];

	(void)state;
	run(argv, plain_env, text, sizeof(text), &end);
	assert_true(end.is_known);
	assert_int_equal(end.code, 0);
	assert_string_equal(text, "a b|$HOME|`id`|*; exit 3||");
}

static void the_environment_is_the_given_one_and_nothing_else(void **state)
{
	static const char *const argv[] = { "/usr/bin/env", NULL };
	static const char *const env[] = { "A=1", "B=two words", NULL };
	struct vgw__exit end;
	char text[256];

	(void)state;
	assert_int_equal(setenv("VGW_TEST_LEAK", "1", 1), 0);
	run(argv, env, text, sizeof(text), &end);
	assert_string_equal(text, "A=1\nB=two words\n");
}

static void a_child_has_three_descriptors_and_a_fresh_signal_state(void **state)
{
	static const char *const argv[] = { "/bin/sh", "-c",
		"readlink /proc/$$/fd/0; ls /proc/$$/fd; "
		"exec sed -nE 's/^Sig(Blk|Ign):.*(.......)$/\\1 \\2/p' /proc/self/status", NULL };
	struct vgw__exit end;
	sigset_t all, before;
	char text[512];
	int leak;

	(void)state;
	leak = open("/dev/zero", O_RDONLY); /* not even marked close-on-exec */
	assert_true(leak > 2);
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	(void)signal(SIGPIPE, SIG_IGN);
	run(argv, plain_env, text, sizeof(text), &end);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	(void)close(leak);
	assert_string_equal(text, "/dev/null\n0\n1\n2\nBlk 0000000\nIgn 0000000\n"); /* 32, 33: libc's */
}

static void a_child_leads_a_session_of_its_own(void **state)
{
	static const char *const argv[] = { "sleep", "600", NULL };
	struct vgw__subprocess process;
	struct vgw__proc_stat about;
	int output = new_output();

	(void)state;
	assert_int_equal(spawn(&process, argv, plain_env, output), VGW_OK);
	assert_true(vgw__proc_read_stat(process.identity.pid, &about));
	assert_int_equal(about.session, process.identity.pid);
	assert_int_equal(about.group, process.identity.pid);
	assert_int_equal(about.parent, getpid());
	vgw__subprocess_signal(&process, SIGKILL);
	assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	vgw__subprocess_close(&process);
	(void)close(output);
}

static void the_program_is_looked_up_in_the_path_of_the_child(void **state)
{
	static const char *const argv[] = { "true", NULL };
	static const char *const nowhere[] = { "PATH=/proc:/sys", NULL };
	struct vgw__subprocess process;
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__spawn_request request = { .argv = argv, .env = nowhere, .output_fd = 2 };

	(void)state;
	assert_int_equal(vgw__subprocess_spawn(&process, &request, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "'true'"));
	assert_int_equal(process.pidfd, -1);
}

static void what_cannot_be_run_is_told_at_once(void **state)
{
	static const char *const missing[] = { "/no/such/program", NULL };
	static const char *const folder[] = { "/tmp", NULL };
	static const char *const fine[] = { "/bin/true", NULL };
	struct vgw__subprocess process;
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__spawn_request request = { .argv = missing, .env = plain_env, .output_fd = 2 };

	(void)state;
	assert_int_equal(vgw__subprocess_spawn(&process, &request, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "No such file"));
	request.argv = folder;
	assert_int_equal(vgw__subprocess_spawn(&process, &request, NULL), VGW_INVALID);
	request.argv = fine;
	request.cwd = "/no/such/folder";
	memset(&err, 0, sizeof(err));
	assert_int_equal(vgw__subprocess_spawn(&process, &request, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "working directory"));
}

/* --- waiting --- */

static void every_way_to_end_is_told_apart(void **state)
{
	static const char *const seven[] = { "/bin/sh", "-c", "exit 7", NULL };
	static const char *const killed[] = { "/bin/sh", "-c", "kill -9 $$", NULL };
	char text[VGW__EXIT_TEXT], output[16];
	struct vgw__exit end;

	(void)state;
	run(seven, plain_env, output, sizeof(output), &end);
	assert_string_equal(vgw__exit_describe(text, &end), "exit code 7");
	run(killed, plain_env, output, sizeof(output), &end);
	assert_string_equal(vgw__exit_describe(text, &end), "killed by signal 9 (SIGKILL)");
}

static void waiting_ends_at_the_deadline_and_when_cancelled(void **state)
{
	static const char *const argv[] = { "sleep", "600", NULL };
	struct vgw__subprocess process;
	int output = new_output();
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(spawn(&process, argv, plain_env, output), VGW_OK);
	assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + 20, ends[0]), VGW__WAIT_TIMEOUT);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(vgw__subprocess_wait(&process, INT64_MAX, ends[0]), VGW__WAIT_CANCELLED);
	vgw__subprocess_signal(&process, SIGTERM);
	assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	vgw__subprocess_close(&process);
	(void)close(ends[0]);
	(void)close(ends[1]);
	(void)close(output);
}

static void a_zombie_is_dead(void **state)
{
	static const char *const argv[] = { "/bin/true", NULL };
	struct vgw__subprocess process;
	struct vgw__proc_stat about;
	int output = new_output();

	(void)state;
	assert_int_equal(spawn(&process, argv, plain_env, output), VGW_OK);
	assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	assert_true(vgw__proc_read_stat(process.identity.pid, &about)); /* it is still in /proc */
	assert_int_equal(about.state, 'Z');
	assert_int_equal(kill(process.identity.pid, 0), 0);             /* and kill() says it lives */
	assert_false(vgw__process_is_same(&process.identity));
	vgw__subprocess_close(&process);
	assert_false(vgw__proc_read_stat(process.identity.pid, &about));
	(void)close(output);
}

static void a_process_is_known_by_pid_start_time_and_boot(void **state)
{
	struct vgw__process_identity me, other;
	struct vgw__subprocess process;

	(void)state;
	assert_true(vgw__proc_identify(getpid(), &me));
	assert_true(vgw__process_is_same(&me));
	other = me;
	other.start_time++;
	assert_false(vgw__process_is_same(&other));
	assert_int_equal(vgw__subprocess_open(&process, &other, NULL), VGW_NOT_FOUND);
	other = me;
	other.boot_id[0] = other.boot_id[0] == '0' ? '1' : '0';
	assert_false(vgw__process_is_same(&other));
	assert_int_equal(vgw__subprocess_open(&process, &me, NULL), VGW_OK);
	assert_false(vgw__subprocess_has_ended(&process));
	vgw__subprocess_close(&process);
}

static void the_environment_of_a_process_can_be_matched(void **state)
{
	static const char *const argv[] = { "sleep", "600", NULL };
	struct vgw__subprocess process;
	int output = new_output();
	int64_t deadline;

	(void)state;
	deadline = vgw_now_ms() + PATIENCE_MS;
	assert_int_equal(spawn(&process, argv, plain_env, output), VGW_OK);
	/* For an instant, in the middle of exec, a process has no environment. */
	while (vgw__proc_match_env(process.identity.pid, VGW__NONCE_NAME, NONCE) != VGW__PROC_ENV_SAME)
		assert_true(vgw_now_ms() < deadline);
	assert_int_equal(vgw__proc_match_env(process.identity.pid, VGW__NONCE_NAME, "01"), VGW__PROC_ENV_OTHER);
	assert_int_equal(vgw__proc_match_env(process.identity.pid, "VLLMGW", NONCE), VGW__PROC_ENV_ABSENT);
	vgw__subprocess_signal(&process, SIGKILL);
	assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	vgw__subprocess_close(&process);
	(void)close(output);
}

/* --- the tree --- */

/* Start a shell script, wait until it has said "up", and sweep it. */
static void sweep_script(const char *script, bool look_while_alive, bool kill_leader_first)
{
	const char *const argv[] = { "/bin/sh", "-c", script, NULL };
	struct vgw__subprocess process;
	struct vgw__tree tree;
	int output = new_output();
	size_t living = 0;

	assert_int_equal(spawn(&process, argv, plain_env, output), VGW_OK);
	await_output(output, "up");
	vgw__tree_init(&tree, &process.identity, NONCE);
	if (look_while_alive)
		assert_int_equal(vgw__tree_look(&tree, NULL, NULL), VGW_OK);
	if (kill_leader_first) {
		vgw__subprocess_signal(&process, SIGKILL);
		assert_int_equal(vgw__subprocess_wait(&process, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	}
	assert_int_equal(vgw__tree_look(&tree, &living, NULL), VGW_OK);
	assert_true(living > 0);
	assert_int_equal(vgw__tree_kill(&tree, vgw_now_ms() + PATIENCE_MS, NULL), VGW_OK);
	assert_int_equal(vgw__tree_look(&tree, &living, NULL), VGW_OK);
	assert_int_equal(living, 0);
	for (size_t i = 0; i < tree.seen_count; i++) {
		struct vgw__proc_stat now;

		assert_false(vgw__proc_read_stat(tree.seen[i].pid, &now) &&
			now.start_time == tree.seen[i].start_time && !vgw__proc_is_dead(&now));
	}
	vgw__tree_fini(&tree);
	vgw__subprocess_close(&process);
	(void)close(output);
}

static void children_of_a_killed_leader_are_swept(void **state)
{
	(void)state;
	sweep_script("sleep 601 & sleep 601 & echo up; wait", false, true);
}

static void one_that_ignores_sigterm_or_is_stopped_is_swept(void **state)
{
	(void)state;
	sweep_script("trap '' TERM; sleep 602 & kill -STOP $!; echo up; wait", false, false);
}

static void a_double_forked_grandchild_of_another_session_is_swept(void **state)
{
	(void)state;
	sweep_script("(setsid sleep 603 & ) ; echo up; sleep 603", false, true);
}

static void one_that_cleaned_its_environment_is_swept_when_it_was_seen_before(void **state)
{
	(void)state;
	sweep_script("env -i setsid sh -c 'echo up; sleep 604; true' & wait", true, true);
}

static void processes_of_others_are_no_part_of_the_tree(void **state)
{
	static const char *const argv[] = { "sleep", "600", NULL };
	static const char *const other_env[] = { "PATH=/usr/bin:/bin", VGW__NONCE_NAME "=ffff", NULL };
	struct vgw__subprocess ours, stranger;
	struct vgw__tree tree;
	int output = new_output();

	(void)state;
	assert_int_equal(spawn(&ours, argv, plain_env, output), VGW_OK);
	assert_int_equal(spawn(&stranger, argv, other_env, output), VGW_OK);
	vgw__tree_init(&tree, &ours.identity, NONCE);
	assert_int_equal(vgw__tree_kill(&tree, vgw_now_ms() + PATIENCE_MS, NULL), VGW_OK);
	assert_true(vgw__subprocess_has_ended(&ours));
	assert_false(vgw__subprocess_has_ended(&stranger));
	vgw__tree_fini(&tree);
	/* A leader whose pid now belongs to somebody else: neither he nor his session is ours. */
	vgw__tree_init(&tree, &(struct vgw__process_identity){ .pid = stranger.identity.pid, .start_time = 1 }, NONCE);
	assert_int_equal(vgw__tree_kill(&tree, vgw_now_ms() + PATIENCE_MS, NULL), VGW_OK);
	assert_false(vgw__subprocess_has_ended(&stranger));
	vgw__tree_fini(&tree);
	vgw__subprocess_signal(&stranger, SIGKILL);
	assert_int_equal(vgw__subprocess_wait(&stranger, vgw_now_ms() + PATIENCE_MS, -1), VGW__WAIT_EXITED);
	vgw__subprocess_close(&stranger);
	vgw__subprocess_close(&ours);
	(void)close(output);
}

/* --- durations --- */

static void durations_are_read_as_people_write_them(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} rows[] = {
		{ "250ms", 250 }, { "15s", 15000 }, { "20m", 1200000 }, { "1h", 3600000 }, { "1h30m", 5400000 },
		{ "1.5s", 1500 }, { "0s", 0 }, { "2d", 172800000 }, { "1m500ms", 60500 }, { "", -1 }, { "5", -1 },
		{ "s", -1 }, { "-1s", -1 }, { "1 s", -1 }, { "1sec", -1 }, { "1.s", -1 }, { "99999999999999999h", -1 },
		{ "3153600000000000ms", -1 }, { "1h ", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t ms = -1;

		assert_int_equal(vgw__parse_duration(rows[i].text, &ms), rows[i].ms >= 0);
		assert_int_equal(ms, rows[i].ms);
	}
}

static void durations_are_written_in_one_unit(void **state)
{
	char text[VGW__DURATION_TEXT];

	(void)state;
	assert_string_equal(vgw__format_duration(text, 90), "90 ms");
	assert_string_equal(vgw__format_duration(text, 12400), "12 s");
	assert_string_equal(vgw__format_duration(text, 1200000), "20 min");
	assert_string_equal(vgw__format_duration(text, 7200000), "2 h");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_reach_the_program_as_they_are),
		cmocka_unit_test(the_environment_is_the_given_one_and_nothing_else),
		cmocka_unit_test(a_child_has_three_descriptors_and_a_fresh_signal_state),
		cmocka_unit_test(a_child_leads_a_session_of_its_own),
		cmocka_unit_test(the_program_is_looked_up_in_the_path_of_the_child),
		cmocka_unit_test(what_cannot_be_run_is_told_at_once),
		cmocka_unit_test(every_way_to_end_is_told_apart),
		cmocka_unit_test(waiting_ends_at_the_deadline_and_when_cancelled),
		cmocka_unit_test(a_zombie_is_dead),
		cmocka_unit_test(a_process_is_known_by_pid_start_time_and_boot),
		cmocka_unit_test(the_environment_of_a_process_can_be_matched),
		cmocka_unit_test(children_of_a_killed_leader_are_swept),
		cmocka_unit_test(one_that_ignores_sigterm_or_is_stopped_is_swept),
		cmocka_unit_test(a_double_forked_grandchild_of_another_session_is_swept),
		cmocka_unit_test(one_that_cleaned_its_environment_is_swept_when_it_was_seen_before),
		cmocka_unit_test(processes_of_others_are_no_part_of_the_tree),
		cmocka_unit_test(durations_are_read_as_people_write_them),
		cmocka_unit_test(durations_are_written_in_one_unit),
	};

	return cmocka_run_group_tests_name("subprocess", tests, NULL, NULL);
}
