/* SPDX-License-Identifier: Apache-2.0 */
/* The top level of a body, one member after the other. Policy is decided on what this scan sees and the
 * engine runs what it sees itself, so whatever two readers could take in two ways is refused here. */
#include "json/scan.h"

#include "json/keys.h"

#include <string.h>

#define DEFAULT_MAX_VALUES 1000000u

static const struct vgw__json_name body_names[VGW__BODY_KEY_COUNT] = {
#define XX(name, text) { text, sizeof(text) - 1 },
	VGW__BODY_KEYS(XX)
#undef XX
};

const char *vgw__body_key_text(enum vgw__body_key key)
{
	return body_names[key].text;
}

/* --- keys --- */

static bool is_name(const struct vgw__json_name *name, const char *text, size_t len)
{
	return name->len == len && memcmp(name->text, text, len) == 0;
}

static struct vgw__json_span *find_body_key(struct vgw__scan *scan, const char *text, size_t len)
{
#define XX(name, key)                                                                                        \
	if (len == sizeof(key) - 1 && memcmp(text, key, sizeof(key) - 1) == 0)                               \
		return &scan->body[VGW__BODY_##name];
	VGW__BODY_KEYS(XX) /* constant lengths: each row is a compare or two of registers */
#undef XX
	return NULL;
}

static bool note_other_key(struct vgw__lex *lex, struct vgw__keys *seen, const unsigned char *key, size_t len,
	const char *text, size_t text_len)
{
	switch (vgw__keys_add(seen, (size_t)(key + 1 - lex->begin), len, lex->escaped, text, text_len)) {
	case VGW__KEYS_NEW:
		return true;
	case VGW__KEYS_SEEN:
		return vgw__lex_fail(lex, VGW_FAULT_DUPLICATE_KEY, key, "second key of this name");
	case VGW__KEYS_FULL:
		return vgw__lex_fail(lex, VGW_FAULT_JSON_TOO_COMPLEX, key, "too many keys");
	case VGW__KEYS_NOMEM:
	default:
		return vgw__lex_fail(lex, VGW_FAULT_OUT_OF_MEMORY, key, "no memory to compare the keys");
	}
}

/* --- members --- */

static bool read_value(struct vgw__lex *lex, const unsigned char *key, struct vgw__json_span *span)
{
	const unsigned char *start;
	enum vgw__json_kind kind;

	if (!vgw__lex_colon(lex))
		return false;
	start = lex->at;
	lex->escaped = false;
	kind = vgw__lex_value(lex);
	if (kind == VGW__JSON_ABSENT)
		return false;
	*span = (struct vgw__json_span){
		.key_start = (uint32_t)(key - lex->begin),
		.start = (uint32_t)(start - lex->begin),
		.end = (uint32_t)(lex->at - lex->begin),
		.kind = (uint8_t)kind,
		.escaped = kind == VGW__JSON_STRING && lex->escaped,
	};
	return true;
}

static bool read_member(struct vgw__scan *scan, struct vgw__lex *lex, struct vgw__keys *seen)
{
	char plain[VGW__KEY_MAX_BYTES];
	const unsigned char *key = lex->at;
	const char *text = (const char *)key + 1;
	struct vgw__json_span other;
	struct vgw__json_span *span;
	size_t text_len, len;

	if (lex->at == lex->end || *lex->at != '"')
		return vgw__lex_unexpected(lex, "expected a key in quotes");
	if (!vgw__lex_string(lex))
		return false;
	text_len = len = (size_t)(lex->at - key) - 2;
	if (len > VGW__KEY_MAX_BYTES)
		return vgw__lex_fail(lex, VGW_FAULT_JSON_TOO_COMPLEX, key, "key too long");
	if (lex->escaped) {
		if (vgw__lex_unescape(text, len, plain, sizeof(plain), &text_len) != VGW__UNESCAPE_OK)
			return vgw__lex_fail(
				lex, VGW_FAULT_INVALID_JSON, key, "half a surrogate pair in a key");
		text = plain;
	}
	span = find_body_key(scan, text, text_len);
	if (span && span->kind != VGW__JSON_ABSENT)
		return vgw__lex_fail(lex, VGW_FAULT_DUPLICATE_KEY, key, "second key of this name");
	if (!span && !note_other_key(lex, seen, key, len, text, text_len))
		return false;
	span = span ? span : &other;
	if (!read_value(lex, key, span))
		return false;
	for (size_t i = 0; i < scan->extra_count; i++)
		if (is_name(&scan->extra_names[i], text, text_len))
			scan->extra[i] = *span;
	scan->members++;
	return true;
}

static bool read_object(struct vgw__scan *scan, struct vgw__lex *lex, struct vgw__keys *seen)
{
	vgw__lex_space(lex);
	if (lex->at < lex->end && *lex->at == '}') {
		lex->at++;
		return true;
	}
	for (;;) {
		if (!read_member(scan, lex, seen))
			return false;
		vgw__lex_space(lex);
		if (lex->at < lex->end && *lex->at == '}') {
			lex->at++;
			return true;
		}
		if (lex->at == lex->end || *lex->at != ',')
			return vgw__lex_unexpected(lex, "expected ',' or '}'");
		lex->at++;
		vgw__lex_space(lex);
	}
}

static bool read_body(struct vgw__scan *scan, struct vgw__lex *lex, struct vgw__keys *seen)
{
	size_t len = (size_t)(lex->end - lex->begin);

	if (len >= 3 && memcmp(lex->begin, "\xef\xbb\xbf", 3) == 0)
		return vgw__lex_fail(lex, VGW_FAULT_INVALID_ENCODING, lex->at, "byte order mark");
	if (len >= 2 && (lex->begin[0] == 0 || lex->begin[1] == 0))
		return vgw__lex_fail(lex, VGW_FAULT_INVALID_ENCODING, lex->at, "UTF-16 or UTF-32");
	vgw__lex_space(lex);
	if (lex->at == lex->end || *lex->at != '{')
		return vgw__lex_unexpected(lex, "the body must be an object");
	lex->at++;
	lex->depth = 1;
	scan->open = (uint32_t)(lex->at - lex->begin);
	if (!read_object(scan, lex, seen))
		return false;
	vgw__lex_space(lex);
	return lex->at == lex->end || vgw__lex_unexpected(lex, "something follows the object");
}

vgw_status vgw__scan_body(struct vgw__scan *scan, const void *data, size_t len,
	const struct vgw__scan_options *options, vgw_error *err)
{
	static const struct vgw__scan_options defaults;
	struct vgw__keys seen;
	struct vgw__lex lex;
	bool is_read;

	if (!options)
		options = &defaults;
	if (!data)
		data = ""; /* an empty body may have no address */
	if (len > UINT32_MAX)
		return vgw_error_set_fault(
			err, VGW_INVALID, VGW_FAULT_REQUEST_TOO_LARGE, "the body is over 4 GiB");
	*scan = (struct vgw__scan){
		.data = data,
		.len = len,
		.extra_count = options->extra_count,
		.extra_names = options->extra_names,
		.extra = options->extra,
	};
	if (scan->extra_count)
		memset(scan->extra, 0, scan->extra_count * sizeof(*scan->extra));
	lex = (struct vgw__lex){
		.begin = data,
		.at = data,
		.end = (const unsigned char *)data + len,
		.max_depth = options->max_depth && options->max_depth < VGW__JSON_MAX_DEPTH
			? options->max_depth
			: VGW__JSON_MAX_DEPTH,
		.values_left = options->max_values ? options->max_values : DEFAULT_MAX_VALUES,
	};
	vgw__keys_init(&seen, data);
	is_read = read_body(scan, &lex, &seen);
	vgw__keys_fini(&seen);
	if (is_read)
		return VGW_OK;
	scan->fault_at = (uint32_t)lex.fault_at;
	return vgw_error_set_fault(err, lex.fault == VGW_FAULT_OUT_OF_MEMORY ? VGW_NOMEM : VGW_INVALID,
		lex.fault, "%s: %s at byte %zu", vgw_fault_get_info(lex.fault)->text, lex.reason,
		lex.fault_at);
}

/* --- what a member says --- */

const struct vgw__json_span *vgw__scan_find(const struct vgw__scan *scan, const char *name, size_t len)
{
	for (size_t i = 0; i < VGW__BODY_KEY_COUNT; i++)
		if (is_name(&body_names[i], name, len))
			return &scan->body[i];
	for (size_t i = 0; i < scan->extra_count; i++)
		if (is_name(&scan->extra_names[i], name, len))
			return &scan->extra[i];
	return NULL;
}

/* C0, DEL and C1: names go into logs, headers and terminals. */
static bool has_control_character(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < ' ' || c == 0x7f || (c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0))
			return true;
	}
	return false;
}

static vgw_status refuse_name(enum vgw__body_key key, const char *why, vgw_error *err)
{
	return vgw_error_set_fault(
		err, VGW_INVALID, VGW_FAULT_INVALID_MODEL, "\"%s\" must %s", body_names[key].text, why);
}

vgw_status vgw__scan_get_name(const struct vgw__scan *scan, enum vgw__body_key key,
	char out[VGW__NAME_MAX_BYTES + 1], size_t *len, vgw_error *err)
{
	const struct vgw__json_span *span = &scan->body[key];

	*len = 0;
	out[0] = '\0';
	if (span->kind == VGW__JSON_ABSENT)
		return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_MISSING_MODEL,
			"the body names no model: add \"%s\"", body_names[key].text);
	if (span->kind != VGW__JSON_STRING)
		return refuse_name(key, "be a string", err);
	switch (vgw__lex_unescape(
		scan->data + span->start + 1, span->end - span->start - 2u, out, VGW__NAME_MAX_BYTES, len)) {
	case VGW__UNESCAPE_OK:
		break;
	case VGW__UNESCAPE_TOO_LONG:
		out[0] = '\0';
		return refuse_name(key, "be at most 512 bytes long", err);
	case VGW__UNESCAPE_LONE_SURROGATE:
	default:
		out[0] = '\0';
		return refuse_name(key, "not hold half a surrogate pair", err);
	}
	out[*len] = '\0';
	if (*len == 0)
		return refuse_name(key, "not be empty", err);
	if (has_control_character(out, *len)) {
		out[0] = '\0';
		*len = 0;
		return refuse_name(key, "not hold control characters", err);
	}
	return VGW_OK;
}

vgw_status vgw__scan_get_stream(const struct vgw__scan *scan, bool *out, vgw_error *err)
{
	switch (scan->body[VGW__BODY_STREAM].kind) {
	case VGW__JSON_ABSENT:
	case VGW__JSON_NULL:
	case VGW__JSON_FALSE:
		*out = false;
		return VGW_OK;
	case VGW__JSON_TRUE:
		*out = true;
		return VGW_OK;
	default:
		*out = false;
		return vgw_error_set_fault(
			err, VGW_INVALID, VGW_FAULT_INVALID_STREAM, "\"stream\" must be true, false or null");
	}
}

bool vgw__scan_get_count(const struct vgw__scan *scan, const struct vgw__json_span *span, int64_t *out)
{
	int64_t value = 0;

	if (span->kind != VGW__JSON_NUMBER)
		return false;
	for (size_t i = span->start; i < span->end; i++) {
		unsigned digit = (unsigned)(unsigned char)scan->data[i] - '0';

		if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (int64_t)digit, &value))
			return false;
	}
	*out = value;
	return true;
}
