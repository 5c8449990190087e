/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the `backend:` mapping of kind "docker". */
#include "backend/docker_config.h"

#include "backend/engine_log.h"
#include "backend/placed.h"
#include "backend/settings.h"
#include "backend/template.h"
#include "util/alloc.h"
#include "util/hash.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_START_MS (INT64_C(20) * 60 * 1000)
#define DEFAULT_STOP_MS (INT64_C(30) * 1000)
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

enum { DEFAULT_PORT = 8000, SMALLEST_MEMORY = 6 << 20 };

/* --- reading --- */

static vgw_status no_memory(const vgw_replica_spec *spec, vgw_error *err)
{
	return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
}

/* A text of the configuration under its own name. */
static vgw_status read_text(const struct vgw__settings *settings, const char *key, char **out, vgw_error *err)
{
	const char *text = NULL;
	vgw_status status = vgw__settings_get_text(settings, key, &text, err);

	if (status != VGW_OK || !text || text[0] == '\0')
		return status;
	*out = vgw__strdup(text);
	return *out ? VGW_OK : vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory", settings->model);
}

static vgw_status read_texts(struct vgw__docker_config *config, const struct vgw__settings *settings,
	vgw_error *err)
{
	const struct {
		const char *key;
		char **out;
	} rows[] = {
		{ "api_key", &config->api_key }, { "socket", &config->socket }, { "image", &config->image },
		{ "container_name", &config->container_name }, { "network", &config->network },
		{ "publish_address", &config->publish_address }, { "ipc", &config->ipc },
		{ "user", &config->user }, { "runtime", &config->runtime },
	};
	const struct {
		const char *key;
		struct vgw__strings *out;
	} lists[] = {
		{ "args", &config->args }, { "command", &config->args }, { "entrypoint", &config->entrypoint },
		{ "mounts", &config->mounts },
	};
	vgw_status status = VGW_OK;

	for (size_t i = 0; status == VGW_OK && i < sizeof(rows) / sizeof(rows[0]); i++)
		status = read_text(settings, rows[i].key, rows[i].out, err);
	for (size_t i = 0; status == VGW_OK && i < sizeof(lists) / sizeof(lists[0]); i++)
		status = vgw__settings_get_list(settings, lists[i].key, lists[i].out, err);
	if (status == VGW_OK)
		status = vgw__settings_get_map(settings, "env", &config->env, err);
	return status;
}

static vgw_status read_numbers(struct vgw__docker_config *config, const struct vgw__settings *settings,
	vgw_error *err)
{
	int64_t port = DEFAULT_PORT;
	vgw_status status = vgw__settings_get_integer(settings, "port", 1, 65535, &port, err);

	config->start_timeout_ms = DEFAULT_START_MS;
	config->stop_timeout_ms = DEFAULT_STOP_MS;
	config->has_init = true;
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "start_timeout", &config->start_timeout_ms, err);
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "stop_timeout", &config->stop_timeout_ms, err);
	if (status == VGW_OK)
		status = vgw__settings_get_integer(settings, "shm_size", 1, INT64_MAX, &config->shm_bytes, err);
	if (status == VGW_OK)
		status = vgw__settings_get_integer(settings, "memory_limit", SMALLEST_MEMORY, INT64_MAX,
			&config->memory_bytes, err);
	if (status == VGW_OK)
		status = vgw__settings_get_flag(settings, "init", &config->has_init, err);
	config->port = (uint16_t)port;
	config->has_port = vgw__settings_has(settings, "port");
	return status;
}

static vgw_status read_pull(struct vgw__docker_config *config, const struct vgw__settings *settings,
	vgw_error *err)
{
	static const char *const words[] = { [VGW__PULL_NEVER] = "never", [VGW__PULL_MISSING] = "missing",
		[VGW__PULL_ALWAYS] = "always" };
	const char *word = "missing";
	vgw_status status = vgw__settings_get_text(settings, "pull", &word, err);

	if (status != VGW_OK)
		return status;
	for (int i = VGW__PULL_NEVER; i <= VGW__PULL_ALWAYS; i++) {
		if (strcmp(word, words[i]) == 0) {
			config->pull = (enum vgw__docker_pull)i;
			return VGW_OK;
		}
	}
	return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend.pull is '%.40s'; expected "
		"never, missing "
		"or always", config->model, word);
}

/* auto, all, none, a number, or a list of numbers and UUIDs; a list of its own comes before the placement. */
static vgw_status read_gpus(struct vgw__docker_config *config, const struct vgw__settings *settings,
	vgw_error *err)
{
	const json_t *gpus = json_object_get(settings->root, "gpus");
	const char *word = json_string_value(gpus);

	config->is_gpu_auto = !gpus || json_is_null(gpus) || (word && strcmp(word, "auto") == 0);
	if (json_is_array(gpus))
		return vgw__settings_get_list(settings, "gpus", &config->gpu_ids, err);
	if (config->is_gpu_auto || (word && strcmp(word, "none") == 0))
		return VGW_OK;
	config->gpu_count = json_is_integer(gpus) ? json_integer_value(gpus) : -1;
	if (word ? strcmp(word, "all") != 0
		 : !json_is_integer(gpus) || config->gpu_count < 0 || config->gpu_count > 1024)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend.gpus: expected auto, all, "
			"none, how many, or a list of numbers or UUIDs", config->model);
	return VGW_OK;
}

static vgw_status read_spec(struct vgw__docker_config *config, const vgw_replica_spec *spec, vgw_error *err)
{
	char log_path[VGW__LOG_PATH_SIZE] = "";

	if (spec->state_dir && !vgw__engine_log_make_path(log_path, spec->state_dir, spec->model, spec->replica))
		return vgw_error_set(err, VGW_INVALID, 0, "the path of the state directory is too long "
			"for log files");
	config->model = vgw__strdup(spec->model);
	config->served_name = vgw__strdup(spec->served_name ? spec->served_name : spec->model);
	config->replica = vgw__strdup(spec->replica ? spec->replica : spec->model);
	config->devices = vgw__strdup(spec->devices ? spec->devices : "");
	config->log_path = vgw__strdup(log_path);
	config->state_dir = spec->state_dir ? vgw__strdup(spec->state_dir) : NULL;
	return config->model && config->served_name && config->replica && config->devices && config->log_path &&
		(config->state_dir || !spec->state_dir) ? VGW_OK : no_memory(spec, err);
}

/* --- checking --- */

static vgw_status refuse(const struct vgw__docker_config *config, const char *why, vgw_error *err)
{
	return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend.%s", config->model, why);
}

/* SOURCE is a path or the name of a volume, TARGET a path. */
static bool is_mount(const char *text)
{
	size_t source = strcspn(text, ":");

	if (text[source] != ':' || text[source + 1] != '/')
		return false;
	return text[0] == '/' || (source > 1 && strspn(text, NAME_CHARACTERS) == source && text[0] != '.' &&
		text[0] != '-');
}

static bool is_container_name(const char *name)
{
	return strlen(name) >= 2 && strlen(name) <= 128 && strspn(name, NAME_CHARACTERS) == strlen(name) &&
		!strchr("_.-", name[0]);
}

static vgw_status check(struct vgw__docker_config *config, const struct vgw__settings *settings, vgw_error *err)
{
	const char *network = config->network ? config->network : "";

	config->shares_host = strcmp(network, "host") == 0 || strncmp(network, "container:", 10) == 0;
	if (!config->image)
		return refuse(config, "image is missing; write the image's name, such as "
			"vllm/vllm-openai:latest", err);
	if (vgw__settings_has(settings, "args") && vgw__settings_has(settings, "command"))
		return refuse(config, "args and backend.command mean the same; write one of them", err);
	if (strcmp(network, "none") == 0)
		return refuse(config, "network is none: nobody could reach the engine", err);
	if (config->ipc && strcmp(config->ipc, "host") == 0 && config->shm_bytes > 0)
		return refuse(config, "shm_size means nothing with ipc: host; take one of them out", err);
	if (config->container_name && !is_container_name(config->container_name))
		return refuse(config, "container_name: use 2 to 128 letters, digits, _ . -, a letter or "
			"digit first", err);
	for (size_t i = 0; i < config->mounts.count; i++)
		if (!is_mount(config->mounts.items[i]))
			return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend.mounts[%zu] is "
				"'%.80s'; "
				"expected /FOLDER:/TARGET, /FOLDER:/TARGET:ro or VOLUME:/TARGET",
					config->model, i,
				config->mounts.items[i]);
	if (config->publish_address && config->shares_host)
		return refuse(config, "publish_address means nothing with this network; take it out", err);
	if (!config->network && !config->publish_address) {
		config->publish_address = vgw__strdup("127.0.0.1");
		if (!config->publish_address)
			return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory", config->model);
	}
	return VGW_OK;
}

bool vgw__docker_config_uses_port(const struct vgw__docker_config *config)
{
	const struct vgw__strings *lists[] = { &config->args, &config->entrypoint, &config->env };

	for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l++)
		for (size_t i = 0; i < lists[l]->count; i++)
			if (vgw__template_uses(lists[l]->items[i], "PORT"))
				return true;
	return false;
}

/* All that makes another container of it is in the body, or asked for here. */
static vgw_status make_hash(struct vgw__docker_config *config, vgw_error *err)
{
	const struct vgw__docker_launch trial = { .port = config->port, .instance = "", .nonce = "",
		.devices = config->devices[0] ? config->devices : NULL };
	struct vgw__strings argv = { 0 }, env = { 0 };
	uint64_t hash = VGW__HASH_INIT;
	char *body = NULL;
	vgw_status status = vgw__docker_config_make_body(config, &trial, &body, &argv, &env, err);

	vgw__strings_fini(&argv);
	vgw__strings_fini(&env);
	if (status != VGW_OK)
		return status;
	hash = vgw__hash_text(hash, body);
	hash = vgw__hash_text(hash, config->served_name);
	hash = vgw__hash_text(hash, config->container_name ? config->container_name : "");
	free(body);
	config->hash = vgw__printf("%016llx", (unsigned long long)hash);
	return config->hash ? VGW_OK : vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory",
		config->model);
}

vgw_status vgw__docker_config_read(struct vgw__docker_config *config, const vgw_replica_spec *spec,
	vgw_error *err)
{
	static const char *const known[] = { "kind", "image", "args", "command", "entrypoint", "env",
		"mounts", "gpus", "gpu_memory_utilization",
		"network", "publish_address", "port", "ipc", "shm_size", "memory_limit", "user", "runtime",
			"init",
		"pull", "container_name", "socket", "start_timeout", "start_timeout_ms", "stop_timeout",
		"stop_timeout_ms", "api_key", NULL };
	struct vgw__settings settings = { 0 };
	vgw_status status;

	memset(config, 0, sizeof(*config));
	config->can_sleep = spec->size > offsetof(vgw_replica_spec, sleep_level) && spec->sleep_level > 0;
	status = vgw__settings_open(&settings, spec->model, spec->backend_json, known, err);
	if (status == VGW_OK)
		status = read_spec(config, spec, err);
	if (status == VGW_OK)
		status = read_texts(config, &settings, err);
	if (status == VGW_OK)
		status = read_numbers(config, &settings, err);
	if (status == VGW_OK)
		status = read_pull(config, &settings, err);
	if (status == VGW_OK)
		status = read_gpus(config, &settings, err);
	if (status == VGW_OK)
		status = vgw__placed_read_auto(&settings, &config->is_share_wanted, err);
	if (status == VGW_OK)
		status = check(config, &settings, err);
	if (status == VGW_OK)
		status = make_hash(config, err);
	vgw__settings_close(&settings);
	if (status != VGW_OK)
		vgw__docker_config_fini(config);
	return status;
}

void vgw__docker_config_fini(struct vgw__docker_config *config)
{
	char *const texts[] = { config->model, config->served_name, config->replica, config->devices,
		config->api_key,
		config->log_path, config->state_dir, config->socket, config->image, config->container_name,
		config->network, config->publish_address, config->ipc, config->user, config->runtime,
			config->hash };
	struct vgw__strings *const lists[] = { &config->args, &config->entrypoint, &config->env, &config->mounts,
		&config->gpu_ids };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		vgw__free(texts[i]);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		vgw__strings_fini(lists[i]);
	memset(config, 0, sizeof(*config));
}
