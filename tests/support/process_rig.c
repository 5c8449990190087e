/* SPDX-License-Identifier: Apache-2.0 */
/* The rig of the kinds "process" and "docker". */
#include "process_rig.h"

#include "util/alloc.h"
#include "util/proc.h"
#include "util/tree.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char engine_path[4096];

/* Beside the tests of this build. */
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

	(void)pthread_mutex_lock(&rig->mutex);
	rig->progress_count++;
	rig->last_percent = percent;
	(void)snprintf(rig->last_progress, sizeof(rig->last_progress), "%s", text);
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

const char *rig_get_engine(void)
{
	find_engine();
	return engine_path;
}

vgw_status rig_create(struct rig *rig, const char *json, vgw_error *err)
{
	const vgw_replica_spec spec = { .size = sizeof(spec), .model = "big", .served_name = "org/big",
		.replica = "big/0", .backend_json = json, .state_dir = rig->state_dir, .devices = "0,1",
		.sleep_level = rig->sleep_level };

	return rig->kind->ops.create(&rig->self, &spec, rig->host, rig->kind->user, err);
}

static void make_controllers(struct rig *rig, const char *kind)
{
	static const struct vgw__host_events events = { .on_endpoints = on_endpoints, .on_progress = on_progress,
		.on_death = on_death };
	const vgw_logger logger = { .fn = on_log, .user = rig, .level = VGW_LOG_DEBUG };

	assert_int_equal(vgw__controllers_new(&rig->controllers, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_add_builtin(rig->controllers, NULL), VGW_OK);
	assert_int_equal(vgw__controllers_find(rig->controllers, &rig->kind, kind, NULL), VGW_OK);
	assert_int_equal(vgw__host_new(&rig->host, &events, rig, &logger, NULL), VGW_OK);
}

static void free_controllers(struct rig *rig)
{
	if (rig->self)
		rig->kind->ops.destroy(rig->self);
	rig->self = NULL;
	vgw__host_free(rig->host);
	vgw__controllers_free(rig->controllers);
}

int rig_set_up_kind(void **state, const char *kind)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	find_engine();
	(void)pthread_mutex_init(&rig->mutex, NULL);
	(void)pthread_cond_init(&rig->changed, NULL);
	(void)snprintf(rig->state_dir, sizeof(rig->state_dir), "/tmp/vgw-process-XXXXXX");
	assert_non_null(mkdtemp(rig->state_dir));
	make_controllers(rig, kind);
	*state = rig;
	return 0;
}

int rig_set_up(void **state)
{
	return rig_set_up_kind(state, "process");
}

void rig_renew(struct rig *rig)
{
	char kind[32];

	(void)snprintf(kind, sizeof(kind), "%s", rig->kind->ops.kind);
	free_controllers(rig);
	make_controllers(rig, kind);
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *ftw)
{
	(void)about;
	(void)type;
	(void)ftw;
	return remove(path);
}

int rig_tear_down(void **state)
{
	struct rig *rig = *state;

	if (rig->self)
		(void)rig->kind->ops.deactivate(rig->self, VGW_DEPTH_STOP, vgw_now_ms() + 1000, NULL);
	free_controllers(rig);
	(void)nftw(rig->state_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	(void)pthread_cond_destroy(&rig->changed);
	(void)pthread_mutex_destroy(&rig->mutex);
	free(rig);
	return 0;
}

void rig_make_engine(struct rig *rig, const char *arguments, const char *more)
{
	char json[8192];
	vgw_error err = VGW_ERROR_INIT;

	(void)snprintf(json, sizeof(json), "{\"kind\":\"process\",\"command\":[\"%s\",\"--port\",\"${PORT}\","
		"\"--served-model-name\",\"${MODEL}\",\"--log-lines\"%s]%s}", engine_path, arguments, more);
	if (rig_create(rig, json, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

void rig_make_shell(struct rig *rig, const char *script, const char *more)
{
	char json[8192];
	vgw_error err = VGW_ERROR_INIT;

	(void)snprintf(json, sizeof(json), "{\"kind\":\"process\",\"command\":[\"/bin/sh\",\"-c\",\"%s\","
		"\"sh\",\"${PORT}\"]%s}", script, more);
	if (rig_create(rig, json, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

vgw_status rig_activate(struct rig *rig, vgw_error *err)
{
	vgw__host_begin(rig->host);
	return rig->kind->ops.activate(rig->self, vgw_now_ms() + PATIENCE_MS, err);
}

void rig_activate_well(struct rig *rig)
{
	vgw_error err = VGW_ERROR_INIT;

	if (rig_activate(rig, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

void rig_stop_well(struct rig *rig)
{
	vgw_error err = VGW_ERROR_INIT;

	vgw__host_begin(rig->host);
	if (rig->kind->ops.deactivate(rig->self, VGW_DEPTH_STOP, vgw_now_ms() + PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

vgw_replica_facts rig_describe(struct rig *rig)
{
	vgw_replica_facts facts = { .size = sizeof(facts) };

	rig->kind->ops.describe(rig->self, &facts);
	return facts;
}

bool rig_lives(pid_t pid)
{
	struct vgw__proc_stat about;

	return vgw__proc_read_stat(pid, &about) && !vgw__proc_is_dead(&about);
}

size_t rig_count_of_engine(const char *identity)
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

struct vgw__host_report rig_report_of(struct rig *rig)
{
	struct vgw__host_report report;

	vgw__host_get_report(rig->host, &report);
	return report;
}

int64_t rig_await_death(struct rig *rig)
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

int rig_count_deaths(struct rig *rig, bool is_reset)
{
	int deaths;

	(void)pthread_mutex_lock(&rig->mutex);
	deaths = rig->deaths;
	rig->deaths = is_reset ? 0 : deaths;
	(void)pthread_mutex_unlock(&rig->mutex);
	return deaths;
}

void rig_read_log(struct rig *rig, char *text, size_t size)
{
	int fd = open(rig_describe(rig).log_path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	assert_true(fd >= 0);
	len = read(fd, text, size - 1);
	assert_true(len >= 0);
	text[len] = '\0';
	(void)close(fd);
}
