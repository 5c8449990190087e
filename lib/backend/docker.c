/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "docker": a container of a Docker Engine, or of Podman. */
#include "backend/docker.h"

#include "backend/builtin.h"
#include "backend/host.h"
#include "backend/redact.h"
#include "util/alloc.h"
#include "util/duration.h"
#include "util/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CHECK_MS = 2000,      /* a look at a container that is said to run */
	STOP_MARGIN_MS = 10000, /* over the grace, for the engine to answer */
	LAST_LINES_MS = 700,  /* for the log's end to come, once a container has ended */
	REASON_SIZE = 240,
};

/* --- facts --- */

void vgw__docker_set_facts(struct vgw__docker *docker)
{
	vgw_replica_facts facts = { .size = sizeof(facts) };
	json_t *identity = NULL;
	char *text = NULL;

	if (docker->container[0]) {
		(void)snprintf(facts.container, sizeof(facts.container), "%s", docker->container);
		identity = json_pack("{s:s, s:s, s:s, s:s, s:i}", "container", docker->container, "daemon",
			docker->daemon->client.name, "nonce", docker->nonce, "spec", docker->config.hash, "port",
			(int)docker->port);
		text = identity ? json_dumps(identity, JSON_COMPACT) : NULL;
		(void)snprintf(facts.identity, sizeof(facts.identity), "%s", text ? text : "");
		free(text);
		json_decref(identity);
	}
	(void)snprintf(facts.log_path, sizeof(facts.log_path), "%s",
		docker->log.fd >= 0 ? docker->log.path : docker->config.log_path);
	(void)pthread_mutex_lock(&docker->mutex);
	docker->facts = facts;
	(void)pthread_mutex_unlock(&docker->mutex);
}

static void docker_describe(void *self, vgw_replica_facts *facts)
{
	struct vgw__docker *docker = self;
	size_t size = facts->size;

	(void)pthread_mutex_lock(&docker->mutex);
	memcpy(facts, &docker->facts, size < sizeof(*facts) ? size : sizeof(*facts));
	(void)pthread_mutex_unlock(&docker->mutex);
	facts->size = size;
}

/* --- what went wrong --- */

vgw_status vgw__docker_fail(struct vgw__docker *docker, const struct vgw__docker_problem *problem, vgw_error *err)
{
	vgw_fault fault = VGW_FAULT_MODEL_START_FAILED;

	if (problem->status == VGW_CANCELLED)
		return vgw_error_set(err, VGW_CANCELLED, 0, "model '%.60s': %.160s", docker->config.model,
			problem->text);
	if (problem->failure == VGW_FAILURE_RUNTIME)
		fault = VGW_FAULT_RUNTIME_UNAVAILABLE;
	else if (problem->status == VGW_TIMEOUT)
		fault = VGW_FAULT_MODEL_START_TIMEOUT;
	vgw_host_set_failure(docker->host, problem->failure, problem->text);
	return vgw_error_set_fault(err, problem->status, fault, "model '%.60s': %s", docker->config.model,
		problem->text);
}

void vgw__docker_take_line(void *user, const char *line, size_t len)
{
	struct vgw__docker *docker = user;

	if (vgw__classify_line(&docker->classifier, line, len))
		vgw_host_set_progress(docker->host, docker->classifier.percent, docker->classifier.progress);
}

static void keep_last_line(void *user, const char *line, size_t len)
{
	struct vgw__docker *docker = user;

	(void)vgw__classify_line(&docker->classifier, line, len);
}

/* A process that a signal ended is 128 and the signal to Docker. */
static void describe_code(const struct vgw__docker_state *state, char *out, size_t size)
{
	if (state->is_oom_killed)
		(void)snprintf(out, size, "killed because it took more memory than it may (exit code %d)",
			state->exit_code);
	else if (state->exit_code == 128 + SIGKILL)
		(void)snprintf(out, size, "exit code 137 (killed by SIGKILL)");
	else if (state->exit_code == 128 + SIGTERM)
		(void)snprintf(out, size, "exit code 143 (ended by SIGTERM)");
	else if (state->exit_code == 128 + SIGSEGV)
		(void)snprintf(out, size, "exit code 139 (crashed with SIGSEGV)");
	else if (state->exit_code >= 0)
		(void)snprintf(out, size, "exit code %d", state->exit_code);
	else
		(void)snprintf(out, size, "its container was removed");
}

void vgw__docker_describe_end(struct vgw__docker *docker, const struct vgw__docker_state *state, char *out,
	size_t size)
{
	char line[REASON_SIZE], how[80], after[VGW__DURATION_TEXT];
	const char *last;

	vgw__docker_logs_stop(docker->logs, LAST_LINES_MS);
	docker->logs = NULL;
	vgw__engine_log_drain(&docker->log, keep_last_line, docker);
	last = vgw__classify_get_line(&docker->classifier);
	vgw__redact_line(line, sizeof(line), last, strlen(last), &docker->secrets);
	describe_code(state, how, sizeof(how));
	(void)snprintf(out, size, "%s after %s%s%.140s", how,
		vgw__format_duration(after, vgw_now_ms() - docker->started_ms), line[0] ? ": " : "", line);
}

/* --- the death nobody asked for: on the watcher's thread --- */

static void on_death(struct vgw__watched *watched)
{
	struct vgw__docker *docker = watched->user;
	struct vgw__docker_state state = { 0 };
	struct vgw__docker_problem problem = { 0 };
	json_t *inspected;
	char reason[REASON_SIZE];

	if (vgw__docker_inspect(&docker->daemon->client, docker->container, vgw_now_ms() + CHECK_MS, -1,
		&inspected,
		&problem) == VGW_OK)
		vgw__docker_read_state(&state, inspected);
	else
		state.exit_code = vgw__docker_watch_get_exit(docker->daemon->events, &docker->watch);
	json_decref(inspected);
	memset(&docker->classifier, 0, sizeof(docker->classifier));
	vgw__docker_describe_end(docker, &state, reason, sizeof(reason));
	vgw__log(vgw_host_get_logger(docker->host), VGW_LOG_WARN, "docker", docker->config.model,
		"container %.12s died: %s", docker->container, reason);
	vgw_host_report_death(docker->host, reason);
}

static void on_tick(struct vgw__watched *watched)
{
	struct vgw__docker *docker = watched->user;

	vgw__engine_log_trim(&docker->log, VGW__LOG_CEILING_BYTES);
}

/* --- the container --- */

enum vgw__probe_result vgw__docker_probe(struct vgw__docker *docker, int64_t deadline_ms, vgw_error *err)
{
	enum vgw__probe_result result;
	struct vgw__endpoint *endpoint;

	if (vgw__endpoint_new(&endpoint, docker->url, err) != VGW_OK)
		return VGW__PROBE_NOT_YET;
	result = vgw__probe_run(&(const struct vgw__probe){ .endpoint = endpoint,
		.served_name = docker->config.served_name, .api_key = docker->config.api_key,
		.deadline_ms = deadline_ms, .cancel_fd = vgw_host_get_cancel_fd(docker->host) }, err);
	vgw__endpoint_unref(endpoint);
	return result;
}

vgw_status vgw__docker_serve(struct vgw__docker *docker, vgw_error *err)
{
	vgw_status status;

	vgw__docker_set_facts(docker);
	status = vgw_host_set_endpoint(docker->host, docker->url, err);
	if (status != VGW_OK)
		return status;
	docker->watched.user = docker;
	docker->watched.on_ready = on_death;
	docker->watched.on_tick = on_tick;
	return vgw__watcher_add(docker->kind->watcher, &docker->watched, docker->watch.fd, err);
}

void vgw__docker_forget(struct vgw__docker *docker)
{
	vgw__watcher_remove(docker->kind->watcher, &docker->watched);
	vgw__docker_watch_remove(docker->daemon->events, &docker->watch);
	vgw__docker_logs_stop(docker->logs, 0);
	docker->logs = NULL;
	vgw__engine_log_close(&docker->log);
	vgw__docker_hold(docker, "");
	docker->daemon = docker->home;
	docker->url[0] = '\0';
	vgw__docker_set_facts(docker);
}

/* Let it end by itself; what comes next does not depend on whether it did. */
static void ask_to_stop(struct vgw__docker *docker, int64_t grace_ms, int64_t deadline_ms)
{
	char path[VGW__DOCKER_ID + 48];
	struct vgw__docker_call call = { .doing = "stop its container", .method = "POST", .path = path,
		.cancel_fd = vgw_host_get_cancel_fd(docker->host) };
	struct vgw__control_answer answer;
	struct vgw__docker_problem ignored;

	if (grace_ms > deadline_ms - vgw_now_ms())
		grace_ms = deadline_ms > vgw_now_ms() ? deadline_ms - vgw_now_ms() : 0;
	call.deadline_ms = vgw__docker_soonest(deadline_ms, grace_ms + STOP_MARGIN_MS);
	(void)snprintf(path, sizeof(path), "/containers/%s/stop?t=%lld", docker->container,
		(long long)((grace_ms + 500) / 1000));
	(void)vgw__docker_call(&docker->daemon->client, &call, &answer, &ignored);
	vgw__control_answer_fini(&answer);
}

vgw_status vgw__docker_stop(struct vgw__docker *docker, int64_t grace_ms, int64_t deadline_ms,
	struct vgw__docker_problem *problem)
{
	vgw_status status;

	vgw__watcher_remove(docker->kind->watcher, &docker->watched);
	vgw__docker_watch_remove(docker->daemon->events, &docker->watch);
	if (docker->container[0] == '\0') {
		status = docker->may_have_lost ? vgw__docker_sweep(docker, deadline_ms, problem) : VGW_OK;
		if (status == VGW_OK)
			vgw__docker_forget(docker);
		return status;
	}
	ask_to_stop(docker, grace_ms, deadline_ms);
	status = vgw__docker_remove(docker->daemon, docker->container, deadline_ms, problem);
	if (status == VGW_OK) {
		vgw__docker_logs_stop(docker->logs, LAST_LINES_MS);
		docker->logs = NULL;
		vgw__docker_forget(docker);
	}
	return status;
}

/* --- the operations --- */

static void docker_destroy(void *self)
{
	struct vgw__docker *docker = self;

	if (!docker)
		return;
	if (docker->home)
		vgw__docker_forget(docker);
	(void)pthread_mutex_lock(&docker->kind->mutex);
	vgw__list_remove(&docker->link);
	(void)pthread_mutex_unlock(&docker->kind->mutex);
	vgw__docker_config_fini(&docker->config);
	vgw__strings_fini(&docker->secrets);
	(void)pthread_mutex_destroy(&docker->mutex);
	vgw__free(docker);
}

static vgw_status docker_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user,
	vgw_error *err)
{
	struct vgw__docker *docker;
	vgw_status status;

	*self = NULL;
	docker = vgw__alloc(sizeof(*docker));
	if (!docker)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	docker->host = host;
	docker->kind = user;
	docker->log.fd = -1;
	(void)pthread_mutex_init(&docker->mutex, NULL);
	vgw__list_init(&docker->link);
	status = vgw__docker_config_read(&docker->config, spec, err);
	if (status == VGW_OK)
		status = vgw__docker_find_daemon(docker->kind, docker->config.socket, vgw_host_get_logger(host),
			&docker->home, err);
	if (status != VGW_OK) {
		docker_destroy(docker);
		return status;
	}
	docker->daemon = docker->home;
	(void)pthread_mutex_lock(&docker->kind->mutex);
	vgw__list_append(&docker->kind->instances, &docker->link);
	(void)pthread_mutex_unlock(&docker->kind->mutex);
	vgw__docker_set_facts(docker);
	*self = docker;
	return VGW_OK;
}

static bool is_running(struct vgw__docker *docker)
{
	struct vgw__docker_problem problem;
	struct vgw__docker_state state = { 0 };
	json_t *inspected;

	if (docker->container[0] == '\0' || docker->url[0] == '\0' || !docker->watch.is_added || !docker->logs)
		return false;
	if (vgw__docker_inspect(&docker->daemon->client, docker->container, vgw_now_ms() + CHECK_MS,
		vgw_host_get_cancel_fd(docker->host), &inspected, &problem) == VGW_OK)
		vgw__docker_read_state(&state, inspected);
	json_decref(inspected);
	return state.is_running;
}

static vgw_status docker_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__docker *docker = self;
	struct vgw__docker_problem problem = { 0 };
	vgw_status status;

	vgw__watcher_remove(docker->kind->watcher, &docker->watched);
	if (is_running(docker) && vgw__docker_probe(docker, vgw_now_ms() + CHECK_MS, NULL) == VGW__PROBE_READY)
		return vgw__docker_serve(docker, err);
	status = vgw__docker_stop(docker, docker->config.stop_timeout_ms, deadline_ms, &problem);
	if (status != VGW_OK)
		return vgw__docker_fail(docker, &problem, err);
	status = vgw__docker_launch(docker, deadline_ms, err);
	if (status == VGW_OK)
		status = vgw__docker_wait_ready(docker,
			vgw__docker_soonest(deadline_ms, docker->config.start_timeout_ms), err);
	if (status == VGW_OK)
		status = vgw__docker_serve(docker, err);
	return status;
}

static vgw_status docker_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__docker *docker = self;
	struct vgw__docker_problem problem = { 0 };

	if (depth != VGW_DEPTH_STOP)
		vgw_host_set_depth(docker->host, VGW_DEPTH_STOP);
	if (vgw__docker_stop(docker, docker->config.stop_timeout_ms, deadline_ms, &problem) == VGW_OK)
		return VGW_OK;
	return vgw__docker_fail(docker, &problem, err);
}

static vgw_status docker_probe(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__docker *docker = self;
	enum vgw__probe_result result;

	if (docker->url[0] == '\0')
		return vgw_error_set(err, VGW_BACKEND, 0, "model '%.60s': its container does not run",
			docker->config.model);
	result = vgw__docker_probe(docker, deadline_ms, err);
	return result == VGW__PROBE_READY ? VGW_OK : VGW_BACKEND;
}

const vgw_controller_ops vgw__docker_ops = {
	.size = sizeof(vgw_controller_ops),
	.kind = "docker",
	.flags = VGW_CONTROLLER_PLACEABLE,
	.create = docker_create,
	.destroy = docker_destroy,
	.activate = docker_activate,
	.deactivate = docker_deactivate,
	.probe = docker_probe,
	.adopt = vgw__docker_adopt,
	.describe = docker_describe,
};
