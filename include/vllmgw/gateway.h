/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/gateway.h
 * The gateway itself, neutral towards the front: a request's bytes in, an answer's bytes out.
 * Audience: callers (a server, a C service, a test harness).  Stability: stable since 0.1.
 *
 *   your front                       libvllmgw, on one worker's loop                  engine
 *     |-- vgw_worker_call(request) -->| scan, route, lease a replica                     |
 *     |                               |-- the same bytes, its model name spliced in ---->|
 *     |<-- on_head -------------------|<-- status, headers ------------------------------|
 *     |<-- on_data (as it comes) -----|<-- body, event by event -------------------------|
 *     |-- VGW_FLOW_FULL ------------->| reads no more                                     |
 *     |-- vgw_call_resume() --------->|                                                   |
 *     |<-- on_end, exactly once ------|                                                   |
 *
 * A gateway is shared by all threads. Each thread that makes calls attaches its loop and gets a worker; a call
 * lives and dies on the thread of its worker and takes no lock.
 */
#ifndef VLLMGW_GATEWAY_H
#define VLLMGW_GATEWAY_H

#include <vllmgw/common.h>
#include <vllmgw/controller.h>
#include <vllmgw/log.h>
#include <vllmgw/loop.h>
#include <vllmgw/model.h>
#include <vllmgw/principal.h>
#include <vllmgw/residency.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

typedef struct vgw_worker vgw_worker;
typedef struct vgw_call vgw_call;

/* What a client can ask an engine with a form, for it sends files: XX(name, path here and upstream). All are POST with
 * a body of multipart/form-data. */
#define VGW_FORM_OPERATION_MAP(XX)                                \
	XX(TRANSCRIPTIONS, "/v1/audio/transcriptions")            \
	XX(TRANSLATIONS, "/v1/audio/translations")                \
	XX(IMAGE_EDITS, "/v1/images/edits")

/* All that a client can ask: XX(name, path here and upstream). The others are POST with a JSON body. */
#define VGW_OPERATION_MAP(XX)                                     \
	XX(CHAT_COMPLETIONS, "/v1/chat/completions")              \
	XX(COMPLETIONS, "/v1/completions")                        \
	XX(EMBEDDINGS, "/v1/embeddings")                          \
	XX(RESPONSES, "/v1/responses")                            \
	XX(MESSAGES, "/v1/messages")                              \
	XX(COUNT_TOKENS, "/v1/messages/count_tokens")             \
	XX(V1_RERANK, "/v1/rerank")                               \
	XX(RERANK, "/rerank")                                     \
	XX(V2_RERANK, "/v2/rerank")                               \
	XX(V1_SCORE, "/v1/score")                                 \
	XX(SCORE, "/score")                                       \
	XX(CLASSIFY, "/classify")                                 \
	XX(POOLING, "/pooling")                                   \
	XX(TOKENIZE, "/tokenize")                                 \
	XX(DETOKENIZE, "/detokenize")                             \
	XX(SPEECH, "/v1/audio/speech")                            \
	XX(IMAGES, "/v1/images/generations")                      \
	VGW_FORM_OPERATION_MAP(XX)

typedef enum vgw_operation {
#define XX(name, path) VGW_OPERATION_##name,
	VGW_OPERATION_MAP(XX)
#undef XX
	VGW_OPERATION_PASSTHROUGH, /* a method and a path of the request's own; its body goes on unread */
	VGW_OPERATION_COUNT,
	VGW_OPERATION_FORCE_INT32 = 0x7fffffff
} vgw_operation;

/** How metrics are named: XX(name, text). Where OpenTelemetry's GenAI conventions have a name, `otel` gives the
 *  figure under that name instead of ours (gen_ai_server_request_duration_seconds and the like), `both` under each. */
#define VGW_METRICS_MAP(XX)      \
	XX(VLLMGW, "vllmgw")     \
	XX(OTEL, "otel")         \
	XX(BOTH, "both")

typedef enum vgw_metrics_naming {
#define XX(name, text) VGW_METRICS_##name,
	VGW_METRICS_MAP(XX)
#undef XX
	VGW_METRICS_COUNT,
	VGW_METRICS_FORCE_INT32 = 0x7fffffff
} vgw_metrics_naming;

/** Knobs of a gateway. Zero is the default of every field. */
typedef struct vgw_gateway_options {
	size_t size;                   /* set by VGW_GATEWAY_OPTIONS_INIT */
	vgw_logger logger;             /* all zero: silent */
	const char *state_dir;         /* for engine logs and the state file; NULL: nothing is written */
	int64_t connect_timeout_ms;    /* 0 = 3000 */
	int64_t first_byte_timeout_ms; /* 0 = 1200000: prefill of a long prompt is silent */
	int64_t idle_timeout_ms;       /* between two chunks of an answer; 0 = 300000 */
	int64_t total_timeout_ms;      /* 0 = 3600000 */
	uint64_t max_body_bytes;       /* of a request; 0 = 64 MiB */
	uint64_t max_event_bytes;      /* of one server-sent event; 0 = 16 MiB */
	uint32_t max_workers;          /* 0 = 64 */
	uint32_t max_json_tokens;      /* values of a request's body; 0 = 1000000 */
	const vgw_residency_options *residency; /* who is in memory; NULL: its defaults */
	const vgw_limit_store *limit_store; /* borrowed until vgw_gateway_free(); NULL: limits count in this process */
	void *limit_store_user;
	uint64_t address_rpm;          /* requests a minute of an address without a principal; 0: no limit */
	int64_t health_interval_ms;    /* GET /health of each replica of a model with several; 0 = 5000, -1: never */
	vgw_metrics_naming metrics_naming; /* of vgw_gateway_dup_metrics() */
	uint32_t reserved0;            /* must be 0 */
} vgw_gateway_options;

#define VGW_GATEWAY_OPTIONS_INIT { .size = sizeof(vgw_gateway_options) }

/** A header line. Text is UTF-8 without control characters; not terminated by NUL. */
typedef struct vgw_header {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
} vgw_header;

/** One request. All text is borrowed until on_sent, on_end or vgw_call_cancel(). */
typedef struct vgw_request {
	size_t size;              /* set by VGW_REQUEST_INIT */
	vgw_operation operation;
	uint32_t reserved0;       /* must be 0 */
	const char *body;
	size_t body_len;
	const char *request_id;   /* up to 64 printable bytes, sent upstream; NULL: the gateway makes one */
	const char *accept;       /* header values, NULL: absent */
	const char *traceparent;
	const char *tracestate;
	vgw_principal *principal; /* who asks; the call takes a reference of its own. NULL: nobody in particular */
	const char *address;      /* whom to count when there is no principal: "192.0.2.7"; NULL: nobody */
	const char *model;        /* the configured model that serves it, whatever its body names; read during the call;
				   * NULL: the body tells */
	const char *session;      /* what VGW_BALANCE_STICKY goes by, read during the call; NULL: the body's session_id,
	                           * user or prompt_cache_key */
	const char *method;       /* of PASSTHROUGH: GET, HEAD, POST, PUT, PATCH or DELETE */
	const char *path;         /* of PASSTHROUGH: path and query as the engine gets them. Without a model it goes to
				   * the default one. Paths that two servers may read differently, and an engine's own
				   * controls (sleep, weights, adapters, profiles), are refused */
	const char *content_type; /* of PASSTHROUGH's body, NULL: it does not say; of an operation of
				   * VGW_FORM_OPERATION_MAP, for its boundary, read during the call */
} vgw_request;

#define VGW_REQUEST_INIT { .size = sizeof(vgw_request) }

/** The beginning of an answer, borrowed during on_head. */
typedef struct vgw_answer_head {
	uint32_t status;
	uint32_t is_stream;        /* 1: text/event-stream, forward each piece at once */
	const vgw_header *headers; /* by allow-list, our own included; no framing headers */
	size_t header_count;
	int64_t content_length;    /* -1: unknown */
} vgw_answer_head;

/** How a call went, borrowed during on_end. Times in microseconds, -1: did not happen. */
typedef struct vgw_call_report {
	size_t size;
	vgw_fault fault;          /* VGW_FAULT_NONE: the engine's whole answer was delivered */
	uint32_t is_clean;        /* 0: the answer broke off; end the response uncleanly */
	uint32_t status;          /* of the answer's head, 0: none was given */
	uint32_t attempts;        /* connections tried upstream */
	const char *model;        /* its configured name; "" if none was found */
	const char *replica;      /* base URL that answered; "" if none */
	const char *request_id;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t events;          /* server-sent events delivered */
	int64_t queue_us;         /* waiting for a lease */
	int64_t first_byte_us;    /* from the call to the first byte of the body */
	int64_t total_us;
	int64_t prompt_tokens;    /* -1: the engine did not say */
	int64_t completion_tokens;
	uint32_t is_estimated;    /* 1: the answer broke off, the tokens are counted by its events */
	vgw_limit_reason limited; /* which limit refused it */
	int64_t limit_us;         /* waiting for the limits' store; -1: not asked */
	const char *fallback_from; /* the model asked for, when another answered instead; "": none did */
} vgw_call_report;

typedef enum vgw_flow {
	VGW_FLOW_GO = 0,
	VGW_FLOW_FULL = 1, /* the bytes were taken; send no more until vgw_call_resume() */
	VGW_FLOW_FORCE_INT32 = 0x7fffffff
} vgw_flow;

/** Callbacks of a call, on its worker's thread, never from inside vgw_worker_call(). Inside, vgw_call_cancel() of the
 *  same call is allowed except in on_end. Faults after the first byte arrive as an error event in on_data. */
typedef struct vgw_call_events {
	size_t size; /* sizeof(vgw_call_events) */
	void (*on_sent)(void *user); /* the texts of the request are not needed any more; may be NULL */
	void (*on_head)(void *user, const vgw_answer_head *head);
	vgw_flow (*on_data)(void *user, const void *data, size_t len);
	void (*on_end)(void *user, const vgw_call_report *report);
} vgw_call_events;

/**
 * Make a gateway with the built-in controllers and no models.
 * Owns:    *out belongs to the caller: vgw_gateway_free(). NULL on failure. *options is read during the call.
 * Threads: any.
 * Blocks:  never.
 * Errors:  INVALID (options), NOMEM, INTERNAL.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_gateway_new(vgw_gateway **out, const vgw_gateway_options *options, vgw_error *err);

/** Stop what is to be stopped and free. Detach every worker first. NULL is allowed.
 *  Owns: taken.  Threads: owner.  Blocks: until engines that are ours have stopped.  Errors: none.  Since: 0.1 */
VGW_API void vgw_gateway_free(vgw_gateway *gateway);

/** Who is in memory: for the operator's commands, the state and the events of vllmgw/residency.h and vllmgw/event.h.
 *  Models are published by vgw_gateway_apply(), not by vgw_residency_apply().
 *  Owns: borrowed until vgw_gateway_free().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API vgw_residency *vgw_gateway_get_residency(vgw_gateway *gateway);

/** Make a kind of controller known, before models of that kind are applied.
 *  Owns: ops and user are borrowed until vgw_gateway_free().  Threads: init.  Blocks: never.
 *  Errors: INVALID (incomplete table), EXISTS (kind known), NOMEM.  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_gateway_add_controller(vgw_gateway *gateway, const vgw_controller_ops *ops,
	void *user, vgw_error *err);

/**
 * Publish a set of models. Requests under way keep the set they began with; models whose engine is described in the
 * same words keep running. On failure nothing changes.
 * Owns:    the gateway takes its own reference; yours stays yours.
 * Threads: any, one at a time.
 * Blocks:  on DNS, for backends given by name.
 * Errors:  INVALID (unknown kind, bad backend: the text names the model), EXISTS (engines are to be run, but another
 *          gateway uses the state directory), NOMEM, SHUTDOWN.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_gateway_apply(vgw_gateway *gateway, vgw_registry *registry, vgw_error *err);

/** The set of models published last; one more reference.
 *  Owns: returned to the caller: vgw_registry_unref(). NULL before the first apply.
 *  Threads: any.  Blocks: never for long (a short lock).  Errors: none.  Since: 0.1 */
VGW_API vgw_registry *vgw_gateway_dup_registry(vgw_gateway *gateway);

/**
 * Make calls possible on a loop's thread.
 * Owns:    *out belongs to the caller: vgw_worker_detach(). The loop is borrowed until then.
 * Threads: owner of the loop.
 * Blocks:  never.
 * Errors:  BUSY (max_workers reached), NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_worker_attach(vgw_worker **out, vgw_gateway *gateway, vgw_loop *loop,
	vgw_error *err);

/** Give a worker back; its calls must have ended or been cancelled. NULL is allowed.
 *  Owns: taken.  Threads: owner of the loop.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_worker_detach(vgw_worker *worker);

/**
 * Serve one request. What is wrong with the request itself is told at once by the return value; everything later
 * arrives through the events, faults included (as a ready-made answer in OpenAI's error shape).
 * Owns:    *out is the library's: valid until on_end returns or vgw_call_cancel(). NULL on failure.
 *          The texts of *request and *events are borrowed until then, the structs are read during the call.
 * Threads: owner of the loop.
 * Blocks:  never.
 * Errors:  INVALID, NOT_FOUND, BUSY, NO_CAPACITY, SHUTDOWN, NOMEM; err->fault tells what to answer
 *          (vgw_fault_dup_body()).
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_worker_call(vgw_call **out, vgw_worker *worker, const vgw_request *request,
	const vgw_call_events *events, void *user, vgw_error *err);

/** The client went away: close the upstream connection at once. No callback comes any more.
 *  Owns: the call is taken.  Threads: owner of the loop.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_call_cancel(vgw_call *call);

/** What on_end would tell if the call ended now: for the records of one that is about to be cancelled.
 *  Owns: *report's texts are the call's.  Threads: owner of the loop.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_call_get_report(vgw_call *call, vgw_call_report *report);

/** There is room again after VGW_FLOW_FULL. Does nothing when the call is not paused.
 *  Threads: owner of the loop.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_call_resume(vgw_call *call);

/** Is its body a form (multipart/form-data) instead of JSON?
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_operation_is_form(vgw_operation operation);

/** Did the request ask for a stream? Then its answer is best written by a front that streams.
 *  Threads: owner of the loop.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_call_is_stream(const vgw_call *call);

/** Is it still waiting for its model to be brought up?
 *  Threads: owner of the loop.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_call_is_waiting(const vgw_call *call);

/** Where a call stands that waits for its model. */
typedef struct vgw_call_wait {
	size_t size;         /* sizeof(vgw_call_wait) */
	const char *model;   /* borrowed while it waits */
	uint32_t position;   /* among the requests for this model; 1 is the next */
	uint32_t reserved0;
	int64_t eta_ms;      /* until the model is expected to serve, by earlier loads; -1: unknown */
} vgw_call_wait;

/** For those who want to tell the client: false, and nothing in *wait, when it does not wait.
 *  Owns: wait->model is the call's.  Threads: owner of the loop.  Blocks: never for long (a short lock).
 *  Errors: none.  Since: 0.1 */
VGW_API bool vgw_call_get_wait(const vgw_call *call, vgw_call_wait *wait);

/** Have it fail: the engine's connection is closed, the client gets the fault as an answer, or as an error event when
 *  its answer has begun. The events come as after any fault.
 *  Owns: text is read during the call; NULL: the fault's own sentence.  Threads: owner of the loop.  Blocks: never.
 *  Errors: none.  Since: 0.1 */
VGW_API void vgw_call_fail(vgw_call *call, vgw_fault fault, const char *text);

/** An error body in OpenAI's shape, NUL-terminated JSON; `message` NULL: the fault's own sentence; `param` NULL:
 *  the field that the fault is usually about. Invalid UTF-8 in them is replaced.
 *  Owns: returned to the caller: vgw_free(); NULL without memory.  Threads: any.  Blocks: never.  Errors: none.
 *  Since: 0.1 */
VGW_API char *vgw_fault_dup_body(vgw_fault fault, const char *message, const char *param);

/** GET /v1/models as JSON text: every listed model with its status.
 *  Owns: returned to the caller: vgw_free(); NULL without memory.  Threads: any.  Blocks: never for long.
 *  Errors: none.  Since: 0.1 */
VGW_API char *vgw_gateway_dup_models(vgw_gateway *gateway);

/** GET /v1/models/{name}: one model by name or alias, or NULL when there is none (status tells) or no memory.
 *  Owns: returned to the caller: vgw_free().  Threads: any.  Blocks: never for long.
 *  Errors: NOT_FOUND, NOMEM in *err.  Since: 0.1 */
VGW_API char *vgw_gateway_dup_model(vgw_gateway *gateway, const char *name, size_t len, vgw_error *err);

/** The same two for one who may not use every model: others are not listed, and do not exist. NULL may use all.
 *  Owns: returned to the caller: vgw_free(); NULL without memory.  Threads: any.  Blocks: never for long.
 *  Errors: none.  Since: 0.1 */
VGW_API char *vgw_gateway_dup_models_of(vgw_gateway *gateway, const vgw_principal *principal);

/** See above.
 *  Owns: returned to the caller: vgw_free().  Threads: any.  Blocks: never for long.
 *  Errors: NOT_FOUND, NOMEM in *err.  Since: 0.1 */
VGW_API char *vgw_gateway_dup_model_of(vgw_gateway *gateway, const vgw_principal *principal, const char *name,
	size_t len, vgw_error *err);

/** How an order about an adapter ended; *err is borrowed. On a thread of the library, which may be kept waiting. */
typedef void (*vgw_adapter_fn)(void *user, vgw_status status, const vgw_error *err);

/**
 * Bring an adapter's base up and load the adapter on each of its replicas, evicting others if need be. A failure
 * remembered from before does not keep it from being tried.
 * Owns:    name, or an alias, is read during the call; user is fn's. fn NULL: nobody wants to know.
 * Threads: any; fn is called exactly once when OK was returned, at the latest inside vgw_gateway_free(). With TIMEOUT
 *          (deadline_ms is vgw_now_ms() time; what was begun goes on), BACKEND (the text has the engine's words),
 *          SHUTDOWN, or what vgw_residency_acquire() says of the base.
 * Blocks:  never for long.
 * Errors:  NOT_FOUND (no such adapter), NOMEM.
 * Since:   0.1
 */
VGW_API vgw_status vgw_gateway_load_adapter(vgw_gateway *gateway, const char *name, int64_t deadline_ms,
	vgw_adapter_fn fn, void *user, vgw_error *err);

/**
 * Unload an adapter from each replica that is up; its next request loads it again.
 * Owns:    as vgw_gateway_load_adapter().
 * Threads: any; fn as there, and with BUSY (requests use it).
 * Blocks:  never for long.
 * Errors:  NOT_FOUND (no such adapter), NOMEM.
 * Since:   0.1
 */
VGW_API vgw_status vgw_gateway_unload_adapter(vgw_gateway *gateway, const char *name, int64_t deadline_ms,
	vgw_adapter_fn fn, void *user, vgw_error *err);

/** Count something that an address without a principal did which was no call (a wrong key, say) against its limit,
 *  address_rpm. 0: it may go on; else it has done too much, and this is how many milliseconds it should wait.
 *  Owns: address is read during the call; NULL is nobody, who may go on.  Threads: any.  Blocks: never for long.
 *  Errors: none.  Since: 0.1 */
VGW_API int64_t vgw_gateway_take_address(vgw_gateway *gateway, const char *address);

/** Counters and histograms in Prometheus' text format.
 *  Owns: returned to the caller: vgw_free(); NULL without memory.  Threads: any.  Blocks: never for long.
 *  Errors: none.  Since: 0.1 */
VGW_API char *vgw_gateway_dup_metrics(vgw_gateway *gateway);

/** Calls under way in all workers.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API uint64_t vgw_gateway_count_calls(const vgw_gateway *gateway);

VGW_END_DECLS

#endif
