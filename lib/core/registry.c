/* SPDX-License-Identifier: Apache-2.0 */
/* Registry: the models in their order, and the router that finds them. Filled by one thread, then only read. */
#include "core/model.h"

#include "util/alloc.h"
#include "util/error.h"

#include <vllmgw/router.h>

#include <stdatomic.h>
#include <string.h>

struct vgw_registry {
	atomic_uint refs;
	vgw_model **models;
	size_t count;
	size_t capacity;
	vgw_model **adapters; /* of these models */
	size_t adapter_count;
	size_t adapter_capacity;
	vgw_router *router;
};

vgw_status vgw_registry_new(vgw_registry **out, vgw_error *err)
{
	vgw_registry *registry = vgw__alloc(sizeof(*registry));
	vgw_status status;

	*out = NULL;
	vgw__error_reset(err);
	if (!registry)
		return vgw_error_set(err, VGW_NOMEM, 0, "registry");
	atomic_init(&registry->refs, 1);
	status = vgw_router_new(&registry->router, err);
	if (status != VGW_OK) {
		vgw_registry_unref(registry);
		return status;
	}
	*out = registry;
	return VGW_OK;
}

vgw_registry *vgw_registry_ref(vgw_registry *registry)
{
	atomic_fetch_add_explicit(&registry->refs, 1, memory_order_relaxed);
	return registry;
}

void vgw_registry_unref(vgw_registry *registry)
{
	if (!registry || atomic_fetch_sub_explicit(&registry->refs, 1, memory_order_acq_rel) != 1)
		return;
	vgw_router_free(registry->router);
	for (size_t i = 0; i < registry->adapter_count; i++)
		vgw__model_free(registry->adapters[i]);
	for (size_t i = 0; i < registry->count; i++)
		vgw__model_free(registry->models[i]);
	vgw__free(registry->adapters);
	vgw__free(registry->models);
	vgw__free(registry);
}

/* The name first, then the aliases. A model half routed is no model: the registry is then good for nothing but
 * being given back, which is what the caller of a failed add does. */
static vgw_status route(vgw_registry *registry, vgw_model *model, vgw_error *err)
{
	vgw_status status = vgw_router_add(registry->router, model->name, model, err);

	for (size_t i = 0; status == VGW_OK && i < model->aliases.count; i++)
		status = vgw_router_add(registry->router, model->aliases.items[i], model, err);
	return status;
}

vgw_status vgw_registry_add(vgw_registry *registry, const vgw_model_options *options, vgw_error *err)
{
	vgw_model **models;
	vgw_model *model;
	vgw_status status;

	vgw__error_reset(err);
	models = vgw__grow(registry->models, &registry->capacity, registry->count + 1, sizeof(vgw_model *));
	if (!models)
		return vgw_error_set(err, VGW_NOMEM, 0, "registry");
	registry->models = models;
	status = vgw__model_new(&model, options, err);
	if (status != VGW_OK)
		return status;
	model->place = (uint32_t)registry->count;
	models[registry->count++] = model;
	return route(registry, model, err);
}

static vgw_model *find_by_name(vgw_model **models, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(models[i]->name, name) == 0)
			return models[i];
	}
	return NULL;
}

static vgw_status find_base(const vgw_registry *registry, const vgw_adapter_options *options, const vgw_model **base,
	vgw_error *err)
{
	const char *name = options->base ? options->base : "";

	*base = find_by_name(registry->models, registry->count, name);
	if (*base)
		return VGW_OK;
	if (find_by_name(registry->adapters, registry->adapter_count, name))
		return vgw_error_set(err, VGW_INVALID, 0, "the base '%.100s' of an adapter is an adapter itself", name);
	return vgw_error_set(err, VGW_NOT_FOUND, 0, "the base '%.100s' of an adapter does not exist", name);
}

vgw_status vgw_registry_add_adapter(vgw_registry *registry, const vgw_adapter_options *options, vgw_error *err)
{
	const vgw_model *base;
	vgw_model **adapters;
	vgw_model *adapter;
	vgw_status status;

	vgw__error_reset(err);
	status = find_base(registry, options, &base, err);
	if (status != VGW_OK)
		return status;
	adapters = vgw__grow(registry->adapters, &registry->adapter_capacity, registry->adapter_count + 1,
		sizeof(vgw_model *));
	if (!adapters)
		return vgw_error_set(err, VGW_NOMEM, 0, "registry");
	registry->adapters = adapters;
	status = vgw__model_new_adapter(&adapter, options, base, err);
	if (status != VGW_OK)
		return status;
	adapter->place = (uint32_t)registry->adapter_count;
	adapters[registry->adapter_count++] = adapter;
	return route(registry, adapter, err);
}

vgw_status vgw_registry_set_default(vgw_registry *registry, const char *name, vgw_error *err)
{
	vgw_model *model = find_by_name(registry->models, registry->count, name);

	vgw__error_reset(err);
	if (!model)
		model = find_by_name(registry->adapters, registry->adapter_count, name);
	if (!model)
		return vgw_error_set(err, VGW_NOT_FOUND, 0, "the default model '%s' does not exist", name);
	vgw_router_set_default(registry->router, model);
	return VGW_OK;
}

size_t vgw_registry_get_count(const vgw_registry *registry)
{
	return registry->count;
}

const vgw_model *vgw_registry_get_model(const vgw_registry *registry, size_t place)
{
	return place < registry->count ? registry->models[place] : NULL;
}

const vgw_model *vgw_registry_get_adapter(const vgw_registry *registry, size_t place)
{
	return place < registry->adapter_count ? registry->adapters[place] : NULL;
}

const vgw_model *vgw_registry_find(const vgw_registry *registry, const char *name, size_t len)
{
	return vgw_router_find(registry->router, name, len);
}

/* --- fallbacks ---------------------------------------------------------------------------------------------------- */

const vgw_model *vgw__registry_get_fallback(const vgw_registry *registry, const vgw_model *model)
{
	return model->fallback ? vgw_registry_find(registry, model->fallback, strlen(model->fallback)) : NULL;
}

vgw_status vgw__registry_check_fallbacks(const vgw_registry *registry, vgw_error *err)
{
	for (size_t i = 0; i < registry->count; i++) {
		const vgw_model *at = registry->models[i];
		size_t steps = 0;

		for (; at->fallback; steps++) {
			const vgw_model *next = vgw__registry_get_fallback(registry, at);

			if (!next)
				return vgw_error_set(err, VGW_INVALID, 0, "model '%s' falls back to '%s', which is no model",
					at->name, at->fallback);
			if (next == registry->models[i])
				return vgw_error_set(err, VGW_INVALID, 0,
					"model '%s' falls back to itself over %zu others", next->name, steps);
			if (steps == VGW__FALLBACKS_MAX)
				return vgw_error_set(err, VGW_INVALID, 0,
					"the fallbacks of model '%s' are a chain of more than %d", registry->models[i]->name,
					VGW__FALLBACKS_MAX);
			at = next;
		}
	}
	return VGW_OK;
}
