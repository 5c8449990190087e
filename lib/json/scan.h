/* SPDX-License-Identifier: Apache-2.0 */
/* One strict pass over a request body: where the values of its top-level keys are.
 *
 *   {"model": "m", "stream": true, "messages": [ ... ]}
 *    ^key_start   ^end
 *             ^start
 *
 * The whole body is checked: RFC 8259 syntax, well-formed UTF-8, no byte order mark, depth, number of values,
 * no second key of a name at the top level however the two are written, nothing behind the object. What is
 * inside a value passes as it is: duplicate nested keys, numbers of any size, "\u0000" and halves of
 * surrogate pairs are the engine's matter. Nothing is built and nothing is kept but offsets, so the body must
 * outlive the scan. */
#ifndef VGW_JSON_SCAN_H
#define VGW_JSON_SCAN_H

#include "json/lex.h"

/* XX(name, text): the keys that the gateway looks at in any body. Others can be asked for by name. */
#define VGW__BODY_KEYS(XX)                                \
	XX(MODEL, "model")                                \
	XX(MODEL_KEY, "modelKey")                         \
	XX(MODEL_SPEC, "model_spec")                      \
	XX(STREAM, "stream")                              \
	XX(STREAM_OPTIONS, "stream_options")              \
	XX(MESSAGES, "messages")                          \
	XX(PROMPT, "prompt")                              \
	XX(INPUT, "input")                                \
	XX(SYSTEM, "system")                              \
	XX(INSTRUCTIONS, "instructions")                  \
	XX(TOOLS, "tools")                                \
	XX(N, "n")                                        \
	XX(MAX_TOKENS, "max_tokens")                      \
	XX(MAX_COMPLETION_TOKENS, "max_completion_tokens") \
	XX(MAX_OUTPUT_TOKENS, "max_output_tokens")        \
	XX(USER, "user")                                  \
	XX(SESSION_ID, "session_id")                      \
	XX(CACHE_SALT, "cache_salt")                      \
	XX(PROMPT_CACHE_KEY, "prompt_cache_key")          \
	XX(PREVIOUS_RESPONSE_ID, "previous_response_id")  \
	XX(REQUEST_ID, "request_id")                      \
	XX(PRIORITY, "priority")

enum vgw__body_key {
#define XX(name, text) VGW__BODY_##name,
	VGW__BODY_KEYS(XX)
#undef XX
	VGW__BODY_KEY_COUNT
};

_Static_assert(VGW__BODY_KEY_COUNT <= 32, "each key is tried against this list: keep it short");

#define VGW__NAME_MAX_BYTES 512u /* the longest name of a model */

/* Where one member of the object is, in offsets from the start of the body. All 0 (ABSENT):
 * not there. */
struct vgw__json_span {
	uint32_t key_start; /* the opening quote of the key */
	uint32_t start;     /* the first byte of the value, */
	uint32_t end;       /* and the one behind its last: a string's quotes are inside */
	uint8_t kind;       /* enum vgw__json_kind */
	bool escaped;       /* the value is a string that holds a backslash */
};

struct vgw__json_name {
	const char *text;
	size_t len;
};

/* Zeros are the defaults. */
struct vgw__scan_options {
	uint32_t max_depth;  /* 0 or more than 64: 64. The object itself is 1 */
	uint32_t max_values; /* 0: 1,000,000 */
	uint32_t extra_count;
	const struct vgw__json_name *extra_names; /* borrowed: further keys, any of the list above too */
	struct vgw__json_span *extra;             /* borrowed: `extra_count` of them, filled by the scan */
};

struct vgw__scan {
	const char *data; /* borrowed */
	size_t len;
	uint32_t open;    /* offset of the byte behind '{' */
	uint32_t members; /* keys in the object; 0: it is empty */
	uint32_t fault_at; /* after a failure: the offset of what is wrong */
	uint32_t extra_count;
	const struct vgw__json_name *extra_names;
	struct vgw__json_span *extra;
	struct vgw__json_span body[VGW__BODY_KEY_COUNT];
};

const char *vgw__body_key_text(enum vgw__body_key key);

/* Owns: `data` and the arrays of `options` are borrowed for as long as *scan is used. options may be NULL.
 * Errors: INVALID with one of the faults INVALID_JSON, INVALID_ENCODING, DUPLICATE_KEY, JSON_TOO_DEEP,
 * JSON_TOO_COMPLEX, REQUEST_TOO_LARGE (4 GiB); NOMEM. */
VGW_CHECKED vgw_status vgw__scan_body(struct vgw__scan *scan, const void *data, size_t len,
	const struct vgw__scan_options *options, vgw_error *err);

/* The member of that name, perhaps an absent one; NULL: neither in the list nor among the extra names, so the
 * scan did not look for it. */
const struct vgw__json_span *vgw__scan_find(const struct vgw__scan *scan, const char *name, size_t len);

/* The text of a model's name, terminated. Errors: INVALID with the fault MISSING_MODEL if the key is absent,
 * else INVALID_MODEL: not a string, empty, over VGW__NAME_MAX_BYTES, with a control character or half a
 * surrogate pair. */
VGW_CHECKED vgw_status vgw__scan_get_name(const struct vgw__scan *scan, enum vgw__body_key key,
	char out[VGW__NAME_MAX_BYTES + 1], size_t *len, vgw_error *err);

/* Does the client want a stream? Absent and null mean no. Errors: INVALID with the fault INVALID_STREAM. */
VGW_CHECKED vgw_status vgw__scan_get_stream(const struct vgw__scan *scan, bool *out, vgw_error *err);

/* A number written as a plain non-negative integer that fits; false for anything else, absent ones too. */
bool vgw__scan_get_count(const struct vgw__scan *scan, const struct vgw__json_span *span, int64_t *out);

#endif
