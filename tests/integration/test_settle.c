/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a device's memory: a driver library that pretends, commands, and nothing at all. */
#include "testing.h"

#include "backend/settle.h"
#include "util/buf.h"
#include "util/command.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

#define GIB (UINT64_C(1) << 30)

static char folder[64];
static char state_path[128];

static void write_text(const char *path, const char *text, mode_t mode)
{
	char next[160];
	int fd;

	(void)snprintf(next, sizeof(next), "%s.next", path);
	fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	assert_int_equal(rename(next, path), 0); /* whoever reads sees the old or the new */
}

static void set_memory(uint64_t free_bytes, const char *pids)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "%llu %llu %s\n", (unsigned long long)(24 * GIB),
		(unsigned long long)free_bytes, pids);
	write_text(state_path, text, 0600);
}

static int make_folder(void **state)
{
	char self[2048], path[2100];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	(void)state;
	assert_true(len > 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	(void)snprintf(path, sizeof(path), "%s/libfake_nvml.so", self);
	(void)snprintf(folder, sizeof(folder), "/tmp/vgw-settle-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(state_path, sizeof(state_path), "%s/state", folder);
	assert_int_equal(setenv("VLLMGW_NVML", path, 1), 0);
	assert_int_equal(setenv("VGW_FAKE_NVML", state_path, 1), 0);
	return 0;
}

static int remove_folder(void **state)
{
	char path[160];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/nvidia-smi", folder);
	(void)unlink(path);
	(void)unlink(state_path);
	return rmdir(folder);
}

static struct vgw__settle *new_nvml(void)
{
	struct vgw__settle *settle;
	vgw_error err = VGW_ERROR_INIT;

	if (vgw__settle_new_nvml(&settle, &err) != VGW_OK)
		fail_msg("%s", err.text);
	return settle;
}

static void the_driver_tells_memory_and_processes(void **state)
{
	struct vgw__device_memory memory;
	int64_t pids[VGW__DEVICE_PIDS];
	struct vgw__settle *settle;
	size_t count;

	(void)state;
	set_memory(20 * GIB, "41 42");
	settle = new_nvml();
	assert_int_equal(vgw__settle_read(settle, "0", vgw_now_ms() + PATIENCE_MS, -1, &memory, NULL), VGW_OK);
	assert_true(memory.free_bytes == 20 * GIB);
	assert_true(memory.total_bytes == 24 * GIB);
	assert_int_equal(vgw__settle_read(settle, "gpu0", vgw_now_ms() + PATIENCE_MS, -1, &memory, NULL), VGW_OK);
	assert_int_equal(vgw__settle_read(settle, "GPU-fake", vgw_now_ms() + PATIENCE_MS, -1, &memory, NULL), VGW_OK);
	assert_int_equal(vgw__settle_read(settle, "7", vgw_now_ms() + PATIENCE_MS, -1, &memory, NULL), VGW_BACKEND);
	assert_int_equal(vgw__settle_list(settle, "0", vgw_now_ms() + PATIENCE_MS, -1, pids, &count, NULL), VGW_OK);
	assert_int_equal(count, 2);
	assert_int_equal(pids[1], 42);
	vgw__settle_free(settle);
}

static void *free_later(void *user)
{
	(void)poll(NULL, 0, *(const int *)user);
	set_memory(20 * GIB, "");
	return NULL;
}

static void waiting_ends_soon_after_the_memory_is_back(void **state)
{
	struct vgw__settle *settle;
	int after_ms = 300;
	pthread_t thread;
	int64_t before;

	(void)state;
	set_memory(2 * GIB, "41");
	settle = new_nvml();
	before = vgw_now_ms();
	assert_int_equal(pthread_create(&thread, NULL, free_later, &after_ms), 0);
	assert_int_equal(vgw__settle_wait(settle, "0", 18 * GIB, vgw_now_ms() + PATIENCE_MS, -1, NULL), VGW_OK);
	assert_in_range(vgw_now_ms() - before, 290, 900);
	assert_int_equal(pthread_join(thread, NULL), 0);
	vgw__settle_free(settle);
}

static void memory_that_does_not_come_back_is_told_with_its_holder(void **state)
{
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__settle *settle;

	(void)state;
	set_memory(2 * GIB, "41");
	settle = new_nvml();
	assert_int_equal(vgw__settle_wait(settle, "0", 18 * GIB, vgw_now_ms() + 50, -1, &err), VGW_TIMEOUT);
	assert_string_equal(err.text, "device 0: 2.0 GiB free where 18.0 are needed, held by pid 41");
	vgw__settle_free(settle);
}

static void a_driver_that_fails_never_passes_for_free_memory(void **state)
{
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__settle *settle;

	(void)state;
	set_memory(20 * GIB, "");
	settle = new_nvml();
	write_text(state_path, "error 15", 0600);
	assert_int_equal(vgw__settle_wait(settle, "0", 1, vgw_now_ms() + 50, -1, &err), VGW_TIMEOUT);
	assert_non_null(strstr(err.text, "GPU is lost"));
	vgw__settle_free(settle);
}

static void waiting_can_be_given_up(void **state)
{
	struct vgw__settle *settle;
	int ends[2];

	(void)state;
	set_memory(2 * GIB, "");
	settle = new_nvml();
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(vgw__settle_wait(settle, "0", 18 * GIB, vgw_now_ms() + PATIENCE_MS, ends[0], NULL),
		VGW_CANCELLED);
	(void)close(ends[0]);
	(void)close(ends[1]);
	vgw__settle_free(settle);
}

static void without_a_driver_there_is_no_nvml(void **state)
{
	struct vgw__settle *settle;
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	(void)unlink(state_path);
	assert_int_equal(vgw__settle_new_nvml(&settle, &err), VGW_NOT_FOUND);
	assert_null(settle);
	assert_non_null(strstr(err.text, "Driver Not Loaded"));
}

static void a_configured_command_is_believed(void **state)
{
	struct vgw__settle *settle;
	struct vgw__device_memory memory;
	struct vgw__strings command = { 0 };
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	assert_true(vgw__strings_add(&command, "echo"));
	assert_true(vgw__strings_add(&command, "${DEVICE}000 9000"));
	assert_int_equal(vgw__settle_new_command(&settle, &command, NULL), VGW_OK);
	assert_int_equal(vgw__settle_read(settle, "gpu3", vgw_now_ms() + PATIENCE_MS, -1, &memory, NULL), VGW_OK);
	assert_int_equal(memory.free_bytes, 3000);
	assert_int_equal(memory.total_bytes, 9000);
	assert_int_equal(vgw__settle_read(settle, "host", vgw_now_ms() + PATIENCE_MS, -1, &memory, &err), VGW_BACKEND);
	assert_non_null(strstr(err.text, "free bytes were expected"));
	vgw__settle_free(settle);
	vgw__strings_fini(&command);
}

static void nvidia_smi_is_asked_where_there_is_one(void **state)
{
	struct vgw__settle *settle;
	struct vgw__device_memory memory;
	int64_t pids[VGW__DEVICE_PIDS];
	char path[160], *before = strdup(getenv("PATH"));
	size_t count;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/nvidia-smi", folder);
	write_text(path, "#!/bin/sh\ncase \"$2\" in *free*) echo '1024, 24576';; *) printf '7\\n8\\n';; esac\n", 0700);
	(void)snprintf(path, sizeof(path), "%s:%s", folder, before);
	assert_int_equal(setenv("PATH", path, 1), 0);
	assert_int_equal(vgw__settle_new_smi(&settle, NULL), VGW_OK);
	assert_int_equal(vgw__settle_read(settle, "0", vgw_now_ms() + PATIENCE_MS, -1, &memory, NULL), VGW_OK);
	assert_true(memory.free_bytes == GIB);
	assert_true(memory.total_bytes == 24 * GIB);
	assert_int_equal(vgw__settle_list(settle, "0", vgw_now_ms() + PATIENCE_MS, -1, pids, &count, NULL), VGW_OK);
	assert_int_equal(count, 2);
	assert_int_equal(pids[1], 8);
	vgw__settle_free(settle);
	assert_int_equal(setenv("PATH", before, 1), 0);
	free(before);
}

static void with_nothing_to_ask_a_while_has_to_do(void **state)
{
	struct vgw__settle *settle;
	int64_t before = vgw_now_ms();

	(void)state;
	assert_int_equal(vgw__settle_new_none(&settle, 60, NULL), VGW_OK);
	assert_int_equal(vgw__settle_wait(settle, "0", GIB, vgw_now_ms() + PATIENCE_MS, -1, NULL), VGW_OK);
	assert_in_range(vgw_now_ms() - before, 60, 400);
	vgw__settle_free(settle);
}

/* --- commands --- */

static vgw_status run(const char *script, int64_t timeout_ms, struct vgw__buf *out, vgw_error *err)
{
	const char *const argv[] = { "/bin/sh", "-c", script, NULL };
	static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };

	vgw__buf_init(out, 1000);
	return vgw__command_run(argv, env, vgw_now_ms() + timeout_ms, -1, out, err);
}

static void a_command_ends_by_itself_or_at_its_deadline(void **state)
{
	struct vgw__buf out;
	vgw_error err = VGW_ERROR_INIT;
	int64_t before = vgw_now_ms();

	(void)state;
	assert_int_equal(run("echo one; echo two >&2", PATIENCE_MS, &out, NULL), VGW_OK);
	assert_int_equal(out.len, 8);
	vgw__buf_fini(&out);
	assert_int_equal(run("exit 4", PATIENCE_MS, &out, &err), VGW_BACKEND);
	assert_string_equal(err.text, "exit code 4");
	vgw__buf_fini(&out);
	assert_int_equal(run("exec sleep 600", 50, &out, NULL), VGW_TIMEOUT);
	vgw__buf_fini(&out);
	assert_int_equal(run("sleep 2 & echo up", PATIENCE_MS, &out, NULL), VGW_OK); /* who keeps the pipe open */
	vgw__buf_fini(&out);
	assert_int_equal(run("head -c 1000000 /dev/zero", PATIENCE_MS, &out, NULL), VGW_OK);
	assert_in_range(out.len, 0, 1000);
	vgw__buf_fini(&out);
	assert_in_range(vgw_now_ms() - before, 0, 1900);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_driver_tells_memory_and_processes),
		cmocka_unit_test(waiting_ends_soon_after_the_memory_is_back),
		cmocka_unit_test(memory_that_does_not_come_back_is_told_with_its_holder),
		cmocka_unit_test(a_driver_that_fails_never_passes_for_free_memory),
		cmocka_unit_test(waiting_can_be_given_up),
		cmocka_unit_test(without_a_driver_there_is_no_nvml),
		cmocka_unit_test(a_configured_command_is_believed),
		cmocka_unit_test(nvidia_smi_is_asked_where_there_is_one),
		cmocka_unit_test(with_nothing_to_ask_a_while_has_to_do),
		cmocka_unit_test(a_command_ends_by_itself_or_at_its_deadline),
	};

	return cmocka_run_group_tests_name("settle", tests, make_folder, remove_folder);
}
