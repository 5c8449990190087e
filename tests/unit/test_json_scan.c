/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner of request bodies: what it accepts, what it refuses and with which fault, and what it finds. */
#include "testing.h"

#include "json/keys.h"
#include "json/scan.h"
#include "util/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct outcome {
	vgw_fault fault;
	size_t at; /* offset of the fault */
	char text[240];
};

/* Scans a copy that ends where the body ends, so that a sanitizer sees a byte read too many. */
static struct outcome scan_bytes(const char *body, size_t len, const struct vgw__scan_options *options)
{
	char *copy = malloc(len ? len : 1);
	struct outcome outcome = { .fault = VGW_FAULT_NONE };
	struct vgw__scan scan;
	vgw_error err = VGW_ERROR_INIT;

	assert_non_null(copy);
	if (len)
		memcpy(copy, body, len);
	if (vgw__scan_body(&scan, copy, len, options, &err) != VGW_OK) {
		assert_int_equal(err.status, VGW_INVALID);
		outcome.fault = err.fault;
		outcome.at = scan.fault_at;
		memcpy(outcome.text, err.text, sizeof(outcome.text));
	}
	free(copy);
	return outcome;
}

static vgw_fault fault_of(const char *body)
{
	return scan_bytes(body, strlen(body), NULL).fault;
}

/* The value stands as the value of a key: {"k":VALUE}. */
static vgw_fault fault_of_value(const char *value, size_t len)
{
	char body[1024];
	int prefix = snprintf(body, sizeof(body), "{\"k\":");

	assert_true(len + 16 < sizeof(body));
	memcpy(body + prefix, value, len);
	body[(size_t)prefix + len] = '}';
	return scan_bytes(body, (size_t)prefix + len + 1, NULL).fault;
}

#define TEXT(literal) literal, sizeof(literal) - 1

struct sample {
	const char *value;
	size_t len;
	vgw_fault fault;
};

static void check_samples(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		vgw_fault got = fault_of_value(samples[i].value, samples[i].len);

		if (got != samples[i].fault)
			fail_msg("value %zu, %.*s: %s instead of %s", i, (int)samples[i].len,
				samples[i].value,
				vgw_fault_get_info(got)->code, vgw_fault_get_info(samples[i].fault)->code);
	}
}

/* --- syntax --- */

static void every_kind_of_valid_value_passes(void **state)
{
	static const struct sample samples[] = {
		{ TEXT("0") }, { TEXT("-0") }, { TEXT("1") }, { TEXT("-1") }, { TEXT("10") },
		{ TEXT("0.5") }, { TEXT("-0.0") }, { TEXT("1e5") }, { TEXT("1E5") }, { TEXT("1e+5") },
		{ TEXT("1e-5") }, { TEXT("0e0") }, { TEXT("1.5e10") },
		{ TEXT("123456789012345678901234567890") }, { TEXT("1e400") }, { TEXT("-1e-400") },
		{ TEXT("9223372036854775808") }, { TEXT("true") }, { TEXT("false") }, { TEXT("null") },
		{ TEXT("\"\"") }, { TEXT("\"a\"") }, { TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"") },
		{ TEXT("\"\\u0000\"") }, { TEXT("\"\\u0041\\uAbCd\"") }, { TEXT("\"\\ud834\\udd1e\"") },
		{ TEXT("\"\x7f\"") }, { TEXT("\"\\\\u12\"") }, { TEXT("\"\xc2\x80\"") },
		{ TEXT("\"\xdf\xbf\"") }, { TEXT("\"\xe0\xa0\x80\"") }, { TEXT("\"\xe2\x82\xac\"") },
		{ TEXT("\"\xed\x9f\xbf\"") }, { TEXT("\"\xee\x80\x80\"") }, { TEXT("\"\xef\xbb\xbf\"") },
		{ TEXT("\"\xef\xbf\xbf\"") }, { TEXT("\"\xf0\x90\x80\x80\"") },
		{ TEXT("\"\xf4\x8f\xbf\xbf\"") }, { TEXT("[]") }, { TEXT("[ ]") }, { TEXT("{}") },
		{ TEXT("{ }") }, { TEXT("[1]") }, { TEXT("[1,2]") }, { TEXT(" [ 1 , 2 ] ") },
		{ TEXT("[[],[[]]]") }, { TEXT("[{},{}]") }, { TEXT("{\"a\":1}") },
		{ TEXT("{\"a\":{\"b\":[true,false,null]}}") }, { TEXT("\t\r\n 1\t\r\n ") },
		{ TEXT("{\"\":0}") }, { TEXT("{\"a\":1,\"a\":2}") }, { TEXT("{\"k\":1}") },
		{ TEXT("\"\\ud800\"") }, { TEXT("\"\\udc00x\"") }, { TEXT("{\"\\ud800\":1}") },
	};

	(void)state;
	check_samples(samples, sizeof(samples) / sizeof(samples[0]));
}

static void every_kind_of_bad_syntax_is_refused(void **state)
{
	static const char *const values[] = {
		"", " ", "01", "-", "+1", "-01", "1.", ".5", "1.e5", "1e", "1e+", "1e+-2", "0x10", "1_000",
		"1a", "-a", "--1", "NaN", "nan", "Infinity", "-Infinity", "+Infinity", "inf", "1e1.5",
		"0.1.2", "00", "-.5", "1 2", "\xd9\xa1", "tru", "True", "TRUE", "truee", "nul", "nulll",
		"fals", "undefined", "None", "\"", "\"a", "\"a\\\"", "'a'", "a", "\"\\x41\"", "\"\\a\"",
		"\"\\'\"", "\"\\u\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\U0041\"", "\"\\\"", "\"\\u+041\"",
		"\"\t\"", "\"\n\"", "\"\r\"", "\"\x1f\"", "\"\x01\"", "[", "]", "[1", "[1,", "[1,]", "[,1]",
		"[1,,2]", "[,]", "[1 2]", "[1}", "[1;2]", "[1:2]", "{\"a\":1]", "{", "{\"a\"", "{\"a\":",
		"{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{\"a\",1}", "{\"a\":1 \"b\":2}", "{\"a\"::1}",
		"{\"a\":}", "{:1}", "{a:1}", "{1:1}", "{'a':1}", "{null:1}", "{\"a\":1,,\"b\":2}",
		"{\"a\":1:2}", "{\"a\" 1}", "/**/1", "1/**/", "//x\n1", "#x\n1", "\"a\"\"b\"",
		"[\"a\" \"b\"]", "\"a\" \"b\"", "<null>", "*", "\\u0031", "\f1", "\v1", "[\f]", "]]", "}",
		"{\"a\":true} \"x", "[\"x\", true,\"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		if (fault_of_value(values[i], strlen(values[i])) != VGW_FAULT_INVALID_JSON)
			fail_msg("%s: %s", values[i],
				vgw_fault_get_info(fault_of_value(values[i], strlen(values[i])))->code);
}

static void a_nul_byte_is_refused_wherever_it_is(void **state)
{
	static const char body[] = " {\"a\": [-1.5e3, \"x\", true, {}], \"b\": 2} ";
	char grown[sizeof(body) + 1];

	(void)state;
	assert_int_equal(fault_of(body), VGW_FAULT_NONE);
	for (size_t at = 0; at < sizeof(body); at++) {
		memcpy(grown, body, at);
		grown[at] = '\0';
		memcpy(grown + at + 1, body + at, sizeof(body) - 1 - at);
		assert_int_equal(scan_bytes(grown, sizeof(body), NULL).fault,
			at < 2 ? VGW_FAULT_INVALID_ENCODING : VGW_FAULT_INVALID_JSON);
	}
}

static void malformed_utf8_is_refused_wherever_it_is(void **state)
{
	static const char *const bytes[] = {
		"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2""a", "\xe0\x80\x80", "\xe0\x9f\xbf",
		"\xe2\x82", "\xe2\x82""a", "\xe2""a\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80",
		"\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xf8\x88\x80\x80\x80", "\xfe", "\xff", "\xff\xfe", "\xf0\x9f\x98""a", "\xf1\x80""a\x80",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		/* at every place relative to the sixteen bytes that are looked at together */
		for (int pad = 0; pad < 40; pad++) {
			char value[128];
			int len = snprintf(value, sizeof(value), "\"%.*s%s\"", pad,
				"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", bytes[i]);

			assert_int_equal(fault_of_value(value, (size_t)len), VGW_FAULT_INVALID_ENCODING);
		}
		assert_int_equal(fault_of_value(bytes[i], strlen(bytes[i])), VGW_FAULT_INVALID_ENCODING);
	}
}

static void other_encodings_and_byte_order_marks_are_refused(void **state)
{
	(void)state;
	assert_int_equal(scan_bytes(TEXT("\xef\xbb\xbf{}"), NULL).fault, VGW_FAULT_INVALID_ENCODING);
	assert_int_equal(scan_bytes(TEXT("\xff\xfe{\0}\0"), NULL).fault, VGW_FAULT_INVALID_ENCODING);
	assert_int_equal(scan_bytes(TEXT("\xfe\xff\0{\0}"), NULL).fault, VGW_FAULT_INVALID_ENCODING);
	assert_int_equal(scan_bytes(TEXT("{\0}\0"), NULL).fault, VGW_FAULT_INVALID_ENCODING);
	assert_int_equal(scan_bytes(TEXT("\0{\0}"), NULL).fault, VGW_FAULT_INVALID_ENCODING);
	assert_int_equal(scan_bytes(TEXT("{\0\0\0}\0\0\0"), NULL).fault, VGW_FAULT_INVALID_ENCODING);
	assert_int_equal(scan_bytes(TEXT("\0\0\0{\0\0\0}"), NULL).fault, VGW_FAULT_INVALID_ENCODING);
}

static void only_one_object_and_nothing_else_is_a_body(void **state)
{
	static const char *const bodies[] = { "", " ", "null", "[]", "[{}]", "\"x\"", "1", "true", "hello",
		"{}{}", "{} {}",
		"{},", "{}x", "{}]", "{}}", "{", "}", "{\"a\"", "model=a&stream=true", "--boundary" };
	struct vgw__scan scan;

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		assert_int_equal(fault_of(bodies[i]), VGW_FAULT_INVALID_JSON);
	assert_int_equal(vgw__scan_body(&scan, NULL, 0, NULL, NULL), VGW_INVALID);
	assert_int_equal(scan_bytes(TEXT("{}\0"), NULL).fault, VGW_FAULT_INVALID_JSON);
	assert_int_equal(fault_of("{}"), VGW_FAULT_NONE);
	assert_int_equal(fault_of(" \r\n\t{ \r\n\t} \r\n\t"), VGW_FAULT_NONE);
}

static void every_proper_prefix_of_a_body_is_refused(void **state)
{
	static const char body[] = "{\"model\": \"m\\u00e4\xc3\xa4\", \"a\": [1.5e3, -2, true, null,"
		" {\"b\": \"\"}], \"c\": false}";

	(void)state;
	assert_int_equal(fault_of(body), VGW_FAULT_NONE);
	for (size_t len = 0; len < sizeof(body) - 1; len++)
		assert_int_not_equal(scan_bytes(body, len, NULL).fault, VGW_FAULT_NONE);
}

static void the_message_says_what_is_wrong_and_at_which_byte(void **state)
{
	struct outcome outcome = scan_bytes(TEXT("{\"model\": \"m\" \"x\": 1}"), NULL);

	(void)state;
	assert_int_equal(outcome.at, 14);
	assert_string_equal(outcome.text, "the body is not valid JSON: expected ',' or '}' at byte 14");
	outcome = scan_bytes(TEXT("{\"a\": \"x\xff\"}"), NULL);
	assert_int_equal(outcome.at, 8);
	assert_string_equal(outcome.text, "the body is not valid UTF-8: malformed UTF-8 at byte 8");
}

/* --- limits --- */

static char *nested(size_t depth, char open, char close, size_t *len)
{
	char *body = malloc(2 * depth + 64);
	size_t at = 5;

	assert_non_null(body);
	memcpy(body, "{\"a\":", 5);
	memset(body + at, open, depth - 1);
	at += depth - 1;
	memset(body + at, close, depth - 1);
	at += depth - 1;
	body[at++] = '}';
	*len = at;
	return body;
}

static void nesting_ends_at_64(void **state)
{
	static const struct {
		size_t depth;
		vgw_fault fault;
	} rows[] = { { 2, VGW_FAULT_NONE }, { 64, VGW_FAULT_NONE }, { 65, VGW_FAULT_JSON_TOO_DEEP },
		{ 2049, VGW_FAULT_JSON_TOO_DEEP }, { 100000, VGW_FAULT_JSON_TOO_DEEP } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len;
		char *body = nested(rows[i].depth, '[', ']', &len);

		assert_int_equal(scan_bytes(body, len, NULL).fault, rows[i].fault);
		free(body);
	}
}

static void brackets_must_match_at_every_depth(void **state)
{
	(void)state;
	for (size_t wrong = 0; wrong < 63; wrong++) {
		size_t len;
		char *body = nested(64, '[', ']', &len);

		body[len - 2 - wrong] = '}';
		assert_int_equal(scan_bytes(body, len, NULL).fault, VGW_FAULT_INVALID_JSON);
		free(body);
	}
}

static void more_values_than_the_budget_are_too_complex(void **state)
{
	struct vgw__scan_options options = { .max_values = 4 };
	size_t len = 3 * 1100000;
	char *body = malloc(len + 8);

	(void)state;
	assert_int_equal(scan_bytes(TEXT("{\"a\":[1,2],\"b\":3}"), &options).fault, VGW_FAULT_NONE);
	assert_int_equal(scan_bytes(TEXT("{\"a\":[1,2],\"b\":[]}"), &options).fault, VGW_FAULT_NONE);
	assert_int_equal(scan_bytes(TEXT("{\"a\":[1,2],\"b\":[3]}"), &options).fault,
		VGW_FAULT_JSON_TOO_COMPLEX);
	assert_non_null(body);
	memcpy(body, "{\"a\":[", 6);
	for (size_t i = 0; i < len; i += 3)
		memcpy(body + 6 + i, "[],", 3);
	assert_int_equal(scan_bytes(body, len, NULL).fault, VGW_FAULT_JSON_TOO_COMPLEX);
	free(body);
}

static char *many_keys(size_t count, const char *prefix, size_t *len)
{
	size_t size = count * 64 + 64;
	char *body = malloc(size);

	assert_non_null(body);
	*len = (size_t)snprintf(body, size, "{");
	for (size_t i = 0; i < count; i++) {
		*len += (size_t)snprintf(body + *len, size - *len, "%s\"%s%zu\":0", i ? "," : "", prefix, i);
	}
	*len += (size_t)snprintf(body + *len, size - *len, "}");
	return body;
}

static void many_keys_pass_and_too_many_are_too_complex(void **state)
{
	static const size_t counts[] = { 1, VGW__KEYS_SHORT, VGW__KEYS_SHORT + 1, 500, VGW__KEYS_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t len;
		char *body = many_keys(counts[i], "key", &len);

		assert_int_equal(scan_bytes(body, len, NULL).fault, VGW_FAULT_NONE);
		free(body);
		body = many_keys(counts[i] + 1, "\\u0001", &len);
		assert_int_equal(scan_bytes(body, len, NULL).fault,
			counts[i] < VGW__KEYS_MAX ? VGW_FAULT_NONE : VGW_FAULT_JSON_TOO_COMPLEX);
		free(body);
	}
}

static void a_key_of_absurd_length_is_too_complex(void **state)
{
	char body[VGW__KEY_MAX_BYTES + 16];
	int len = snprintf(body, sizeof(body), "{\"%0*d\":1}", (int)VGW__KEY_MAX_BYTES, 0);

	(void)state;
	assert_int_equal(scan_bytes(body, (size_t)len, NULL).fault, VGW_FAULT_NONE);
	len = snprintf(body, sizeof(body), "{\"%0*d\":1}", (int)VGW__KEY_MAX_BYTES + 1, 0);
	assert_int_equal(scan_bytes(body, (size_t)len, NULL).fault, VGW_FAULT_JSON_TOO_COMPLEX);
}

/* --- duplicates --- */

static void the_second_key_of_a_name_is_refused_however_it_is_written(void **state)
{
	static const char *const bodies[] = {
		"{\"model\":\"a\",\"model\":\"a\"}", "{\"model\":1,\"x\":2,\"model\":null}",
		"{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", "{\"mod\\u0065l\":\"a\",\"model\":\"b\"}",
		"{\"\\u006dodel\":\"a\",\"mod\\u0065l\":\"b\"}", "{\"x\":1,\"x\":1}", "{\"\":1,\"\":1}",
		"{\"a/b\":1,\"a\\/b\":1}", "{\"\\u00e4\":1,\"\xc3\xa4\":1}",
		"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}", "{\"\\u0000\":1,\"\\u0000\":1}",
		"{\"\\n\":1,\"\\u000a\":1}", "{\"\\u00E4\":1,\"\\u00e4\":1}",
	};
	static const char *const different[] = {
		"{\"model\":1,\"Model\":2}", "{\"model\":1,\"model \":2}", "{\"model\":1,\"mode\":2}",
		"{\"\\u0000\":1,\"\":2}", "{\"a\":1,\"a\\u0000\":2}", "{\"a\":1,\"b\":{\"a\":2,\"a\":3}}",
		"{\"\\\\n\":1,\"\\n\":2}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
		assert_int_equal(fault_of(bodies[i]), VGW_FAULT_DUPLICATE_KEY);
	for (size_t i = 0; i < sizeof(different) / sizeof(different[0]); i++)
		assert_int_equal(fault_of(different[i]), VGW_FAULT_NONE);
}

static void a_duplicate_among_many_keys_is_found(void **state)
{
	(void)state;
	for (size_t count = 1; count < 200; count += 9) {
		size_t len;
		char *body = many_keys(count, "key", &len);
		char *grown = malloc(len + 32);

		assert_non_null(grown);
		memcpy(grown, body, len);
		len = len - 1 + (size_t)snprintf(grown + len - 1, 32, ",\"k\\u0065y%u\":1}",
			(unsigned)(count / 2));
		assert_int_equal(scan_bytes(grown, len, NULL).fault, VGW_FAULT_DUPLICATE_KEY);
		free(grown);
		free(body);
	}
}

static void half_a_surrogate_pair_in_a_key_is_refused(void **state)
{
	(void)state;
	assert_int_equal(fault_of("{\"\\ud800\":1}"), VGW_FAULT_INVALID_JSON);
	assert_int_equal(fault_of("{\"\\udc00\":1}"), VGW_FAULT_INVALID_JSON);
	assert_int_equal(fault_of("{\"\\ud800\\u0041\":1}"), VGW_FAULT_INVALID_JSON);
	assert_int_equal(fault_of("{\"\\ud800\\ud800\":1}"), VGW_FAULT_INVALID_JSON);
	assert_int_equal(fault_of("{\"\\ud800x\":1}"), VGW_FAULT_INVALID_JSON);
}

static void *no_memory(void *user, void *old, size_t size)
{
	(void)user;
	(void)old;
	(void)size;
	return NULL;
}

static void free_nothing(void *user, void *memory)
{
	(void)user;
	assert_null(memory);
}

static void without_memory_usual_bodies_still_pass_and_odd_ones_fail_cleanly(void **state)
{
	static const vgw_allocator none = { no_memory, free_nothing, NULL };
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__scan scan;
	size_t len;
	char *body = many_keys(VGW__KEYS_SHORT + 1, "key", &len);

	(void)state;
	vgw_set_allocator(&none);
	assert_int_equal(vgw__scan_body(&scan, TEXT("{\"model\":\"m\",\"x\":1}"), NULL, &err), VGW_OK);
	assert_int_equal(vgw__scan_body(&scan, body, len, NULL, &err), VGW_NOMEM);
	vgw_set_allocator(NULL);
	assert_int_equal(err.fault, VGW_FAULT_OUT_OF_MEMORY);
	free(body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_valid_value_passes),
		cmocka_unit_test(every_kind_of_bad_syntax_is_refused),
		cmocka_unit_test(a_nul_byte_is_refused_wherever_it_is),
		cmocka_unit_test(malformed_utf8_is_refused_wherever_it_is),
		cmocka_unit_test(other_encodings_and_byte_order_marks_are_refused),
		cmocka_unit_test(only_one_object_and_nothing_else_is_a_body),
		cmocka_unit_test(every_proper_prefix_of_a_body_is_refused),
		cmocka_unit_test(the_message_says_what_is_wrong_and_at_which_byte),
		cmocka_unit_test(nesting_ends_at_64),
		cmocka_unit_test(brackets_must_match_at_every_depth),
		cmocka_unit_test(more_values_than_the_budget_are_too_complex),
		cmocka_unit_test(many_keys_pass_and_too_many_are_too_complex),
		cmocka_unit_test(a_key_of_absurd_length_is_too_complex),
		cmocka_unit_test(the_second_key_of_a_name_is_refused_however_it_is_written),
		cmocka_unit_test(a_duplicate_among_many_keys_is_found),
		cmocka_unit_test(half_a_surrogate_pair_in_a_key_is_refused),
		cmocka_unit_test(without_memory_usual_bodies_still_pass_and_odd_ones_fail_cleanly),
	};

	return cmocka_run_group_tests_name("json_scan", tests, NULL, NULL);
}
