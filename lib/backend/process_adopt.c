/* SPDX-License-Identifier: Apache-2.0 */
/* Finding an engine again after our own restart.
 *
 *   identity of another boot, or broken ........................ nothing is touched
 *   that very process is gone .................................. what carries our nonce is swept
 *   it lives, but nothing shows that we started it ............. nothing is touched
 *   ours, of another configuration, or it does not serve ....... stopped
 *   ours, as configured, and it names our model ................ adopted
 *   ours, as configured, asleep as it may be ................... adopted
 */
#include "backend/process.h"

#include "backend/host.h"
#include "backend/redact.h"
#include "util/log.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SERVE_MS = 5000, STEP_MS = 50, SWEEP_MS = 2000 };

struct record {
	struct vgw__process_identity who;
	uint16_t port;
	char args_hash[17];
	char nonce[VGW__NONCE_SIZE];
};

/* An empty or shorter nonce would find strangers. */
static bool is_nonce(const char *text)
{
	return strlen(text) == VGW__NONCE_SIZE - 1 && strspn(text, "0123456789abcdef") == VGW__NONCE_SIZE - 1;
}

static bool read_record(struct record *record, const char *identity)
{
	const char *boot_id, *args_hash, *nonce;
	json_int_t pid, start_time, port;
	json_t *root = json_loads(identity, JSON_REJECT_DUPLICATES, NULL);
	bool is_good;

	memset(record, 0, sizeof(*record));
	is_good = root && json_unpack(root, "{s:I, s:I, s:s, s:I, s:s, s:s}", "pid", &pid, "start_time", &start_time,
		"boot_id", &boot_id, "port", &port, "args_hash", &args_hash, "nonce", &nonce) == 0 && pid > 1 &&
		pid <= INT32_MAX && start_time > 0 && port > 0 && port <= 65535 && is_nonce(nonce) &&
		strlen(boot_id) < sizeof(record->who.boot_id) && strlen(args_hash) < sizeof(record->args_hash);
	if (is_good) {
		record->who.pid = (pid_t)pid;
		record->who.start_time = (uint64_t)start_time;
		record->port = (uint16_t)port;
		(void)snprintf(record->who.boot_id, sizeof(record->who.boot_id), "%s", boot_id);
		(void)snprintf(record->args_hash, sizeof(record->args_hash), "%s", args_hash);
		(void)snprintf(record->nonce, sizeof(record->nonce), "%s", nonce);
	}
	json_decref(root);
	return is_good;
}

/* Its environment holds our nonce. Programs that set their title write over it; then it must be the leader of its
 * session, as we start them, and write into our log file. */
static bool is_ours(const struct vgw__process *process, const struct record *record)
{
	enum vgw__proc_env match = vgw__proc_match_env(record->who.pid, VGW__NONCE_NAME, record->nonce);
	struct vgw__proc_stat about;
	struct stat output, log;
	char path[64];

	if (match == VGW__PROC_ENV_SAME)
		return true;
	if (match != VGW__PROC_ENV_ABSENT || process->config.log_path[0] == '\0')
		return false;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/1", (int)record->who.pid);
	return vgw__proc_read_stat(record->who.pid, &about) && about.session == about.pid &&
		stat(path, &output) == 0 && stat(process->config.log_path, &log) == 0 &&
		output.st_dev == log.st_dev && output.st_ino == log.st_ino;
}

/* The leader is gone; its workers may hold the device still. Only the nonce tells them now. */
static vgw_status sweep_orphans(const struct record *record, int64_t deadline_ms, vgw_error *err)
{
	int64_t at_least_ms = vgw_now_ms() + SWEEP_MS;
	struct vgw__tree tree;
	vgw_status status;

	vgw__tree_init(&tree, &record->who, record->nonce);
	tree.session_until = 0;
	status = vgw__tree_kill(&tree, at_least_ms > deadline_ms ? at_least_ms : deadline_ms, err);
	vgw__tree_fini(&tree);
	if (status != VGW_OK)
		return status;
	return vgw_error_set(err, VGW_NOT_FOUND, 0, "process %d is gone", (int)record->who.pid);
}

/* From here on the engine is held like one we have just started. */
static vgw_status take_hold(struct vgw__process *process, const struct record *record, vgw_error *err)
{
	struct vgw__strings argv = { 0 }, env = { 0 };
	const struct vgw__launch launch = { .port = "0", .nonce = record->nonce };
	vgw_status status;

	if (vgw__engine_log_resume(&process->log, process->config.log_path, NULL) != VGW_OK) {
		status = vgw__engine_log_create(&process->log, "", err); /* the log was deleted: it still serves */
		if (status != VGW_OK)
			return status;
	}
	vgw__tree_init(&process->tree, &record->who, record->nonce);
	memset(&process->classifier, 0, sizeof(process->classifier));
	process->port = record->port;
	process->started_ms = vgw_now_ms();
	process->has_engine = true;
	vgw__strings_fini(&process->secrets);
	if (vgw__process_config_expand(&process->config, &launch, &argv, &env, NULL) == VGW_OK)
		(void)vgw__redact_collect(&process->secrets, &argv, &env);
	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
	return VGW_OK;
}

static bool wait_serving(struct vgw__process *process, int64_t deadline_ms, vgw_error *why)
{
	int64_t until = vgw_now_ms() + SERVE_MS < deadline_ms ? vgw_now_ms() + SERVE_MS : deadline_ms;

	for (;;) {
		enum vgw__probe_result result;

		memset(why, 0, sizeof(*why));
		result = vgw__process_probe(process, until, why);
		if (result == VGW__PROBE_ASLEEP && process->config.can_sleep)
			return true;
		if (result == VGW__PROBE_READY || result == VGW__PROBE_WRONG_MODEL)
			return result == VGW__PROBE_READY;
		if (vgw_now_ms() >= until || vgw__subprocess_wait(&process->child, vgw_now_ms() + STEP_MS,
			vgw_host_get_cancel_fd(process->host)) != VGW__WAIT_TIMEOUT)
			return false;
	}
}

static vgw_status refuse(struct vgw__process *process, const char *why, int64_t deadline_ms, vgw_error *err)
{
	vgw_status status;

	vgw__log(vgw_host_get_logger(process->host), VGW_LOG_WARN, "process", process->config.model,
		"stopping pid %d of an earlier run: %s", (int)process->child.identity.pid, why);
	status = vgw__process_stop(process, process->config.stop_timeout_ms, deadline_ms, err);
	if (status != VGW_OK)
		return status;
	return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': %.150s", process->config.model, why);
}

vgw_status vgw__process_adopt(void *self, const char *identity, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__process *process = self;
	char boot_id[VGW__BOOT_ID_SIZE];
	vgw_error why = VGW_ERROR_INIT;
	struct record record;
	vgw_status status;

	if (process->has_engine)
		return vgw_error_set(err, VGW_EXISTS, 0, "model '%.60s' has an engine already", process->config.model);
	if (!identity || !read_record(&record, identity))
		return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': the record of its engine is broken",
			process->config.model);
	if (!vgw__proc_read_boot_id(boot_id) || strcmp(boot_id, record.who.boot_id) != 0)
		return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': its engine ran before the last boot",
			process->config.model);
	if (vgw__subprocess_open(&process->child, &record.who, NULL) != VGW_OK)
		return sweep_orphans(&record, deadline_ms, err);
	if (!is_ours(process, &record)) {
		vgw__subprocess_close(&process->child);
		return vgw_error_set(err, VGW_NOT_FOUND, 0, "model '%.60s': process %d is not its engine",
			process->config.model, (int)record.who.pid);
	}
	status = take_hold(process, &record, err);
	if (status != VGW_OK) {
		vgw__subprocess_close(&process->child);
		return status;
	}
	if (strcmp(record.args_hash, process->config.args_hash) != 0)
		return refuse(process, "its configuration has changed", deadline_ms, err);
	if (!wait_serving(process, deadline_ms, &why))
		return refuse(process, why.text, deadline_ms, err);
	vgw__log(vgw_host_get_logger(process->host), VGW_LOG_INFO, "process", process->config.model,
		"adopted pid %d, port %u", (int)record.who.pid, (unsigned)record.port);
	return vgw__process_serve(process, err);
}
