/* SPDX-License-Identifier: Apache-2.0 */
/* Every key of the configuration, once. From these lists come the parser, the defaults, the checks of types
 * and ranges, VLLMGW_* variables, --print-config, the JSON Schema and the README's table. To add a key: one
 * row here, one field in config.h. To add a backend kind: one list of keys, one row in CONFIG_BACKENDS, one
 * array in config_keys.c.
 *
 * XX(path, TYPE, min, max, words, default, flags, field, help)
 *   path     dotted, below the object the list describes; rows of one section stand together
 *   min max  of numbers, in the type's unit (milliseconds, bytes); 0, 0 for other types
 *   words    NULL, or "|a|b": the words allowed (WORD), or the word that stands for 0 (NUMBER)
 *   default  as it would be written; NULL for a key that must be given
 *   field    in the object's struct; backends have no struct, their keys become JSON */
#ifndef VGW_SERVER_CONFIG_KEYS_H
#define VGW_SERVER_CONFIG_KEYS_H

#include "config.h"
#include "config_backend_keys.h"

#define CONFIG_MAX_MS (30LL * 24 * 3600 * 1000)
#define CONFIG_MAX_BYTES (1LL << 50)
#define CONFIG_MAX_LIMIT 100000000LL /* a minute */

/* XX(TYPE, C type, what to write) */
#define CONFIG_TYPES(XX)                                                                                     \
	XX(TEXT, const char *, "text")                                                                       \
	XX(FLAG, bool, "true or false")                                                                      \
	XX(NUMBER, int64_t, "a whole number")                                                                \
	XX(DURATION, int64_t, "a duration such as 250ms, 15s, 20m or 1h")                                    \
	XX(SIZE, int64_t, "a size such as 64MiB, 24GiB or 500MB")                                            \
	XX(WORD, int, "a word")                                                                              \
	XX(TEXTS, struct config_strings, "a list such as [a, b]")                                            \
	XX(URLS, struct config_strings, "a list of URLs such as [http://127.0.0.1:8001]")                    \
	XX(LISTENS, struct config_listens, "an address such as 127.0.0.1:8080 or a list of them")            \
	XX(SIZES, struct config_memories, "a mapping such as {gpu0: 18GiB}")                                 \
	XX(VARIABLES, struct config_strings, "a mapping such as {NAME: text}")                               \
	XX(GPUS, const char *, "auto, all, none, how many, or a list such as [0, 1]")                        \
	XX(OBJECT, const char *, "a mapping such as {temperature: 0.2}")                                     \
	XX(KEYS, struct config_auth_keys, "a list such as [{name: alice, key: ...}]")                         \
	XX(DEVICES, struct config_memories, "a mapping such as {gpu0: {memory: 24GiB}}")                     \
	XX(ADAPTERS, struct config_adapters, "a mapping such as {sql: {path: /adapters/sql}}")               \
	XX(BACKEND, const char *, "a mapping such as {kind: static, urls: [http://127.0.0.1:8001]}")         \
	XX(DEFAULTS, const struct config_model *, "a mapping of keys that models have")                      \
	XX(MODELS, struct config_models, "a mapping from model names to models")

enum config_type {
#define XX(name, type, text) CONFIG_##name,
	CONFIG_TYPES(XX)
#undef XX
	CONFIG_TYPE_COUNT
};

enum {
	CONFIG_NULLABLE = 1,     /* null is allowed: NULL, an empty list, -1 */
	CONFIG_SECRET = 2,       /* shown as ***, must be fit for an HTTP header */
	CONFIG_SLOTS = 4, /* ${PORT} ${MODEL} ${DEVICES} stay as they are */
	CONFIG_OWN = 8,          /* of a model: makes no sense under `defaults` */
	CONFIG_NOT_EMPTY = 16,   /* a list with at least one item */
};

#define CONFIG_WORD(name, text) "|" text

#define CONFIG_SERVER_KEYS(XX)                                                                               \
	XX("listen", LISTENS, 0, 0, NULL, "127.0.0.1:8080", CONFIG_NOT_EMPTY, listen,                        \
		"Where clients connect: host:port, \"[::1]:8080\", https://host:port, unix:/path, systemd, "  \
		"https://systemd, or a list of them")                                                        \
	XX("workers", NUMBER, 1, 256, "|auto", "auto", 0, workers,                                           \
		"Threads, each with its own event loop; auto: one per processor")                            \
	XX("trusted_proxies", TEXTS, 0, 0, NULL, "[]", 0, trusted_proxies,                                   \
		"Who may say in a header whom a request is from: addresses, networks such as 10.0.0.0/8, "   \
		"unix; for limits per address and the access log")                                           \
	XX("proxy_header", WORD, 0, 0, CONFIG_PROXY_HEADERS(CONFIG_WORD), "x-forwarded-for", 0, proxy_header, \
		"The header they write; the other one is not looked at, for it may come from the client")    \
	XX("admin.listen", LISTENS, 0, 0, NULL, "null", CONFIG_NULLABLE, admin.listen,                       \
		"Own address of the admin routes; null: the same listeners")                                 \
	XX("admin.key", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SECRET, admin.key,                \
		"Key of the admin routes; without one they answer loopback peers only")                      \
	XX("tls.certificate", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, tls.certificate,                    \
		"Certificate of the https:// addresses, with its chain, a PEM file; read again when it "     \
		"changes")                                                                                   \
	XX("tls.key", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, tls.key,                                    \
		"Its private key, a PEM file without a passphrase")                                          \
	XX("tls.min_version", WORD, 0, 0, CONFIG_TLS_VERSIONS(CONFIG_WORD), "TLSv1.2", 0, tls.min_version,       \
		"Oldest version of TLS that is spoken")                                                      \
	XX("auth.keys", KEYS, 0, 0, NULL, "[]", 0, auth.keys,                                                \
		"Who may use the gateway; with neither keys nor a keys file everybody may")                  \
	XX("auth.keys_file", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, auth.keys_file,                      \
		"More of them, a line each: name:sha256hex[:option=value...]; read again when it changes")   \
	XX("auth.public_metrics", FLAG, 0, 0, NULL, "false", 0, auth.public_metrics,                         \
		"/metrics and /version need no key, from wherever they are asked for")                       \
	XX("auth.per_ip_rpm", NUMBER, 0, CONFIG_MAX_LIMIT, NULL, "0", 0, auth.per_ip_rpm,                    \
		"Requests per minute of an address that shows no valid key; 0: no limit")                          \
	XX("auth.store", TEXT, 0, 0, NULL, "memory", 0, auth.store,                                          \
		"Where keys' limits are counted: memory, or a Redis that several gateways share: "           \
		"redis://host:6379/0, unix:/run/redis.sock")                                                 \
	XX("auth.store_password", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SECRET,                 \
		auth.store_password, "Password of that Redis; null: none")                                   \
	XX("auth.store_down", WORD, 0, 0, CONFIG_STORE_DOWNS(CONFIG_WORD), "open", 0, auth.store_down,       \
		"While Redis does not answer: open lets requests through unchecked, closed refuses them")    \
	XX("cors.origins", TEXTS, 0, 0, NULL, "[]", 0, cors.origins,                                         \
		"Origins whose pages may use the API from a browser: https://app.example, or \"*\" for "     \
		"all; empty: none")                                                                          \
	XX("upstreams.deny", TEXTS, 0, 0, NULL, "[]", 0, upstreams.deny,                                     \
		"Addresses no engine may have, whatever its name resolves to: 10.0.0.0/8, fd00::1")          \
	XX("upstreams.allow_link_local", FLAG, 0, 0, NULL, "false", 0, upstreams.allow_link_local,           \
		"Engines may have link-local addresses and those of cloud metadata services")                \
	XX("limits.body", SIZE, 1024, 1LL << 32, NULL, "64MiB", 0, limits.body_bytes,                        \
		"Largest request body")                                                                      \
	XX("limits.head", SIZE, 4096, 1 << 20, NULL, "16KiB", 0, limits.head_bytes,                          \
		"Room for a request's first line and headers, of every connection; cookies count twice")      \
	XX("limits.connections", NUMBER, 1, 1000000, NULL, "10000", 0, limits.connections,                   \
		"Most client connections at a time")                                                         \
	XX("limits.header_timeout", DURATION, 100, CONFIG_MAX_MS, NULL, "10s", 0, limits.header_timeout_ms,  \
		"A request's head must have arrived within this")                                            \
	XX("limits.body_timeout", DURATION, 100, CONFIG_MAX_MS, NULL, "60s", 0, limits.body_timeout_ms,      \
		"A request's body must have arrived within this")                                            \
	XX("limits.queue.requests", NUMBER, 1, 1000000, NULL, "1000", 0, limits.queue_requests,              \
		"Most requests that wait for a model at a time")                                             \
	XX("limits.queue.bytes", SIZE, 0, CONFIG_MAX_BYTES, NULL, "512MiB", 0, limits.queue_bytes,           \
		"Most memory that bodies of waiting requests take")                                          \
	XX("timeouts.connect", DURATION, 1, CONFIG_MAX_MS, NULL, "3s", 0, timeouts.connect_ms,               \
		"Connecting to an engine")                                                                   \
	XX("timeouts.first_byte", DURATION, 1, CONFIG_MAX_MS, NULL, "20m", 0, timeouts.first_byte_ms,        \
		"From sending a request to the first byte of its answer")                                    \
	XX("timeouts.idle", DURATION, 1, CONFIG_MAX_MS, NULL, "5m", 0, timeouts.idle_ms,                     \
		"Between two pieces of an answer")                                                           \
	XX("timeouts.total", DURATION, 1, CONFIG_MAX_MS, NULL, "1h", 0, timeouts.total_ms,                   \
		"From sending a request to the end of its answer")                                           \
	XX("timeouts.resolve", DURATION, 100, CONFIG_MAX_MS, NULL, "30s", 0, timeouts.resolve_ms,            \
		"How often names of engines that somebody else runs are looked up again")                    \
	XX("timeouts.health", DURATION, 100, CONFIG_MAX_MS, NULL, "5s", CONFIG_NULLABLE,                     \
		timeouts.health_ms, "How often replicas of a model with several are asked GET /health; "     \
		"null: never")                                                                               \
	XX("timeouts.drain", DURATION, 0, CONFIG_MAX_MS, NULL, "30s", 0, timeouts.drain_ms,                  \
		"How long running requests may take to finish when the server stops")                        \
	XX("heartbeat.idle", DURATION, 100, CONFIG_MAX_MS, NULL, "15s", 0, heartbeat.idle_ms,                \
		"Silence of a stream after which a heartbeat is sent")                                       \
	XX("heartbeat.style", WORD, 0, 0, CONFIG_HEARTBEAT_STYLES(CONFIG_WORD), "comment", 0,                \
		heartbeat.style, "What a heartbeat is: an SSE comment, an empty data event, or nothing")     \
	XX("heartbeat.while_loading", FLAG, 0, 0, NULL, "false", 0, heartbeat.while_loading,                 \
		"Answer 200 at once and send heartbeats while a model loads; failures become error events")  \
	XX("log.level", WORD, 0, 0, CONFIG_LOG_LEVELS(CONFIG_WORD), "info", 0, log.level,                    \
		"Least important lines that are written")                                                    \
	XX("log.format", WORD, 0, 0, CONFIG_LOG_FORMATS(CONFIG_WORD), "auto", 0, log.format,                 \
		"auto: text on a terminal, JSON otherwise")                                                  \
	XX("log.access", FLAG, 0, 0, NULL, "true", 0, log.access, "One line per request")                    \
	XX("metrics.naming", WORD, 0, 0, CONFIG_NAMINGS(CONFIG_WORD), "vllmgw", 0, metrics.naming,              \
		"Where OpenTelemetry's GenAI conventions have a name for a metric: ours, theirs "            \
		"(gen_ai_server_...), or both")                                                              \
	XX("state_dir", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, state_dir,                                \
		"State file and engine logs; null: $STATE_DIRECTORY, else $XDG_STATE_HOME/vllmgw, "          \
		"else ~/.local/state/vllmgw, else /var/lib/vllmgw")                                          \
	XX("residency.max_resident", NUMBER, 1, 10000, NULL, "1", 0, residency.max_resident,                 \
		"Most models in memory at a time (those of backends the gateway starts)")                    \
	XX("residency.max_asleep", NUMBER, 0, 10000, NULL, "0", 0, residency.max_asleep,                     \
		"Most sleeping models at a time")                                                            \
	XX("residency.policy", WORD, 0, 0, CONFIG_POLICIES(CONFIG_WORD), "lru", 0, residency.policy,         \
		"Which model leaves: the least recently used, or the cheapest to miss")                      \
	XX("residency.max_wait", DURATION, 1, CONFIG_MAX_MS, NULL, "20m", 0, residency.max_wait_ms,          \
		"Longest wait of a request for its model")                                                   \
	XX("residency.min_resident", DURATION, 0, CONFIG_MAX_MS, NULL, "10s", 0, residency.min_resident_ms,  \
		"A model just loaded stays at least this long")                                              \
	XX("residency.idle_ttl.sleep", DURATION, 1, CONFIG_MAX_MS, NULL, "null", CONFIG_NULLABLE,            \
		residency.idle_sleep_ms, "An idle model goes to sleep after this; null: never")              \
	XX("residency.idle_ttl.stop", DURATION, 1, CONFIG_MAX_MS, NULL, "null", CONFIG_NULLABLE,             \
		residency.idle_stop_ms, "An idle model is stopped after this; null: never")                  \
	XX("residency.memory_command", TEXTS, 0, 0, NULL, "[]", CONFIG_SLOTS, residency.memory_command,      \
		"Program that prints a device's free bytes, and its total; ${DEVICE} is filled in; "         \
		"empty: NVML or nvidia-smi")                                                                 \
	XX("residency.preload", TEXTS, 0, 0, NULL, "[]", 0, residency.preload, "Models loaded at start")     \
	XX("residency.on_exit", WORD, 0, 0, CONFIG_ON_EXITS(CONFIG_WORD), "stop", 0, residency.on_exit,      \
		"What happens to engines at a clean stop: stopped, or left for the next start")              \
	XX("devices", DEVICES, 0, 0, NULL, "{}", 0, devices,                                                 \
		"Devices and their memory budgets; empty: discovered, or one device without a budget")       \
	XX("compat.ai_backend_gateway", FLAG, 0, 0, NULL, "false", 0, compat.ai_backend_gateway,             \
		"The simple API of AI Backend Gateway: /api/chat, /api/chat/stream, /api/embeddings, "       \
		"/api/models")                                                                               \
	XX("compat.allowed_models", TEXTS, 0, 0, NULL, "[]", 0, compat.allowed_models,                       \
		"Models that the simple API shows and serves, as the engines call them; empty: all")         \
	XX("compat.default_model", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, compat.default_model,          \
		"Model of the simple API's requests that name none, as its engine calls it; null: the "      \
		"first that the engine lists")                                                               \
	XX("compat.model_router", FLAG, 0, 0, NULL, "false", 0, compat.model_router,                         \
		"As vLLM Model Router: GET /health answers OK, GET /v1/models lists what is loaded")         \
	XX("compat.aic_vllm_proxy", FLAG, 0, 0, NULL, "false", 0, compat.aic_vllm_proxy,                     \
		"As AIC vLLM Proxy: GET /status, POST /switch, GET /logs/current and /logs/tail; turns "     \
		"allow_adhoc_models and passthrough on unless they are given")                               \
	XX("compat.aic_open", FLAG, 0, 0, NULL, "false", 0, compat.aic_open,                                 \
		"Those are for everybody who may use the gateway, not only for administrators: whoever "     \
		"reaches it runs engines with arguments of their own")                                       \
	XX("compat.llama_swap", FLAG, 0, 0, NULL, "true", 0, compat.llama_swap,                              \
		"llama-swap's routes: /running, /unload, /api/models/unload, /upstream/{model}/...")         \
	XX("compat.ollama", FLAG, 0, 0, NULL, "true", 0, compat.ollama,                                      \
		"Ollama's routes: /api/ps, /api/tags, /api/version")                                         \
	XX("allow_adhoc_models", FLAG, 0, 0, NULL, "false", 0, allow_adhoc_models,                           \
		"POST /switch (with GET /status and /logs/...) may run a model that is not in here")                                          \
	XX("passthrough", FLAG, 0, 0, NULL, "false", 0, passthrough,                                         \
		"Paths that the gateway does not know go to the default model's engine, except its controls")\
	XX("adhoc.command", TEXTS, 0, 0, NULL, "[\"vllm\", \"serve\"]", CONFIG_NOT_EMPTY | CONFIG_SLOTS,             \
		adhoc.command, "What runs a model of POST /switch; what the request says follows")           \
	XX("adhoc.options", TEXTS, 0, 0, NULL, "[\"--host\", \"127.0.0.1\", \"--port\", \"${PORT}\"]", CONFIG_SLOTS,   \
		adhoc.options, "What follows that")                                                          \
	XX("adhoc.env", VARIABLES, 0, 0, NULL, "{}", CONFIG_SLOTS, adhoc.env, "Environment of it")           \
	XX("adhoc.start_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "20m", 0, adhoc.start_timeout_ms,        \
		"From its start until it answers")                                                           \
	XX("adhoc.stop_timeout", DURATION, 0, CONFIG_MAX_MS, NULL, "30s", 0, adhoc.stop_timeout_ms,          \
		"From SIGTERM until what is left is killed")                                                 \
	XX("default_model", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, default_model,                        \
		"Model of requests that name none or an unknown one; null: they are refused")                \
	XX("defaults", DEFAULTS, 0, 0, NULL, "{}", 0, defaults,                                              \
		"Keys that models take when they do not set them")                                           \
	XX("models", MODELS, 0, 0, NULL, "{}", 0, models, "The models, by name")

#define CONFIG_MODEL_KEYS(XX)                                                                                \
	XX("aliases", TEXTS, 0, 0, NULL, "[]", CONFIG_OWN, aliases,                                          \
		"Other names; one that ends in * matches every name that begins so")                         \
	XX("served_name", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_OWN, served_name,               \
		"What the engine calls the model; null: the model's name; \"*\": as the request names it")                                   \
	XX("backend", BACKEND, 0, 0, NULL, NULL, CONFIG_OWN, backend_json,                                   \
		"Where the engine is or how it is started; `kind` decides which keys there are")             \
	XX("balance", WORD, 0, 0, CONFIG_BALANCES(CONFIG_WORD), "least_outstanding", 0, balance,             \
		"Which replica gets a request: the least busy one, each in turn, the better of two, "        \
		"the one that knows the prompt's beginning, or the session's own")                                                  \
	XX("usage", WORD, 0, 0, CONFIG_USAGES(CONFIG_WORD), "auto", 0, usage,                                \
		"How the engine is made to tell what a stream costs, for keys: in each event (exact when "   \
		"a stream breaks off), in a last one, or not at all; auto: in each, but at https only last") \
	XX("sleep.level", NUMBER, 0, 2, NULL, "0", 0, sleep_level,                                           \
		"vLLM's sleep level for leaving memory without stopping; 0: never sleeps")                   \
	XX("sleep.mode", WORD, 0, 0, CONFIG_SLEEP_MODES(CONFIG_WORD), "abort", 0, sleep_mode,                \
		"What the engine does with requests that still run when it is told to sleep")                \
	XX("sleep.timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "2m", 0, sleep_timeout_ms,                     \
		"Until it sleeps and its memory is back; then it is stopped")                                \
	XX("sleep.wake_timeout", DURATION, 1, CONFIG_MAX_MS, NULL, "5m", 0, wake_timeout_ms,                 \
		"Until it serves again; then it is started anew")                                            \
	XX("sleep.canary", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, sleep_canary,                          \
		"Prompt whose answer must be the same after a wake from level 2; null: not compared")        \
	XX("memory", SIZES, 0, CONFIG_MAX_BYTES, NULL, "{}", 0, memory,                                      \
		"Memory the model takes, per device it runs on; each: on all that are not named; "           \
		"host: asleep; empty: learned at its first load")                                            \
	XX("devices", TEXTS, 0, 0, NULL, "[]", 0, devices,                                                   \
		"Devices it may be placed on, of which each cold start takes what it needs; empty: any")     \
	XX("tensor_parallel", NUMBER, 1, 64, NULL, "null", CONFIG_NULLABLE, tensor_parallel,                 \
		"Devices an engine takes; null: as its arguments say (--tensor-parallel-size), else one")    \
	XX("pin", FLAG, 0, 0, NULL, "false", 0, is_pinned, "Never evicted")                                  \
	XX("groups", TEXTS, 0, 0, NULL, "[]", 0, groups,                                                     \
		"Models that share a group are not resident together")                                       \
	XX("unlisted", FLAG, 0, 0, NULL, "false", 0, is_unlisted, "Served, but not shown by GET /v1/models") \
	XX("request.defaults", OBJECT, 0, 0, NULL, "{}", 0, request_defaults_json,                           \
		"Members put into a request's body where it lacks them; types as in JSON")                   \
	XX("request.strip", TEXTS, 0, 0, NULL, "[]", 0, request_strip,                                       \
		"Members taken out of a request's body")                                                     \
	XX("lora.max_loras", NUMBER, 1, 1024, NULL, "1", 0, max_loras,                                       \
		"Adapters loaded on one replica at a time; no more than the engine's --max-cpu-loras, which "        \
		"is its --max-loras unless given")                                                           \
	XX("lora.timeout", DURATION, 1, 4000000000LL, NULL, "1m", 0, lora_timeout_ms,                        \
		"How long a request waits for its adapter: for a place, then for the load")                  \
	XX("adapters", ADAPTERS, 0, 0, NULL, "{}", CONFIG_OWN, adapters,                                     \
		"LoRA adapters that its engines load when they are asked for; each is a model of its own "   \
		"to clients, keys and metrics")                                                              \
	XX("fallback.model", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, fallback_model,                      \
		"Model that answers instead when this one cannot; null: none")                               \
	XX("fallback.after", DURATION, 0, CONFIG_MAX_MS, NULL, "30s", 0, fallback_after_ms,                  \
		"How long a request waits for its model before it falls back")

#define CONFIG_AUTH_KEYS(XX)                                                                                 \
	XX("name", TEXT, 0, 0, NULL, NULL, 0, name, "Label in metrics and logs; not secret")                 \
	XX("key", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE | CONFIG_SECRET, key,                            \
		"What the client sends; null: only its digest is written here")                              \
	XX("sha256", TEXT, 0, 0, NULL, "null", CONFIG_NULLABLE, sha256,                                      \
		"SHA-256 of the key, 64 hexadecimal digits, instead of the key")                             \
	XX("models", TEXTS, 0, 0, NULL, "[]", 0, models,                                                     \
		"Models it may use, by configured name; one that ends in * stands for all that begin so; "   \
		"empty: all")                                                                                \
	XX("rpm", NUMBER, 0, CONFIG_MAX_LIMIT, NULL, "0", 0, rpm, "Requests per minute; 0: no limit")        \
	XX("tpm", NUMBER, 0, CONFIG_MAX_LIMIT, NULL, "0", 0, tpm,                                            \
		"Tokens per minute, prompt and answer; 0: no limit")                                         \
	XX("concurrency", NUMBER, 0, 1000000, NULL, "0", 0, concurrency,                                     \
		"Requests under way at a time; 0: no limit")                                                 \
	XX("priority", WORD, 0, 0, CONFIG_PRIORITIES(CONFIG_WORD), "normal", 0, priority,                    \
		"Among requests that wait for a model")                                                      \
	XX("may_swap", FLAG, 0, 0, NULL, "true", 0, may_swap,                                                \
		"false: uses what is loaded, never causes a model to be loaded")                             \
	XX("admin", FLAG, 0, 0, NULL, "false", 0, is_admin, "May use the admin routes")

#define CONFIG_ADAPTER_KEYS(XX)                                                                              \
	XX("path", TEXT, 0, 0, NULL, NULL, 0, path,                                                          \
		"What the engine loads: a folder as the engine sees it, or a name on the hub")               \
	XX("aliases", TEXTS, 0, 0, NULL, "[]", 0, aliases,                                                   \
		"Other names; one that ends in * matches every name that begins so")                         \
	XX("unlisted", FLAG, 0, 0, NULL, "false", 0, is_unlisted, "Served, but not shown by GET /v1/models")

#define CONFIG_DEVICE_KEYS(XX)                                                                               \
	XX("memory", SIZE, 1, CONFIG_MAX_BYTES, NULL, "null", CONFIG_NULLABLE, bytes,                        \
		"Memory budget of the device; null: no budget")

struct config_key {
	const char *path;
	enum config_type type;
	unsigned flags;
	int64_t min;
	int64_t max;
	const char *words;
	const char *text; /* the default */
	size_t offset;
	const char *help;
};

struct config_keys {
	const struct config_key *items;
	size_t count;
};

struct config_backend {
	const char *kind;
	bool is_managed;
	struct config_keys keys;
	const char *help;
};

extern const struct config_keys config_server_keys;
extern const struct config_keys config_model_keys;
extern const struct config_keys config_adapter_keys;
extern const struct config_keys config_device_keys;
extern const struct config_keys config_auth_key_keys;
extern const struct config_backend config_backends[];
extern const size_t config_backend_count;

const struct config_backend *config_backend_find(const char *kind); /* NULL: no such kind */
size_t config_type_get_size(enum config_type type);
const char *config_type_get_text(enum config_type type);

/* The key with that path, or NULL. */
const struct config_key *config_keys_find(const struct config_keys *keys, const char *path);

/* The `index`-th word of "|a|b" into `text`; false: there are not so many. */
bool config_words_get(const char *words, size_t index, char *text, size_t size);

#endif
