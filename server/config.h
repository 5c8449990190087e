/* SPDX-License-Identifier: Apache-2.0 */
/* The server's configuration: plain, immutable, one allocation region.
 *
 *   vllmgw.yaml --config_yaml.c--> nodes with marks --env.c--> ${NAME} and VLLMGW_* put in
 *                                                |
 *        config_keys.h (the table) --> config_decode.c --> struct config --config_check.c--> ready
 *                        |                       |
 *                config_schema.c           config_print.c
 *
 * Nothing here prints to a terminal or exits: problems go into a report, texts to a FILE. */
#ifndef VGW_SERVER_CONFIG_H
#define VGW_SERVER_CONFIG_H

#include <vllmgw/gateway.h>
#include <vllmgw/log.h>
#include <vllmgw/model.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config_report.h"

/* Each list of words gives the enum here and the spelling in the file. XX(NAME, text) */
#define CONFIG_HEARTBEAT_STYLES(XX) XX(COMMENT, "comment") XX(DATA, "data") XX(OFF, "off")
#define CONFIG_LOG_LEVELS(XX) XX(ERROR, "error") XX(WARN, "warn") XX(INFO, "info") XX(DEBUG, "debug")
#define CONFIG_LOG_FORMATS(XX) XX(AUTO, "auto") XX(TEXT, "text") XX(JSON, "json")
#define CONFIG_POLICIES(XX) XX(LRU, "lru") XX(COST, "cost")
#define CONFIG_ON_EXITS(XX) XX(STOP, "stop") XX(LEAVE, "leave")
#define CONFIG_PRIORITIES(XX) XX(NORMAL, "normal") XX(BATCH, "batch") XX(INTERACTIVE, "interactive")
#define CONFIG_STORE_DOWNS(XX) XX(OPEN, "open") XX(CLOSED, "closed")
#define CONFIG_TLS_VERSIONS(XX) XX(1_2, "TLSv1.2") XX(1_3, "TLSv1.3")
#define CONFIG_SLEEP_MODES(XX) XX(ABORT, "abort") XX(WAIT, "wait")
#define CONFIG_BALANCES(XX) VGW_BALANCE_MAP(XX)
#define CONFIG_NAMINGS(XX) VGW_METRICS_MAP(XX)
#define CONFIG_PROXY_HEADERS(XX) XX(X_FORWARDED_FOR, "x-forwarded-for") XX(FORWARDED, "forwarded")
#define CONFIG_USAGES(XX) VGW_USAGE_MAP(XX)

#define XX(name, text) CONFIG_HEARTBEAT_##name,
enum config_heartbeat_style { CONFIG_HEARTBEAT_STYLES(XX) };
#undef XX
#define XX(name, text) CONFIG_LOG_FORMAT_##name,
enum config_log_format { CONFIG_LOG_FORMATS(XX) };
#undef XX
#define XX(name, text) CONFIG_POLICY_##name,
enum config_policy { CONFIG_POLICIES(XX) };
#undef XX
#define XX(name, text) CONFIG_ON_EXIT_##name,
enum config_on_exit { CONFIG_ON_EXITS(XX) };
#undef XX
#define XX(name, text) CONFIG_PRIORITY_##name,
enum config_priority { CONFIG_PRIORITIES(XX) };
#undef XX
#define XX(name, text) CONFIG_STORE_DOWN_##name,
enum config_store_down { CONFIG_STORE_DOWNS(XX) };
#undef XX
#define XX(name, text) CONFIG_TLS_##name,
enum config_tls_version { CONFIG_TLS_VERSIONS(XX) };
#undef XX
#define XX(name, text) CONFIG_SLEEP_MODE_##name,
enum config_sleep_mode { CONFIG_SLEEP_MODES(XX) };
#undef XX
#define XX(name, text) CONFIG_BALANCE_##name,
enum config_balance { CONFIG_BALANCES(XX) };
#undef XX
#define XX(name, text) CONFIG_NAMING_##name,
enum config_naming { CONFIG_NAMINGS(XX) };
#undef XX

#define XX(name, text) CONFIG_PROXY_##name,
enum config_proxy_header { CONFIG_PROXY_HEADERS(XX) };
#undef XX
#define XX(name, text) CONFIG_USAGE_##name,
enum config_usage { CONFIG_USAGES(XX) };
#undef XX

struct config_strings {
	const char *const *items;
	size_t count;
};

enum config_listen_kind { CONFIG_LISTEN_TCP, CONFIG_LISTEN_UNIX, CONFIG_LISTEN_SYSTEMD };

struct config_listen {
	enum config_listen_kind kind;
	bool is_tls;      /* TCP, SYSTEMD */
	uint16_t port;    /* TCP; 0: the kernel chooses */
	const char *text; /* as configured */
	const char *host; /* TCP: an address or a name, without brackets */
	const char *path; /* UNIX: at most 107 bytes */
};

struct config_listens {
	const struct config_listen *items;
	size_t count;
};

/* So many bytes on a device. */
struct config_memory {
	const char *device;
	int64_t bytes; /* -1: not known (a device without a budget) */
};

struct config_memories {
	const struct config_memory *items;
	size_t count;
};

/* A LoRA adapter of a model. */
struct config_adapter {
	const char *name;
	const char *path;
	struct config_strings aliases;
	bool is_unlisted;
	struct config_place place;
};

struct config_adapters {
	const struct config_adapter *items;
	size_t count;
};

struct config_model {
	const char *name;
	struct config_strings aliases; /* names, and patterns with one '*' at their end */
	const char *served_name;       /* never NULL: the model's name unless configured */
	const char *backend_kind;      /* "static", "process", "docker" */
	/* The `backend:` mapping as a JSON object with `kind`; variables and defaults are put in, null keys
	 * left out. Durations are integers of milliseconds, sizes of bytes. Holds secrets: never log it. */
	const char *backend_json;
	bool is_managed; /* false: the engine is somebody else's (kind static) */
	bool is_unlisted;
	bool is_pinned;
	enum config_balance balance;
	enum config_usage usage;
	struct config_strings groups;
	struct config_strings devices;
	int64_t tensor_parallel; /* -1: not given */
	struct config_memories memory;
	int64_t sleep_level; /* 0: never asleep */
	enum config_sleep_mode sleep_mode;
	int64_t sleep_timeout_ms;
	int64_t wake_timeout_ms;
	const char *sleep_canary; /* NULL: none */
	const char *request_defaults_json; /* a JSON object; "{}" when there are none */
	struct config_strings request_strip;
	int64_t max_loras;
	int64_t lora_timeout_ms;
	struct config_adapters adapters;
	const char *fallback_model; /* NULL: none */
	int64_t fallback_after_ms;
	struct config_place place; /* for errors found later, when the model is made */
};

struct config_models {
	const struct config_model *items;
	size_t count;
};

/* Somebody who may use the gateway, from `auth.keys` or a line of the keys file. */
struct config_auth_key {
	const char *name;
	const char *key;    /* in the clear; NULL: only its digest is known */
	const char *sha256; /* 64 hexadecimal digits; NULL: `key` is given */
	struct config_strings models; /* names, or beginnings with '*' at their end; empty: all */
	int64_t rpm;         /* 0: no limit, as the two below */
	int64_t tpm;
	int64_t concurrency;
	enum config_priority priority;
	bool may_swap;
	bool is_admin;
};

struct config_auth_keys {
	const struct config_auth_key *items;
	size_t count;
};

struct config {
	bool is_blank; /* the file holds nothing but comments */
	struct config_listens listen;
	int64_t workers; /* 0: one per processor */
	struct config_strings trusted_proxies; /* addresses, networks, "unix" */
	enum config_proxy_header proxy_header;
	struct {
		struct config_listens listen; /* empty: the same listeners */
		const char *key;              /* NULL: loopback peers only */
	} admin;
	struct {
		const char *certificate; /* files; NULL: no address is https:// */
		const char *key;
		enum config_tls_version min_version;
	} tls;
	struct {
		struct config_auth_keys keys;
		const char *keys_file; /* NULL: none. Neither keys nor a file: everybody may use everything */
		bool public_metrics;
		int64_t per_ip_rpm; /* 0: no limit */
		const char *store;  /* "memory", or where Redis is */
		const char *store_password; /* NULL: none */
		enum config_store_down store_down;
	} auth;
	struct {
		struct config_strings origins; /* empty: pages of other origins are not let in */
	} cors;
	struct {
		struct config_strings deny; /* addresses and ranges */
		bool allow_link_local;
	} upstreams;
	struct {
		int64_t body_bytes;
		int64_t head_bytes;
		int64_t connections;
		int64_t header_timeout_ms;
		int64_t body_timeout_ms;
		int64_t queue_requests;
		int64_t queue_bytes;
	} limits;
	struct {
		int64_t connect_ms;
		int64_t first_byte_ms;
		int64_t idle_ms;
		int64_t total_ms;
		int64_t resolve_ms;
		int64_t health_ms; /* -1: never */
		int64_t drain_ms;
	} timeouts;
	struct {
		int64_t idle_ms;
		enum config_heartbeat_style style;
		bool while_loading;
	} heartbeat;
	struct {
		vgw_log_level level;
		enum config_log_format format;
		bool access;
	} log;
	struct {
		enum config_naming naming;
	} metrics;
	const char *state_dir; /* never NULL; need not exist yet */
	struct {
		int64_t max_resident;
		int64_t max_asleep;
		struct config_strings memory_command; /* empty: what the machine has */
		enum config_policy policy;
		int64_t max_wait_ms;
		int64_t min_resident_ms;
		int64_t idle_sleep_ms; /* -1: never */
		int64_t idle_stop_ms;  /* -1: never */
		struct config_strings preload;
		enum config_on_exit on_exit;
	} residency;
	struct config_memories devices; /* empty: discover them */
	struct {
		bool ai_backend_gateway;
		bool model_router;
		bool aic_vllm_proxy;
		bool aic_open;
		bool llama_swap;
		bool ollama;
		struct config_strings allowed_models; /* empty: all */
		const char *default_model;            /* NULL: the first of the engine's list */
	} compat;
	bool allow_adhoc_models; /* whoever may switch runs engines that are not in here */
	bool passthrough;        /* paths the gateway does not know go to the default model's engine */
	struct {
		struct config_strings command;
		struct config_strings options;
		struct config_strings env; /* NAME, value, NAME, value... */
		int64_t start_timeout_ms;
		int64_t stop_timeout_ms;
	} adhoc;
	const char *default_model;      /* NULL: a request must name one; else a model's name or alias */
	const struct config_model *defaults; /* `defaults:`, as a model without name and backend */
	struct config_models models;

	struct config_strings secrets; /* every key's text, for redaction by value */
	const char *path;              /* the file; NULL without one */
	struct config_arena *arena;    /* owns all of the above and this struct */
	struct node *tree;             /* the effective configuration with its places, for config_print() */
};

struct config_source {
	const char *path; /* the file, or the name of `text` in messages; NULL: variables and defaults only */
	const char *text; /* read this instead of the file; need not end in NUL */
	size_t len;
	const char *const *environment; /* NULL-terminated NAME=VALUE; NULL: the process's own */
	size_t memory_bytes;            /* ceiling of what the configuration may take; 0: 64 MiB */
};

/* Read, put in variables and defaults, check. 0, and *out is the caller's; or -1, *out NULL, and the report
 * says what is wrong. Warnings may come with both. Initialises and sorts the report. Blocks on the file. */
int config_load(struct config **out, const struct config_source *source, struct config_report *report);
void config_free(struct config *config); /* NULL is allowed */

/* Which file to read: `option` (from -c, may be NULL), $VLLMGW_CONFIG, ./vllmgw.yaml, or
 * /etc/vllmgw/vllmgw.yaml; the first two are taken without looking. 0 and the path in `text`, or -1 and a
 * message that lists the places. */
int config_find(const char *option, const char *const *environment, char *text, size_t size);

/* The model of that name (not alias); NULL: none. */
const struct config_model *config_find_model(const struct config *config, const char *name);

/* The effective configuration as YAML, secrets as ***; with_origins adds to each line where its value comes
 * from. 0 or -1 (writing failed). */
int config_print(const struct config *config, FILE *out, bool with_origins);

/* A JSON Schema (draft 2020-12) for editors; a Markdown table of all keys. 0 or -1. */
int config_print_schema(FILE *out);
int config_print_reference(FILE *out);

/* Copy `text` with every secret of the configuration replaced by ***; cut to `size`. Returns `out`. */
const char *config_redact(const struct config *config, const char *text, char *out, size_t size);

#endif
