/* SPDX-License-Identifier: Apache-2.0 */
/* The rig of the kind "kubernetes". */
#include "kube_rig.h"

#include "net/control.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { POLL_MS = 40 };

/* kube_api.py, started by the first test of a program. */
static struct cluster {
	pid_t pid; /* 0: not started */
	int stdin_fd; /* it ends when this is closed */
	int engine_port;
	char api[64];
	char orders[64];
	char folder[64];
} cluster;

/* --- the cluster --- */

static void find_engine(char *out, size_t size)
{
	char self[3072];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(len > 0);
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	(void)snprintf(out, size, "%s/../bin/vllmgw-engine", self);
}

static void read_ready(int fd)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	char line[128] = "";
	size_t len = 0;
	char *port, *end;

	while (!strchr(line, '\n')) {
		ssize_t n;

		assert_int_equal(poll(&readable, 1, KUBE_PATIENCE_MS), 1);
		n = read(fd, line + len, sizeof(line) - 1 - len);
		if (n <= 0)
			fail_msg("kube_api.py did not start");
		len += (size_t)n;
	}
	assert_memory_equal(line, "ready ", 6);
	(void)snprintf(cluster.api, sizeof(cluster.api), "https://127.0.0.1:%ld", strtol(line + 6, &port, 10));
	cluster.engine_port = (int)strtol(port, &end, 10);
	(void)snprintf(cluster.orders, sizeof(cluster.orders), "http://127.0.0.1:%ld", strtol(end, &port, 10));
	assert_true(cluster.engine_port > 0);
}

static void start_cluster(void)
{
	char engine[4096], script[] = VGW_SOURCE_DIR "/tests/support/kube_api.py", python[] = "/usr/bin/python3";
	char big[] = "deployments/big=org/big", set[] = "statefulsets/set=org/big";
	char *argv[] = { python, script, cluster.folder, engine, big, set, NULL };
	posix_spawn_file_actions_t actions;
	int in[2], out[2];

	find_engine(engine, sizeof(engine));
	(void)snprintf(cluster.folder, sizeof(cluster.folder), "/tmp/vgw-kube-XXXXXX");
	assert_non_null(mkdtemp(cluster.folder));
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	(void)posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	(void)posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	assert_int_equal(posix_spawn(&cluster.pid, python, &actions, NULL, argv, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)close(in[0]);
	(void)close(out[1]);
	cluster.stdin_fd = in[1];
	read_ready(out[0]);
	(void)close(out[0]);
}

json_t *kube_rig_order(struct kube_rig *rig, const char *order, const char *json)
{
	struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
	struct vgw__control_answer answer = { 0 };
	char url[256];
	vgw_error err = VGW_ERROR_INIT;
	json_t *root;

	(void)snprintf(url, sizeof(url), "%s/_test/%s", rig->orders, order);
	request.url = url;
	request.method = "POST";
	request.body = json;
	request.body_len = strlen(json);
	request.deadline_ms = vgw_now_ms() + KUBE_PATIENCE_MS;
	if (vgw__control_call(&request, &answer, &err) != VGW_OK)
		fail_msg("order %s: %s", order, err.text);
	root = json_loadb(answer.body, answer.body_len, 0, NULL);
	assert_int_equal(answer.status, 200);
	vgw__control_answer_fini(&answer);
	return root;
}

void kube_rig_do(struct kube_rig *rig, const char *order, const char *json)
{
	json_decref(kube_rig_order(rig, order, json));
}

int kube_rig_count(struct kube_rig *rig, const char *workload, const char *what)
{
	json_t *state = kube_rig_order(rig, "state", "{}");
	const json_t *about = json_object_get(json_object_get(state, "workloads"), workload);
	int count = (int)json_integer_value(json_object_get(about, what));

	json_decref(state);
	return count;
}

/* --- the host --- */

static void on_endpoints(void *user, struct vgw__endpoint *const *endpoints, size_t count)
{
	struct kube_rig *rig = user;

	(void)pthread_mutex_lock(&rig->mutex);
	assert_in_range(count, 1, KUBE_URLS);
	for (size_t i = 0; i < count; i++)
		(void)snprintf(rig->urls[i], sizeof(rig->urls[i]), "%s", endpoints[i]->url);
	rig->url_count = count;
	rig->publications++;
	(void)pthread_cond_broadcast(&rig->changed);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static void on_progress(void *user, int percent, const char *text)
{
	struct kube_rig *rig = user;

	(void)percent;
	(void)pthread_mutex_lock(&rig->mutex);
	(void)snprintf(rig->progress, sizeof(rig->progress), "%s", text);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static void on_death(void *user, const char *reason)
{
	struct kube_rig *rig = user;

	(void)pthread_mutex_lock(&rig->mutex);
	(void)snprintf(rig->death, sizeof(rig->death), "%s", reason);
	rig->deaths++;
	(void)pthread_cond_broadcast(&rig->changed);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static void on_absence(void *user, const char *reason)
{
	struct kube_rig *rig = user;

	(void)reason;
	(void)pthread_mutex_lock(&rig->mutex);
	rig->absences++;
	(void)pthread_cond_broadcast(&rig->changed);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static void on_log(void *user, vgw_log_level level, const char *area, const char *model, const char *text)
{
	struct kube_rig *rig = user;
	size_t used;

	(void)level;
	(void)area;
	(void)model;
	(void)pthread_mutex_lock(&rig->mutex);
	used = strlen(rig->logged);
	(void)snprintf(rig->logged + used, sizeof(rig->logged) - used, "%s\n", text);
	(void)pthread_mutex_unlock(&rig->mutex);
}

/* --- life --- */

int kube_rig_set_up(void **state)
{
	static const struct vgw__host_events events = { .on_endpoints = on_endpoints, .on_progress = on_progress,
		.on_death = on_death, .on_absence = on_absence };
	struct kube_rig *rig = calloc(1, sizeof(*rig));
	const vgw_logger logger = { .fn = on_log, .user = rig, .level = VGW_LOG_DEBUG };

	assert_non_null(rig);
	(void)pthread_mutex_init(&rig->mutex, NULL);
	(void)pthread_cond_init(&rig->changed, NULL);
	if (cluster.pid == 0)
		start_cluster();
	(void)snprintf(rig->folder, sizeof(rig->folder), "%s", cluster.folder);
	(void)snprintf(rig->api, sizeof(rig->api), "%s", cluster.api);
	(void)snprintf(rig->orders, sizeof(rig->orders), "%s", cluster.orders);
	rig->engine_port = cluster.engine_port;
	kube_rig_write_token(rig, "first-token\n");
	kube_rig_do(rig, "reset", "{\"token\":\"first-token\"}");
	assert_int_equal(vgw__controllers_new(&rig->controllers, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_add_builtin(rig->controllers, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_find(rig->controllers, &rig->kind, "kubernetes", NULL), VGW_OK);
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

int kube_rig_tear_down(void **state)
{
	struct kube_rig *rig = *state;

	if (rig->self)
		rig->kind->ops.destroy(rig->self);
	vgw__host_free(rig->host);
	vgw__controllers_free(rig->controllers);
	(void)pthread_cond_destroy(&rig->changed);
	(void)pthread_mutex_destroy(&rig->mutex);
	free(rig);
	return 0;
}

int kube_rig_end_cluster(void **state)
{
	(void)state;
	if (cluster.pid == 0)
		return 0;
	(void)close(cluster.stdin_fd);
	(void)waitpid(cluster.pid, NULL, 0);
	(void)nftw(cluster.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	cluster.pid = 0;
	return 0;
}

vgw_status kube_rig_try_make(struct kube_rig *rig, const char *workload, const char *more, vgw_error *err)
{
	char json[2048];
	const vgw_replica_spec spec = { .size = sizeof(spec), .model = "big", .served_name = "org/big",
		.replica = "big/0", .backend_json = json };
	bool is_set = strncmp(workload, "statefulsets/", 13) == 0;

	(void)snprintf(json, sizeof(json),
		"{\"kind\":\"kubernetes\",\"namespace\":\"llm\",\"%s\":\"%s\",\"port\":%d,\"api_server\":\"%s\","
		"\"token_file\":\"%s/token\",\"ca_file\":\"%s/ca.crt\"%s}", is_set ? "statefulset" : "deployment",
		strchr(workload, '/') + 1, rig->engine_port, rig->api, rig->folder, rig->folder, more);
	return rig->kind->ops.create(&rig->self, &spec, rig->host, rig->kind->user, err);
}

void kube_rig_make(struct kube_rig *rig, const char *workload, const char *more)
{
	vgw_error err = VGW_ERROR_INIT;

	if (kube_rig_try_make(rig, workload, more, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

/* --- operations --- */

vgw_status kube_rig_activate(struct kube_rig *rig, int64_t patience_ms, vgw_error *err)
{
	vgw__host_begin(rig->host);
	return rig->kind->ops.activate(rig->self, vgw_now_ms() + patience_ms, err);
}

void kube_rig_activate_well(struct kube_rig *rig)
{
	vgw_error err = VGW_ERROR_INIT;

	if (kube_rig_activate(rig, KUBE_PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

void kube_rig_stop_well(struct kube_rig *rig)
{
	vgw_error err = VGW_ERROR_INIT;

	vgw__host_begin(rig->host);
	if (rig->kind->ops.deactivate(rig->self, VGW_DEPTH_STOP, vgw_now_ms() + KUBE_PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

struct vgw__host_report kube_rig_report(struct kube_rig *rig)
{
	struct vgw__host_report report;

	vgw__host_get_report(rig->host, &report);
	return report;
}

/* --- waiting --- */

static struct timespec patience(void)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += KUBE_PATIENCE_MS / 1000;
	return until;
}

void kube_rig_await_urls(struct kube_rig *rig, size_t count)
{
	const struct timespec until = patience();

	(void)pthread_mutex_lock(&rig->mutex);
	while (rig->url_count != count)
		assert_int_equal(pthread_cond_timedwait(&rig->changed, &rig->mutex, &until), 0);
	(void)pthread_mutex_unlock(&rig->mutex);
}

void kube_rig_await_death(struct kube_rig *rig)
{
	const struct timespec until = patience();

	(void)pthread_mutex_lock(&rig->mutex);
	while (rig->deaths == 0)
		assert_int_equal(pthread_cond_timedwait(&rig->changed, &rig->mutex, &until), 0);
	rig->deaths = 0;
	(void)pthread_mutex_unlock(&rig->mutex);
}

void kube_rig_await_absence(struct kube_rig *rig)
{
	const struct timespec until = patience();

	(void)pthread_mutex_lock(&rig->mutex);
	while (rig->absences == 0)
		assert_int_equal(pthread_cond_timedwait(&rig->changed, &rig->mutex, &until), 0);
	(void)pthread_mutex_unlock(&rig->mutex);
}

static int read_locked(struct kube_rig *rig, const int *value)
{
	int copy;

	(void)pthread_mutex_lock(&rig->mutex);
	copy = *value;
	(void)pthread_mutex_unlock(&rig->mutex);
	return copy;
}

int kube_rig_get_deaths(struct kube_rig *rig)
{
	return read_locked(rig, &rig->deaths);
}

int kube_rig_get_publications(struct kube_rig *rig)
{
	return read_locked(rig, &rig->publications);
}

bool kube_rig_has_logged(struct kube_rig *rig, const char *text)
{
	bool is_there;

	(void)pthread_mutex_lock(&rig->mutex);
	is_there = strstr(rig->logged, text) != NULL;
	(void)pthread_mutex_unlock(&rig->mutex);
	return is_there;
}

void kube_rig_await_count(struct kube_rig *rig, const char *workload, const char *what, int count)
{
	int64_t until_ms = vgw_now_ms() + KUBE_PATIENCE_MS;

	while (kube_rig_count(rig, workload, what) != count) {
		assert_true(vgw_now_ms() < until_ms);
		(void)poll(NULL, 0, POLL_MS);
	}
}

static bool has_call(struct kube_rig *rig, const char *call)
{
	json_t *state = kube_rig_order(rig, "state", "{}");
	const json_t *calls = json_object_get(state, "calls");
	bool is_there = false;

	for (size_t i = 0; i < json_array_size(calls); i++)
		is_there = is_there || strcmp(json_string_value(json_array_get(calls, i)), call) == 0;
	json_decref(state);
	return is_there;
}

void kube_rig_await_call(struct kube_rig *rig, const char *call)
{
	int64_t until_ms = vgw_now_ms() + KUBE_PATIENCE_MS;

	while (!has_call(rig, call)) {
		assert_true(vgw_now_ms() < until_ms);
		(void)poll(NULL, 0, POLL_MS);
	}
}

void kube_rig_write_token(struct kube_rig *rig, const char *token)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/token", rig->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	(void)fputs(token, file);
	assert_int_equal(fclose(file), 0);
}

bool kube_rig_serves(const char *url)
{
	struct vgw__control_request request = VGW__CONTROL_REQUEST_INIT;
	struct vgw__control_answer answer = { 0 };
	char health[128];
	bool is_serving;

	(void)snprintf(health, sizeof(health), "%s/health", url);
	request.url = health;
	request.deadline_ms = vgw_now_ms() + 5000;
	is_serving = vgw__control_call(&request, &answer, NULL) == VGW_OK && answer.status == 200;
	vgw__control_answer_fini(&answer);
	return is_serving;
}
