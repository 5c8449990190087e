/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "process": a command on this machine. */
#include "backend/process.h"

#include "backend/builtin.h"
#include "backend/host.h"
#include "backend/redact.h"
#include "util/alloc.h"
#include "util/duration.h"
#include "util/log.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SWEEP_MS = 5000,       /* how long what was killed may take to die, at least */
	CHECK_MS = 2000,       /* a probe of an engine that is said to run */
	REASON_SIZE = 240,
};

/* --- facts --- */

void vgw__process_set_facts(struct vgw__process *process)
{
	vgw_replica_facts facts = { .size = sizeof(facts) };
	json_t *identity = NULL;
	char *text = NULL;

	if (process->has_engine) {
		facts.pid = process->child.identity.pid;
		identity = json_pack("{s:I, s:I, s:s, s:i, s:s, s:s}", "pid", (json_int_t)facts.pid, "start_time",
			(json_int_t)process->child.identity.start_time, "boot_id", process->child.identity.boot_id,
			"port", (int)process->port, "args_hash", process->config.args_hash, "nonce",
			process->tree.nonce);
		text = identity ? json_dumps(identity, JSON_COMPACT) : NULL;
		(void)snprintf(facts.identity, sizeof(facts.identity), "%s", text ? text : "");
		free(text);
		json_decref(identity);
	}
	(void)snprintf(facts.log_path, sizeof(facts.log_path), "%s",
		process->has_engine ? process->log.path : process->config.log_path);
	(void)pthread_mutex_lock(&process->mutex);
	process->facts = facts;
	(void)pthread_mutex_unlock(&process->mutex);
}

static void process_describe(void *self, vgw_replica_facts *facts)
{
	struct vgw__process *process = self;
	size_t size = facts->size;

	(void)pthread_mutex_lock(&process->mutex);
	memcpy(facts, &process->facts, size < sizeof(*facts) ? size : sizeof(*facts));
	(void)pthread_mutex_unlock(&process->mutex);
	facts->size = size;
}

/* --- the log's lines --- */

void vgw__process_take_line(void *user, const char *line, size_t len)
{
	struct vgw__process *process = user;

	if (vgw__classify_line(&process->classifier, line, len))
		vgw_host_set_progress(process->host, process->classifier.percent, process->classifier.progress);
}

void vgw__process_get_line(const struct vgw__process *process, char *out, size_t size)
{
	const char *line = vgw__classify_get_line(&process->classifier);

	vgw__redact_line(out, size, line, strlen(line), &process->secrets);
}

/* --- the death nobody asked for: on the watcher's thread --- */

static void keep_line_of_death(void *user, const char *line, size_t len)
{
	struct vgw__process *process = user;

	(void)vgw__classify_line(&process->classifier, line, len);
}

static void on_death(struct vgw__watched *watched)
{
	struct vgw__process *process = watched->user;
	char reason[REASON_SIZE], line[REASON_SIZE], how[VGW__EXIT_TEXT], after[VGW__DURATION_TEXT];
	struct vgw__exit end;

	/* Not a child of ours: init reaps it, and its pid may be used again from now on. */
	if (!process->child.is_child)
		process->tree.session_until = vgw__proc_now_ticks();
	memset(&process->classifier, 0, sizeof(process->classifier));
	vgw__engine_log_drain(&process->log, keep_line_of_death, process);
	vgw__subprocess_get_exit(&process->child, &end);
	vgw__process_get_line(process, line, sizeof(line));
	(void)snprintf(reason, sizeof(reason), "%s after %s%s%.160s", vgw__exit_describe(how, &end),
		vgw__format_duration(after, vgw_now_ms() - process->started_ms), line[0] ? ": " : "", line);
	(void)pthread_mutex_lock(&process->mutex);
	process->facts.pid = 0;
	(void)pthread_mutex_unlock(&process->mutex);
	vgw__log(vgw_host_get_logger(process->host), VGW_LOG_WARN, "process", process->config.model,
		"pid %d died: %s", (int)process->child.identity.pid, reason);
	vgw_host_report_death(process->host, reason);
}

static void on_tick(struct vgw__watched *watched)
{
	struct vgw__process *process = watched->user;

	vgw__engine_log_trim(&process->log, VGW__LOG_CEILING_BYTES);
}

/* --- the engine --- */

static vgw_status make_endpoint(const struct vgw__process *process, struct vgw__endpoint **out, char *url,
	size_t size, vgw_error *err)
{
	bool is_v6 = strchr(process->config.host, ':') != NULL;

	(void)snprintf(url, size, "http://%s%s%s:%u", is_v6 ? "[" : "", process->config.host, is_v6 ? "]" : "",
		(unsigned)process->port);
	return out ? vgw__endpoint_new(out, url, err) : VGW_OK;
}

enum vgw__probe_result vgw__process_probe(struct vgw__process *process, int64_t deadline_ms, vgw_error *err)
{
	enum vgw__probe_result result;
	struct vgw__endpoint *endpoint;
	char url[128];

	if (make_endpoint(process, &endpoint, url, sizeof(url), err) != VGW_OK)
		return VGW__PROBE_NOT_YET;
	result = vgw__probe_run(&(const struct vgw__probe){ .endpoint = endpoint,
		.served_name = process->config.served_name, .api_key = process->config.api_key,
		.deadline_ms = deadline_ms, .cancel_fd = vgw_host_get_cancel_fd(process->host) }, err);
	vgw__endpoint_unref(endpoint);
	return result;
}

vgw_status vgw__process_serve(struct vgw__process *process, vgw_error *err)
{
	char url[128];
	vgw_status status;

	/* Remember who runs now: one that leaves the session and its environment later is still found. */
	(void)vgw__tree_look(&process->tree, NULL, NULL);
	vgw__process_set_facts(process);
	(void)make_endpoint(process, NULL, url, sizeof(url), err);
	status = vgw_host_set_endpoint(process->host, url, err);
	if (status != VGW_OK)
		return status;
	process->watched.user = process;
	process->watched.on_ready = on_death;
	process->watched.on_tick = on_tick;
	return vgw__watcher_add(process->kind->watcher, &process->watched, process->child.pidfd, err);
}

void vgw__process_forget(struct vgw__process *process)
{
	vgw__watcher_remove(process->kind->watcher, &process->watched);
	if (!process->has_engine)
		return;
	vgw__subprocess_close(&process->child);
	vgw__tree_fini(&process->tree);
	vgw__engine_log_close(&process->log);
	process->has_engine = false;
	vgw__process_set_facts(process);
}

vgw_status vgw__process_stop(struct vgw__process *process, int64_t grace_ms, int64_t deadline_ms, vgw_error *err)
{
	int64_t now = vgw_now_ms();
	int64_t grace_until = now + grace_ms < deadline_ms ? now + grace_ms : deadline_ms;
	vgw_status status;

	vgw__watcher_remove(process->kind->watcher, &process->watched);
	if (!process->has_engine)
		return VGW_OK;
	(void)vgw__tree_look(&process->tree, NULL, NULL); /* fails for want of memory: the sweep looks again */
	if (!vgw__subprocess_has_ended(&process->child)) {
		vgw__subprocess_signal(&process->child, SIGTERM);
		(void)vgw__subprocess_wait(&process->child, grace_until, vgw_host_get_cancel_fd(process->host));
		if (!process->child.is_child && vgw__subprocess_has_ended(&process->child))
			process->tree.session_until = vgw__proc_now_ticks();
	}
	now = vgw_now_ms();
	status = vgw__tree_kill(&process->tree, now + SWEEP_MS > deadline_ms ? now + SWEEP_MS : deadline_ms, err);
	if (status == VGW_OK)
		vgw__process_forget(process);
	return status;
}

/* --- the operations --- */

static void process_destroy(void *self)
{
	struct vgw__process *process = self;

	if (!process)
		return;
	vgw__process_forget(process);
	vgw__process_config_fini(&process->config);
	vgw__strings_fini(&process->secrets);
	(void)pthread_mutex_destroy(&process->mutex);
	vgw__free(process);
}

static vgw_status process_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user,
	vgw_error *err)
{
	struct vgw__process *process;
	vgw_status status;

	*self = NULL;
	process = vgw__alloc(sizeof(*process));
	if (!process)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	process->host = host;
	process->kind = user;
	process->child.pidfd = -1;
	process->log.fd = -1;
	(void)pthread_mutex_init(&process->mutex, NULL);
	status = vgw__process_config_read(&process->config, spec, err);
	if (status != VGW_OK) {
		process_destroy(process);
		return status;
	}
	if (vgw__redact_has_secret_argument(&process->config.command))
		vgw__log(vgw_host_get_logger(host), VGW_LOG_WARN, "process", spec->model,
			"a key among the arguments can be read by every user of this machine; put it into `env`");
	vgw__process_set_facts(process);
	*self = process;
	return VGW_OK;
}

static vgw_status process_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__process *process = self;
	int64_t now = vgw_now_ms();
	vgw_status status;

	vgw__watcher_remove(process->kind->watcher, &process->watched);
	if (process->has_engine && !vgw__subprocess_has_ended(&process->child) &&
		vgw__process_probe(process, now + CHECK_MS, NULL) == VGW__PROBE_READY)
		return vgw__process_serve(process, err);
	status = vgw__process_stop(process, process->config.stop_timeout_ms, deadline_ms, err);
	if (status == VGW_OK)
		status = vgw__process_launch(process, err);
	now = vgw_now_ms();
	if (process->config.start_timeout_ms < deadline_ms - now)
		deadline_ms = now + process->config.start_timeout_ms;
	if (status == VGW_OK)
		status = vgw__process_wait_ready(process, deadline_ms, err);
	if (status == VGW_OK)
		status = vgw__process_serve(process, err);
	return status;
}

static vgw_status process_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__process *process = self;

	if (depth != VGW_DEPTH_STOP)
		vgw_host_set_depth(process->host, VGW_DEPTH_STOP);
	return vgw__process_stop(process, process->config.stop_timeout_ms, deadline_ms, err);
}

static vgw_status process_probe(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__process *process = self;
	enum vgw__probe_result result;

	if (!process->has_engine || vgw__subprocess_has_ended(&process->child))
		return vgw_error_set(err, VGW_BACKEND, 0, "model '%.60s': its engine does not run",
			process->config.model);
	result = vgw__process_probe(process, deadline_ms, err);
	return result == VGW__PROBE_READY ? VGW_OK : VGW_BACKEND;
}

const vgw_controller_ops vgw__process_ops = {
	.size = sizeof(vgw_controller_ops),
	.kind = "process",
	.flags = VGW_CONTROLLER_PLACEABLE,
	.create = process_create,
	.destroy = process_destroy,
	.activate = process_activate,
	.deactivate = process_deactivate,
	.probe = process_probe,
	.adopt = vgw__process_adopt,
	.describe = process_describe,
};

/* --- what the instances share --- */

vgw_status vgw__process_kind_new(struct vgw__process_kind **out, vgw_error *err)
{
	struct vgw__process_kind *kind;
	vgw_status status;

	*out = NULL;
	kind = vgw__alloc(sizeof(*kind));
	if (!kind)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the kind process");
	status = vgw__watcher_new(&kind->watcher, err);
	if (status != VGW_OK) {
		vgw__free(kind);
		return status;
	}
	vgw__ports_init(&kind->ports);
	*out = kind;
	return VGW_OK;
}

void vgw__process_kind_free(struct vgw__process_kind *kind)
{
	if (!kind)
		return;
	vgw__watcher_free(kind->watcher);
	vgw__ports_fini(&kind->ports);
	vgw__free(kind);
}
