/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/model.h
 * The registry: which models exist, what they are called, what runs them. Audience: callers.
 *
 * A registry is filled by one thread, then handed over (vgw_gateway_apply()) and immutable from there on; it is
 * counted, so a request keeps the one it began with while a reload publishes the next.
 */
#ifndef VLLMGW_MODEL_H
#define VLLMGW_MODEL_H

#include <vllmgw/common.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

typedef struct vgw_registry vgw_registry;
typedef struct vgw_model vgw_model;

/** What a device offers or a model takes: "gpu0", bytes. */
typedef struct vgw_memory {
	const char *device;
	uint64_t bytes;
} vgw_memory;

/* How a request chooses among a model's replicas: XX(NAME, text). */
#define VGW_BALANCE_MAP(XX)                          \
	XX(LEAST_OUTSTANDING, "least_outstanding") /* fewest requests under way; ties rotate */ \
	XX(ROUND_ROBIN, "round_robin")             \
	XX(P2C, "p2c")       /* the less busy of two drawn by lot */ \
	XX(PREFIX, "prefix") /* who has seen the beginning of the prompt before, if not too busy */ \
	XX(STICKY, "sticky") /* a session's own, if not too busy */

typedef enum vgw_balance {
#define XX(name, text) VGW_BALANCE_##name,
	VGW_BALANCE_MAP(XX)
#undef XX
	VGW_BALANCE_COUNT,
	VGW_BALANCE_FORCE_INT32 = 0x7fffffff
} vgw_balance;

/* How an engine is made to tell what a stream costs, for those whose tokens are counted: XX(NAME, text). */
#define VGW_USAGE_MAP(XX)                                                                             \
	XX(AUTO, "auto")             /* continuous, but only final for https: another's API refuses what it does not know */ \
	XX(CONTINUOUS, "continuous") /* in each event, as vLLM can: exact for streams that break off */ \
	XX(FINAL, "final")           /* in a last event */                                            \
	XX(OFF, "off")               /* not at all: its events are counted */

typedef enum vgw_usage {
#define XX(name, text) VGW_USAGE_##name,
	VGW_USAGE_MAP(XX)
#undef XX
	VGW_USAGE_COUNT,
	VGW_USAGE_FORCE_INT32 = 0x7fffffff
} vgw_usage;

/** One model. Zero is the default of every field; `name` and `kind` are required. Everything is copied. */
typedef struct vgw_model_options {
	size_t size;               /* set by VGW_MODEL_OPTIONS_INIT */
	const char *name;          /* what requests call it */
	const char *served_name;   /* what the engine calls it; NULL: name; "*": as the request names it */
	const char *const *aliases; /* further names and prefix patterns ("big-*") */
	size_t alias_count;
	const char *kind;          /* kind of its controller: "static", "process", ... */
	const char *backend_json;  /* the controller's configuration, a JSON object; its "api_key" is sent upstream */
	const char *defaults_json; /* JSON object: keys a request gets when it lacks them; NULL: none */
	const char *const *strip;  /* top-level keys taken out of requests */
	size_t strip_count;
	const vgw_memory *memory;  /* what it takes on each device; "each": on all not named; none: learned */
	size_t memory_count;
	const char *const *groups; /* models of one group are not resident together */
	size_t group_count;
	const char *const *devices; /* where it may run; none: anywhere */
	size_t device_count;
	uint32_t is_unlisted;      /* 1: routable, but not in GET /v1/models */
	uint32_t is_pinned;        /* 1: never chosen to leave */
	uint32_t sleep_level;      /* 0: never sleeps; 1, 2: as vLLM's levels */
	uint32_t sleep_timeout_ms; /* until it sleeps and its memory is back; then it is stopped; 0 = 2 min */
	uint32_t wake_timeout_ms;  /* until it serves again; then it is started anew; 0 = 5 min */
	uint32_t reserved0;        /* must be 0 */
	const char *sleep_mode;    /* what becomes of requests that still run: "abort", "wait"; NULL: "abort" */
	const char *sleep_canary;  /* a prompt whose answer must be the same after a wake from level 2; NULL: none */
	vgw_balance balance;       /* among several replicas */
	uint32_t max_loras;        /* adapters loaded on one replica at a time; 0 = 1 */
	uint32_t lora_timeout_ms;  /* a request waits so long for its adapter: for a slot, then for the load; 0 = 1 min */
	uint32_t tensor_parallel;  /* devices an engine takes, of those it may run on; 0: as its arguments say */
	vgw_usage usage;           /* how its engine is made to tell what a stream costs */
	uint32_t reserved1;        /* must be 0 */
	const char *fallback;      /* model or alias that answers when this one would not soon; NULL: none */
	int64_t fallback_after_ms; /* how long a request waits for its model before; 0: not at all */
} vgw_model_options;

#define VGW_MODEL_OPTIONS_INIT { .size = sizeof(vgw_model_options) }

/** A LoRA adapter: a model that is loaded into the engines of another one. Zero is the default of every field; `name`,
 *  `base` and `path` are required. Everything is copied. */
typedef struct vgw_adapter_options {
	size_t size;               /* set by VGW_ADAPTER_OPTIONS_INIT */
	const char *name;          /* what requests call it */
	const char *base;          /* name of the model it belongs to */
	const char *path;          /* what the engine loads: a folder as the engine sees it, or a name on the hub */
	const char *const *aliases; /* further names and prefix patterns */
	size_t alias_count;
	uint32_t is_unlisted;      /* 1: routable, but not in GET /v1/models */
	uint32_t reserved0;        /* must be 0 */
} vgw_adapter_options;

#define VGW_ADAPTER_OPTIONS_INIT { .size = sizeof(vgw_adapter_options) }

/**
 * An empty registry.
 * Owns:    *out belongs to the caller: vgw_registry_unref(), or hand it over. NULL on failure.
 * Threads: any.
 * Blocks:  never.
 * Errors:  NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_registry_new(vgw_registry **out, vgw_error *err);

/** One more owner.
 *  Owns: returns its argument; give it back with vgw_registry_unref().
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API vgw_registry *vgw_registry_ref(vgw_registry *registry);

/** One owner less; the last one frees it. NULL is allowed.
 *  Owns: taken.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_registry_unref(vgw_registry *registry);

/**
 * Add a model, and its aliases to the routes.
 * Owns:    *options is read during the call.
 * Threads: owner, before the registry is handed over.
 * Blocks:  never.
 * Errors:  INVALID (missing or malformed field; the text says which), EXISTS (name or alias taken), NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_registry_add(vgw_registry *registry, const vgw_model_options *options,
	vgw_error *err);

/**
 * Add an adapter, and its aliases to the routes. The gateway loads it into a replica of its base when a request needs
 * it there, and unloads the least recently used one when `max_loras` are loaded. To the residency it is its base.
 * Owns:    *options is read during the call.
 * Threads: owner, before the registry is handed over.
 * Blocks:  never.
 * Errors:  INVALID (missing or malformed field; the base is an adapter), NOT_FOUND (there is no such base yet),
 *          EXISTS (name or alias taken), NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_registry_add_adapter(vgw_registry *registry, const vgw_adapter_options *options,
	vgw_error *err);

/** The model of requests that name none or an unknown one; NULL: such requests are refused (the default).
 *  Owns: name is read during the call.  Threads: owner, before it is handed over.  Blocks: never.
 *  Errors: NOT_FOUND.  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_registry_set_default(vgw_registry *registry, const char *name, vgw_error *err);

/** How many models there are, adapters apart.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API size_t vgw_registry_get_count(const vgw_registry *registry);

/** The model at a place, in the order they were added; NULL behind the end.
 *  Owns: borrowed until vgw_registry_unref().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const vgw_model *vgw_registry_get_model(const vgw_registry *registry, size_t place);

/** The adapter at a place, in the order they were added; NULL behind the end.
 *  Owns: borrowed until vgw_registry_unref().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const vgw_model *vgw_registry_get_adapter(const vgw_registry *registry, size_t place);

/** The model a request's name leads to (exact, alias, prefix, default), or NULL.
 *  Owns: borrowed until vgw_registry_unref(); name is read during the call.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const vgw_model *vgw_registry_find(const vgw_registry *registry, const char *name, size_t len);

/** Owns: borrowed as the model is.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_model_get_name(const vgw_model *model);

/** Owns: borrowed as the model is.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_model_get_served_name(const vgw_model *model);

/** Alias at a place, NULL behind the end.
 *  Owns: borrowed as the model is.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_model_get_alias(const vgw_model *model, size_t place);

/** Name of the model whose engines serve it, if it is an adapter; NULL: it is none.
 *  Owns: borrowed as the model is.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_model_get_base(const vgw_model *model);

/** Routable, but not to be listed?
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_model_is_unlisted(const vgw_model *model);

VGW_END_DECLS

#endif
