/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing a container up.
 *
 *   sweep leftovers ──► image ──► create, under a free name ──► start ──► watch, log, address ──► wait: ended?
 *   cancelled? serving?
 *
 * How the engine is reached: by a port published on an address of the engine's machine (the default: 127.0.0.1); by
 * the container's own address when a network is named, which works from the machine itself and from a gateway that
 * is in that network; by 127.0.0.1 with the network of the host.
 */
#include "backend/docker.h"

#include "backend/docker_image.h"
#include "backend/host.h"
#include "backend/redact.h"
#include "util/alloc.h"
#include "util/duration.h"
#include "util/log.h"
#include "util/random.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	EAGER_MS = 5000,
	EAGER_STEP_MS = 40,
	STEP_MS = 100,
	PROBE_MS = 1000,
	WRONG_MODEL_MS = 1000, /* how long another model's name may be listed before we believe it */
	TEXT_SIZE = 240,
};

/* --- where it listens --- */

/* The machine's name in "http://host:2375"; 127.0.0.1 by a socket. */
static void get_machine(const struct vgw__docker_client *client, char *out, size_t size)
{
	const char *host = client->unix_path ? "127.0.0.1" : strstr(client->base, "://") + 3;
	size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

	(void)snprintf(out, size, "%.*s", (int)len, host);
}

/* The first address the container has in any network. */
static const char *get_address(const json_t *inspected)
{
	json_t *networks = json_object_get(json_object_get(inspected, "NetworkSettings"), "Networks");
	const char *name;
	json_t *network;

	json_object_foreach(networks, name, network) {
		const char *address = json_string_value(json_object_get(network, "IPAddress"));

		if (address && address[0])
			return address;
	}
	return NULL;
}

static const char *get_published_port(const struct vgw__docker *docker, const json_t *inspected)
{
	const json_t *ports = json_object_get(json_object_get(inspected, "NetworkSettings"), "Ports");
	char key[16];

	(void)snprintf(key, sizeof(key), "%u/tcp", (unsigned)docker->port);
	return json_string_value(json_object_get(json_array_get(json_object_get(ports, key), 0), "HostPort"));
}

static vgw_status find_url(struct vgw__docker *docker, const json_t *inspected,
	struct vgw__docker_problem *problem)
{
	const char *published = docker->config.publish_address;
	const char *port = published ? get_published_port(docker, inspected) : NULL;
	const char *address = get_address(inspected);
	char machine[128];

	if (docker->config.shares_host) {
		get_machine(&docker->daemon->client, machine, sizeof(machine));
		(void)snprintf(docker->url, sizeof(docker->url), "http://%s:%u", machine, (unsigned)docker->port);
		return VGW_OK;
	}
	if (published && port) {
		bool is_v6 = strchr(published, ':') != NULL;

		(void)snprintf(docker->url, sizeof(docker->url), "http://%s%s%s:%s", is_v6 ? "[" : "",
			strcmp(published, "0.0.0.0") == 0 ? "127.0.0.1" : published, is_v6 ? "]" : "", port);
		return VGW_OK;
	}
	if (published || !address)
		return vgw__docker_problem_set(problem, VGW_BACKEND, VGW_FAILURE_USER,
			"its container has no %s; see `network` and `publish_address`",
			published ? "published port" : "address of its own");
	(void)snprintf(docker->url, sizeof(docker->url), "http://%s:%u", address, (unsigned)docker->port);
	return VGW_OK;
}

/* Podman takes the request and forgets it: better to hear of it here than to wonder at the engine's words. */
static void check_gpus(const struct vgw__docker *docker, const json_t *inspected)
{
	const json_t *host = json_object_get(inspected, "HostConfig");

	if (!vgw__docker_config_wants_gpus(&docker->config, vgw_host_get_devices(docker->host)) ||
		json_array_size(json_object_get(host, "DeviceRequests")) > 0)
		return;
	vgw__log(vgw_host_get_logger(docker->host), VGW_LOG_WARN, "docker", docker->config.model,
		"the engine at %s ignores `gpus`, as Podman does: the container has none", docker->daemon->client.name);
}

vgw_status vgw__docker_take_hold(struct vgw__docker *docker, double since, int64_t deadline_ms,
	struct vgw__docker_problem *problem)
{
	struct vgw__docker_state state = { 0 };
	vgw_error why = VGW_ERROR_INIT;
	json_t *inspected = NULL;
	vgw_status status = vgw__docker_watch_add(docker->daemon->events, &docker->watch, docker->container,
		&why);

	if (status == VGW_OK)
		status = vgw__docker_logs_start(&docker->logs, &docker->daemon->client, docker->container,
			docker->log.fd, since, &why);
	if (status != VGW_OK)
		return vgw__docker_problem_set(problem, status, VGW_FAILURE_UNKNOWN, "%s", why.text);
	status = vgw__docker_inspect(&docker->daemon->client, docker->container, deadline_ms,
		vgw_host_get_cancel_fd(docker->host), &inspected, problem);
	if (status != VGW_OK)
		return status;
	vgw__docker_read_state(&state, inspected);
	check_gpus(docker, inspected);
	if (state.is_running)
		status = find_url(docker, inspected, problem);
	else
		(void)eventfd_write(docker->watch.fd, 1); /* before it was watched */
	json_decref(inspected);
	return status;
}

/* --- launching --- */

/* A log that cannot be written is no reason not to serve. */
static vgw_status open_log(struct vgw__docker *docker, vgw_error *err)
{
	vgw_error why = VGW_ERROR_INIT;

	if (vgw__engine_log_create(&docker->log, docker->config.log_path, &why) == VGW_OK)
		return VGW_OK;
	vgw__log(vgw_host_get_logger(docker->host), VGW_LOG_WARN, "docker", docker->config.model,
		"%s; its output is kept in memory", why.text);
	return vgw__engine_log_create(&docker->log, "", err);
}

static vgw_status choose_port(struct vgw__docker *docker, vgw_error *err)
{
	const struct vgw__docker_config *config = &docker->config;

	docker->port = config->port;
	if (!config->shares_host || config->has_port || !vgw__docker_config_uses_port(config))
		return VGW_OK;
	return vgw__ports_choose(&docker->kind->ports, "127.0.0.1", &docker->port, err);
}

static vgw_status make_body(struct vgw__docker *docker, char **out, vgw_error *err)
{
	char instance[VGW__NONCE_SIZE] = "";
	struct vgw__docker_launch launch = { .instance = instance, .nonce = docker->nonce,
		.devices = vgw_host_get_devices(docker->host),
		.share = vgw_host_get_memory_share(docker->host) };
	struct vgw__strings argv = { 0 }, env = { 0 };
	vgw_status status = vgw__docker_get_instance(docker->kind, docker->config.state_dir, instance, err);

	if (status == VGW_OK && !vgw__random_hex(docker->nonce, sizeof(docker->nonce)))
		status = vgw_error_set(err, VGW_INTERNAL, 0, "the system gives no random numbers");
	if (status == VGW_OK)
		status = choose_port(docker, err);
	launch.port = docker->port;
	if (status == VGW_OK)
		status = vgw__docker_config_make_body(&docker->config, &launch, out, &argv, &env, err);
	vgw__strings_fini(&docker->secrets);
	if (status == VGW_OK && !vgw__redact_collect(&docker->secrets, &argv, &env))
		status = vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory", docker->config.model);
	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
	return status;
}

vgw_status vgw__docker_launch(struct vgw__docker *docker, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__docker_problem problem = { 0 };
	char *body = NULL;
	vgw_status status = make_body(docker, &body, err);

	if (status != VGW_OK) {
		free(body);
		return status;
	}
	status = vgw__docker_sweep(docker, deadline_ms, &problem);
	if (status == VGW_OK)
		status = vgw__docker_image_ensure(&docker->daemon->client, &docker->config, docker->host,
			deadline_ms,
			&problem);
	if (status == VGW_OK && open_log(docker, err) != VGW_OK)
		status = vgw__docker_problem_set(&problem, VGW_BACKEND, VGW_FAILURE_UNKNOWN,
			"no file for its log");
	if (status == VGW_OK)
		status = vgw__docker_create(docker, body, deadline_ms, &problem);
	free(body);
	if (status == VGW_OK) {
		memset(&docker->classifier, 0, sizeof(docker->classifier));
		docker->started_ms = vgw_now_ms();
		vgw__log(vgw_host_get_logger(docker->host), VGW_LOG_INFO, "docker", docker->config.model,
			"started container %.12s of image %s", docker->container, docker->config.image);
		status = vgw__docker_take_hold(docker, 0, deadline_ms, &problem);
	}
	vgw__docker_set_facts(docker);
	return status == VGW_OK ? VGW_OK : vgw__docker_fail(docker, &problem, err);
}

/* --- waiting --- */

static vgw_status fail_ended(struct vgw__docker *docker, vgw_error *err)
{
	struct vgw__docker_problem problem = { .trouble = VGW__DOCKER_OTHER };
	struct vgw__docker_state state = { .exit_code = -1 };
	json_t *inspected;
	char text[TEXT_SIZE];

	if (vgw__docker_inspect(&docker->daemon->client, docker->container, INT64_MAX,
		vgw_host_get_cancel_fd(docker->host), &inspected, &problem) == VGW_OK)
		vgw__docker_read_state(&state, inspected);
	else
		state.exit_code = vgw__docker_watch_get_exit(docker->daemon->events, &docker->watch);
	json_decref(inspected);
	vgw__docker_describe_end(docker, &state, text, sizeof(text));
	(void)vgw__docker_problem_set(&problem, VGW_BACKEND, docker->classifier.failure, "%s", text);
	if (state.is_oom_killed && problem.failure == VGW_FAILURE_UNKNOWN)
		problem.failure = VGW_FAILURE_MEMORY;
	return vgw__docker_fail(docker, &problem, err);
}

static vgw_status fail_late(struct vgw__docker *docker, const char *missing, vgw_error *err)
{
	struct vgw__docker_problem problem = { .trouble = VGW__DOCKER_OTHER };
	char line[TEXT_SIZE], after[VGW__DURATION_TEXT];
	const char *last = vgw__classify_get_line(&docker->classifier);

	vgw__redact_line(line, sizeof(line), last, strlen(last), &docker->secrets);
	(void)vgw__docker_problem_set(&problem, VGW_TIMEOUT, docker->classifier.failure,
		"not ready after %s: %.100s%s%.100s", vgw__format_duration(after,
			vgw_now_ms() - docker->started_ms),
		missing[0] ? missing : "it does not listen", line[0] ? "; last line: " : "", line);
	return vgw__docker_fail(docker, &problem, err);
}

enum waited { WAITED, ENDED, CANCELLED };

static enum waited wait_a_step(struct vgw__docker *docker, int64_t deadline_ms)
{
	int64_t now = vgw_now_ms();
	int64_t step_ms = now - docker->started_ms < EAGER_MS ? EAGER_STEP_MS : STEP_MS;
	struct pollfd fds[2] = { { .fd = docker->watch.fd, .events = POLLIN },
		{ .fd = vgw_host_get_cancel_fd(docker->host), .events = POLLIN } };

	if (step_ms > deadline_ms - now)
		step_ms = deadline_ms > now ? deadline_ms - now : 0;
	(void)poll(fds, 2, (int)step_ms);
	if (fds[0].revents)
		return ENDED;
	return fds[1].revents || vgw_host_is_cancelled(docker->host) ? CANCELLED : WAITED;
}

vgw_status vgw__docker_wait_ready(struct vgw__docker *docker, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__docker_problem problem = { .trouble = VGW__DOCKER_OTHER };
	int64_t wrong_since_ms = 0;

	for (;;) {
		enum vgw__probe_result result = VGW__PROBE_NOT_YET;
		vgw_error why = VGW_ERROR_INIT;
		enum waited waited = wait_a_step(docker, deadline_ms);
		int64_t now = vgw_now_ms();

		(void)vgw__engine_log_read(&docker->log, vgw__docker_take_line, docker);
		vgw__engine_log_trim(&docker->log, VGW__LOG_CEILING_BYTES);
		if (waited == ENDED)
			return fail_ended(docker, err);
		if (waited == CANCELLED)
			return vgw_error_set(err, VGW_CANCELLED, 0, "model '%.60s': its start was given up",
				docker->config.model);
		result = vgw__docker_probe(docker, vgw__docker_soonest(deadline_ms, PROBE_MS), &why);
		if (result == VGW__PROBE_READY)
			return VGW_OK;
		if (result != VGW__PROBE_WRONG_MODEL)
			wrong_since_ms = 0;
		else if (wrong_since_ms == 0)
			wrong_since_ms = now;
		else if (now - wrong_since_ms >= WRONG_MODEL_MS) {
			(void)vgw__docker_problem_set(&problem, VGW_BACKEND, VGW_FAILURE_USER, "%s", why.text);
			return vgw__docker_fail(docker, &problem, err);
		}
		if (vgw_now_ms() >= deadline_ms)
			return fail_late(docker, why.text, err);
	}
}
