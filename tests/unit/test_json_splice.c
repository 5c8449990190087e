/* SPDX-License-Identifier: Apache-2.0 */
/* Rewriting a body: each edit changes what it says it changes, and no other byte. */
#include "testing.h"

#include "json/splice.h"
#include "util/alloc.h"
#include "util/error.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct vgw__json_name names[] = { { "a", 1 }, { "b", 1 }, { "c", 1 }, { "d", 1 },
	{ "top_k", 5 } };

#define NAMES (sizeof(names) / sizeof(names[0]))

struct fixture {
	struct vgw__json_span extra[NAMES];
	struct vgw__scan scan;
	struct vgw__buf scratch;
	struct vgw__splice splice;
	char out[2048];
};

static void open_body(struct fixture *f, const char *body)
{
	struct vgw__scan_options options = { .extra_count = NAMES, .extra_names = names, .extra = f->extra };

	vgw__buf_init(&f->scratch, 4096);
	assert_int_equal(vgw__scan_body(&f->scan, body, strlen(body), &options, NULL), VGW_OK);
	vgw__splice_init(&f->splice, &f->scan, &f->scratch);
}

/* The new body as text; the fixture is used up. */
static const char *close_body(struct fixture *f)
{
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS];
	size_t count;
	size_t len = 0;

	assert_int_equal(vgw__splice_finish(&f->splice, segments, &count, NULL), VGW_OK);
	assert_true(count <= VGW__SPLICE_MAX_SEGMENTS);
	for (size_t i = 0; i < count; i++) {
		assert_true(segments[i].len > 0);
		assert_true(len + segments[i].len < sizeof(f->out));
		memcpy(f->out + len, segments[i].data, segments[i].len);
		len += segments[i].len;
	}
	assert_int_equal(len, vgw__segments_length(segments, count));
	f->out[len] = '\0';
	vgw__buf_fini(&f->scratch);
	return f->out;
}

static void no_edit_changes_nothing_and_borrows_the_body_whole(void **state)
{
	static const char body[] = " { \"a\" : 1.0e0 , \"z\":[ ] }\n";
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS];
	struct fixture f;
	size_t count;

	(void)state;
	open_body(&f, body);
	assert_int_equal(vgw__splice_finish(&f.splice, segments, &count, NULL), VGW_OK);
	assert_int_equal(count, 1);
	assert_ptr_equal(segments[0].data, body);
	assert_int_equal(segments[0].len, sizeof(body) - 1);
	vgw__buf_fini(&f.scratch);
}

static void the_model_is_replaced_and_everything_else_keeps_its_bytes(void **state)
{
	static const char *const rows[][2] = {
		{ "{\"model\":\"x\"}", "{\"model\":\"served\"}" },
		{ "{\"a\":1e5, \"model\" : \"x\\u0041\" ,\"b\":\"\\u00e4\"}",
		"{\"a\":1e5, \"model\" : \"served\" ,\"b\":\"\\u00e4\"}" },
		{ "{\"mod\\u0065l\":\"x\"}", "{\"mod\\u0065l\":\"served\"}" },
		{ "{\"messages\":[{\"model\":\"x\"}],\"model\":\"x\"}",
		"{\"messages\":[{\"model\":\"x\"}],\"model\":\"served\"}" },
		{ "{}", "{\"model\":\"served\"}" },
		{ " { } ", " {\"model\":\"served\" } " },
		{ "{ \"a\":1}", "{\"model\":\"served\", \"a\":1}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;

		open_body(&f, rows[i][0]);
		assert_int_equal(vgw__splice_set_string(&f.splice, "model", "served", 6, NULL), VGW_OK);
		assert_string_equal(close_body(&f), rows[i][1]);
	}
}

static void a_served_name_is_escaped(void **state)
{
	struct fixture f;

	(void)state;
	open_body(&f, "{\"model\":1}");
	assert_int_equal(vgw__splice_set_string(&f.splice, "model", "q\"b\\s/\n\x01\xc3\xa4", 10, NULL),
		VGW_OK);
	assert_string_equal(close_body(&f), "{\"model\":\"q\\\"b\\\\s/\\u000a\\u0001\xc3\xa4\"}");
}

static void a_removed_member_takes_one_comma_with_it(void **state)
{
	/* body, names to remove, result */
	static const char *const rows[][3] = {
		{ "{\"a\":1,\"b\":2,\"c\":3}", "a", "{\"b\":2,\"c\":3}" },
		{ "{\"a\":1,\"b\":2,\"c\":3}", "b", "{\"a\":1,\"c\":3}" },
		{ "{\"a\":1,\"b\":2,\"c\":3}", "c", "{\"a\":1,\"b\":2}" },
		{ "{\"a\":1,\"b\":2,\"c\":3}", "ab", "{\"c\":3}" },
		{ "{\"a\":1,\"b\":2,\"c\":3}", "bc", "{\"a\":1}" },
		{ "{\"a\":1,\"b\":2,\"c\":3}", "ca", "{\"b\":2}" },
		{ "{\"a\":1,\"b\":2,\"c\":3}", "cba", "{}" },
		{ "{\"x\":0,\"a\":1,\"y\":0,\"b\":2,\"c\":3,\"z\":0}", "abc", "{\"x\":0,\"y\":0,\"z\":0}" },
		{ "{\"x\":0,\"a\":1,\"y\":0,\"b\":2,\"c\":3}", "abc", "{\"x\":0,\"y\":0}" },
		{ "{\"a\":1}", "a", "{}" },
		{ " { \"a\" : [1,2] } ", "a", " {  } " },
		{ "{ \"a\" : 1 , \"b\" : 2 }", "a", "{ \"b\" : 2 }" },
		{ "{ \"a\" : 1 , \"b\" : 2 }", "b", "{ \"a\" : 1  }" },
		{ "{ \"a\" : 1 , \"b\" : 2\n,\t\"c\":3 }", "b", "{ \"a\" : 1 , \"c\":3 }" },
		{ "{\"a\":\",\",\"b\":\",\"}", "b", "{\"a\":\",\"}" },
		{ "{\"x\":1}", "abc", "{\"x\":1}" },
		{ "{}", "abc", "{}" },
		{ "{\"a\":1,\"b\":2}", "bb", "{\"a\":1}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;

		open_body(&f, rows[i][0]);
		for (const char *p = rows[i][1]; *p; p++) {
			char name[2] = { *p, '\0' };

			assert_int_equal(vgw__splice_remove(&f.splice, name, NULL), VGW_OK);
		}
		assert_string_equal(close_body(&f), rows[i][2]);
	}
}

static void a_default_is_added_only_where_the_key_is_absent(void **state)
{
	static const char *const rows[][2] = {
		{ "{\"x\":1}", "{\"top_k\":40,\"x\":1}" },
		{ "{}", "{\"top_k\":40}" },
		{ "{\"top_k\":null}", "{\"top_k\":null}" },
		{ "{\"top\\u005fk\":2}", "{\"top\\u005fk\":2}" },
		{ "{\"x\":{\"top_k\":1}}", "{\"top_k\":40,\"x\":{\"top_k\":1}}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;

		open_body(&f, rows[i][0]);
		assert_int_equal(vgw__splice_add_default(&f.splice, "top_k", "\"top_k\":40", 10, NULL),
			VGW_OK);
		assert_int_equal(vgw__splice_add_default(&f.splice, "top_k", "\"top_k\":50", 10, NULL),
			VGW_OK);
		assert_string_equal(close_body(&f), rows[i][1]);
	}
}

static void many_edits_fit_together_in_any_order(void **state)
{
	static const char body[] = "{\"a\":1,\"model\":\"x\",\"b\":2,\"c\":[3],\"y\":9,\"d\":4}";
	static const char want[] = "{\"stream_options\":{\"include_usage\":true},\"top_k\":40,"
		"\"model\":\"s\",\"c\":{},\"y\":9}";

	(void)state;
	for (int order = 0; order < 6; order++) {
		struct fixture f;
		struct vgw__usage_asked asked;

		open_body(&f, body);
		assert_int_equal(vgw__splice_include_usage(&f.splice, false, &asked, NULL), VGW_OK);
		for (int step = 0; step < 6; step++) {
			switch ((order + step) % 6) {
			case 0:
				assert_int_equal(vgw__splice_set_string(&f.splice, "model", "s", 1, NULL),
					VGW_OK);
				break;
			case 1:
				assert_int_equal(vgw__splice_remove(&f.splice, "d", NULL), VGW_OK);
				break;
			case 2:
				assert_int_equal(vgw__splice_remove(&f.splice, "a", NULL), VGW_OK);
				break;
			case 3:
				assert_int_equal(vgw__splice_set(&f.splice, "c", "{}", 2, NULL), VGW_OK);
				break;
			case 4:
				assert_int_equal(vgw__splice_add_default(&f.splice, "top_k", "\"top_k\":40",
					10, NULL), VGW_OK);
				break;
			default:
				assert_int_equal(vgw__splice_remove(&f.splice, "b", NULL), VGW_OK);
				break;
			}
		}
		assert_string_equal(close_body(&f), want);
	}
}

static void a_new_member_needs_no_comma_where_all_others_go(void **state)
{
	struct fixture f;

	(void)state;
	open_body(&f, "{ \"a\":1, \"b\":2 }");
	assert_int_equal(vgw__splice_remove(&f.splice, "b", NULL), VGW_OK);
	assert_int_equal(vgw__splice_remove(&f.splice, "a", NULL), VGW_OK);
	assert_int_equal(vgw__splice_set(&f.splice, "top_k", "1", 1, NULL), VGW_OK);
	assert_string_equal(close_body(&f), "{\"top_k\":1  }");
}

static void usage_is_asked_for_and_other_stream_options_stay(void **state)
{
	static const char *const rows[][3] = {
		{ "{\"x\":1}", "{\"stream_options\":{\"include_usage\":true},\"x\":1}", "" },
		{ "{\"stream_options\":null}", "{\"stream_options\":{\"include_usage\":true}}", "" },
		{ "{\"stream_options\":{}}", "{\"stream_options\":{\"include_usage\":true}}", "" },
		{ "{\"stream_options\": { \"continuous_usage_stats\":true} }",
			"{\"stream_options\": {\"include_usage\":true, \"continuous_usage_stats\":true} }",
			"" },
		{ "{\"stream_options\":{\"include_usage\":false,\"c\":1}}",
		"{\"stream_options\":{\"include_usage\":true,\"c\":1}}", "" },
		{ "{\"stream_options\":{\"include_usage\" : null}}",
		"{\"stream_options\":{\"include_usage\" : true}}", "" },
		{ "{\"stream_options\":{\"include_usage\":true}}",
		"{\"stream_options\":{\"include_usage\":true}}", "wanted" },
		{ "{\"stream_options\":7}", "{\"stream_options\":7}", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		struct vgw__usage_asked asked;

		open_body(&f, rows[i][0]);
		assert_int_equal(vgw__splice_include_usage(&f.splice, false, &asked, NULL), VGW_OK);
		assert_int_equal(asked.at_end, rows[i][2][0] != '\0');
		assert_string_equal(close_body(&f), rows[i][1]);
	}
}

static void usage_in_each_event_is_asked_for_too(void **state)
{
#define BOTH "\"include_usage\":true,\"continuous_usage_stats\":true"
	static const struct {
		const char *body;
		const char *want;
		bool at_end;
		bool in_each;
	} rows[] = {
		{ "{}", "{\"stream_options\":{" BOTH "}}", false, false },
		{ "{\"stream_options\":{}}", "{\"stream_options\":{" BOTH "}}", false, false },
		{ "{\"stream_options\":{ \"c\":1 }}", "{\"stream_options\":{" BOTH ", \"c\":1 }}", false, false },
		{ "{\"stream_options\":{\"include_usage\" : true}}",
			"{\"stream_options\":{\"continuous_usage_stats\":true,\"include_usage\" : true}}", true, false },
		{ "{\"stream_options\":{\"continuous_usage_stats\": true }}",
			"{\"stream_options\":{\"include_usage\":true,\"continuous_usage_stats\": true }}", false, false },
		{ "{\"stream_options\":{\"continuous_usage_stats\": null, \"x\":2,\"include_usage\":false}}",
			"{\"stream_options\":{\"continuous_usage_stats\": true, \"x\":2,\"include_usage\":true}}", false, false },
		{ "{\"stream_options\":{" BOTH "}}", "{\"stream_options\":{" BOTH "}}", true, true },
		{ "{\"stream_options\":[]}", "{\"stream_options\":[]}", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__usage_asked asked;
		struct fixture f;

		open_body(&f, rows[i].body);
		assert_int_equal(vgw__splice_include_usage(&f.splice, true, &asked, NULL), VGW_OK);
		assert_int_equal(asked.at_end, rows[i].at_end);
		assert_int_equal(asked.in_each, rows[i].in_each);
		assert_string_equal(close_body(&f), rows[i].want);
	}
}

static void edits_that_contradict_each_other_are_refused(void **state)
{
	vgw_error err = VGW_ERROR_INIT;
	struct fixture f;

	(void)state;
	open_body(&f, "{\"model\":\"m\",\"a\":1}");
	assert_int_equal(vgw__splice_set_string(&f.splice, "model", "s", 1, &err), VGW_OK);
	assert_int_equal(vgw__splice_set_string(&f.splice, "model", "t", 1, &err), VGW_INVALID);
	assert_int_equal(vgw__splice_remove(&f.splice, "model", NULL), VGW_INVALID);
	assert_int_equal(vgw__splice_set(&f.splice, "b", "1", 1, NULL), VGW_OK);
	assert_int_equal(vgw__splice_set(&f.splice, "b", "2", 1, NULL), VGW_INVALID);
	assert_int_equal(vgw__splice_remove(&f.splice, "not_scanned_for", NULL), VGW_INTERNAL);
	vgw__buf_fini(&f.scratch);
}

static void more_edits_than_there_is_room_for_are_refused(void **state)
{
	char keys[VGW__SPLICE_MAX_EDITS + 1][8];
	struct vgw__json_name wanted[VGW__SPLICE_MAX_EDITS + 1];
	struct vgw__json_span spans[VGW__SPLICE_MAX_EDITS + 1];
	struct vgw__scan_options options = {
		.extra_count = VGW__SPLICE_MAX_EDITS + 1, .extra_names = wanted, .extra = spans
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i <= VGW__SPLICE_MAX_EDITS; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "k%zu", i);
		wanted[i] = (struct vgw__json_name){ keys[i], strlen(keys[i]) };
	}
	vgw__buf_init(&f.scratch, 4096);
	assert_int_equal(vgw__scan_body(&f.scan, "{}", 2, &options, NULL), VGW_OK);
	vgw__splice_init(&f.splice, &f.scan, &f.scratch);
	for (size_t i = 0; i < VGW__SPLICE_MAX_EDITS; i++)
		assert_int_equal(vgw__splice_set(&f.splice, keys[i], "0", 1, NULL), VGW_OK);
	assert_int_equal(vgw__splice_set(&f.splice, keys[VGW__SPLICE_MAX_EDITS], "0", 1, NULL), VGW_INVALID);
	assert_memory_equal(close_body(&f), "{\"k0\":0,\"k1\":0,", 15);
}

static void a_full_scratch_buffer_is_an_error_and_no_truncation(void **state)
{
	static const char body[] = "{\"model\":\"m\"}";
	struct fixture f;

	(void)state;
	for (size_t ceiling = 0; ceiling < 24; ceiling++) {
		open_body(&f, body);
		vgw__buf_fini(&f.scratch);
		vgw__buf_init(&f.scratch, ceiling);
		if (vgw__splice_set_string(&f.splice, "model", "0123456789", 10, NULL) == VGW_OK)
			assert_string_equal(close_body(&f), "{\"model\":\"0123456789\"}");
		else
			assert_true(ceiling < 12);
		vgw__buf_fini(&f.scratch);
	}
}

/* --- compared with another reader of JSON --- */

static unsigned next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(*seed >> 33);
}

/* An object of random members from a to h and model, in random order, with random whitespace. */
static void make_object(char *out, size_t size, uint64_t *seed)
{
	static const char *const keys[] = { "a", "b", "c", "d", "model", "top_k", "e", "f" };
	static const char *const values[] = { "1", "\"x,}\\\"\"", "[1,{\"a\":2}]", "{}", "null", "true",
		"-1.5e3", "{\"model\":1}" };
	static const char *const spaces[] = { "", " ", "\n\t", "" };
	size_t len = (size_t)snprintf(out, size, "%s{", spaces[next_random(seed) % 4]);
	unsigned used = 0;

	for (unsigned i = next_random(seed) % 9; i > 0; i--) {
		unsigned key = next_random(seed) % 8;

		if (used & 1u << key)
			continue;
		len += (size_t)snprintf(out + len, size - len, "%s%s\"%s\"%s:%s%s%s", used ? "," : "",
			spaces[next_random(seed) % 4], keys[key], spaces[next_random(seed) % 4],
			spaces[next_random(seed) % 4], values[next_random(seed) % 8],
				spaces[next_random(seed) % 4]);
		used |= 1u << key;
	}
	(void)snprintf(out + len, size - len, "%s}", spaces[next_random(seed) % 4]);
}

static void random_edits_are_what_another_parser_would_make_of_them(void **state)
{
	uint64_t seed = 42;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char body[1024];
		struct fixture f;
		json_t *want;
		json_t *got;

		make_object(body, sizeof(body), &seed);
		open_body(&f, body);
		want = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(want);
		if (next_random(&seed) % 2) {
			assert_int_equal(vgw__splice_set_string(&f.splice, "model", "s", 1, NULL), VGW_OK);
			assert_int_equal(json_object_set_new(want, "model", json_string("s")), 0);
		}
		for (const char *p = "abcd"; *p; p++) {
			char name[2] = { *p, '\0' };

			if (next_random(&seed) % 2)
				continue;
			assert_int_equal(vgw__splice_remove(&f.splice, name, NULL), VGW_OK);
			(void)json_object_del(want, name);
		}
		if (next_random(&seed) % 2) {
			assert_int_equal(vgw__splice_add_default(&f.splice, "top_k", "\"top_k\":40", 10,
				NULL), VGW_OK);
			if (!json_object_get(want, "top_k"))
				assert_int_equal(json_object_set_new(want, "top_k", json_integer(40)), 0);
		}
		got = json_loads(close_body(&f), JSON_REJECT_DUPLICATES, NULL);
		if (!got || !json_equal(got, want))
			fail_msg("%s became %s", body, f.out);
		json_decref(got);
		json_decref(want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_edit_changes_nothing_and_borrows_the_body_whole),
		cmocka_unit_test(the_model_is_replaced_and_everything_else_keeps_its_bytes),
		cmocka_unit_test(a_served_name_is_escaped),
		cmocka_unit_test(a_removed_member_takes_one_comma_with_it),
		cmocka_unit_test(a_default_is_added_only_where_the_key_is_absent),
		cmocka_unit_test(many_edits_fit_together_in_any_order),
		cmocka_unit_test(a_new_member_needs_no_comma_where_all_others_go),
		cmocka_unit_test(usage_is_asked_for_and_other_stream_options_stay),
		cmocka_unit_test(usage_in_each_event_is_asked_for_too),
		cmocka_unit_test(edits_that_contradict_each_other_are_refused),
		cmocka_unit_test(more_edits_than_there_is_room_for_are_refused),
		cmocka_unit_test(a_full_scratch_buffer_is_an_error_and_no_truncation),
		cmocka_unit_test(random_edits_are_what_another_parser_would_make_of_them),
	};

	return cmocka_run_group_tests_name("json_splice", tests, NULL, NULL);
}
