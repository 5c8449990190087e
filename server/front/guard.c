/* SPDX-License-Identifier: Apache-2.0 */
/* Framing guard. It is safe because it only refuses and closes. What the library's parser has already repaired or
 * truncated before we see it (bare LF, folded lines in old versions) cannot be undone here; the README says so. */
#include "front/guard.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_HEADERS = 100 };

struct check {
	struct request_head *head;
	unsigned count;
	unsigned hosts;
	unsigned lengths;
	unsigned encodings;
	unsigned types;
	unsigned codings;
	bool has_bad_coding; /* told at the end: until then nobody knows whether there is a body */
	unsigned authorizations;
	unsigned api_keys;
	vgw_fault fault;
	const char *why;
};

static enum MHD_Result refuse(struct check *check, vgw_fault fault, const char *why)
{
	check->fault = fault;
	check->why = why;
	return MHD_NO;
}

/* RFC 9110 token characters, without '_': names that differ only by '-' and '_' are one name to some servers. */
static const bool token[256] = {
#define LETTER(c) [c] = true, [(c) - 32] = true
	LETTER('a'), LETTER('b'), LETTER('c'), LETTER('d'), LETTER('e'), LETTER('f'), LETTER('g'), LETTER('h'),
	LETTER('i'), LETTER('j'), LETTER('k'), LETTER('l'), LETTER('m'), LETTER('n'), LETTER('o'), LETTER('p'),
	LETTER('q'), LETTER('r'), LETTER('s'), LETTER('t'), LETTER('u'), LETTER('v'), LETTER('w'), LETTER('x'),
	LETTER('y'), LETTER('z'),
#undef LETTER
	['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true, ['5'] = true, ['6'] = true,
	['7'] = true, ['8'] = true, ['9'] = true, ['-'] = true, ['!'] = true, ['#'] = true, ['$'] = true,
	['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true, ['.'] = true, ['^'] = true,
	['`'] = true, ['|'] = true, ['~'] = true,
};

static bool is_token(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!token[(unsigned char)name[i]])
			return false;
	}
	return len > 0;
}

/* No control character but a tab; no NUL either, so the text is as long as it says. */
static bool is_clean(const char *value, size_t len)
{
	bool is_bad = false;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)value[i];

		is_bad |= (c < 0x20 && c != '\t') || c == 0x7f;
	}
	return !is_bad;
}

static bool is_host(const char *value, size_t len)
{
	return len > 0 && strcspn(value, ",@/ \t?#\\") == len;
}

static bool is_number(const char *value, size_t len)
{
	return len > 0 && len < 20 && strspn(value, "0123456789") == len;
}

static enum MHD_Result look_at_framing(struct check *check, const char *name, size_t name_len, const char *value,
	size_t len)
{
	struct request_head *head = check->head;

	if (name_len == 14 && strcasecmp(name, "content-length") == 0) {
		if (++check->lengths > 1 || !is_number(value, len))
			return refuse(check, VGW_FAULT_BAD_REQUEST, "one plain Content-Length is allowed");
		head->has_length = true;
		head->content_length = strtoull(value, NULL, 10);
	} else if (name_len == 17 && strcasecmp(name, "transfer-encoding") == 0) {
		if (++check->encodings > 1 || strcasecmp(value, "chunked") != 0)
			return refuse(check, VGW_FAULT_BAD_REQUEST, "the only Transfer-Encoding is 'chunked'");
		head->is_chunked = true;
	} else if (name_len == 16 && strcasecmp(name, "content-encoding") == 0) {
		check->has_bad_coding = check->codings++ > 0 || !decode_find(value, &head->coding);
	}
	return MHD_YES;
}

/* Lengths are compared first, so the look at a head costs no search. */
static enum MHD_Result look(struct check *check, const char *name, size_t name_len, const char *value, size_t len)
{
	struct request_head *head = check->head;

#define IS(text) (name_len == sizeof(text) - 1 && strcasecmp(name, text) == 0)
	if (IS("host")) {
		if (++check->hosts > 1 || !is_host(value, len))
			return refuse(check, VGW_FAULT_BAD_REQUEST, "one plain Host header is required");
	} else if (IS("expect")) {
		if (strcasecmp(value, "100-continue") != 0)
			return refuse(check, VGW_FAULT_EXPECTATION_FAILED, NULL);
		head->expects_continue = true;
	} else if (IS("content-type")) {
		head->content_type = value;
		if (++check->types > 1)
			return refuse(check, VGW_FAULT_UNSUPPORTED_MEDIA_TYPE, "two Content-Type headers");
	} else if (IS("authorization")) {
		if (++check->authorizations > 1)
			return refuse(check, VGW_FAULT_BAD_REQUEST, "two Authorization headers");
		head->authorization = value;
	} else if (IS("x-api-key")) {
		if (++check->api_keys > 1)
			return refuse(check, VGW_FAULT_BAD_REQUEST, "two X-API-Key headers");
		head->api_key = value;
	} else if (IS("origin")) {
		head->origin = value;
	} else if (IS("accept")) {
		head->accept = value;
	} else if (IS("connection")) {
		head->is_last |= strcasecmp(value, "keep-alive") != 0;
	} else if (IS("upgrade")) {
		head->has_upgrade = true;
	} else if (IS("tracestate")) {
		head->tracestate = value;
	} else if (IS("x-session-id") || (IS("x-user-id") && !head->has_session_id)) {
		head->session = value;
		head->has_session_id = name_len == sizeof("x-session-id") - 1;
	} else if (IS("traceparent")) {
		head->traceparent = value;
	} else {
		return look_at_framing(check, name, name_len, value, len);
	}
#undef IS
	return MHD_YES;
}

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *name, size_t name_len,
	const char *value, size_t len)
{
	struct check *check = user;

	(void)kind;
	if (!value) {
		value = "";
		len = 0;
	}
	if (++check->count > MAX_HEADERS)
		return refuse(check, VGW_FAULT_BAD_REQUEST, "more than 100 headers");
	if (!is_token(name, name_len))
		return refuse(check, VGW_FAULT_BAD_REQUEST, "a header name is malformed");
	if (!is_clean(value, len))
		return refuse(check, VGW_FAULT_BAD_REQUEST, "a header value holds a control character");
	return look(check, name, name_len, value, len);
}

vgw_fault guard_check(struct request_head *head, struct MHD_Connection *connection, const char *method,
	const char *version, const char **why)
{
	struct check check = { .head = head };
	bool has_body;

	*head = (struct request_head){ .is_http10 = strcmp(version, "HTTP/1.0") == 0 };
	(void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_header, &check);
	*why = check.why;
	if (check.fault != VGW_FAULT_NONE)
		return check.fault;
	has_body = head->is_chunked || head->content_length > 0;
	if (head->is_chunked && (head->has_length || head->is_http10))
		*why = "Transfer-Encoding cannot be combined with Content-Length or HTTP/1.0";
	else if (!check.hosts && !head->is_http10)
		*why = "a Host header is required";
	else if (has_body && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
		strcmp(method, "OPTIONS") == 0))
		*why = "this method takes no body";
	if (*why)
		return VGW_FAULT_BAD_REQUEST;
	return check.has_bad_coding ? VGW_FAULT_UNSUPPORTED_CONTENT_ENCODING : VGW_FAULT_NONE;
}

bool guard_is_json(const struct request_head *head)
{
	static const char json[] = "application/json";
	const char *rest;

	if (!head->content_type || strncasecmp(head->content_type, json, sizeof(json) - 1) != 0)
		return false;
	rest = head->content_type + sizeof(json) - 1;
	rest += strspn(rest, " \t");
	if (!*rest)
		return true;
	if (*rest != ';')
		return false;
	rest += 1 + strspn(rest + 1, " \t");
	return !*rest || strcasecmp(rest, "charset=utf-8") == 0 || strcasecmp(rest, "charset=\"utf-8\"") == 0;
}

bool guard_is_form(const struct request_head *head)
{
	static const char form[] = "multipart/form-data";

	return head->content_type && strncasecmp(head->content_type, form, sizeof(form) - 1) == 0 &&
	       head->content_type[sizeof(form) - 1 + strspn(head->content_type + sizeof(form) - 1, " \t")] == ';';
}
