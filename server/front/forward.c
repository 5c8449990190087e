/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of an engine's own.
 *
 *   /upstream/{model}/the/rest?query ──► that model:        /the/rest?query
 *   any other path                   ──► the default model: path?query
 *
 * A model's name may hold slashes: the longest beginning that is the name or an alias of a model counts. Whether the
 * rest is one for clients is the library's to say. */
#include "front/internal.h"

#include <stdlib.h>
#include <string.h>

static const char upstream[] = "/upstream/";

/* The default model answers to every name, but here it must be meant. */
static bool is_called(const vgw_model *model, const char *name)
{
	const char *alias = vgw_model_get_name(model);

	for (size_t i = 0; alias; alias = vgw_model_get_alias(model, i++)) {
		if (strcmp(alias, name) == 0)
			return true;
	}
	return false;
}

static bool is_model(const vgw_registry *registry, const char *name, size_t len)
{
	const vgw_model *model = vgw_registry_find(registry, name, len);

	return model && is_called(model, name);
}

/* What follows the model's name, or NULL. */
static const char *split(const vgw_registry *registry, const struct route *route, const char *url, char *name)
{
	const char *rest = NULL;
	char tried[ROUTE_NAME_BYTES];
	size_t len = 0;

	for (const char *at = url + strlen(upstream); *at; at++) {
		if (at[1] != '/' && at[1] != '\0')
			continue;
		if (route_get_name(route, url, (size_t)(at + 1 - url), tried, sizeof(tried), &len) != 0)
			break;
		if (is_model(registry, tried, len)) {
			memcpy(name, tried, len + 1);
			rest = at + 1;
		}
	}
	return rest;
}

static const char *find_rest(const struct exchange *x, const char *url, char *name)
{
	vgw_registry *registry;
	const char *rest;

	if (strncmp(x->route->path, upstream, strlen(upstream)) != 0)
		return url;
	registry = vgw_gateway_dup_registry(x->worker->front->options.gateway);
	rest = registry ? split(registry, x->route, url, name) : NULL;
	vgw_registry_unref(registry);
	return rest;
}

vgw_fault forward_prepare(const struct exchange *x, const char *url, struct forward *forward, vgw_request *request)
{
	const char *query, *rest;
	size_t size;

	forward->model[0] = '\0';
	if (!x->connection || x->connection->is_query_lost)
		return VGW_FAULT_OUT_OF_MEMORY;
	query = x->connection->query ? x->connection->query : "";
	rest = find_rest(x, url, forward->model);
	if (!rest)
		return VGW_FAULT_MODEL_NOT_FOUND;
	rest = *rest ? rest : "/";
	size = strlen(rest) + strlen(query) + 1;
	forward->path = malloc(size);
	if (!forward->path)
		return VGW_FAULT_OUT_OF_MEMORY;
	memcpy(forward->path, rest, strlen(rest));
	memcpy(forward->path + strlen(rest), query, strlen(query) + 1);
	request->operation = VGW_OPERATION_PASSTHROUGH;
	request->model = forward->model[0] ? forward->model : NULL;
	request->method = x->is_head ? "HEAD" : x->route->method;
	request->path = forward->path;
	return VGW_FAULT_NONE;
}
