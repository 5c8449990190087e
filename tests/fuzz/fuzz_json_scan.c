/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a request body, with jansson as the oracle: both readers accept or both refuse, and see the
 * same members. Where they differ on purpose:
 *   - jansson refuses numbers that do not fit its types, halves of surrogate pairs in strings and NUL in
 *     keys at any depth: these pass as they are (but no half of a pair in a key of the top level);
 *   - jansson accepts an array as a document and nesting down to 2048: we refuse both;
 *   - jansson takes the last of two keys unless told otherwise: at the top level we refuse;
 *   - jansson loses a NUL byte that follows a number: no NUL byte ever passes here;
 *   - keys of over 256 bytes, over 1024 keys, over a million values: too complex for us.
 *
 * The same bytes as an answer: the usage that is found, from the end or in the whole, is the one jansson sees. Keys with
 * escapes and second keys of a name, which no engine writes, are left out. */
#include "fuzz.h"

#include "json/scan.h"
#include "json/usage.h"

#include <jansson.h>
#include <string.h>

static size_t depth_of(const json_t *value)
{
	size_t deepest = 0;
	size_t depth, i;
	const char *key;
	json_t *child;

	json_object_foreach((json_t *)(uintptr_t)value, key, child) {
		depth = depth_of(child);
		deepest = depth > deepest ? depth : deepest;
	}
	json_array_foreach(value, i, child) {
		depth = depth_of(child);
		deepest = depth > deepest ? depth : deepest;
	}
	return json_is_object(value) || json_is_array(value) ? deepest + 1 : 0;
}

static void check_refusal(const char *body, size_t size, vgw_fault fault, const json_t *tree)
{
	bool has_nul = memchr(body, '\0', size);
	json_t *strict;

	switch (fault) {
	case VGW_FAULT_INVALID_ENCODING:
		FUZZ_CHECK(!tree || has_nul);
		break;
	case VGW_FAULT_INVALID_JSON:
		FUZZ_CHECK(!tree || json_is_array(tree) || has_nul);
		break;
	case VGW_FAULT_DUPLICATE_KEY:
		strict = json_loadb(body, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
		FUZZ_CHECK(!strict);
		break;
	case VGW_FAULT_JSON_TOO_DEEP:
		FUZZ_CHECK(!tree || depth_of(tree) > VGW__JSON_MAX_DEPTH);
		break;
	default:
		FUZZ_CHECK(fault == VGW_FAULT_JSON_TOO_COMPLEX && size > 256);
		break;
	}
}

static bool is_excused(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);

	return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
		code == json_error_null_character || strstr(error->text, "invalid Unicode");
}

static void check_member(const struct vgw__scan *scan, enum vgw__body_key key, const json_t *tree)
{
	const struct vgw__json_span *span = &scan->body[key];
	const json_t *want = json_object_get(tree, vgw__body_key_text(key));
	char name[VGW__NAME_MAX_BYTES + 1];
	json_t *got;
	size_t len;

	FUZZ_CHECK((span->kind != VGW__JSON_ABSENT) == (want != NULL));
	if (!want)
		return;
	got = json_loadb(
		scan->data + span->start, span->end - span->start, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	FUZZ_CHECK(got && json_equal(got, want));
	json_decref(got);
	FUZZ_CHECK((span->kind == VGW__JSON_STRING) == json_is_string(want));
	FUZZ_CHECK((span->kind == VGW__JSON_NUMBER) == json_is_number(want));
	FUZZ_CHECK((span->kind == VGW__JSON_OBJECT) == json_is_object(want));
	FUZZ_CHECK((span->kind == VGW__JSON_ARRAY) == json_is_array(want));
	FUZZ_CHECK((span->kind == VGW__JSON_TRUE) == json_is_true(want));
	FUZZ_CHECK((span->kind == VGW__JSON_FALSE) == json_is_false(want));
	FUZZ_CHECK((span->kind == VGW__JSON_NULL) == json_is_null(want));
	if (vgw__scan_get_name(scan, key, name, &len, NULL) == VGW_OK) {
		FUZZ_CHECK(len == json_string_length(want));
		FUZZ_CHECK(memcmp(name, json_string_value(want), len) == 0);
	}
}

/* What a member of the usage counts as; a number that is none of tokens changes nothing. */
static void take_tokens(struct vgw__usage *usage, const char *key, const json_t *value)
{
#define XX(field, text)                                                                   \
	if (strcmp(key, text) == 0 && json_is_integer(value) && json_integer_value(value) >= 0) \
		usage->tokens[VGW__USAGE_##field] = json_integer_value(value);
	VGW__USAGE_KEYS(XX)
#undef XX
}

static void check_usage(const char *body, size_t size)
{
	json_t *tree = json_loadb(body, size, JSON_REJECT_DUPLICATES, NULL), *value;
	struct vgw__usage want = VGW__USAGE_INIT, got;
	bool has_any = false, is_found;
	const char *key;

	if (tree && !memchr(body, '\\', size) && !memchr(body, '-', size)) {
		json_object_foreach(json_object_get(tree, "usage"), key, value)
			take_tokens(&want, key, value);
		is_found = vgw__usage_find(body, size, &got);
		for (size_t i = 0; i < VGW__USAGE_FIELDS; i++) {
			FUZZ_CHECK(got.tokens[i] == want.tokens[i]);
			has_any = has_any || want.tokens[i] != VGW__USAGE_UNKNOWN;
		}
		FUZZ_CHECK(is_found == has_any);
	}
	json_decref(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *body = (const char *)data;
	vgw_error err = VGW_ERROR_INIT;
	json_error_t error;
	struct vgw__scan scan;
	json_t *tree;

	tree = json_loadb(body, size, JSON_ALLOW_NUL, &error);
	if (vgw__scan_body(&scan, body, size, NULL, &err) != VGW_OK) {
		FUZZ_CHECK(scan.fault_at <= size);
		check_refusal(body, size, err.fault, tree);
	} else if (!tree) {
		FUZZ_CHECK(is_excused(&error));
	} else {
		FUZZ_CHECK(json_object_size(tree) == scan.members);
		for (size_t i = 0; i < VGW__BODY_KEY_COUNT; i++)
			check_member(&scan, (enum vgw__body_key)i, tree);
		check_usage(body, size);
	}
	json_decref(tree);
	return 0;
}
