/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of kind "http". A preset is a complete set of words; keys of the mapping replace its words. */
#include "backend/http.h"

#include "backend/settings.h"
#include "backend/template.h"
#include "util/alloc.h"

#include <stddef.h>
#include <string.h>

enum { DEFAULT_START_MS = 20 * 60 * 1000, DEFAULT_STOP_MS = 60 * 1000, DEFAULT_RECONCILE_MS = 1000 };
enum { MIN_RECONCILE_MS = 50, WORDS = 4 };

struct preset {
	const char *name;
#define XX(field) const char *field;
	VGW__HTTP_TEXTS(XX)
#undef XX
	const char *loaded[WORDS];
	const char *loading[WORDS];
};

static const struct preset presets[] = {
	{
		/* llama-server with several models ("router mode") */
		.name = "llama-server",
		.load_method = "POST", .load_path = "/models/load", .load_body = "{\"model\":\"${MODEL}\"}",
		.unload_method = "POST", .unload_path = "/models/unload", .unload_body = "{\"model\":\"${MODEL}\"}",
		.list_path = "/models", .list_items = "data", .list_id = "id", .list_aliases = "aliases",
		.list_state = "status.value", .list_failed = "status.failed",
		.loaded = { "loaded", "sleeping" }, /* its own sleep ends with the next request */
		.loading = { "loading", "downloading" },
	},
	{
		/* servers in front of vLLM that keep the set of models behind its list */
		.name = "vllm-router",
		.load_method = "POST", .load_path = "/v1/models", .load_body = "{\"model\":\"${MODEL}\"}",
		.unload_method = "DELETE", .unload_path = "/v1/models/${MODEL}", .unload_body = "",
		.list_path = "/v1/models", .list_items = "data", .list_id = "id", .list_aliases = "", .list_state = "",
		.list_failed = "",
	},
	{
		/* nothing but usual methods: paths and bodies are to be given */
		.name = "generic",
		.load_method = "POST", .load_path = "", .load_body = "", .unload_method = "POST", .unload_path = "",
		.unload_body = "", .list_path = "", .list_items = "data", .list_id = "id", .list_aliases = "",
		.list_state = "", .list_failed = "",
		.loaded = { "loaded" },
		.loading = { "loading" },
	},
};

/* One text of a preset and of the configuration, by its key. */
static const struct field {
	const char *key;
	size_t in_preset;
	size_t in_config;
} fields[] = {
#define XX(field) { #field, offsetof(struct preset, field), offsetof(struct vgw__http_config, field) },
	VGW__HTTP_TEXTS(XX)
#undef XX
};

static vgw_status no_memory(const vgw_replica_spec *spec, vgw_error *err)
{
	return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
}

static const struct preset *find_preset(const char *name)
{
	for (size_t i = 0; i < sizeof(presets) / sizeof(presets[0]); i++) {
		if (strcmp(presets[i].name, name) == 0)
			return &presets[i];
	}
	return NULL;
}

static vgw_status read_texts(struct vgw__http_config *config, const struct preset *preset,
	const struct vgw__settings *settings, const vgw_replica_spec *spec, vgw_error *err)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const char *text = *(const char *const *)((const char *)preset + fields[i].in_preset);
		char **out = (char **)((char *)config + fields[i].in_config);
		vgw_status status = vgw__settings_get_text(settings, fields[i].key, &text, err);

		if (status != VGW_OK)
			return status;
		*out = vgw__strdup(text);
		if (!*out)
			return no_memory(spec, err);
	}
	return VGW_OK;
}

static vgw_status read_words(struct vgw__strings *out, const char *key, const char *const *words,
	const struct vgw__settings *settings, const vgw_replica_spec *spec, vgw_error *err)
{
	vgw_status status = vgw__settings_get_list(settings, key, out, err);

	for (size_t i = 0; status == VGW_OK && i < WORDS && words[i]; i++) {
		if (out->count > i)
			break; /* given */
		if (!vgw__strings_add(out, words[i]))
			status = no_memory(spec, err);
	}
	return status;
}

static vgw_status read_durations(struct vgw__http_config *config, const struct vgw__settings *settings,
	vgw_error *err)
{
	vgw_status status;

	config->start_timeout_ms = DEFAULT_START_MS;
	config->stop_timeout_ms = DEFAULT_STOP_MS;
	config->reconcile_ms = DEFAULT_RECONCILE_MS;
	status = vgw__settings_get_duration(settings, "start_timeout", &config->start_timeout_ms, err);
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "stop_timeout", &config->stop_timeout_ms, err);
	if (status == VGW_OK)
		status = vgw__settings_get_duration(settings, "reconcile", &config->reconcile_ms, err);
	if (config->reconcile_ms < MIN_RECONCILE_MS)
		config->reconcile_ms = MIN_RECONCILE_MS;
	return status;
}

/* Templates are tried here, so that a wrong one is told now and not at the first use. */
static vgw_status check(const struct vgw__http_config *config, const vgw_replica_spec *spec, vgw_error *err)
{
	static const struct vgw__template_variable variables[] = { { "MODEL", "m" }, { NULL, NULL } };
	const char *texts[] = { config->load_path, config->load_body, config->unload_path, config->unload_body };
	const char *paths[] = { config->load_path, config->unload_path, config->list_path };

	if (spec->sleep_level > 0)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': a backend of kind http loads and unloads; it cannot sleep", spec->model);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (paths[i][0] != '/')
			return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend of kind http needs load_path, "
				"unload_path and list_path, beginning with /, or a preset: llama-server, vllm-router",
				spec->model);
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *text;
		vgw_status status = vgw__template_expand(&text, texts[i], variables, err);

		if (status != VGW_OK)
			return status;
		vgw__free(text);
	}
	return VGW_OK;
}

static vgw_status read_all(struct vgw__http_config *config, const struct vgw__settings *settings,
	const vgw_replica_spec *spec, vgw_error *err)
{
	const char *url = NULL, *name = "generic", *api_key = NULL;
	const struct preset *preset;
	vgw_status status = vgw__settings_get_text(settings, "url", &url, err);

	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "preset", &name, err);
	if (status == VGW_OK)
		status = vgw__settings_get_text(settings, "api_key", &api_key, err);
	if (status != VGW_OK)
		return status;
	if (!url)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend of kind http needs `url: http://host:port`", spec->model);
	preset = find_preset(name);
	if (!preset)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.preset is '%.40s'; there are llama-server, vllm-router and generic",
			spec->model, name);
	config->model = vgw__strdup(spec->model);
	config->served_name = vgw__strdup(spec->served_name ? spec->served_name : spec->model);
	config->url = vgw__strdup(url);
	config->api_key = api_key ? vgw__strdup(api_key) : NULL;
	if (!config->model || !config->served_name || !config->url || (api_key && !config->api_key))
		return no_memory(spec, err);
	status = read_texts(config, preset, settings, spec, err);
	if (status == VGW_OK)
		status = read_words(&config->loaded, "loaded", preset->loaded, settings, spec, err);
	if (status == VGW_OK)
		status = read_words(&config->loading, "loading", preset->loading, settings, spec, err);
	return status == VGW_OK ? read_durations(config, settings, err) : status;
}

vgw_status vgw__http_config_read(struct vgw__http_config *config, const vgw_replica_spec *spec, vgw_error *err)
{
	static const char *const known[] = { "kind", "url", "preset", "api_key", "loaded", "loading", "start_timeout",
		"start_timeout_ms", "stop_timeout", "stop_timeout_ms", "reconcile", "reconcile_ms",
#define XX(field) #field,
		VGW__HTTP_TEXTS(XX)
#undef XX
		NULL };
	struct vgw__settings settings = { 0 };
	vgw_status status;

	memset(config, 0, sizeof(*config));
	status = vgw__settings_open(&settings, spec->model, spec->backend_json, known, err);
	if (status == VGW_OK)
		status = read_all(config, &settings, spec, err);
	vgw__settings_close(&settings);
	if (status == VGW_OK)
		status = check(config, spec, err);
	if (status != VGW_OK)
		vgw__http_config_fini(config);
	return status;
}

void vgw__http_config_fini(struct vgw__http_config *config)
{
	vgw__free(config->model);
	vgw__free(config->served_name);
	vgw__free(config->url);
	vgw__free(config->api_key);
#define XX(field) vgw__free(config->field);
	VGW__HTTP_TEXTS(XX)
#undef XX
	vgw__strings_fini(&config->loaded);
	vgw__strings_fini(&config->loading);
	memset(config, 0, sizeof(*config));
}
