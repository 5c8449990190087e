/* SPDX-License-Identifier: Apache-2.0 */
/* From the `backend:` mapping to arguments and environment of one start. */
#include "backend/process_config.h"

#include "backend/engine_log.h"
#include "backend/placed.h"
#include "backend/ports.h"
#include "backend/process_env.h"
#include "backend/settings.h"
#include "backend/template.h"
#include "util/alloc.h"
#include "util/hash.h"
#include "util/tree.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_START_MS (INT64_C(20) * 60 * 1000)
#define DEFAULT_STOP_MS (INT64_C(30) * 1000)

static vgw_status no_memory(const vgw_replica_spec *spec, vgw_error *err)
{
	return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
}

static bool copy_text(char **out, const char *text)
{
	*out = text ? vgw__strdup(text) : NULL;
	return !text || *out;
}

/* --- reading --- */

static vgw_status read_texts(struct vgw__process_config *config, const struct vgw__settings *settings,
	const vgw_replica_spec *spec, vgw_error *err)
{
	const char *host = "127.0.0.1", *cwd = NULL, *api_key = NULL;
	char log_path[VGW__LOG_PATH_SIZE] = "";
	vgw_status status = vgw__settings_get_text(settings, "host", &host, err);

	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "cwd", &cwd, err);
	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "api_key", &api_key, err);
	if (status != VGW_OK)
		return status;
	if (spec->state_dir && !vgw__engine_log_make_path(log_path, spec->state_dir, spec->model, spec->replica))
		return vgw_error_set(err, VGW_INVALID, 0, "the path of the state directory is too long for log files");
	if (!copy_text(&config->model, spec->model) || !copy_text(&config->host, host) ||
		!copy_text(&config->served_name, spec->served_name ? spec->served_name : spec->model) ||
		!copy_text(&config->devices, spec->devices ? spec->devices : "") ||
		!copy_text(&config->cwd, cwd) || !copy_text(&config->api_key, api_key) ||
		!copy_text(&config->log_path, log_path))
		return no_memory(spec, err);
	return VGW_OK;
}

static vgw_status read_settings(struct vgw__process_config *config, const struct vgw__settings *settings,
	vgw_error *err)
{
	int64_t port = 0;
	vgw_status status = vgw__settings_get_list(settings, "command", &config->command, err);

	config->start_timeout_ms = DEFAULT_START_MS;
	config->stop_timeout_ms = DEFAULT_STOP_MS;
	if (status == VGW_OK)
		status = vgw__settings_get_map(settings, "env", &config->env, err);
	if (status == VGW_OK)
		status = vgw__settings_get_list(settings, "inherit_env", &config->inherit, err);
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "start_timeout", &config->start_timeout_ms, err);
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "stop_timeout", &config->stop_timeout_ms, err);
	if (status == VGW_OK)
		status = vgw__settings_get_integer(settings, "port", 1, 65535, &port, err);
	if (status == VGW_OK)
		status = vgw__placed_read_auto(settings, &config->is_share_wanted, err);
	config->port = (uint16_t)port;
	return status;
}

/* --- checking --- */

static bool uses_port(const struct vgw__process_config *config)
{
	for (size_t i = 0; i < config->command.count; i++)
		if (vgw__template_uses(config->command.items[i], "PORT"))
			return true;
	for (size_t i = 0; i < config->env.count; i++)
		if (vgw__template_uses(config->env.items[i], "PORT"))
			return true;
	return false;
}

static vgw_status check(const struct vgw__process_config *config, vgw_error *err)
{
	struct sockaddr_storage addr;
	socklen_t len;

	if (config->command.count == 0 || config->command.items[0][0] == '\0')
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend of kind process needs `command: [program, argument, ...]`",
			config->model);
	if (config->port == 0 && !uses_port(config))
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.command does not say where to listen; add --port ${PORT}, "
			"or set backend.port", config->model);
	if (!vgw__ports_make_address(config->host, 1, &addr, &len))
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.host is '%.60s'; expected a numeric address such as 127.0.0.1",
			config->model, config->host);
	return VGW_OK;
}

static void make_hash(struct vgw__process_config *config)
{
	const struct vgw__strings *lists[] = { &config->command, &config->env, &config->inherit };
	uint64_t hash = VGW__HASH_INIT;

	for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++) {
		for (size_t i = 0; i < lists[l]->count; i++)
			hash = vgw__hash_text(hash, lists[l]->items[i]);
		hash = vgw__hash_text(hash, "");
	}
	hash = vgw__hash_text(hash, config->served_name);
	hash = vgw__hash_text(hash, config->devices);
	hash = vgw__hash_text(hash, config->host);
	hash = vgw__hash_text(hash, config->cwd ? config->cwd : "");
	if (config->can_sleep)
		hash = vgw__hash_text(hash, "sleep");
	if (config->is_share_wanted)
		hash = vgw__hash_text(hash, "share");
	hash ^= config->port;
	(void)snprintf(config->args_hash, sizeof(config->args_hash), "%016llx", (unsigned long long)hash);
}

vgw_status vgw__process_config_read(struct vgw__process_config *config, const vgw_replica_spec *spec,
	vgw_error *err)
{
	static const char *const known[] = { "kind", "command", "env", "start_timeout", "start_timeout_ms",
		"stop_timeout", "stop_timeout_ms", "cwd", "host", "port", "inherit_env", "api_key",
		"gpu_memory_utilization", NULL };
	static const struct vgw__launch trial = { .port = "1", .nonce = "0" };
	struct vgw__strings argv = { 0 }, env = { 0 };
	struct vgw__settings settings = { 0 };
	vgw_status status;

	memset(config, 0, sizeof(*config));
	config->can_sleep = spec->size > offsetof(vgw_replica_spec, sleep_level) && spec->sleep_level > 0;
	status = vgw__settings_open(&settings, spec->model, spec->backend_json, known, err);
	if (status == VGW_OK)
		status = read_texts(config, &settings, spec, err);
	if (status == VGW_OK)
		status = read_settings(config, &settings, err);
	vgw__settings_close(&settings);
	if (status == VGW_OK)
		status = check(config, err);
	if (status == VGW_OK)
		status = vgw__process_config_expand(config, &trial, &argv, &env, err);
	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
	if (status == VGW_OK)
		make_hash(config);
	else
		vgw__process_config_fini(config);
	return status;
}

void vgw__process_config_fini(struct vgw__process_config *config)
{
	vgw__free(config->model);
	vgw__free(config->served_name);
	vgw__free(config->devices);
	vgw__free(config->host);
	vgw__free(config->cwd);
	vgw__free(config->api_key);
	vgw__free(config->log_path);
	vgw__strings_fini(&config->command);
	vgw__strings_fini(&config->env);
	vgw__strings_fini(&config->inherit);
	memset(config, 0, sizeof(*config));
}

/* --- one start --- */

/* What the engine has unless the configuration says otherwise. */
static bool set_defaults(const struct vgw__process_config *config, const char *devices, struct vgw__strings *env)
{
	struct vgw__launch_default {
		const char *name;
		const char *value;
	} rows[] = {
		{ "VLLM_HOST_IP", config->host },           /* else it asks the network which address it has */
		{ "PYTHONUNBUFFERED", "1" },                /* the log is a file: lines shall come when printed */
		{ "CUDA_DEVICE_ORDER", "PCI_BUS_ID" },      /* the numbers nvidia-smi shows */
		{ "CUDA_VISIBLE_DEVICES", devices },
		{ "VLLM_SERVER_DEV_MODE", config->can_sleep ? "1" : "" }, /* else it has no /sleep */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].value[0] == '\0' ||
			(strcmp(rows[i].name, "CUDA_VISIBLE_DEVICES") != 0 &&
				vgw__strings_get_value(env, rows[i].name)))
			continue;
		if (!vgw__process_env_set(env, rows[i].name, strlen(rows[i].name), rows[i].value))
			return false;
	}
	return true;
}

static vgw_status expand_env(const struct vgw__process_config *config, struct vgw__strings *env,
	const struct vgw__template_variable *variables, const struct vgw__launch *launch, vgw_error *err)
{
	bool is_done = vgw__process_env_set(env, VGW__NONCE_NAME, strlen(VGW__NONCE_NAME), launch->nonce) &&
		vgw__process_env_inherit(env, environ, &config->inherit) &&
		set_defaults(config, launch->devices ? launch->devices : config->devices, env);

	for (size_t i = 0; is_done && i < config->env.count; i++) {
		const char *entry = config->env.items[i];
		const char *equals = strchr(entry, '=');
		char *value;
		vgw_status status = vgw__template_expand(&value, equals + 1, variables, err);

		if (status != VGW_OK)
			return status;
		is_done = vgw__process_env_set(env, entry, (size_t)(equals - entry), value);
		vgw__free(value);
	}
	if (!is_done)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its environment", config->model);
	return VGW_OK;
}

vgw_status vgw__process_config_expand(const struct vgw__process_config *config, const struct vgw__launch *launch,
	struct vgw__strings *argv, struct vgw__strings *env, vgw_error *err)
{
	char share[VGW__SHARE_TEXT];
	const struct vgw__template_variable variables[] = {
		{ "PORT", launch->port }, { "MODEL", config->served_name },
		{ "DEVICES", launch->devices ? launch->devices : config->devices }, { "HOST", config->host },
		{ "GPU_MEMORY_UTILIZATION", vgw__placed_print_share(share, launch->share) },
		{ "NONCE", launch->nonce }, { NULL, NULL },
	};

	for (size_t i = 0; i < config->command.count; i++) {
		char *argument;
		vgw_status status = vgw__template_expand(&argument, config->command.items[i], variables, err);

		if (status != VGW_OK)
			return status;
		if (!vgw__strings_take(argv, argument))
			return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its command",
				config->model);
	}
	if (config->is_share_wanted && !vgw__placed_add_share(argv, share))
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its command", config->model);
	return expand_env(config, env, variables, launch, err);
}
