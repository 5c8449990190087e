/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/status.h
 * How functions fail, and what a client is told about it. Audience: callers.  Stability: stable since 0.1.
 *
 * Two lists. A *status* is what a C function returns: coarse, for code to branch on. A *fault* is what an
 * HTTP client is told: fine-grained, with the status line, error type and error code of the OpenAI error shape.
 * Each list is written once and gives the enum, the names, the sentences and the answers.
 */
#ifndef VLLMGW_STATUS_H
#define VLLMGW_STATUS_H

#include <vllmgw/common.h>

VGW_BEGIN_DECLS

/* XX(name, value, sentence) */
#define VGW_STATUS_MAP(XX)                                                     \
	XX(OK,          0, "success")                                          \
	XX(INVALID,     1, "invalid argument or configuration")                \
	XX(NOT_FOUND,   2, "no such model")                                    \
	XX(EXISTS,      3, "name already registered")                          \
	XX(BUSY,        4, "queue full, try again later")                      \
	XX(TIMEOUT,     5, "deadline exceeded")                                \
	XX(CANCELLED,   6, "caller went away")                                 \
	XX(BACKEND,     7, "backend failed")                                   \
	XX(NO_CAPACITY, 8, "no room: every resident model is in use")          \
	XX(SHUTDOWN,    9, "gateway is shutting down")                         \
	XX(NOMEM,      10, "out of memory")                                    \
	XX(INTERNAL,   11, "internal error")

typedef enum vgw_status {
#define XX(name, value, text) VGW_##name = value,
	VGW_STATUS_MAP(XX)
#undef XX
	VGW_STATUS_FORCE_INT32 = 0x7fffffff
} vgw_status;

/* XX(name, HTTP status, error type, error code, sentence) */
#define VGW_FAULT_MAP(XX)                                                                                         \
	XX(NONE, 200, "", "", "success")                                                                          \
	XX(BAD_REQUEST, 400, "invalid_request_error", "bad_request", "malformed request")                         \
	XX(INVALID_JSON, 400, "invalid_request_error", "invalid_json", "the body is not valid JSON")              \
	XX(MISSING_MODEL, 400, "invalid_request_error", "missing_model", "the body names no model")               \
	XX(INVALID_MODEL, 400, "invalid_request_error", "invalid_model", "model must be a non-empty string")      \
	XX(INVALID_STREAM, 400, "invalid_request_error", "invalid_stream", "stream must be true, false or null")  \
	XX(DUPLICATE_KEY, 400, "invalid_request_error", "duplicate_key", "a key of the body occurs twice")        \
	XX(JSON_TOO_DEEP, 400, "invalid_request_error", "json_too_deep", "the body is nested too deeply")         \
	XX(JSON_TOO_COMPLEX, 400, "invalid_request_error", "json_too_complex", "the body has too many values")    \
	XX(INVALID_ENCODING, 400, "invalid_request_error", "invalid_encoding", "the body is not valid UTF-8")     \
	XX(INVALID_MULTIPART, 400, "invalid_request_error", "invalid_multipart", "malformed multipart body")      \
	XX(INVALID_API_KEY, 401, "authentication_error", "invalid_api_key", "a valid API key is required")        \
	XX(PERMISSION_DENIED, 403, "permission_error", "permission_denied", "this key may not do that")           \
	XX(MODEL_NOT_ALLOWED, 403, "permission_error", "model_not_allowed", "this key may not use that model")    \
	XX(HOST_NOT_ALLOWED, 403, "permission_error", "host_not_allowed", "this Host is not allowed here")        \
	XX(ORIGIN_NOT_ALLOWED, 403, "permission_error", "origin_not_allowed", "this Origin is not allowed here")  \
	XX(NOT_FOUND, 404, "invalid_request_error", "not_found", "no such route")                                 \
	XX(MODEL_NOT_FOUND, 404, "invalid_request_error", "model_not_found", "no such model")                     \
	XX(METHOD_NOT_ALLOWED, 405, "invalid_request_error", "method_not_allowed", "method not allowed here")     \
	XX(REQUEST_TIMEOUT, 408, "invalid_request_error", "request_timeout", "the request took too long to arrive") \
	XX(MODEL_CONFLICT, 409, "invalid_request_error", "model_conflict", "the model cannot be told from the request") \
	XX(MODEL_BUSY, 409, "conflict_error", "model_busy", "the model is in use")                                \
	XX(INSUFFICIENT_MEMORY, 409, "conflict_error", "insufficient_memory", "the model does not fit")           \
	XX(REQUEST_TOO_LARGE, 413, "invalid_request_error", "request_too_large", "the body is too large")         \
	XX(UNSUPPORTED_MEDIA_TYPE, 415, "invalid_request_error", "unsupported_media_type", "send Content-Type: application/json") \
	XX(UNSUPPORTED_CONTENT_ENCODING, 415, "invalid_request_error", "unsupported_content_encoding", "this Content-Encoding is not accepted") \
	XX(EXPECTATION_FAILED, 417, "invalid_request_error", "expectation_failed", "this Expect header is not accepted") \
	XX(RATE_LIMIT_EXCEEDED, 429, "rate_limit_error", "rate_limit_exceeded", "rate limit exceeded")            \
	XX(CLIENT_CLOSED, 499, "invalid_request_error", "client_closed", "the client went away")                  \
	XX(INTERNAL_ERROR, 500, "server_error", "internal_error", "internal error")                               \
	XX(OUT_OF_MEMORY, 503, "server_error", "out_of_memory", "the gateway is out of memory")                   \
	XX(UPSTREAM_UNAVAILABLE, 502, "server_error", "upstream_unavailable", "the engine cannot be reached")     \
	XX(UPSTREAM_CONNECTION_LOST, 502, "server_error", "upstream_connection_lost", "the engine closed the connection before it answered") \
	XX(UPSTREAM_ABORTED, 502, "server_error", "upstream_aborted", "the engine went away in the middle of its answer") \
	XX(UPSTREAM_ERROR, 502, "server_error", "upstream_error", "the engine failed")                            \
	XX(BAD_UPSTREAM_RESPONSE, 502, "server_error", "bad_upstream_response", "the engine's answer is not valid HTTP") \
	XX(SERVER_OVERLOADED, 503, "overloaded_error", "server_overloaded", "the gateway is overloaded")          \
	XX(MODEL_LOADING, 503, "server_error", "model_loading", "the model is still loading")                     \
	XX(NO_MODEL_LOADED, 503, "server_error", "no_model_loaded", "No model loaded")                            \
	XX(MODEL_START_FAILED, 503, "server_error", "model_start_failed", "the model could not be started")       \
	XX(MODEL_START_TIMEOUT, 503, "server_error", "model_start_timeout", "the model did not start in time")    \
	XX(RUNTIME_UNAVAILABLE, 503, "server_error", "runtime_unavailable", "the container runtime does not answer") \
	XX(NO_CAPACITY, 503, "overloaded_error", "no_capacity", "no room: every resident model is in use")        \
	XX(SHUTTING_DOWN, 503, "server_error", "shutting_down", "the gateway is shutting down")                   \
	XX(UPSTREAM_TIMEOUT, 504, "server_error", "upstream_timeout", "the engine did not answer in time")        \
	XX(QUEUE_TIMEOUT, 504, "server_error", "queue_timeout", "the request waited too long for its model")

typedef enum vgw_fault {
#define XX(name, http, type, code, text) VGW_FAULT_##name,
	VGW_FAULT_MAP(XX)
#undef XX
	VGW_FAULT_COUNT,
	VGW_FAULT_FORCE_INT32 = 0x7fffffff
} vgw_fault;

/**
 * Why a call failed. Lives on the caller's stack; NULL is allowed wherever one is taken. Every public function
 * that takes one resets it on entry; inside, the first cause wins.
 */
typedef struct vgw_error {
	vgw_status status;
	int32_t sys_errno;    /* 0 if none */
	vgw_fault fault;      /* what an HTTP client would be told; VGW_FAULT_NONE: derived from status */
	uint32_t retry_after; /* seconds after which trying again makes sense; 0: unknown or never */
	char text[240];       /* one line, no trailing period, no secrets */
} vgw_error;

#define VGW_ERROR_INIT { VGW_OK, 0, VGW_FAULT_NONE, 0, "" }

/** One row of the fault list. */
typedef struct vgw_fault_info {
	uint32_t http;    /* status code of the answer */
	uint32_t reserved;
	const char *type; /* OpenAI's error.type */
	const char *code; /* error.code */
	const char *text; /* default error.message */
} vgw_fault_info;

/** "VGW_OK", "VGW_NOT_FOUND"...; "VGW_?" for a number that is none.
 *  Owns: borrowed for ever.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_status_get_name(vgw_status status);

/** One sentence without a period.
 *  Owns: borrowed for ever.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_status_get_text(vgw_status status);

/** The row of a fault; that of INTERNAL_ERROR for a number that is none.
 *  Owns: borrowed for ever.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const vgw_fault_info *vgw_fault_get_info(vgw_fault fault);

/** The fault an HTTP client is told for a failed call: error->fault, or the one its status stands for.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API vgw_fault vgw_error_get_fault(const vgw_error *error);

/**
 * Fill *err unless it already holds an earlier cause, and return `status`, so that failing is one line.
 * Controllers and front ends of your own may use it.
 *
 * Owns:    text is formatted into *err; err may be NULL.
 * Threads: any.
 * Blocks:  never.
 * Errors:  returns `status`.
 * Since:   0.1
 */
VGW_API vgw_status vgw_error_set(vgw_error *err, vgw_status status, int sys_errno, const char *format, ...)
	VGW_PRINTF(4, 5);

/** The same with the fault an HTTP client shall see.
 *  Owns: as vgw_error_set().  Threads: any.  Blocks: never.  Errors: returns `status`.  Since: 0.1 */
VGW_API vgw_status vgw_error_set_fault(vgw_error *err, vgw_status status, vgw_fault fault, const char *format, ...)
	VGW_PRINTF(4, 5);

VGW_END_DECLS

#endif
