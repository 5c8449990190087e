/* SPDX-License-Identifier: Apache-2.0 */
/* The state file.
 *
 *   touch ──► timer ──► residency's thread: text ──► executor: temporary, fsync, rename, fsync of the directory
 *                └── the same text as last time: nothing is written
 *
 * Times in it are of the wall clock, since the monotonic one does not survive a boot; they serve for an order only.
 * The identity of an engine is whatever its controller called it; it may name secrets, so the file is the owner's.
 *
 * A directory is one residency's at a time: a second one would take the first one's engines for those of an earlier
 * life, and stop them at its end. So it has no state, and runs no engines. The lock on a file beside it goes with
 * whoever holds it, however that ends. */
#include "residency/store.h"

#include "util/alloc.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	SOON_MS = 20,      /* changes come in flocks */
	ACTIVE_MS = 250,   /* while something starts: its identity is known any moment */
	CALM_MS = 10000,   /* the order of last use */
	FORMAT_VERSION = 1,
	FILE_MAX_BYTES = 16 * 1024 * 1024,
};

static const char format_name[] = "vllmgw-residency";

struct vgw__store {
	vgw_residency *residency;
	char *folder;
	char *path; /* NULL: nothing is read or written */
	char *temporary;
	int lock_fd;     /* -1: not locked */
	bool is_taken;   /* another residency has it; const after new */
	json_t *records; /* what was read; NULL: nothing, or dealt with */
	vgw_timer timer; /* the residency's thread from here */
	struct vgw__job job;
	vgw_message done;
	char *written;
	char *writing;   /* the executor's while it is not NULL */
	bool is_written; /* by the executor, before `done` */
	bool is_stopped;
};

static int64_t wall_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

/* --- the text ------------------------------------------------------------------------------------------------- */

static json_t *pack_times(const struct vgw__times *times)
{
	json_t *list = json_array();
	uint32_t first = times->kept < VGW__TIMES_KEPT ? 0 : times->next;

	for (uint32_t i = 0; list && i < times->kept; i++)
		(void)json_array_append_new(list, json_integer(times->ring[(first + i) % VGW__TIMES_KEPT]));
	return list;
}

/* What was measured; what was configured is not learned. */
static json_t *pack_footprint(const vgw_residency *residency, const struct vgw__engine *engine)
{
	json_t *footprint = json_object();

	for (int32_t d = 0; footprint && !engine->is_busy && d < VGW__DEVICES_MAX; d++) {
		if (engine->memory[d].taken > 0)
			(void)json_object_set_new(footprint, residency->device_names[d],
				json_integer(engine->memory[d].taken));
	}
	return footprint;
}

static json_t *pack_engine(const vgw_residency *residency, const struct vgw__engine *engine)
{
	const struct vgw__instance *instance = engine->instance;
	vgw_replica_facts facts = { .size = sizeof(facts) };
	int64_t now_ms = vgw_now_ms();
	struct vgw__replica_view view;

	vgw__planner_view(residency->planner, engine->slot, now_ms, &view);
	if (instance->kind->ops.describe)
		instance->kind->ops.describe(instance->self, &facts);
	return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:{s:o, s:o, s:o, s:o, s:o}}", "kind", instance->kind->ops.kind,
		"identity", facts.identity, "state", vgw__state_name(view.state), "last_used_at",
		(json_int_t)(wall_s() - (now_ms - view.last_used_ms) / 1000), "footprint",
		pack_footprint(residency, engine), "devices",
		vgw__placement_pack(residency, view.devices), "times", "start_ms",
		pack_times(&view.start), "wake_ms", pack_times(&view.wake), "sleep_ms", pack_times(&view.sleep),
		"stop_ms", pack_times(&view.stop), "drain_ms", pack_times(&view.drain));
}

/* NULL without memory: then the file stays as it is. */
static char *make_text(const vgw_residency *residency)
{
	json_t *models = json_object();
	json_t *root = json_pack("{s:s, s:i, s:O?}", "format", format_name, "version", FORMAT_VERSION, "models",
		models);
	char *dumped = NULL, *text = NULL;

	for (int32_t i = 0; models && i < residency->limits.models; i++) {
		const struct vgw__engine *engine = residency->slots[i];

		if (engine && engine->instance)
			(void)json_object_set_new(models, engine->resident->name, pack_engine(residency, engine));
	}
	if (root && models)
		dumped = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (dumped)
		text = vgw__strdup(dumped);
	free(dumped);
	json_decref(models);
	json_decref(root);
	return text;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t done = write(fd, text, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		text += done;
		len -= (size_t)done;
	}
	return true;
}

static bool sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_synced = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		(void)close(fd);
	return is_synced;
}

static bool write_file(const struct vgw__store *store, const char *text)
{
	int fd = open(store->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool is_written = fd >= 0 && write_all(fd, text, strlen(text)) && fsync(fd) == 0;

	if (fd >= 0 && close(fd) != 0)
		is_written = false;
	if (is_written && rename(store->temporary, store->path) == 0 && sync_folder(store->folder))
		return true;
	vgw__log(&store->residency->options.logger, VGW_LOG_WARN, "residency", NULL, "cannot write %s: %s", store->path,
		strerror(errno));
	return false;
}

static void write_job(struct vgw__job *job);

static void on_timer(vgw_timer *timer);

static void arm(struct vgw__store *store, int64_t in_ms)
{
	/* Without memory for the timer the next touch tries again. */
	if (!store->is_stopped)
		(void)!vgw_timer_start(store->residency->loop, &store->timer, vgw_now_ms() + in_ms, on_timer);
}

static bool is_active(const vgw_residency *residency)
{
	for (int32_t i = 0; i < residency->limits.models; i++) {
		if (residency->slots[i] && residency->slots[i]->is_busy)
			return true;
	}
	return false;
}

static void heard_done(vgw_message *message)
{
	struct vgw__store *store = message->user;

	if (store->is_written) {
		vgw__free(store->written);
		store->written = store->writing;
	} else {
		vgw__free(store->writing);
	}
	store->writing = NULL;
}

static void write_job(struct vgw__job *job)
{
	struct vgw__store *store = VGW__CONTAINER(job, struct vgw__store, job);

	store->is_written = write_file(store, store->writing);
	store->done.user = store;
	vgw_loop_post(store->residency->loop, &store->done, heard_done);
}

static void on_timer(vgw_timer *timer)
{
	struct vgw__store *store = timer->user;
	char *text;

	if (store->writing) {
		arm(store, SOON_MS);
		return;
	}
	arm(store, is_active(store->residency) ? ACTIVE_MS : CALM_MS);
	text = make_text(store->residency);
	if (!text || (store->written && strcmp(text, store->written) == 0)) {
		vgw__free(text);
		return;
	}
	store->writing = text;
	store->job.run = write_job;
	vgw__executors_post(store->residency->executors, &store->job);
}

void vgw__store_touch(vgw_residency *residency)
{
	struct vgw__store *store = residency->store;

	if (!store->path)
		return;
	store->timer.user = store;
	arm(store, SOON_MS);
}

void vgw__store_stop(vgw_residency *residency)
{
	residency->store->is_stopped = true;
	vgw_timer_cancel(residency->loop, &residency->store->timer);
}

/* What was read and never dealt with, since no set of models was ever taken, is for the next life to read. */
void vgw__store_write_last(vgw_residency *residency)
{
	char *text;

	if (!residency->store || !residency->store->path || !residency->has_thread || residency->store->records)
		return;
	text = make_text(residency);
	if (text)
		(void)write_file(residency->store, text);
	vgw__free(text);
}

/* --- reading -------------------------------------------------------------------------------------------------- */

static void complain(const struct vgw__store *store, const char *why)
{
	vgw__log(&store->residency->options.logger, VGW_LOG_WARN, "residency", NULL, "%s is ignored: %s", store->path, why);
}

/* A regular file of ours that nobody else may write: what it names is stopped or served from. */
static FILE *open_file(const struct vgw__store *store)
{
	int fd = open(store->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	const char *why = NULL;
	struct stat about;
	FILE *file;

	if (fd < 0) {
		if (errno != ENOENT)
			complain(store, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
		why = "it is no regular file";
	else if (about.st_uid != geteuid() || (about.st_mode & (S_IWGRP | S_IWOTH)))
		why = "somebody else may write it";
	else if (about.st_size > FILE_MAX_BYTES)
		why = "it is too large";
	file = why ? NULL : fdopen(fd, "r");
	if (!file)
		(void)close(fd);
	if (why)
		complain(store, why);
	return file;
}

static void read_file(struct vgw__store *store)
{
	FILE *file = open_file(store);
	json_error_t where;
	json_t *root, *models;
	const char *format;

	if (!file)
		return;
	root = json_loadf(file, JSON_REJECT_DUPLICATES, &where);
	(void)fclose(file);
	format = json_string_value(json_object_get(root, "format"));
	models = json_object_get(root, "models");
	if (!root)
		complain(store, where.text);
	else if (!format || strcmp(format, format_name) != 0 || !json_is_object(models) ||
		json_integer_value(json_object_get(root, "version")) != FORMAT_VERSION)
		complain(store, "it is of another program or another version");
	else
		store->records = json_incref(models);
	json_decref(root);
}

const json_t *vgw__store_find(const struct vgw__store *store, const char *model)
{
	const json_t *record = json_object_get(store->records, model);

	return json_is_object(record) ? record : NULL;
}

json_t *vgw__store_get_records(const struct vgw__store *store)
{
	return store->records;
}

int64_t vgw__store_get_age_ms(const json_t *record)
{
	int64_t age_s = wall_s() - json_integer_value(json_object_get(record, "last_used_at"));

	return age_s < 0 || age_s > INT64_C(10) * 366 * 86400 ? 0 : age_s * 1000;
}

void vgw__store_forget(struct vgw__store *store)
{
	json_decref(store->records);
	store->records = NULL;
}

/* --- new, free ------------------------------------------------------------------------------------------------ */

/* With all that leads to it: in a new home there is no ~/.local/state yet. The path is whole again afterwards. */
static bool make_folder(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(path, 0700); /* if that fails, so does what is below */
		*slash = '/';
	}
	return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Where nothing can be locked, nothing is: that alone is no reason not to serve. False: no memory. */
static bool lock_folder(struct vgw__store *store)
{
	char *path = vgw__printf("%s/lock", store->folder);

	if (!path)
		return false;
	store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	vgw__free(path);
	store->is_taken = store->lock_fd >= 0 && flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	return true;
}

vgw_status vgw__store_check(const struct vgw__store *store, vgw_error *err)
{
	if (!store->is_taken)
		return VGW_OK;
	return vgw_error_set(err, VGW_EXISTS, 0, "state directory %.120s: another gateway uses it; to run engines, give this "
		"one a state_dir of its own, or stop that one first", store->folder);
}

vgw_status vgw__store_new(struct vgw__store **out, vgw_residency *residency, vgw_error *err)
{
	struct vgw__store *store = vgw__alloc(sizeof(*store));

	*out = NULL;
	if (!store)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the state file");
	store->residency = residency;
	store->lock_fd = -1;
	*out = store;
	if (!residency->state_dir)
		return VGW_OK;
	store->folder = vgw__strdup(residency->state_dir);
	if (store->folder && !make_folder(store->folder))
		return vgw_error_set(err, VGW_INVALID, errno, "cannot make the state directory %.150s: %s; make it, or choose "
			"another state_dir", residency->state_dir, strerror(errno));
	store->path = vgw__printf("%s/residency.json", residency->state_dir);
	store->temporary = vgw__printf("%s/residency.json.new", residency->state_dir);
	if (!store->folder || !store->path || !store->temporary || !lock_folder(store))
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the state file");
	if (store->is_taken) {
		vgw__free(store->path);
		store->path = NULL;
	} else {
		read_file(store);
	}
	return VGW_OK;
}

void vgw__store_free(struct vgw__store *store)
{
	if (!store)
		return;
	json_decref(store->records);
	vgw__free(store->folder);
	vgw__free(store->path);
	vgw__free(store->temporary);
	vgw__free(store->written);
	vgw__free(store->writing);
	if (store->lock_fd >= 0)
		(void)close(store->lock_fd);
	vgw__free(store);
}
