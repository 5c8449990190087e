/* SPDX-License-Identifier: Apache-2.0 */
/* Any body with any edits, with jansson as the oracle: the new body is what comes of the same edits on a
 * tree.
 * The first byte says which edits are made, one bit each; the rest is the body. */
#include "fuzz.h"

#include "json/splice.h"

#include <jansson.h>
#include <string.h>

/* The bits of the first byte, in the order of the edits unless REVERSED. */
enum {
	SET_MODEL = 1,
	REMOVE_A = 2,
	REMOVE_B = 4,
	REMOVE_USER = 8,
	ADD_TOP_K = 16,
	SET_C = 32,
	USAGE = 64,
	REVERSED = 128
};

static const struct vgw__json_name names[] = { { "a", 1 }, { "b", 1 }, { "c", 1 }, { "top_k", 5 } };

#define NAMES (sizeof(names) / sizeof(names[0]))

/* false: a stream_options that the scanner refuses, so there is no new body */
static bool edit_usage(struct vgw__splice *splice, json_t *tree)
{
	json_t *options = json_object_get(tree, "stream_options");
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__usage_asked asked;
	bool is_continuous = splice->scan->len & 1;

	if (vgw__splice_include_usage(splice, is_continuous, &asked, &err) != VGW_OK) {
		FUZZ_CHECK(err.fault == VGW_FAULT_DUPLICATE_KEY || err.fault == VGW_FAULT_INVALID_JSON ||
			err.fault == VGW_FAULT_JSON_TOO_COMPLEX);
		return false;
	}
	if (options && !json_is_null(options) && !json_is_object(options))
		return true;
	FUZZ_CHECK(asked.at_end == json_is_true(json_object_get(options, "include_usage")));
	FUZZ_CHECK(asked.in_each == (asked.at_end && json_is_true(json_object_get(options, "continuous_usage_stats"))));
	if (!json_is_object(options)) {
		options = json_object();
		FUZZ_CHECK(json_object_set_new(tree, "stream_options", options) == 0);
	}
	FUZZ_CHECK(json_object_set_new(options, "include_usage", json_true()) == 0);
	if (is_continuous)
		FUZZ_CHECK(json_object_set_new(options, "continuous_usage_stats", json_true()) == 0);
	return true;
}

static bool edit_one(struct vgw__splice *splice, json_t *tree, int edit)
{
	switch (edit) {
	case SET_MODEL:
		FUZZ_CHECK(vgw__splice_set_string(splice, "model", "s\"\n", 3, NULL) == VGW_OK);
		FUZZ_CHECK(json_object_set_new(tree, "model", json_string("s\"\n")) == 0);
		return true;
	case REMOVE_A:
		FUZZ_CHECK(vgw__splice_remove(splice, "a", NULL) == VGW_OK);
		(void)json_object_del(tree, "a");
		return true;
	case REMOVE_B:
		FUZZ_CHECK(vgw__splice_remove(splice, "b", NULL) == VGW_OK);
		(void)json_object_del(tree, "b");
		return true;
	case REMOVE_USER:
		FUZZ_CHECK(vgw__splice_remove(splice, "user", NULL) == VGW_OK);
		(void)json_object_del(tree, "user");
		return true;
	case ADD_TOP_K:
		FUZZ_CHECK(vgw__splice_add_default(splice, "top_k", "\"top_k\" : 40", 12, NULL) == VGW_OK);
		if (!json_object_get(tree, "top_k"))
			FUZZ_CHECK(json_object_set_new(tree, "top_k", json_integer(40)) == 0);
		return true;
	case SET_C:
		FUZZ_CHECK(vgw__splice_set(splice, "c", "[]", 2, NULL) == VGW_OK);
		FUZZ_CHECK(json_object_set_new(tree, "c", json_array()) == 0);
		return true;
	default:
		return edit_usage(splice, tree);
	}
}

static void check_result(const struct vgw__splice *splice, const json_t *tree)
{
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS];
	size_t at = 0;
	size_t count, len;
	char *body;
	json_t *got;

	FUZZ_CHECK(vgw__splice_finish(splice, segments, &count, NULL) == VGW_OK);
	FUZZ_CHECK(count <= VGW__SPLICE_MAX_SEGMENTS);
	len = vgw__segments_length(segments, count);
	body = malloc(len);
	FUZZ_CHECK(body);
	for (size_t i = 0; i < count; i++) {
		memcpy(body + at, segments[i].data, segments[i].len);
		at += segments[i].len;
	}
	got = json_loadb(body, len, JSON_ALLOW_NUL, NULL);
	FUZZ_CHECK(got && json_equal(got, tree));
	json_decref(got);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vgw__json_span extra[NAMES];
	struct vgw__scan_options options = { .extra_count = NAMES, .extra_names = names, .extra = extra };
	const char *body = (const char *)data + 1;
	struct vgw__splice splice;
	struct vgw__buf scratch;
	struct vgw__scan scan;
	bool is_edited = true;
	json_t *tree;

	if (size < 1 || vgw__scan_body(&scan, body, size - 1, &options, NULL) != VGW_OK)
		return 0;
	tree = json_loadb(body, size - 1, JSON_ALLOW_NUL, NULL);
	if (!tree)
		return 0; /* what jansson cannot read is no use here */
	vgw__buf_init(&scratch, 4096);
	vgw__splice_init(&splice, &scan, &scratch);
	for (int i = 0; i < 7 && is_edited; i++) {
		int edit = data[0] & REVERSED ? USAGE >> i : SET_MODEL << i;

		if (data[0] & edit)
			is_edited = edit_one(&splice, tree, edit);
	}
	if (is_edited)
		check_result(&splice, tree);
	vgw__buf_fini(&scratch);
	json_decref(tree);
	return 0;
}
