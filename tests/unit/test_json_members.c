/* SPDX-License-Identifier: Apache-2.0 */
/* What the scanner finds in a body, and what the members mean: the model's name, the stream flag, counts. */
#include "testing.h"

#include "json/scan.h"
#include "util/error.h"

#include <stdio.h>
#include <string.h>

#define TEXT(literal) literal, sizeof(literal) - 1

static void the_spans_of_keys_are_found_with_their_kinds(void **state)
{
	static const char body[] = "{ \"model\" : \"m\" ,\"stream\":true,\"n\":-1e3,\"stop\":[\"]\"],"
		"\"user\":null,"
		"\"stream_options\":{\"a\":\"}\"},\"str\\u0065am2\":false,\"messages\":[]}";
	static const struct vgw__json_name names[] = { { TEXT("stop") }, { TEXT("absent") },
		{ TEXT("model") },
		{ TEXT("stream2") } };
	struct vgw__json_span extra[4];
	struct vgw__scan_options options = { .extra_count = 4, .extra_names = names, .extra = extra };
	static const struct {
		enum vgw__body_key key;
		enum vgw__json_kind kind;
		const char *text;
	} rows[] = { { VGW__BODY_MODEL, VGW__JSON_STRING, "\"m\"" },
		{ VGW__BODY_STREAM, VGW__JSON_TRUE, "true" },
		{ VGW__BODY_N, VGW__JSON_NUMBER, "-1e3" }, { VGW__BODY_USER, VGW__JSON_NULL, "null" },
		{ VGW__BODY_STREAM_OPTIONS, VGW__JSON_OBJECT, "{\"a\":\"}\"}" },
		{ VGW__BODY_MESSAGES, VGW__JSON_ARRAY, "[]" } };
	struct vgw__scan scan;

	(void)state;
	assert_int_equal(vgw__scan_body(&scan, body, sizeof(body) - 1, &options, NULL), VGW_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct vgw__json_span *span = &scan.body[rows[i].key];

		assert_int_equal(span->kind, rows[i].kind);
		assert_int_equal(span->end - span->start, strlen(rows[i].text));
		assert_memory_equal(body + span->start, rows[i].text, strlen(rows[i].text));
		assert_int_equal(body[span->key_start], '"');
	}
	assert_int_equal(scan.members, 8);
	assert_int_equal(scan.open, 1);
	assert_int_equal(scan.body[VGW__BODY_PROMPT].kind, VGW__JSON_ABSENT);
	assert_int_equal(extra[0].kind, VGW__JSON_ARRAY);
	assert_int_equal(extra[1].kind, VGW__JSON_ABSENT);
	assert_int_equal(extra[2].start, scan.body[VGW__BODY_MODEL].start);
	assert_int_equal(extra[3].kind, VGW__JSON_FALSE);
	assert_ptr_equal(vgw__scan_find(&scan, TEXT("stop")), &extra[0]);
	assert_ptr_equal(vgw__scan_find(&scan, TEXT("model")), &scan.body[VGW__BODY_MODEL]);
	assert_null(vgw__scan_find(&scan, TEXT("temperature")));
}

static void a_wanted_key_inside_another_value_is_not_taken(void **state)
{
	static const char body[] = "{\"messages\":[{\"model\":\"inner\"}],\"x\":{\"model\":\"inner\"},"
		"\"y\":\"\\\"model\\\":1\"}";
	char name[VGW__NAME_MAX_BYTES + 1];
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__scan scan;
	size_t len;

	(void)state;
	assert_int_equal(vgw__scan_body(&scan, body, sizeof(body) - 1, NULL, NULL), VGW_OK);
	assert_int_equal(scan.body[VGW__BODY_MODEL].kind, VGW__JSON_ABSENT);
	assert_int_equal(vgw__scan_get_name(&scan, VGW__BODY_MODEL, name, &len, &err), VGW_INVALID);
	assert_int_equal(err.fault, VGW_FAULT_MISSING_MODEL);
}

/* --- names, stream, counts --- */

static vgw_fault read_name(const char *value, char name[VGW__NAME_MAX_BYTES + 1], size_t *len)
{
	static char body[4096];
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__scan scan;
	int body_len = snprintf(body, sizeof(body), "{\"modelKey\":%s}", value);

	assert_int_equal(vgw__scan_body(&scan, body, (size_t)body_len, NULL, NULL), VGW_OK);
	(void)!vgw__scan_get_name(&scan, VGW__BODY_MODEL_KEY, name, len, &err);
	return err.fault;
}

static void the_name_of_a_model_is_unescaped(void **state)
{
	static const char *const rows[][2] = { { "\"m\"", "m" }, { "\"Qwen/Qwen2.5-7B\"", "Qwen/Qwen2.5-7B" },
		{ "\"a\\/b\\\"c\\\\\"", "a/b\"c\\" },
		{ "\"\\u006d\\u00e4\\u20ac\"", "m\xc3\xa4\xe2\x82\xac" },
		{ "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" }, { "\"\\u202e\"", "\xe2\x80\xae" },
		{ "\"\xc2\xa0\"", "\xc2\xa0" } };
	char name[VGW__NAME_MAX_BYTES + 1];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(read_name(rows[i][0], name, &len), VGW_FAULT_NONE);
		assert_string_equal(name, rows[i][1]);
		assert_int_equal(len, strlen(rows[i][1]));
	}
}

static void what_is_no_name_of_a_model_is_refused(void **state)
{
	static const char *const values[] = { "1", "null", "true", "[]", "[\"m\"]", "{}", "\"\"",
		"\"\\u0000\"", "\"a\\u0000b\"", "\"a\\n\"", "\"\\u001b[31m\"", "\"\x7f\"", "\"\\u0080\"",
		"\"\xc2\x9f\"", "\"\\ud800\"",
		"\"a\\udc00\"" };
	char name[VGW__NAME_MAX_BYTES + 1];
	char value[VGW__NAME_MAX_BYTES + 16];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_int_equal(read_name(values[i], name, &len), VGW_FAULT_INVALID_MODEL);
		assert_string_equal(name, "");
	}
	(void)snprintf(value, sizeof(value), "\"%0*d\"", (int)VGW__NAME_MAX_BYTES, 0);
	assert_int_equal(read_name(value, name, &len), VGW_FAULT_NONE);
	assert_int_equal(strlen(name), VGW__NAME_MAX_BYTES);
	(void)snprintf(value, sizeof(value), "\"%0*d\"", (int)VGW__NAME_MAX_BYTES + 1, 0);
	assert_int_equal(read_name(value, name, &len), VGW_FAULT_INVALID_MODEL);
}

static void stream_is_true_false_null_or_a_fault(void **state)
{
	static const struct {
		const char *body;
		bool want;
		vgw_fault fault;
	} rows[] = { { "{}", false, VGW_FAULT_NONE }, { "{\"stream\":null}", false, VGW_FAULT_NONE },
		{ "{\"stream\":false}", false, VGW_FAULT_NONE },
		{ "{\"stream\":true}", true, VGW_FAULT_NONE },
		{ "{\"stream\":\"true\"}", false, VGW_FAULT_INVALID_STREAM },
		{ "{\"stream\":1}", false, VGW_FAULT_INVALID_STREAM },
		{ "{\"stream\":[]}", false, VGW_FAULT_INVALID_STREAM } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;
		struct vgw__scan scan;
		bool got;

		assert_int_equal(vgw__scan_body(&scan, rows[i].body, strlen(rows[i].body), NULL, NULL),
			VGW_OK);
		(void)!vgw__scan_get_stream(&scan, &got, &err);
		assert_int_equal(err.fault, rows[i].fault);
		assert_int_equal(got, rows[i].want);
	}
}

static void counts_are_plain_integers_that_fit(void **state)
{
	static const struct {
		const char *body;
		int64_t value; /* -1: none */
	} rows[] = { { "{\"n\":0}", 0 }, { "{\"n\":12}", 12 }, { "{\"n\":9223372036854775807}", INT64_MAX },
		{ "{\"n\":9223372036854775808}", -1 }, { "{\"n\":99999999999999999999}", -1 },
		{ "{\"n\":-1}", -1 }, { "{\"n\":1.0}", -1 }, { "{\"n\":1e3}", -1 }, { "{\"n\":\"1\"}", -1 },
		{ "{\"n\":null}", -1 },
		{ "{}", -1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__scan scan;
		int64_t value = -1;

		assert_int_equal(vgw__scan_body(&scan, rows[i].body, strlen(rows[i].body), NULL, NULL),
			VGW_OK);
		assert_int_equal(vgw__scan_get_count(&scan, &scan.body[VGW__BODY_N], &value),
			rows[i].value >= 0);
		assert_int_equal(value, rows[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_spans_of_keys_are_found_with_their_kinds),
		cmocka_unit_test(a_wanted_key_inside_another_value_is_not_taken),
		cmocka_unit_test(the_name_of_a_model_is_unescaped),
		cmocka_unit_test(what_is_no_name_of_a_model_is_refused),
		cmocka_unit_test(stream_is_true_false_null_or_a_fault),
		cmocka_unit_test(counts_are_plain_integers_that_fit),
	};

	return cmocka_run_group_tests_name("json_members", tests, NULL, NULL);
}
