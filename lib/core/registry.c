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
	for (size_t i = 0; i < registry->count; i++)
		vgw__model_free(registry->models[i]);
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

vgw_status vgw_registry_set_default(vgw_registry *registry, const char *name, vgw_error *err)
{
	vgw__error_reset(err);
	for (size_t i = 0; i < registry->count; i++) {
		if (strcmp(registry->models[i]->name, name) == 0) {
			vgw_router_set_default(registry->router, registry->models[i]);
			return VGW_OK;
		}
	}
	return vgw_error_set(err, VGW_NOT_FOUND, 0, "the default model '%s' does not exist", name);
}

size_t vgw_registry_get_count(const vgw_registry *registry)
{
	return registry->count;
}

const vgw_model *vgw_registry_get_model(const vgw_registry *registry, size_t place)
{
	return place < registry->count ? registry->models[place] : NULL;
}

const vgw_model *vgw_registry_find(const vgw_registry *registry, const char *name, size_t len)
{
	return vgw_router_find(registry->router, name, len);
}
