/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing an engine up.
 *
 *   port, nonce ──► arguments, environment ──► log file ──► spawn ──► wait: ended? cancelled? listening? ──► probe
 *
 * Whose listener is it that answers the probe? The port was chosen fresh, is none of the last hundred this program
 * gave out (no orphan of ours has it), nobody accepted connections there just before the spawn, and it names our
 * model. Its pid is not asked for: with a container runtime or a wrapper in the command it would be a stranger's. */
#include "backend/process.h"

#include "backend/host.h"
#include "backend/redact.h"
#include "util/duration.h"
#include "util/log.h"
#include "util/random.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	EAGER_MS = 2000,       /* how long to look every EAGER_STEP_MS */
	EAGER_STEP_MS = 10,
	STEP_MS = 25,          /* after that; a connect() to a closed local port costs microseconds */
	PROBE_STEP_MS = 40,    /* between two probes of an engine that listens but does not serve yet */
	PROBE_MS = 1000,       /* the longest one probe may take */
	WRONG_MODEL_MS = 1000, /* how long another model's name may be listed before we believe it */
	TEXT_SIZE = 240,
};

/* --- launching --- */

static vgw_status choose_port(struct vgw__process *process, vgw_error *err)
{
	process->port = process->config.port;
	if (process->port == 0)
		return vgw__ports_choose(&process->kind->ports, process->config.host, &process->port, err);
	if (!vgw__ports_is_listening(process->config.host, process->port))
		return VGW_OK;
	return vgw_error_set_fault(err, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
		"model '%.60s': somebody else listens on port %u", process->config.model, (unsigned)process->port);
}

/* A log that cannot be written is no reason not to serve. */
static vgw_status open_log(struct vgw__process *process, vgw_error *err)
{
	vgw_error why = VGW_ERROR_INIT;

	if (vgw__engine_log_create(&process->log, process->config.log_path, &why) == VGW_OK)
		return VGW_OK;
	vgw__log(vgw_host_get_logger(process->host), VGW_LOG_WARN, "process", process->config.model,
		"%s; its output is kept in memory", why.text);
	return vgw__engine_log_create(&process->log, "", err);
}

/* The failure the residency goes by, the error a client is told, and our own log: all without secrets. */
static vgw_status fail(const struct vgw__process *process, vgw_status status, vgw_fault fault, vgw_failure failure,
	const char *text, vgw_error *err)
{
	vgw_host_set_failure(process->host, failure, text);
	return vgw_error_set_fault(err, status, fault, "model '%.60s': %s", process->config.model, text);
}

static vgw_status spawn(struct vgw__process *process, const char *nonce, const struct vgw__strings *argv,
	const struct vgw__strings *env, vgw_error *err)
{
	const struct vgw__spawn_request request = {
		.argv = (const char *const *)argv->items, .env = (const char *const *)env->items,
		.cwd = process->config.cwd, .output_fd = process->log.fd,
	};
	vgw_error why = VGW_ERROR_INIT;
	vgw_status status = vgw__subprocess_spawn(&process->child, &request, &why);

	if (status != VGW_OK) {
		vgw__engine_log_close(&process->log);
		(void)fail(process, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED,
			status == VGW_INVALID ? VGW_FAILURE_USER : VGW_FAILURE_UNKNOWN, why.text, err);
		return VGW_BACKEND;
	}
	vgw__tree_init(&process->tree, &process->child.identity, nonce);
	memset(&process->classifier, 0, sizeof(process->classifier));
	process->started_ms = vgw_now_ms();
	process->has_engine = true;
	vgw__process_set_facts(process);
	vgw__log(vgw_host_get_logger(process->host), VGW_LOG_INFO, "process", process->config.model,
		"started pid %d, port %u", (int)process->child.identity.pid, (unsigned)process->port);
	return VGW_OK;
}

vgw_status vgw__process_launch(struct vgw__process *process, vgw_error *err)
{
	struct vgw__strings argv = { 0 }, env = { 0 };
	char nonce[VGW__NONCE_SIZE] = "", port[8];
	const struct vgw__launch launch = {
		.port = port, .nonce = nonce, .devices = vgw_host_get_devices(process->host),
		.share = vgw_host_get_memory_share(process->host),
	};
	vgw_status status = VGW_OK;

	if (!vgw__random_hex(nonce, sizeof(nonce)))
		return vgw_error_set(err, VGW_INTERNAL, errno, "the system gives no random numbers");
	status = choose_port(process, err);
	(void)snprintf(port, sizeof(port), "%u", (unsigned)process->port);
	if (status == VGW_OK)
		status = vgw__process_config_expand(&process->config, &launch, &argv, &env, err);
	vgw__strings_fini(&process->secrets);
	if (status == VGW_OK && !vgw__redact_collect(&process->secrets, &argv, &env))
		status = vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory to start it",
			process->config.model);
	if (status == VGW_OK)
		status = open_log(process, err);
	if (status == VGW_OK)
		status = spawn(process, nonce, &argv, &env, err);
	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
	return status;
}

/* --- saying why it did not come up --- */

static vgw_status fail_ended(struct vgw__process *process, vgw_error *err)
{
	char text[TEXT_SIZE], line[TEXT_SIZE], how[VGW__EXIT_TEXT], after[VGW__DURATION_TEXT];
	struct vgw__exit end;
	size_t living = 0;

	vgw__engine_log_drain(&process->log, vgw__process_take_line, process);
	vgw__subprocess_get_exit(&process->child, &end);
	(void)vgw__tree_look(&process->tree, &living, NULL);
	vgw__process_get_line(process, line, sizeof(line));
	(void)snprintf(text, sizeof(text), "%s %s after it was started%s%s%.150s", vgw__exit_describe(how, &end),
		vgw__format_duration(after, vgw_now_ms() - process->started_ms),
		living > 0 ? ", leaving processes behind (use exec in a wrapper)" : "", line[0] ? ": " : "", line);
	return fail(process, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED, process->classifier.failure, text, err);
}

static vgw_status fail_late(struct vgw__process *process, const char *missing, vgw_error *err)
{
	char text[TEXT_SIZE], line[TEXT_SIZE], after[VGW__DURATION_TEXT];

	vgw__process_get_line(process, line, sizeof(line));
	(void)snprintf(text, sizeof(text), "not ready after %s: %.100s%s%.100s",
		vgw__format_duration(after, vgw_now_ms() - process->started_ms),
		missing[0] ? missing : "it does not listen", line[0] ? "; last line: " : "", line);
	return fail(process, VGW_TIMEOUT, VGW_FAULT_MODEL_START_TIMEOUT, process->classifier.failure, text, err);
}

/* --- waiting --- */

struct wait {
	int64_t deadline_ms;
	int64_t wrong_since_ms; /* 0: no other model was listed */
	vgw_error why;          /* what the last probe missed */
};

/* One look at the engine's port. True: it serves, or is_failed. */
static bool look(struct vgw__process *process, struct wait *wait, bool *is_failed, int64_t *step_ms)
{
	int64_t now = vgw_now_ms();
	int64_t probe_until = now + PROBE_MS < wait->deadline_ms ? now + PROBE_MS : wait->deadline_ms;
	enum vgw__probe_result result;

	if (!vgw__ports_is_listening(process->config.host, process->port))
		return false;
	*step_ms = PROBE_STEP_MS;
	memset(&wait->why, 0, sizeof(wait->why));
	result = vgw__process_probe(process, probe_until, &wait->why);
	if (result != VGW__PROBE_WRONG_MODEL)
		wait->wrong_since_ms = 0;
	else if (wait->wrong_since_ms == 0)
		wait->wrong_since_ms = now;
	else
		*is_failed = now - wait->wrong_since_ms >= WRONG_MODEL_MS;
	return result == VGW__PROBE_READY || *is_failed;
}

vgw_status vgw__process_wait_ready(struct vgw__process *process, int64_t deadline_ms, vgw_error *err)
{
	int cancel_fd = vgw_host_get_cancel_fd(process->host);
	struct wait wait = { .deadline_ms = deadline_ms };
	bool is_failed = false;

	for (;;) {
		int64_t now = vgw_now_ms();
		int64_t step_ms = now - process->started_ms < EAGER_MS ? EAGER_STEP_MS : STEP_MS;
		enum vgw__wait woken;

		(void)vgw__engine_log_read(&process->log, vgw__process_take_line, process);
		vgw__engine_log_trim(&process->log, VGW__LOG_CEILING_BYTES);
		if (look(process, &wait, &is_failed, &step_ms)) {
			if (!is_failed && !vgw__subprocess_has_ended(&process->child))
				return VGW_OK;
			if (is_failed)
				return fail(process, VGW_BACKEND, VGW_FAULT_MODEL_START_FAILED, VGW_FAILURE_USER,
					wait.why.text, err);
		}
		now = vgw_now_ms();
		woken = vgw__subprocess_wait(&process->child,
			now + step_ms < deadline_ms ? now + step_ms : deadline_ms, cancel_fd);
		if (woken == VGW__WAIT_EXITED)
			return fail_ended(process, err);
		if (woken == VGW__WAIT_CANCELLED || vgw_host_is_cancelled(process->host))
			return vgw_error_set(err, VGW_CANCELLED, 0, "model '%.60s': its start was given up",
				process->config.model);
		if (vgw_now_ms() >= deadline_ms)
			return fail_late(process, wait.why.text, err);
	}
}
