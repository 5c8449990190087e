/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "process" with real processes: the engine simulator, and shells that misbehave. */
#include "testing.h"

#include "backend/host.h"
#include "backend/registry.h"
#include "util/alloc.h"
#include "util/proc.h"
#include "util/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

/* One replica with its host, and what the host was told. */
struct rig {
	struct vgw__controllers *controllers;
	const struct vgw__controller_kind *kind;
	vgw_host *host;
	void *self;
	char state_dir[64];
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	char url[128];       /* guarded by mutex */
	char death[256];     /* guarded by mutex */
	int deaths;          /* guarded by mutex */
	int progress_count;  /* guarded by mutex */
	int last_percent;    /* guarded by mutex */
	char logged[8192];   /* guarded by mutex */
};

static char engine_path[4096];

static void on_endpoints(void *user, struct vgw__endpoint *const *endpoints, size_t count)
{
	struct rig *rig = user;

	assert_int_equal(count, 1);
	(void)pthread_mutex_lock(&rig->mutex);
	(void)snprintf(rig->url, sizeof(rig->url), "%s", endpoints[0]->url);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static void on_progress(void *user, int percent, const char *text)
{
	struct rig *rig = user;

	(void)text;
	(void)pthread_mutex_lock(&rig->mutex);
	rig->progress_count++;
	rig->last_percent = percent;
	(void)pthread_mutex_unlock(&rig->mutex);
}

static void on_death(void *user, const char *reason)
{
	struct rig *rig = user;

	(void)pthread_mutex_lock(&rig->mutex);
	(void)snprintf(rig->death, sizeof(rig->death), "%s", reason);
	rig->deaths++;
	(void)pthread_cond_broadcast(&rig->changed);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static void on_log(void *user, vgw_log_level level, const char *area, const char *model, const char *text)
{
	struct rig *rig = user;
	size_t used;

	(void)level;
	(void)area;
	(void)model;
	(void)pthread_mutex_lock(&rig->mutex);
	used = strlen(rig->logged);
	(void)snprintf(rig->logged + used, sizeof(rig->logged) - used, "%s\n", text);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static vgw_status create(struct rig *rig, const char *json, vgw_error *err)
{
	const vgw_replica_spec spec = { .size = sizeof(spec), .model = "big", .served_name = "org/big",
		.replica = "big/0", .backend_json = json, .state_dir = rig->state_dir, .devices = "0,1" };

	return rig->kind->ops.create(&rig->self, &spec, rig->host, rig->kind->user, err);
}

static int set_up(void **state)
{
	static const struct vgw__host_events events = { on_endpoints, on_progress, on_death };
	struct rig *rig = calloc(1, sizeof(*rig));
	const vgw_logger logger = { .fn = on_log, .user = rig, .level = VGW_LOG_DEBUG };

	assert_non_null(rig);
	(void)pthread_mutex_init(&rig->mutex, NULL);
	(void)pthread_cond_init(&rig->changed, NULL);
	(void)snprintf(rig->state_dir, sizeof(rig->state_dir), "/tmp/vgw-process-XXXXXX");
	assert_non_null(mkdtemp(rig->state_dir));
	assert_int_equal(vgw__controllers_new(&rig->controllers, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_add_builtin(rig->controllers, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_find(rig->controllers, &rig->kind, "process", NULL), VGW_OK);
	assert_int_equal(vgw__host_new(&rig->host, &events, rig, &logger, NULL), VGW_OK);
	*state = rig;
	return 0;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
	(void)about;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	if (rig->self) {
		(void)rig->kind->ops.deactivate(rig->self, VGW_DEPTH_STOP, vgw_now_ms() + 1000, NULL);
		rig->kind->ops.destroy(rig->self);
	}
	vgw__host_free(rig->host);
	vgw__controllers_free(rig->controllers);
	(void)nftw(rig->state_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	(void)pthread_cond_destroy(&rig->changed);
	(void)pthread_mutex_destroy(&rig->mutex);
	free(rig);
	return 0;
}

/* --- words the tests use --- */

/* The simulator with more arguments (", \"--x\"") and more configuration (", \"stop_timeout\": 1"). */
static void make_engine(struct rig *rig, const char *arguments, const char *more)
{
	char json[8192];
	vgw_error err = VGW_ERROR_INIT;

	(void)snprintf(json, sizeof(json), "{\"kind\":\"process\",\"command\":[\"%s\",\"--port\",\"${PORT}\","
		"\"--served-model-name\",\"${MODEL}\",\"--log-lines\"%s]%s}", engine_path, arguments, more);
	if (create(rig, json, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static void make_shell(struct rig *rig, const char *script, const char *more)
{
	char json[8192];
	vgw_error err = VGW_ERROR_INIT;

	(void)snprintf(json, sizeof(json), "{\"kind\":\"process\",\"command\":[\"/bin/sh\",\"-c\",\"%s\","
		"\"sh\",\"${PORT}\"]%s}", script, more);
	if (create(rig, json, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static vgw_status activate(struct rig *rig, vgw_error *err)
{
	vgw__host_begin(rig->host);
	return rig->kind->ops.activate(rig->self, vgw_now_ms() + PATIENCE_MS, err);
}

static void activate_well(struct rig *rig)
{
	vgw_error err = VGW_ERROR_INIT;

	if (activate(rig, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static void stop_well(struct rig *rig)
{
	vgw_error err = VGW_ERROR_INIT;

	vgw__host_begin(rig->host);
	if (rig->kind->ops.deactivate(rig->self, VGW_DEPTH_STOP, vgw_now_ms() + PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static vgw_replica_facts describe(struct rig *rig)
{
	vgw_replica_facts facts = { .size = sizeof(facts) };

	rig->kind->ops.describe(rig->self, &facts);
	return facts;
}

static bool lives(pid_t pid)
{
	struct vgw__proc_stat about;

	return vgw__proc_read_stat(pid, &about) && !vgw__proc_is_dead(&about);
}

/* How many living processes carry the nonce of this identity. */
static size_t count_of_engine(const char *identity)
{
	const char *found = strstr(identity, "\"nonce\":\"");
	char nonce[VGW__NONCE_SIZE] = "";
	struct vgw__proc_stat *list;
	size_t count, carriers = 0;

	assert_non_null(found);
	memcpy(nonce, found + 9, VGW__NONCE_SIZE - 1);
	assert_true(vgw__proc_list(&list, &count));
	for (size_t i = 0; i < count; i++)
		carriers += !vgw__proc_is_dead(&list[i]) &&
			vgw__proc_match_env(list[i].pid, VGW__NONCE_NAME, nonce) == VGW__PROC_ENV_SAME;
	vgw__free(list);
	return carriers;
}

static struct vgw__host_report report_of(struct rig *rig)
{
	struct vgw__host_report report;

	vgw__host_get_report(rig->host, &report);
	return report;
}

/* How long until a death was reported, in ms. */
static int64_t await_death(struct rig *rig)
{
	int64_t before = vgw_now_ms();
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_MS / 1000;
	(void)pthread_mutex_lock(&rig->mutex);
	while (rig->deaths == 0)
		assert_int_equal(pthread_cond_timedwait(&rig->changed, &rig->mutex, &until), 0);
	(void)pthread_mutex_unlock(&rig->mutex);
	return vgw_now_ms() - before;
}

static void read_log(struct rig *rig, char *text, size_t size)
{
	int fd = open(describe(rig).log_path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	assert_true(fd >= 0);
	len = read(fd, text, size - 1);
	assert_true(len >= 0);
	text[len] = '\0';
	(void)close(fd);
}

#define assert_says(text, wanted)                                                                                \
	do {                                                                                                     \
		if (!strstr(text, wanted))                                                                       \
			fail_msg("\"%s\" does not say \"%s\"", text, wanted);                                    \
	} while (0)

/* --- coming up --- */

static void an_engine_comes_up_serves_and_goes(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	char url[64];

	make_engine(rig, ", \"--load-time\", \"200ms\"", "");
	activate_well(rig);
	facts = describe(rig);
	assert_true(lives((pid_t)facts.pid));
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d", atoi(strstr(facts.identity, "\"port\":") + 7));
	assert_string_equal(rig->url, url);
	assert_int_equal(rig->kind->ops.probe(rig->self, vgw_now_ms() + 2000, NULL), VGW_OK);
	assert_true(rig->progress_count > 3);
	assert_int_equal(rig->last_percent, 99);
	activate_well(rig); /* idempotent */
	assert_int_equal(describe(rig).pid, facts.pid);
	stop_well(rig);
	assert_int_equal(count_of_engine(facts.identity), 0);
	assert_int_equal(describe(rig).pid, 0);
	assert_int_equal(rig->deaths, 0);
	stop_well(rig); /* idempotent */
}

/* The simulator notes the moment in its own log file: when it printed its last line it had begun to listen. */
static void readiness_is_noticed_within_fifty_milliseconds(void **state)
{
	struct rig *rig = *state;
	int64_t worst_ms = 0;

	make_engine(rig, ", \"--load-time\", \"300ms\"", "");
	for (int i = 0; i < 3; i++) {
		struct timespec now;
		struct stat about;
		int64_t late_ms;

		activate_well(rig);
		(void)clock_gettime(CLOCK_REALTIME, &now);
		assert_int_equal(stat(describe(rig).log_path, &about), 0);
		late_ms = (now.tv_sec - about.st_mtim.tv_sec) * 1000 + (now.tv_nsec - about.st_mtim.tv_nsec) / 1000000;
		worst_ms = late_ms > worst_ms ? late_ms : worst_ms;
		stop_well(rig);
	}
	print_message("ready noticed at worst %d ms after the engine listened\n", (int)worst_ms);
	assert_in_range(worst_ms, 0, 50);
}

static void an_engine_that_listens_while_it_loads_is_not_ready_before_it_is(void **state)
{
	struct rig *rig = *state;
	int64_t before = vgw_now_ms();

	make_engine(rig, ", \"--load-time\", \"400ms\", \"--fault\", \"health-lies\"", "");
	activate_well(rig);
	assert_true(vgw_now_ms() - before >= 400);
}

static void every_start_gets_a_fresh_port(void **state)
{
	struct rig *rig = *state;
	char first[128];

	make_engine(rig, "", "");
	activate_well(rig);
	(void)snprintf(first, sizeof(first), "%s", rig->url);
	stop_well(rig);
	activate_well(rig);
	assert_string_not_equal(first, rig->url);
}

static void the_engine_inherits_nothing_and_meets_no_shell(void **state)
{
	struct rig *rig = *state;
	char path[64], text[4096];
	struct dirent *entry;
	int fds = 0;
	DIR *dir;
	ssize_t len;
	int fd;

	make_engine(rig, ", \"--model\", \"$(touch /tmp/never);x y\"", ", \"cwd\": \"/\"");
	(void)setenv("https_proxy", "http://127.0.0.1:1", 1);
	(void)setenv("VLLM_SERVER_DEV_MODE", "1", 1);
	(void)setenv("VLLMGW_ADMIN_KEY", "secret-of-the-gateway", 1);
	(void)setenv("HF_HOME", "/hf", 1);
	activate_well(rig);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)describe(rig).pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char link[128], target[512] = "";

		(void)snprintf(link, sizeof(link), "%s/%.20s", path, entry->d_name);
		if (readlink(link, target, sizeof(target) - 1) <= 0)
			continue;
		fds++;
		/* its own sockets and epolls apart: nothing but /dev/null and the log */
		if (strncmp(target, "/", 1) == 0 && strcmp(target, "/dev/null") != 0)
			assert_string_equal(target, describe(rig).log_path);
	}
	(void)closedir(dir);
	assert_true(fds >= 3);
	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)describe(rig).pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = read(fd, text, sizeof(text));
	(void)close(fd);
	assert_true(len > 0);
	assert_non_null(memmem(text, (size_t)len, "$(touch /tmp/never);x y", 24)); /* with its end: one argument */
	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)describe(rig).pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = read(fd, text, sizeof(text));
	(void)close(fd);
	assert_true(len > 0);
	assert_null(memmem(text, (size_t)len, "https_proxy", 11));
	assert_null(memmem(text, (size_t)len, "VLLM_SERVER_DEV_MODE", 20));
	assert_null(memmem(text, (size_t)len, "secret-of-the-gateway", 21));
	assert_non_null(memmem(text, (size_t)len, "HF_HOME=/hf", 12));
	assert_non_null(memmem(text, (size_t)len, "CUDA_VISIBLE_DEVICES=0,1", 25));
}

static void variables_reach_the_environment_of_the_engine(void **state)
{
	struct rig *rig = *state;
	char log[4096];

	make_shell(rig, "env; exit 1", ", \"env\": {\"A\": \"${MODEL} on ${DEVICES}\", \"B\": 7, \"C\": \"$${PORT}\"},"
		"\"inherit_env\": [\"PATH\"]");
	assert_int_equal(activate(rig, NULL), VGW_BACKEND);
	read_log(rig, log, sizeof(log));
	assert_says(log, "A=org/big on 0,1\n");
	assert_says(log, "B=7\n");
	assert_says(log, "C=${PORT}\n");
	assert_null(strstr(log, "HOME="));
}

/* --- not coming up --- */

static void expect_failure(struct rig *rig, const char *arguments, vgw_status status, vgw_fault fault,
	vgw_failure failure, const char *said)
{
	vgw_error err = VGW_ERROR_INIT;
	char identity[1024];

	make_engine(rig, arguments, ", \"start_timeout\": \"2s\"");
	assert_int_equal(activate(rig, &err), status);
	(void)snprintf(identity, sizeof(identity), "%s", describe(rig).identity);
	assert_int_equal(err.fault, fault);
	assert_int_equal(report_of(rig).failure, failure);
	assert_says(err.text, said);
	assert_says(err.text, "big");
	assert_says(report_of(rig).failure_text, said);
	stop_well(rig);
	assert_int_equal(count_of_engine(identity), 0);
}

static void out_of_memory_is_told_by_its_line(void **state)
{
	expect_failure(*state, ", \"--fault\", \"start-oom\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_MEMORY, "CUDA out of memory");
}

static void an_unknown_argument_is_the_users_failure(void **state)
{
	expect_failure(*state, ", \"--fault\", \"start-unknown-arg\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_USER, "unrecognized arguments: --foo");
}

static void exit_0_before_it_serves_is_a_failure_like_any_other(void **state)
{
	expect_failure(*state, ", \"--fault\", \"start-exit0\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_UNKNOWN, "exit code 0");
}

static void one_that_never_serves_is_given_up_at_the_start_timeout(void **state)
{
	int64_t before = vgw_now_ms();

	expect_failure(*state, ", \"--fault\", \"start-never-ready\"", VGW_TIMEOUT, VGW_FAULT_MODEL_START_TIMEOUT,
		VGW_FAILURE_UNKNOWN, "not ready after 2 s");
	assert_in_range(vgw_now_ms() - before, 2000, 4000);
}

static void one_that_serves_another_model_is_refused(void **state)
{
	expect_failure(*state, ", \"--fault\", \"wrong-model\"", VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		VGW_FAILURE_USER, "and not 'org/big'");
}

static void a_program_that_is_not_there_is_the_users_failure(void **state)
{
	struct rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	assert_int_equal(create(rig, "{\"kind\":\"process\",\"command\":[\"no-such-engine\",\"${PORT}\"]}", NULL), VGW_OK);
	assert_int_equal(activate(rig, &err), VGW_BACKEND);
	assert_int_equal(report_of(rig).failure, VGW_FAILURE_USER);
	assert_says(err.text, "no-such-engine");
	stop_well(rig);
}

static void an_exit_while_starting_is_noticed_at_once(void **state)
{
	struct rig *rig = *state;
	int64_t before = vgw_now_ms();

	make_shell(rig, "exit 3", "");
	assert_int_equal(activate(rig, NULL), VGW_BACKEND);
	assert_in_range(vgw_now_ms() - before, 0, 500);
	assert_says(report_of(rig).failure_text, "exit code 3");
}

static void a_wrapper_that_leaves_its_engine_behind_is_told_what_to_do(void **state)
{
	struct rig *rig = *state;
	char identity[1024];

	make_shell(rig, "sleep 605 & exit 0", "");
	assert_int_equal(activate(rig, NULL), VGW_BACKEND);
	(void)snprintf(identity, sizeof(identity), "%s", describe(rig).identity);
	assert_says(report_of(rig).failure_text, "exec");
	stop_well(rig);
	assert_int_equal(count_of_engine(identity), 0);
}

static void *cancel_soon(void *user)
{
	struct rig *rig = user;

	while (describe(rig).pid == 0)
		(void)poll(NULL, 0, 1);
	vgw__host_cancel(rig->host);
	return NULL;
}

static void a_start_can_be_cancelled(void **state)
{
	struct rig *rig = *state;
	char identity[1024];
	pthread_t thread;
	int64_t before;

	make_engine(rig, ", \"--load-time\", \"100s\"", "");
	vgw__host_begin(rig->host);
	before = vgw_now_ms();
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, rig), 0);
	assert_int_equal(rig->kind->ops.activate(rig->self, vgw_now_ms() + PATIENCE_MS, NULL), VGW_CANCELLED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_in_range(vgw_now_ms() - before, 0, 1000);
	(void)snprintf(identity, sizeof(identity), "%s", describe(rig).identity);
	stop_well(rig);
	assert_int_equal(count_of_engine(identity), 0);
}

static void secrets_are_in_no_message(void **state)
{
	struct rig *rig = *state;
	vgw_error err = VGW_ERROR_INIT;

	make_shell(rig, "echo using $HF_TOKEN and abcdefgh; exit 1", ", \"env\": {\"HF_TOKEN\": \"hf_very_secret\","
		"\"MY_API_KEY\": \"abcdefgh\"}");
	assert_int_equal(activate(rig, &err), VGW_BACKEND);
	assert_says(err.text, "using [redacted] and [redacted]");
	assert_null(strstr(report_of(rig).failure_text, "secret"));
	assert_null(strstr(rig->logged, "secret"));
}

static void a_key_among_the_arguments_is_warned_of(void **state)
{
	struct rig *rig = *state;

	make_engine(rig, ", \"--api-key\", \"sk-123456\"", ", \"api_key\": \"sk-123456\"");
	assert_says(rig->logged, "can be read by every user");
	assert_null(strstr(rig->logged, "sk-123456"));
	activate_well(rig); /* and the probe knows the key */
}

/* --- dying and being stopped --- */

static void a_crash_is_reported_at_once(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	make_engine(rig, "", "");
	activate_well(rig);
	facts = describe(rig);
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0);
	assert_in_range(await_death(rig), 0, 300);
	assert_says(rig->death, "killed by signal 9");
	assert_int_equal(rig->deaths, 1);
	assert_int_equal(describe(rig).pid, 0);
	activate_well(rig); /* and it can be brought up again */
	assert_int_not_equal(describe(rig).pid, facts.pid);
}

static void exit_0_of_an_engine_that_serves_is_a_death(void **state)
{
	struct rig *rig = *state;

	make_engine(rig, "", "");
	activate_well(rig);
	assert_int_equal(kill((pid_t)describe(rig).pid, SIGTERM), 0);
	(void)await_death(rig);
	assert_says(rig->death, "exit code 0 after");
}

static void an_engine_that_ignores_sigterm_is_killed_after_the_stop_timeout(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	int64_t before;

	make_engine(rig, ", \"--fault\", \"ignore-sigterm\"", ", \"stop_timeout\": \"300ms\"");
	activate_well(rig);
	facts = describe(rig);
	before = vgw_now_ms();
	stop_well(rig);
	assert_in_range(vgw_now_ms() - before, 300, 1500);
	assert_false(lives((pid_t)facts.pid));
}

static void a_stopped_engine_is_killed_after_the_stop_timeout(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	make_engine(rig, "", ", \"stop_timeout\": \"100ms\"");
	activate_well(rig);
	facts = describe(rig);
	assert_int_equal(kill((pid_t)facts.pid, SIGSTOP), 0);
	stop_well(rig);
	assert_false(lives((pid_t)facts.pid));
}

static void a_grandchild_of_another_session_that_holds_the_log_is_swept(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	int64_t before;

	make_engine(rig, ", \"--fault\", \"grandchild\"", "");
	activate_well(rig);
	facts = describe(rig);
	assert_true(count_of_engine(facts.identity) >= 2);
	before = vgw_now_ms();
	stop_well(rig);
	assert_in_range(vgw_now_ms() - before, 0, 2000);
	assert_int_equal(count_of_engine(facts.identity), 0);
}

static void workers_that_outlive_a_crash_are_swept_before_the_next_start(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	make_engine(rig, ", \"--fault\", \"grandchild\"", "");
	activate_well(rig);
	facts = describe(rig);
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0);
	(void)await_death(rig);
	assert_true(count_of_engine(facts.identity) >= 1);
	activate_well(rig);
	assert_int_equal(count_of_engine(facts.identity), 0);
}

static void asked_to_sleep_it_stops_and_says_so(void **state)
{
	struct rig *rig = *state;

	make_engine(rig, "", "");
	activate_well(rig);
	vgw__host_begin(rig->host);
	assert_int_equal(rig->kind->ops.deactivate(rig->self, VGW_DEPTH_SLEEP, vgw_now_ms() + PATIENCE_MS, NULL),
		VGW_OK);
	assert_true(report_of(rig).has_depth);
	assert_int_equal(report_of(rig).depth, VGW_DEPTH_STOP);
	assert_int_equal(describe(rig).pid, 0);
}

static void a_flood_of_output_blocks_nobody(void **state)
{
	struct rig *rig = *state;

	make_engine(rig, ", \"--log-flood\", \"96MiB\", \"--load-time\", \"300ms\"", "");
	activate_well(rig);
	stop_well(rig);
}

static void logs_of_earlier_starts_are_kept(void **state)
{
	struct rig *rig = *state;
	char path[600];

	make_shell(rig, "echo start; exit 1", "");
	for (int i = 0; i < 6; i++) {
		assert_int_equal(activate(rig, NULL), VGW_BACKEND);
		stop_well(rig);
	}
	for (int i = 1; i <= 3; i++) {
		(void)snprintf(path, sizeof(path), "%s.%d", describe(rig).log_path, i);
		assert_int_equal(access(path, R_OK), 0);
	}
	(void)snprintf(path, sizeof(path), "%s.4", describe(rig).log_path);
	assert_int_equal(access(path, R_OK), -1);
	assert_says(describe(rig).log_path, "/logs/big.log");
}

static void without_a_folder_to_write_to_it_serves_all_the_same(void **state)
{
	struct rig *rig = *state;

	(void)snprintf(rig->state_dir + strlen(rig->state_dir), 8, "/no/dir");
	make_engine(rig, "", "");
	activate_well(rig);
	assert_says(rig->logged, "kept in memory");
	assert_string_equal(describe(rig).log_path, "");
	rig->state_dir[strlen(rig->state_dir) - 7] = '\0';
}

/* --- after a restart of ours --- */

/* Destroy the controller, as a gateway that was killed would, and make another of the same configuration. */
static void start_over(struct rig *rig, const char *arguments)
{
	rig->kind->ops.destroy(rig->self);
	rig->self = NULL;
	rig->url[0] = '\0';
	make_engine(rig, arguments, "");
}

static vgw_status adopt(struct rig *rig, const char *identity)
{
	vgw__host_begin(rig->host);
	return rig->kind->ops.adopt(rig->self, identity, vgw_now_ms() + PATIENCE_MS, NULL);
}

static void an_engine_survives_us_and_is_found_again(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;
	char url[128];

	make_engine(rig, "", "");
	activate_well(rig);
	facts = describe(rig);
	(void)snprintf(url, sizeof(url), "%s", rig->url);
	start_over(rig, "");
	assert_true(lives((pid_t)facts.pid));
	assert_int_equal(adopt(rig, facts.identity), VGW_OK);
	assert_int_equal(describe(rig).pid, facts.pid);
	assert_string_equal(describe(rig).identity, facts.identity);
	assert_string_equal(rig->url, url);
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0); /* its death is noticed as before */
	(void)await_death(rig);
	stop_well(rig);
	assert_int_equal(adopt(rig, facts.identity), VGW_NOT_FOUND);
}

static void an_engine_of_another_configuration_is_stopped_not_adopted(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	make_engine(rig, "", "");
	activate_well(rig);
	facts = describe(rig);
	start_over(rig, ", \"--itl\", \"1ms\"");
	assert_int_equal(adopt(rig, facts.identity), VGW_NOT_FOUND);
	assert_int_equal(count_of_engine(facts.identity), 0);
}

static void workers_of_an_engine_that_died_meanwhile_are_swept(void **state)
{
	struct rig *rig = *state;
	vgw_replica_facts facts;

	make_engine(rig, ", \"--fault\", \"grandchild\"", "");
	activate_well(rig);
	facts = describe(rig);
	start_over(rig, ", \"--fault\", \"grandchild\"");
	assert_int_equal(kill((pid_t)facts.pid, SIGKILL), 0);
	while (lives((pid_t)facts.pid))
		(void)poll(NULL, 0, 1);
	assert_true(count_of_engine(facts.identity) >= 1);
	assert_int_equal(adopt(rig, facts.identity), VGW_NOT_FOUND);
	assert_int_equal(count_of_engine(facts.identity), 0);
}

/* Replace what follows "key": in the identity. */
static void forge(char *out, size_t size, const char *identity, const char *key, const char *value)
{
	const char *at = strstr(identity, key);

	assert_non_null(at);
	at += strlen(key);
	(void)snprintf(out, size, "%.*s%s%s", (int)(at - identity), identity, value, at + strcspn(at, ",}"));
}

static void a_forged_or_stale_identity_harms_nobody(void **state)
{
	static const char *const broken[] = { "", "{", "[]", "{\"pid\":1}", "null", "{\"pid\":\"x\"}" };
	struct rig *rig = *state;
	struct vgw__process_identity stranger;
	vgw_replica_facts facts;
	char forged[1200], twice[1200], number[32];
	pid_t child = fork();

	if (child == 0) {
		for (;;)
			(void)pause();
	}
	assert_true(child > 0);
	assert_true(vgw__proc_identify(child, &stranger));
	make_engine(rig, "", "");
	activate_well(rig);
	facts = describe(rig);
	start_over(rig, "");
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(adopt(rig, broken[i]), VGW_NOT_FOUND);
	forge(forged, sizeof(forged), facts.identity, "\"boot_id\":", "\"00000000-0000-0000-0000-000000000000\"");
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND);
	forge(forged, sizeof(forged), facts.identity, "\"nonce\":", "\"\"");
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND);
	forge(forged, sizeof(forged), facts.identity, "\"nonce\":", "\"00000000000000000000000000000000\"");
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND);
	assert_true(lives((pid_t)facts.pid));

	/* A foreign process with everything right about it but that we did not start it. */
	(void)snprintf(number, sizeof(number), "%d", (int)child);
	forge(forged, sizeof(forged), facts.identity, "\"pid\":", number);
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND); /* of another start time: what has our nonce is swept */
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)stranger.start_time);
	forge(twice, sizeof(twice), forged, "\"start_time\":", number);
	assert_int_equal(adopt(rig, twice), VGW_NOT_FOUND);
	assert_true(lives(child));
	(void)snprintf(number, sizeof(number), "1");
	forge(forged, sizeof(forged), facts.identity, "\"pid\":", number);
	assert_int_equal(adopt(rig, forged), VGW_NOT_FOUND);
	assert_int_equal(kill(child, SIGKILL), 0);
}

/* --- configuration --- */

static void a_wrong_configuration_is_told_what_would_be_right(void **state)
{
	static const struct {
		const char *json;
		const char *said;
	} rows[] = {
		{ "{\"kind\":\"process\"}", "needs `command" },
		{ "{\"kind\":\"process\",\"command\":\"vllm serve\"}", "expected a list" },
		{ "{\"kind\":\"process\",\"command\":[\"vllm\"]}", "--port ${PORT}" },
		{ "{\"kind\":\"process\",\"command\":[\"vllm\",\"${PROT}\"],\"port\":1}", "unknown variable ${PROT}" },
		{ "{\"kind\":\"process\",\"command\":[\"vllm\",\"${PORT}\"],\"comand\":[]}", "did you mean 'command'" },
		{ "{\"kind\":\"process\",\"command\":[\"a\",\"${PORT}\"],\"stop_timeout\":\"5\"}", "such as 250ms" },
		{ "{\"kind\":\"process\",\"command\":[\"a\",\"${PORT}\"],\"env\":{\"A=B\":\"\"}}", "no = in the name" },
		{ "{\"kind\":\"process\",\"command\":[\"a\",\"${PORT}\"],\"host\":\"gpu.lan\"}", "numeric address" },
		{ "{\"kind\":\"process\",\"command\":[\"a\"],\"port\":70000}", "expected 1 to 65535" },
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;

		assert_int_equal(create(rig, rows[i].json, &err), VGW_INVALID);
		assert_null(rig->self);
		assert_says(err.text, rows[i].said);
	}
}

static void find_engine(void)
{
	char self[3072];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	assert_true(len > 0);
	self[len] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	(void)snprintf(engine_path, sizeof(engine_path), "%s/../bin/vllmgw-engine", self);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIGGED(an_engine_comes_up_serves_and_goes),
		RIGGED(readiness_is_noticed_within_fifty_milliseconds),
		RIGGED(an_engine_that_listens_while_it_loads_is_not_ready_before_it_is),
		RIGGED(every_start_gets_a_fresh_port),
		RIGGED(the_engine_inherits_nothing_and_meets_no_shell),
		RIGGED(variables_reach_the_environment_of_the_engine),
		RIGGED(out_of_memory_is_told_by_its_line),
		RIGGED(an_unknown_argument_is_the_users_failure),
		RIGGED(exit_0_before_it_serves_is_a_failure_like_any_other),
		RIGGED(one_that_never_serves_is_given_up_at_the_start_timeout),
		RIGGED(one_that_serves_another_model_is_refused),
		RIGGED(a_program_that_is_not_there_is_the_users_failure),
		RIGGED(an_exit_while_starting_is_noticed_at_once),
		RIGGED(a_wrapper_that_leaves_its_engine_behind_is_told_what_to_do),
		RIGGED(a_start_can_be_cancelled),
		RIGGED(secrets_are_in_no_message),
		RIGGED(a_key_among_the_arguments_is_warned_of),
		RIGGED(a_crash_is_reported_at_once),
		RIGGED(exit_0_of_an_engine_that_serves_is_a_death),
		RIGGED(an_engine_that_ignores_sigterm_is_killed_after_the_stop_timeout),
		RIGGED(a_stopped_engine_is_killed_after_the_stop_timeout),
		RIGGED(a_grandchild_of_another_session_that_holds_the_log_is_swept),
		RIGGED(workers_that_outlive_a_crash_are_swept_before_the_next_start),
		RIGGED(asked_to_sleep_it_stops_and_says_so),
		RIGGED(a_flood_of_output_blocks_nobody),
		RIGGED(logs_of_earlier_starts_are_kept),
		RIGGED(without_a_folder_to_write_to_it_serves_all_the_same),
		RIGGED(an_engine_survives_us_and_is_found_again),
		RIGGED(an_engine_of_another_configuration_is_stopped_not_adopted),
		RIGGED(workers_of_an_engine_that_died_meanwhile_are_swept),
		RIGGED(a_forged_or_stale_identity_harms_nobody),
		RIGGED(a_wrong_configuration_is_told_what_would_be_right),
	};

	find_engine();
	return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
