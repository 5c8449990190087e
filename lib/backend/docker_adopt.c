/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a container again after our own restart.
 *
 *   no such container, or its labels are not those of our start .... nothing is touched
 *   ours, and it has ended ......................................... removed
 *   ours, of another configuration, or it does not serve ........... stopped, removed
 *   ours, as configured, and it names our model .................... adopted
 */
#include "backend/docker.h"

#include "backend/host.h"
#include "backend/redact.h"
#include "util/log.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SERVE_MS = 5000, STEP_MS = 50, DAEMON_SIZE = 128 };

struct record {
	char container[VGW__DOCKER_ID];
	char daemon[DAEMON_SIZE];
	char nonce[VGW__NONCE_SIZE];
	char spec[24];
	uint16_t port;
};

static bool is_hexadecimal(const char *text, size_t least)
{
	return strlen(text) >= least && strspn(text, "0123456789abcdef") == strlen(text);
}

static bool read_record(struct record *record, const char *identity)
{
	const char *container, *daemon, *nonce, *spec;
	json_t *root = json_loads(identity, JSON_REJECT_DUPLICATES, NULL);
	json_int_t port;
	bool is_good;

	memset(record, 0, sizeof(*record));
	is_good = root && json_unpack(root, "{s:s, s:s, s:s, s:s, s:I}", "container", &container, "daemon",
		&daemon,
		"nonce", &nonce, "spec", &spec, "port", &port) == 0 && is_hexadecimal(container, 12) &&
		is_hexadecimal(nonce, VGW__NONCE_SIZE - 1) && strlen(container) < sizeof(record->container) &&
		strlen(daemon) < sizeof(record->daemon) && strlen(nonce) < sizeof(record->nonce) &&
		strlen(spec) < sizeof(record->spec) && port > 0 && port <= 65535;
	if (is_good) {
		(void)snprintf(record->container, sizeof(record->container), "%s", container);
		(void)snprintf(record->daemon, sizeof(record->daemon), "%s", daemon);
		(void)snprintf(record->nonce, sizeof(record->nonce), "%s", nonce);
		(void)snprintf(record->spec, sizeof(record->spec), "%s", spec);
		record->port = (uint16_t)port;
	}
	json_decref(root);
	return is_good;
}

static bool is_ours(const struct record *record, const json_t *inspected)
{
	const json_t *labels = json_object_get(json_object_get(inspected, "Config"), "Labels");
	const char *nonce = json_string_value(json_object_get(labels, VGW__LABEL_NONCE));
	const char *spec = json_string_value(json_object_get(labels, VGW__LABEL_SPEC));

	return nonce && spec && strcmp(nonce, record->nonce) == 0 && strcmp(spec, record->spec) == 0;
}

/* Go on with the log where it was left: the file's last change is the last line that came. */
static double open_log(struct vgw__docker *docker)
{
	const char *path = docker->config.log_path;
	struct stat about;

	if (path[0] && stat(path, &about) == 0 && vgw__engine_log_resume(&docker->log, path, NULL) == VGW_OK)
		return (double)about.st_mtim.tv_sec + (double)about.st_mtim.tv_nsec / 1e9;
	if (vgw__engine_log_create(&docker->log, path, NULL) != VGW_OK)
		(void)vgw__engine_log_create(&docker->log, "", NULL);
	return 0;
}

static void collect_secrets(struct vgw__docker *docker)
{
	const struct vgw__docker_launch launch = { .port = docker->port, .instance = "", .nonce = "" };
	struct vgw__strings argv = { 0 }, env = { 0 };
	char *body = NULL;

	vgw__strings_fini(&docker->secrets);
	if (vgw__docker_config_make_body(&docker->config, &launch, &body, &argv, &env, NULL) == VGW_OK)
		(void)vgw__redact_collect(&docker->secrets, &argv, &env);
	free(body);
	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
}

static bool wait_serving(struct vgw__docker *docker, int64_t deadline_ms, char *why, size_t size)
{
	int64_t until = vgw__docker_soonest(deadline_ms, SERVE_MS);

	for (;;) {
		struct pollfd fds[2] = { { .fd = docker->watch.fd, .events = POLLIN },
			{ .fd = vgw_host_get_cancel_fd(docker->host), .events = POLLIN } };
		vgw_error missing = VGW_ERROR_INIT;
		enum vgw__probe_result result = vgw__docker_probe(docker, until, &missing);

		(void)snprintf(why, size, "%s", missing.text);
		if (result == VGW__PROBE_ASLEEP && docker->config.can_sleep)
			return true;
		if (result == VGW__PROBE_READY || result == VGW__PROBE_WRONG_MODEL)
			return result == VGW__PROBE_READY;
		if (vgw_now_ms() >= until || poll(fds, 2, STEP_MS) > 0)
			return false;
	}
}

static vgw_status refuse(struct vgw__docker *docker, const char *why, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__docker_problem problem = { 0 };
	vgw_status status;

	vgw__log(vgw_host_get_logger(docker->host), VGW_LOG_WARN, "docker", docker->config.model,
		"stopping container %.12s of an earlier run: %s", docker->container, why);
	status = vgw__docker_stop(docker, docker->config.stop_timeout_ms, deadline_ms, &problem);
	if (status != VGW_OK)
		return vgw__docker_fail(docker, &problem, err);
	return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': %.150s", docker->config.model, why);
}

/* The container is there and bears the labels of our start. */
static vgw_status take(struct vgw__docker *docker, const struct record *record, bool is_running,
	int64_t deadline_ms,
	vgw_error *err)
{
	struct vgw__docker_problem problem = { 0 };
	char why[200];

	vgw__docker_hold(docker, record->container);
	memcpy(docker->nonce, record->nonce, sizeof(docker->nonce));
	memset(&docker->classifier, 0, sizeof(docker->classifier));
	docker->port = record->port;
	docker->started_ms = vgw_now_ms();
	if (!is_running)
		return refuse(docker, "it has ended", deadline_ms, err);
	if (strcmp(record->spec, docker->config.hash) != 0 || docker->daemon != docker->home)
		return refuse(docker, "its configuration has changed", deadline_ms, err);
	collect_secrets(docker);
	if (vgw__docker_take_hold(docker, open_log(docker), deadline_ms, &problem) != VGW_OK)
		return refuse(docker, problem.text, deadline_ms, err);
	vgw__docker_set_facts(docker);
	if (!wait_serving(docker, deadline_ms, why, sizeof(why)))
		return refuse(docker, why, deadline_ms, err);
	vgw__log(vgw_host_get_logger(docker->host), VGW_LOG_INFO, "docker", docker->config.model,
		"adopted container %.12s", docker->container);
	return vgw__docker_serve(docker, err);
}

vgw_status vgw__docker_adopt(void *self, const char *identity, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__docker *docker = self;
	struct vgw__docker_problem problem = { 0 };
	struct vgw__docker_state state;
	struct record record;
	json_t *inspected = NULL;
	vgw_status status;

	if (docker->container[0])
		return vgw_error_set(err, VGW_EXISTS, 0, "model '%.60s' has a container already",
			docker->config.model);
	if (!identity || !read_record(&record, identity))
		return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': the record of its container "
			"is broken",
			docker->config.model);
	status = vgw__docker_find_daemon(docker->kind, record.daemon, vgw_host_get_logger(docker->host),
		&docker->daemon, err);
	if (status != VGW_OK) {
		docker->daemon = docker->home;
		return status;
	}
	status = vgw__docker_inspect(&docker->daemon->client, record.container, deadline_ms,
		vgw_host_get_cancel_fd(docker->host), &inspected, &problem);
	vgw__docker_read_state(&state, inspected);
	if (status != VGW_OK && problem.trouble != VGW__DOCKER_NO_CONTAINER)
		status = vgw__docker_fail(docker, &problem, err);
	else if (status != VGW_OK || !is_ours(&record, inspected))
		status = vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': its container %.12s is gone",
			docker->config.model, record.container);
	else
		status = take(docker, &record, state.is_running, deadline_ms, err);
	json_decref(inspected);
	if (docker->container[0] == '\0')
		docker->daemon = docker->home;
	return status;
}
