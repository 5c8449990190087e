/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a model, for the floors above. Immutable once its registry is handed over; lives as long as it. */
#ifndef VGW_CORE_MODEL_H
#define VGW_CORE_MODEL_H

#include <vllmgw/model.h>

struct vgw__names {
	char **items;
	size_t count;
};

/* A key given to requests that lack it: its name, and `"name":value` ready to be inserted. */
struct vgw__body_default {
	char *name;
	char *text;
};

struct vgw__model_memory {
	char *device;
	uint64_t bytes;
};

enum { VGW__WIDTH_ALL = 0xffff }; /* every device it may run on */

struct vgw_model {
	uint32_t place; /* in its registry, among the models or among the adapters */
	const vgw_model *base; /* of an adapter: whose engines serve it, and whose lists below it borrows; NULL: none */
	char *adapter_path;    /* NULL: it is none */
	char *name;
	char *served_name;
	char *kind;
	char *backend_json;
	char *upstream_auth; /* "Bearer ..."; NULL: no Authorization upstream */
	struct vgw__names aliases;
	struct vgw__names strip;
	struct vgw__names groups;
	struct vgw__names devices;
	struct vgw__body_default *defaults;
	size_t default_count;
	struct vgw__model_memory *memory;
	size_t memory_count;
	uint32_t sleep_level;
	int64_t sleep_timeout_ms; /* 0: the default */
	int64_t wake_timeout_ms;
	char *sleep_mode;
	char *sleep_canary; /* NULL: none */
	vgw_balance balance;
	uint32_t max_loras;
	int64_t lora_timeout_ms;
	uint32_t tensor_parallel; /* as given; 0: not */
	uint32_t width; /* the same, or what its backend says; never 0 */
	vgw_usage usage; /* never AUTO */
	char *fallback; /* NULL: none */
	int64_t fallback_after_ms;
	bool is_unlisted;
	bool is_pinned;
};

/* Whose engines serve it: its base, or itself. */
static inline const vgw_model *vgw__model_get_host(const vgw_model *model)
{
	return model->base ? model->base : model;
}

/* Would an engine started for one serve the other? Then a reload leaves it alone. */
bool vgw__model_is_same_engine(const vgw_model *a, const vgw_model *b);

enum { VGW__FALLBACKS_MAX = 8 }; /* in a chain */

/* The model that answers instead; NULL: none. */
const vgw_model *vgw__registry_get_fallback(const vgw_registry *registry, const vgw_model *model);
/* INVALID: a chain that leads to no model, back to its beginning, or on for too long. */
vgw_status vgw__registry_check_fallbacks(const vgw_registry *registry, vgw_error *err);

/* Used by the registry. An adapter has the lists, the balance and the credentials of its base, which must outlive it;
 * its served name is its own name: what an engine calls it is for the gateway to say. */
vgw_status vgw__model_new(vgw_model **out, const vgw_model_options *options, vgw_error *err);
vgw_status vgw__model_new_adapter(vgw_model **out, const vgw_adapter_options *options, const vgw_model *base,
	vgw_error *err);
void vgw__model_free(vgw_model *model);

#endif
