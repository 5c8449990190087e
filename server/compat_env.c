/* SPDX-License-Identifier: Apache-2.0 */
/* A system is recognised by a variable that only it has; only then are its others looked at, because names such as
 * PORT and LOG_LEVEL may be meant for anybody.
 *
 *   ALLOWED_MODELS_JSON                        vLLM Dynamic Gateway: a container per model, one at a time
 *   MODEL_ROUTE_*, or VLLM_BASE_URL and
 *   one of the simple API's own variables      AI Backend Gateway: a running engine per route
 *   VLLM_BASE_URL                              vLLM Model Router: one server that is told what to load
 *   VLLMGW_MODELS                              our own: models in one variable
 *
 * Texts are taken literally; values are checked where all values are. */
#include "compat_env.h"

#include "compat_put.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ROUTE_PREFIX "MODEL_ROUTE_"

enum system { NOTHING, DYNAMIC_GATEWAY, AI_BACKEND, MODEL_ROUTER };

/* With the /v1 that clients of OpenAI's library write at the end of a base URL. */
static const char *strip_url(struct compat *compat, const char *url)
{
	size_t len = strlen(url);

	while (len && url[len - 1] == '/')
		len--;
	if (len > 3 && strncmp(url + len - 3, "/v1", 3) == 0)
		len -= 3;
	return config_arena_strndup(compat->arena, url, len);
}

static void put_engine(struct compat *compat, struct node *model, const char *variable, const char *url)
{
	const char *urls[] = { strip_url(compat, url), NULL };

	compat_put(compat, model, "backend.kind", variable, "static");
	compat_put_node(compat, model, "backend.urls", compat_list(compat, variable, urls));
}

/* JSON is YAML. The parser's own place for mistakes: the variable, line and column. */
static struct node *parse(struct compat *compat, const char *variable)
{
	const char *text = compat_get(compat, variable);
	struct node *map = yaml_parse(compat->arena, variable, text, strlen(text), compat->report);
	struct config_place place = compat_place_of(variable);

	if (map && (map->kind != NODE_MAP || !map->first)) {
		config_report_error(compat->report, &place, NULL, "expected a JSON object that names models");
		return NULL;
	}
	return map;
}

/* --- vLLM Dynamic Gateway ------------------------------------------------------------------------------------- */

/* What the variables do not say, such as the image, a file may. */
static void fill_container(struct compat *compat, struct node *model, const char *variable, const char *repository)
{
	static const char utilization[] = "VLLM_GPU_MEMORY_UTILIZATION", token[] = "HUGGING_FACE_HUB_TOKEN";
	const char *share = compat_get(compat, utilization), *host = compat_get(compat, "VLLM_HOST");
	const char *args[] = { "--model", repository, share ? "--gpu-memory-utilization" : NULL, share, NULL };
	static const char *const mounts[] = { "/root/.cache/huggingface:/root/.cache/huggingface", NULL };

	compat_put(compat, model, "served_name", variable, repository);
	compat_put(compat, model, "backend.kind", variable, "docker");
	compat_put_default(compat, model, "backend.image", variable, "vllm/vllm-openai:latest");
	compat_put_node(compat, model, "backend.args", compat_list(compat, share ? utilization : variable, args));
	compat_put_default(compat, model, "backend.gpus", variable, "all");
	compat_put_default(compat, model, "backend.ipc", variable, "host");
	if (model && !node_get_path(model, "backend.mounts"))
		compat_put_node(compat, model, "backend.mounts", compat_list(compat, variable, mounts));
	compat_put(compat, model, "backend.container_name", "VLLM_HOST", host ? host : "vllm_server");
	compat_put(compat, model, "backend.network", "DOCKER_NETWORK_NAME", compat_get(compat, "DOCKER_NETWORK_NAME"));
	compat_put(compat, model, "backend.env.HUGGING_FACE_HUB_TOKEN", token, compat_get(compat, token));
	compat_put(compat, model, "backend.env.HF_TOKEN", token, compat_get(compat, token));
}

static void check_share(struct compat *compat)
{
	static const char variable[] = "VLLM_GPU_MEMORY_UTILIZATION";
	const char *value = compat_get(compat, variable);
	char *end;
	double share = value ? strtod(value, &end) : 1;

	if (value && (*end || !(share > 0 && share <= 1)))
		compat_wrong(compat, variable, "a share such as 0.85");
}

static void apply_dynamic_gateway(struct compat *compat)
{
	static const char variable[] = "ALLOWED_MODELS_JSON";
	static const char *const ports[] = { NULL };
	struct config_place place = compat_place_of(variable);
	struct node *map = parse(compat, variable);

	check_share(compat);
	compat_put_port(compat, ports, "9000", variable);
	compat_put(compat, compat->root, "residency.max_resident", variable, "1");
	for (const struct node *item = map ? map->first : NULL; item; item = item->next) {
		if (item->kind == NODE_SCALAR && *item->text)
			fill_container(compat, compat_get_model(compat, variable, item->key), variable, item->text);
		else
			config_report_error(compat->report, &place, NULL,
				"'%.60s' must be the text of a model's repository, such as \"google/gemma-3-4b-it\"",
				item->key);
	}
}

/* --- AI Backend Gateway --------------------------------------------------------------------------------------- */

/* Its log levels are Python's. */
static void put_level(struct compat *compat)
{
	static const char *const levels[][2] = { { "DEBUG", "debug" }, { "INFO", "info" }, { "WARNING", "warn" },
		{ "WARN", "warn" }, { "ERROR", "error" }, { "CRITICAL", "error" } };
	const char *value = compat_get(compat, "LOG_LEVEL");

	for (size_t i = 0; value && i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcasecmp(value, levels[i][0]) == 0) {
			compat_put(compat, compat->root, "log.level", "LOG_LEVEL", levels[i][1]);
			return;
		}
	}
	if (value)
		compat_wrong(compat, "LOG_LEVEL", "one of DEBUG, INFO, WARNING, ERROR");
}

/* One key, under one name; requests that show none are counted by their address. */
static void put_key(struct compat *compat)
{
	static const char variable[] = "API_KEY";
	struct config_place place = compat_place_of(variable);
	const char *value = compat_get(compat, variable);
	struct node *keys = node_new(compat->arena, NODE_LIST, &place), *key = node_new(compat->arena, NODE_MAP, &place);

	if (!value || !compat_get_flag(compat, "AUTH_REQUIRED", true) || !keys || !key)
		return;
	compat_put(compat, key, "name", variable, "api");
	compat_put(compat, key, "key", variable, value);
	compat_put(compat, key, "rpm", "RATE_LIMIT_PER_MIN", compat_get(compat, "RATE_LIMIT_PER_MIN"));
	node_append(keys, key);
	compat_put_node(compat, compat->root, "auth.keys", keys);
}

static void put_limits(struct compat *compat, const char *signature)
{
	static const char rate[] = "RATE_LIMIT_PER_MIN", redis[] = "REDIS_URL";

	if (compat_get(compat, rate))
		compat_put(compat, compat->root, "auth.per_ip_rpm", rate, compat_get(compat, rate));
	else
		compat_put_default(compat, compat->root, "auth.per_ip_rpm", signature, "60");
	if (compat_get_flag(compat, "USE_REDIS", false)) {
		compat_put(compat, compat->root, "auth.store", redis,
			compat_get(compat, redis) ? compat_get(compat, redis) : "redis://localhost:6379/0");
	}
	compat_put_seconds(compat, "timeouts.connect", "CONNECT_TIMEOUT_SECONDS");
	compat_put_seconds(compat, "timeouts.first_byte", "READ_TIMEOUT_SECONDS");
	compat_put_seconds(compat, "timeouts.idle", "READ_TIMEOUT_SECONDS");
	compat_put_seconds(compat, "timeouts.total", "TOTAL_TIMEOUT_SECONDS");
	compat_put_seconds(compat, "heartbeat.idle", "SSE_HEARTBEAT_SECONDS");
}

/* A route sends each model's name on as it is: the engine knows what it serves. */
static void put_route(struct compat *compat, const char *variable, const char *key, const char *url)
{
	struct node *model = compat_get_model(compat, variable, key);

	put_engine(compat, model, variable, url);
	compat_put(compat, model, "served_name", variable, "*");
}

static const char *put_routes(struct compat *compat)
{
	const char *first = NULL;

	for (size_t i = 0; compat->env->variables[i]; i++) {
		const char *at = compat->env->variables[i];
		size_t len = strcspn(at, "="), prefix = strlen(ROUTE_PREFIX);
		const char *variable, *key;

		if (strncmp(at, ROUTE_PREFIX, prefix) != 0 || len == prefix || !at[len] || !at[len + 1])
			continue;
		variable = config_arena_strndup(compat->arena, at, len);
		key = variable ? variable + prefix : NULL;
		if (!key)
			return NULL;
		put_route(compat, variable, key, at + len + 1);
		first = first ? first : key;
	}
	if (!first && compat_get(compat, "VLLM_BASE_URL")) {
		first = "default";
		put_route(compat, "VLLM_BASE_URL", first, compat_get(compat, "VLLM_BASE_URL"));
	}
	return first;
}

static void apply_ai_backend(struct compat *compat)
{
	static const char *const ports[] = { "API_PORT", "PORT", NULL };
	const char *first = put_routes(compat), *key = compat_get(compat, "DEFAULT_MODEL_KEY");

	compat_put(compat, compat->root, "compat.ai_backend_gateway", first ? "MODEL_ROUTE_*" : "VLLM_BASE_URL", "true");
	compat_put_port(compat, ports, "5050", "API_PORT");
	compat_put(compat, compat->root, "default_model", "DEFAULT_MODEL_KEY", key ? key : first);
	compat_put(compat, compat->root, "compat.default_model", "DEFAULT_MODEL_NAME", compat_get(compat, "DEFAULT_MODEL_NAME"));
	compat_put_list(compat, "compat.allowed_models", "ALLOWED_MODELS");
	put_level(compat);
	put_key(compat);
	put_limits(compat, "RATE_LIMIT_PER_MIN");
	if (compat_get(compat, "METRICS_PUBLIC"))
		compat_put(compat, compat->root, "auth.public_metrics", "METRICS_PUBLIC",
			compat_get_flag(compat, "METRICS_PUBLIC", false) ? "true" : "false");
	if (!compat_get_flag(compat, "PROMETHEUS_ENABLE", true))
		compat_warn(compat, "PROMETHEUS_ENABLE", "metrics are always there; who may read them is METRICS_PUBLIC's matter");
	compat_put_list(compat, "cors.origins", "ALLOW_ORIGINS");
	compat_warn(compat, "WRITE_TIMEOUT_SECONDS", "not needed: sending a request is part of TOTAL_TIMEOUT_SECONDS");
}

/* --- vLLM Model Router ---------------------------------------------------------------------------------------- */

static bool is_url(const char *text)
{
	return strstr(text, "://") || strncmp(text, "unix:", 5) == 0;
}

/* The server behind it is told what to load; at most two at a time. Which models there are, VLLMGW_MODELS or a file
 * says: its list shows only what is loaded. */
static void apply_model_router(struct compat *compat)
{
	static const char *const ports[] = { "PORT", "ROUTER_PORT", NULL };
	static const char variable[] = "VLLM_BASE_URL", most[] = "MAX_RESIDENT";
	struct config_place place = compat_place_of(variable);
	const struct node *models = node_get(compat->root, "models");

	compat_put_port(compat, ports, "8010", variable);
	compat_put(compat, compat->root, "compat.model_router", variable, "true");
	if (compat_get(compat, most))
		compat_put(compat, compat->root, "residency.max_resident", most, compat_get(compat, most));
	else
		compat_put_default(compat, compat->root, "residency.max_resident", variable, "2");
	if (!compat_get(compat, "VLLMGW_MODELS") && (!models || !models->first))
		config_report_error(compat->report, &place, NULL, "name the models that its server can load: "
			"VLLMGW_MODELS='{\"NAME\": \"NAME AT THE SERVER\"}', or `models` in a file");
}

static void put_loadable(struct compat *compat, const char *variable, const char *name, const char *served_name)
{
	static const char base[] = "VLLM_BASE_URL";
	struct node *model = compat_get_model(compat, variable, name);

	compat_put(compat, model, "served_name", variable, served_name);
	compat_put(compat, model, "backend.kind", base, "http");
	compat_put(compat, model, "backend.url", base, strip_url(compat, compat_get(compat, base)));
	compat_put_default(compat, model, "backend.preset", base, "vllm-router");
}

/* --- ours ----------------------------------------------------------------------------------------------------- */

/* {"name": "http://engine:8000"}, or a model as the file would describe it; behind a model router also its name there. */
static void apply_models(struct compat *compat, enum system system)
{
	static const char variable[] = "VLLMGW_MODELS";
	struct node *map = compat_get(compat, variable) ? parse(compat, variable) : NULL;
	struct node *next;

	for (struct node *item = map ? map->first : NULL; item; item = next) {
		next = item->next;
		if (item->kind == NODE_SCALAR && system == MODEL_ROUTER && !is_url(item->text)) {
			put_loadable(compat, variable, item->key, item->text);
		} else if (item->kind == NODE_SCALAR) {
			put_engine(compat, compat_get_model(compat, variable, item->key), variable, item->text);
		} else {
			struct node *models = compat_get_models(compat, variable);

			item->next = NULL;
			if (models)
				(void)node_put(compat->arena, models, item->key, item);
		}
	}
}

/* --- choosing ------------------------------------------------------------------------------------------------- */

static bool is_set(const struct env *env, const char *variable)
{
	const char *value = env_find(env, variable);

	return value && *value;
}

static bool has_route(const struct env *env)
{
	for (size_t i = 0; env->variables[i]; i++) {
		if (strncmp(env->variables[i], ROUTE_PREFIX, strlen(ROUTE_PREFIX)) == 0)
			return true;
	}
	return false;
}

static enum system recognise(const struct env *env)
{
	static const char *const own[] = { "API_PORT", "DEFAULT_MODEL_KEY", "DEFAULT_MODEL_NAME", "ALLOWED_MODELS",
		"AUTH_REQUIRED", "RATE_LIMIT_PER_MIN", "SSE_HEARTBEAT_SECONDS" };

	if (is_set(env, "ALLOWED_MODELS_JSON"))
		return DYNAMIC_GATEWAY;
	if (has_route(env))
		return AI_BACKEND;
	for (size_t i = 0; is_set(env, "VLLM_BASE_URL") && i < sizeof(own) / sizeof(own[0]); i++) {
		if (is_set(env, own[i]))
			return AI_BACKEND;
	}
	return is_set(env, "VLLM_BASE_URL") ? MODEL_ROUTER : NOTHING;
}

bool compat_env_is_complete(const char *const *environment)
{
	const struct env env = { environment, NULL };

	return recognise(&env) != NOTHING || is_set(&env, "VLLMGW_MODELS") || is_set(&env, "VLLMGW_COMPAT_AIC_VLLM_PROXY");
}

void compat_env_apply(const struct env *env, struct config_arena *arena, struct node *root,
	struct config_report *report)
{
	struct compat compat = { env, arena, root, report };

	switch (recognise(env)) {
	case DYNAMIC_GATEWAY:
		apply_dynamic_gateway(&compat);
		break;
	case AI_BACKEND:
		apply_ai_backend(&compat);
		break;
	case MODEL_ROUTER:
		apply_model_router(&compat);
		break;
	case NOTHING:
		break;
	}
	apply_models(&compat, recognise(env));
}
