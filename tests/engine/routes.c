/* SPDX-License-Identifier: Apache-2.0 */
/* The surface: every path, its method, and what it needs to be there. */
#include "model.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define INFER (ROUTE_INFERENCE | ROUTE_JSON)
#define ADMIN ROUTE_OPEN

static const struct route routes[] = {
	{"GET", "/health", health_get, ROUTE_OPEN},
	{"GET", "/ping", health_get, ROUTE_OPEN},
	{"POST", "/ping", health_get, ROUTE_OPEN},
	{"GET", "/version", health_version, ROUTE_OPEN},
	{"GET", "/metrics", metrics_get, ROUTE_OPEN},
	{"GET", "/v1/models", model_list, 0},
	{"GET", "/v1/models/*", model_get, 0},
	{"POST", "/v1/chat/completions", infer_chat, INFER},
	{"POST", "/v1/completions", infer_completion, INFER},
	{"POST", "/v1/responses", infer_responses, INFER},
	{"POST", "/v1/messages", infer_messages, INFER},
	{"POST", "/v1/embeddings", pooling_embeddings, INFER},
	{"POST", "/v1/rerank", pooling_rerank, INFER},
	{"POST", "/v2/rerank", pooling_rerank, INFER},
	{"POST", "/rerank", pooling_rerank, INFER},
	{"POST", "/v1/score", pooling_score, INFER},
	{"POST", "/score", pooling_score, INFER},
	{"POST", "/pooling", pooling_pooling, INFER},
	{"POST", "/classify", pooling_classify, INFER},
	{"POST", "/tokenize", tokens_tokenize, INFER},
	{"POST", "/detokenize", tokens_detokenize, INFER},
	{"POST", "/v1/audio/transcriptions", infer_form, ROUTE_INFERENCE},
	{"POST", "/v1/audio/translations", infer_form, ROUTE_INFERENCE},
	{"POST", "/v1/images/edits", infer_form, ROUTE_INFERENCE},
	{"POST", "/v1/load_lora_adapter", lora_load, ROUTE_JSON | ROUTE_LORA},
	{"POST", "/v1/unload_lora_adapter", lora_unload, ROUTE_JSON | ROUTE_LORA},
	{"POST", "/sleep", sleep_begin, ROUTE_SLEEP | ROUTE_OPEN},
	{"POST", "/wake_up", sleep_wake, ROUTE_SLEEP | ROUTE_OPEN},
	{"GET", "/is_sleeping", sleep_is_sleeping, ROUTE_SLEEP | ROUTE_OPEN},
	{"POST", "/collective_rpc", sleep_rpc, ROUTE_SLEEP | ROUTE_OPEN | ROUTE_JSON},
	{"POST", "/reset_prefix_cache", sleep_reset_cache, ROUTE_SLEEP | ROUTE_OPEN},
	{"POST", "/reset_mm_cache", sleep_reset_cache, ROUTE_SLEEP | ROUTE_OPEN},
	{"POST", "/reset_encoder_cache", sleep_reset_cache, ROUTE_SLEEP | ROUTE_OPEN},
	{"POST", "/pause", sleep_pause, ROUTE_SLEEP | ROUTE_OPEN},
	{"POST", "/resume", sleep_resume, ROUTE_SLEEP | ROUTE_OPEN},
	{"GET", "/models", router_list, ROUTE_ROUTER},
	{"GET", "/models/sse", router_events, ROUTE_ROUTER},
	{"POST", "/models/load", router_load, ROUTE_ROUTER | ROUTE_JSON},
	{"POST", "/models/unload", router_unload, ROUTE_ROUTER | ROUTE_JSON},
	{"GET", "/props", router_props, ROUTE_ROUTER},
	{"GET", "/_engine/requests", admin_requests, ADMIN},
	{"GET", "/_engine/counters", admin_counters, ADMIN},
	{"POST", "/_engine/fault", admin_fault, ADMIN | ROUTE_JSON},
	{"POST", "/_engine/reset", admin_reset, ADMIN},
	{"POST", "/_engine/exit", admin_exit, ADMIN | ROUTE_JSON},
};

static bool env_is_on(const char *name)
{
	const char *value = getenv(name);

	return value && (strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0);
}

static bool is_there(const struct engine *engine, unsigned flags)
{
	if (flags & ROUTE_SLEEP)
		return engine->options.can_sleep && env_is_on("VLLM_SERVER_DEV_MODE");
	if (flags & ROUTE_LORA)
		return engine->options.has_lora && env_is_on("VLLM_ALLOW_RUNTIME_LORA_UPDATING");
	if (flags & ROUTE_ROUTER)
		return engine->router != NULL;
	return true;
}

static bool fits(const char *pattern, const char *path)
{
	size_t len = strlen(pattern);

	if (pattern[len - 1] == '*')
		return strncmp(pattern, path, len - 1) == 0 && path[len - 1];
	return strcmp(pattern, path) == 0;
}

const struct route *route_find(const struct engine *engine, const char *method, const char *path, int *status)
{
	size_t i;

	*status = 404;
	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (!fits(routes[i].path, path) || !is_there(engine, routes[i].flags))
			continue;
		if (strcmp(routes[i].method, method) == 0) {
			*status = 200;
			return &routes[i];
		}
		*status = 405;
	}
	return NULL;
}
