/* SPDX-License-Identifier: Apache-2.0 */
/* Watching event streams: the same events, usage and boundaries, however the bytes are cut. */
#include "testing.h"

#include "json/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK(text) "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define TEXT(literal) literal, sizeof(literal) - 1

struct stream {
	const char *name;
	const char *bytes;
	size_t len;
	uint64_t events;
	bool is_done;
	bool at_boundary;
	int64_t prompt;
	int64_t completion;
	int64_t total;
};

static const struct stream streams[] = {
	{ "empty", TEXT(""), 0, false, true, -1, -1, -1 },
	{ "chat",
		TEXT(CHUNK("a") CHUNK("b\\\"c")
			"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":7,"
			"\"completion_tokens\":2}}\n\ndata: [DONE]\n\n"),
		4, true, true, 5, 2, 7 },
	{ "crlf",
		TEXT("data: {\"x\":1}\r\n\r\ndata: {\"usage\":{\"prompt_tokens\":1}}\r\n\r\n"
			"data: [DONE]\r\n\r\n"),
		3, true, true, 1, -1, -1 },
	{ "cr",
		TEXT("data: {\"x\":1}\r\rdata: {\"usage\":{\"total_tokens\":1}}\r\rdata: [DONE]\r\r"),
		3, true, true, -1, -1, 1 },
	{ "mixed line ends",
		TEXT("data: 1\r\n\ndata: 2\n\r\ndata: 3\r\r\ndata: 4\n\n"),
		4, false, true, -1, -1, -1 },
	{ "no space",
		TEXT("data:{\"usage\":{\"completion_tokens\":9}}\n\ndata:[DONE]\n\n"),
		2, true, true, -1, 9, -1 },
	{ "two spaces are no DONE", TEXT("data:  [DONE]\n\n"), 1, false, true, -1, -1, -1 },
	{ "DONE and more is no DONE",
		TEXT("data: [DONE]x\n\ndata: [DONE\n\ndata: [DONE]\ndata: \n\n"),
		3, false, true, -1, -1, -1 },
	{ "DONE without its blank line", TEXT("data: [DONE]\n"), 0, false, false, -1, -1, -1 },
	{ "comments", TEXT(": keepalive\n\n:\n\n" CHUNK("a") ": x\n"), 1, false, true, -1, -1, -1 },
	{ "half a comment", TEXT(CHUNK("a") ": x"), 1, false, false, -1, -1, -1 },
	{ "other fields",
		TEXT("event: message\nid: 7\nretry: 5\ndata: {}\n\nevent: ping\n\ndatax: 1\n\ndat: 1\n\n"),
		1, false, true, -1, -1, -1 },
	{ "fields without a colon", TEXT("data\n\ndata\ndata\n\nevent\n\n"), 2, false, true, -1, -1, -1 },
	{ "blank lines", TEXT("\n\n\r\n\r\n\n"), 0, false, true, -1, -1, -1 },
	{ "byte order mark", TEXT("\xef\xbb\xbf" CHUNK("a")), 1, false, true, -1, -1, -1 },
	{ "half a byte order mark", TEXT("\xef\xbb" CHUNK("a") CHUNK("b")), 1, false, true, -1, -1, -1 },
	{ "mark in the middle", TEXT(CHUNK("a") "\xef\xbb\xbf" CHUNK("b")), 1, false, true, -1, -1, -1 },
	{ "several data lines",
		TEXT("data: {\"usage\":\ndata: {\"prompt_tokens\"\ndata: :3}}\n\n"),
		1, false, true, 3, -1, -1 },
	{ "a number is not joined over lines",
		TEXT("data: {\"usage\":{\"prompt_tokens\":3\ndata: 4}}\n\n"),
		1, false, true, -1, -1, -1 },
	{ "usage in a string",
		TEXT("data: {\"c\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":3}\",\"d\":\"usage\"}\n\n"),
		1, false, true, -1, -1, -1 },
	{ "usage at another depth",
		TEXT("data: {\"a\":{\"usage\":{\"prompt_tokens\":3}},"
			"\"b\":[{\"usage\":{\"prompt_tokens\":3}}]}\n\n"
			"data: [{\"usage\":{\"prompt_tokens\":3}}]\n\n"
			"data: \"usage\":{\"prompt_tokens\":3}\n\n"),
		3, false, true, -1, -1, -1 },
	{ "usage that is no object",
		TEXT("data: {\"usage\":null}\n\ndata: {\"usage\":[3]}\n\ndata: {\"usage\":3}\n\n"),
		3, false, true, -1, -1, -1 },
	{ "details inside usage",
		TEXT("data: {\"usage\":{\"prompt_tokens\":5,"
			"\"prompt_tokens_details\":{\"prompt_tokens\":9},\"completion_tokens\":[7],"
			"\"total_tokens\":8}}\n\n"),
		1, false, true, 5, -1, 8 },
	{ "numbers that are none",
		TEXT("data: {\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1.5,"
			"\"total_tokens\":\"8\"}}\n\ndata: {\"usage\":{\"prompt_tokens\":null,"
			"\"completion_tokens\":1e2,\"total_tokens\":99999999999999999999}}\n\n"),
		2, false, true, -1, -1, -1 },
	{ "whitespace",
		TEXT("data: { \"usage\" : { \"prompt_tokens\" : 5 , \"completion_tokens\":\t6 } }\n\n"),
		1, false, true, 5, 6, -1 },
	{ "a later usage wins",
		TEXT("data: {\"usage\":{\"completion_tokens\":1}}\n\n"
			"data: {\"usage\":{\"completion_tokens\":2}}\n\n"),
		2, false, true, -1, 2, -1 },
	{ "usage in an unfinished event",
		TEXT("data: {\"usage\":\ndata: {\"total_tokens\":12}\ndata: , "),
		0, false, false, -1, -1, 12 },
	{ "unfinished usage",
		TEXT("data: {\"usage\":{\"completion_tokens\":12"),
		0, false, false, -1, -1, -1 },
	{ "responses",
		TEXT("event: response.completed\ndata: {\"type\":\"response.completed\","
			"\"response\":{\"id\":\"r\",\"output\":[{\"usage\":{\"input_tokens\":1}}],"
			"\"usage\":{\"input_tokens\":11,\"output_tokens\":12,\"total_tokens\":23}}}\n\n"),
		1, false, true, 11, 12, 23 },
	{ "anthropic",
		TEXT("event: message_start\ndata: {\"type\":\"message_start\","
			"\"message\":{\"role\":\"assistant\",\"usage\":{\"input_tokens\":25,"
			"\"output_tokens\":1}}}\n\nevent: message_delta\n"
			"data: {\"delta\":{\"usage\":{\"output_tokens\":99}},"
			"\"usage\":{\"output_tokens\":15}}\n\nevent: message_stop\n"
			"data: {\"type\":\"message_stop\"}\n\n"),
		3, false, true, 25, 15, -1 },
	{ "malformed",
		TEXT("data: }}}{\"usage\":{\"prompt_tokens\":3}}\n\n"
			"data: {\"usage\"{\"prompt_tokens\":3}}\n\ndata: \xff\xfe\n\n"),
		3, false, true, -1, -1, -1 },
	{ "multi-byte text",
		TEXT(CHUNK("\xe6\xa8\xa1\xe5\x9e\x8b\xf0\x9f\x98\x80") CHUNK("\xc3\xa4")),
		2, false, true, -1, -1, -1 },
	{ "a blank line begun", TEXT("data: 1\r\n\r"), 1, false, false, -1, -1, -1 },
	{ "user and usage",
		TEXT("data: {\"user\":{\"u\":1},\"usag\":{},\"usages\":{\"prompt_tokens\":4},"
			"\"usage\": {\"prompt_tokens\":3}}\n\n"),
		1, false, true, 3, -1, -1 },
	{ "garbage around a usage",
		TEXT("data: {\"usage\"[]:{\"prompt_tokens\":1}}\n\n"
			"data: {\"usage\"x:{\"prompt_tokens\":1}}\n\n"
			"data: {\"usage\":x{\"prompt_tokens\":1}}\n\n"
			"data: {\"usage\":\"\"{\"prompt_tokens\":1}}\n\n"),
		4, false, true, -1, -1, -1 },
};

#define STREAMS (sizeof(streams) / sizeof(streams[0]))

static bool is_as_expected(const struct vgw__sse *sse, const struct stream *s)
{
	return sse->events == s->events && sse->is_done == s->is_done &&
		vgw__sse_at_boundary(sse) == s->at_boundary &&
		sse->usage.tokens[VGW__USAGE_PROMPT] == s->prompt &&
		sse->usage.tokens[VGW__USAGE_COMPLETION] == s->completion &&
		sse->usage.tokens[VGW__USAGE_TOTAL] == s->total;
}

/* Each piece is a copy of its own, so that a sanitizer sees a byte read behind it. */
static void feed_piece(struct vgw__sse *sse, const char *bytes, size_t len)
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	vgw__sse_feed(sse, copy, len);
	free(copy);
}

static void every_stream_in_one_piece_gives_what_it_holds(void **state)
{
	(void)state;
	for (size_t i = 0; i < STREAMS; i++) {
		struct vgw__sse sse;

		vgw__sse_init(&sse, 0);
		feed_piece(&sse, streams[i].bytes, streams[i].len);
		if (!is_as_expected(&sse, &streams[i]))
			fail_msg("%s: %llu events, usage %lld %lld %lld, done %d, boundary %d",
				streams[i].name,
				(unsigned long long)sse.events, (long long)sse.usage.tokens[0],
				(long long)sse.usage.tokens[1], (long long)sse.usage.tokens[2], sse.is_done,
				vgw__sse_at_boundary(&sse));
	}
}

static void words_behind_the_last_event_are_an_end_that_was_broken_off(void **state)
{
	static const struct row {
		const char *bytes;
		bool is_broken_off;
	} rows[] = {
		{ "", false },
		{ CHUNK("a"), false },
		{ CHUNK("a") "proxy error: lost", true },
		{ CHUNK("a") "proxy error", true },
		{ "proxy error: lost", true },
		{ CHUNK("a") "data: [DONE]\n\n", false },
		{ CHUNK("a") "data: [DONE]\n\nbye", false },
		/* careless, but ends */
		{ CHUNK("a") "data: [DONE]", false },
		{ CHUNK("a") "data: [DONE]\n", false },
		{ CHUNK("a") ": a comment\n", false },
		{ CHUNK("a") "event: x\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__sse sse;

		vgw__sse_init(&sse, 0);
		vgw__sse_feed(&sse, rows[i].bytes, strlen(rows[i].bytes));
		if (vgw__sse_is_broken_off(&sse) != rows[i].is_broken_off)
			fail_msg("row %zu", i);
	}
}

static void every_cut_into_two_pieces_gives_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < STREAMS; i++) {
		for (size_t cut = 0; cut <= streams[i].len; cut++) {
			struct vgw__sse sse;

			vgw__sse_init(&sse, 0);
			feed_piece(&sse, streams[i].bytes, cut);
			feed_piece(&sse, streams[i].bytes + cut, streams[i].len - cut);
			if (!is_as_expected(&sse, &streams[i]))
				fail_msg("%s, cut at %zu", streams[i].name, cut);
		}
	}
}

static void random_cuts_into_many_pieces_give_the_same(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int round = 0; round < 100000; round++) {
		const struct stream *s = &streams[(size_t)round % STREAMS];
		struct vgw__sse sse;
		size_t at = 0;

		vgw__sse_init(&sse, 0);
		while (at < s->len) {
			size_t piece;

			seed = seed * 6364136223846793005u + 1442695040888963407u;
			piece = 1 + (seed >> 33) % (1 + (seed >> 50) % 40);
			piece = piece < s->len - at ? piece : s->len - at;
			vgw__sse_feed(&sse, s->bytes + at, piece);
			at += piece;
		}
		if (!is_as_expected(&sse, s))
			fail_msg("%s, round %d", s->name, round);
	}
}

static void the_boundary_is_known_after_every_byte(void **state)
{
	static const char bytes[] = "data: 1\n\nevent: x\ndata: 2\r\n\r\n: c\n\ndata: 3\n\n";
	struct vgw__sse sse;

	(void)state;
	vgw__sse_init(&sse, 0);
	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		bool is_start = i == 0 || strncmp(bytes + i, "event", 5) == 0 || strncmp(bytes + i, ": c",
			3) == 0 ||
			strncmp(bytes + i, "data: 3", 7) == 0 ||
			strncmp(bytes + i, "\ndata: 3", 8) == 0; /* only a comment since */

		if (vgw__sse_at_boundary(&sse) != is_start)
			fail_msg("before byte %zu", i);
		vgw__sse_feed(&sse, bytes + i, 1);
	}
	assert_true(vgw__sse_at_boundary(&sse));
}

static void an_event_longer_than_the_limit_is_told_however_it_is_cut(void **state)
{
	/* a line end counts as one byte, whatever it is made of */
	static const char *const texts[] = { "data: 12345678\n\ndata: 1\n\n",
		"data: 12345678\r\n\r\ndata: 1\r\n\r\n", "data: 12345678\r\rdata: 1\r\r" };
	static const size_t longest = 16;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		for (size_t cut = 0; cut < strlen(texts[i]); cut++) {
			struct vgw__sse exact;
			struct vgw__sse tight;

			vgw__sse_init(&exact, longest);
			vgw__sse_init(&tight, longest - 1);
			vgw__sse_feed(&exact, texts[i], cut);
			vgw__sse_feed(&exact, texts[i] + cut, strlen(texts[i]) - cut);
			vgw__sse_feed(&tight, texts[i], cut);
			vgw__sse_feed(&tight, texts[i] + cut, strlen(texts[i]) - cut);
			assert_false(exact.is_too_long);
			assert_true(tight.is_too_long);
			assert_int_equal(tight.events, 2);
		}
	}
}

static void a_megabyte_event_is_watched_without_memory(void **state)
{
	size_t len = 1 << 20;
	char *bytes = malloc(len);
	struct vgw__sse sse;

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', len);
	vgw__sse_init(&sse, 0);
	vgw__sse_feed(&sse, TEXT("data: {\"content\":\""));
	for (size_t at = 0; at < len; at += 4096)
		vgw__sse_feed(&sse, bytes + at, 4096);
	vgw__sse_feed(&sse, TEXT("\",\"usage\":{\"total_tokens\":4}}\n\n"));
	assert_int_equal(sse.events, 1);
	assert_int_equal(sse.usage.tokens[VGW__USAGE_TOTAL], 4);
	assert_false(sse.is_too_long);
	free(bytes);
}

static void usage_of_a_complete_answer_is_found(void **state)
{
	static const struct {
		const char *body;
		bool found;
		int64_t total;
	} rows[] = {
		{ "{\"id\":\"x\",\"choices\":[{\"message\":{\"usage\":{\"total_tokens\":1}}}],"
			"\"usage\":{\"prompt_tokens\":3,"
		  "\"completion_tokens\":4,\"total_tokens\":7}}", true, 7 },
		{ "{\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}", true, 7 },
		{ "{\"usage\":{\"prompt_tokens\":3}}", true, 3 },
		{ "{\"usage\":{}}", false, -1 }, { "{\"usage\":null}", false, -1 }, { "{}", false, -1 },
		{ "[]", false, -1 },
		{ "{\"usage\":{\"prompt_tokens\":3}", false, -1 }, { "", false, -1 },
		/* keys behind it, and white space, as some engines write */
		{ "{\"id\":\"x\", \"usage\": {\"prompt_tokens\": 3, \"total_tokens\": 7,\n \"prompt_tokens_details\": null},"
		  "\n \"prompt_logprobs\": null, \"kv_transfer_params\": {\"a\": [1, {}]}\n}\n", true, 7 },
		{ "{\n\"usage\":{\"total_tokens\":7} , \"id\":1}", true, 7 },
		/* not at the top level, or not a key, however near the end */
		{ "{\"choices\":[{\"usage\":{\"total_tokens\":1}}]}", false, -1 },
		{ "{\"a\":{\"usage\":{\"total_tokens\":1}}}", false, -1 },
		{ "[{\"usage\":{\"total_tokens\":1}}]", false, -1 },
		{ "{\"text\":\"{\\\"usage\\\":{\\\"total_tokens\\\":1}}\"}", false, -1 },
		{ "{\"a\":\"usage\",\"b\":{\"total_tokens\":1}}", false, -1 },
		{ "{\"usage\":{\"total_tokens\":7},\"a\":{\"usage\":{\"total_tokens\":1}}}", true, 7 },
		{ "{\"usage\":{\"total_tokens\":7},\"a\":[\"usage\"]}", true, 7 },
		{ "{\"usage\":{\"total_tokens\":7}} x", false, -1 },
		{ "{\"usage\":{\"total_tokens\":7},}", false, -1 },
		{ "{\"usage\":{\"total_tokens\":7},", false, -1 },
		{ "{\"usage\":{\"total_tokens\":7", false, -1 },
		{ "\"usage\":{\"total_tokens\":7}}", false, -1 },
		{ "{\"usage\"", false, -1 },
		{ "{\"usage\":", false, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__usage usage;

		print_message("%s\n", rows[i].body);
		assert_int_equal(vgw__usage_find(rows[i].body, strlen(rows[i].body), &usage), rows[i].found);
		assert_int_equal(vgw__usage_total(&usage), rows[i].total);
	}
}

/* In front of the bytes that are looked at first there may be much, and behind the usage too. */
static void usage_of_a_long_answer_is_found_wherever_it_is(void **state)
{
	static const char usage_text[] = "\"usage\":{\"total_tokens\":7}";
	enum { LONG = 5000 };
	char body[2 * LONG];
	struct vgw__usage usage;

	(void)state;
	for (size_t before = 0; before < LONG; before += 499) {
		int len = snprintf(body, sizeof(body), "{\"a\":\"%0*d\",%s,\"b\":\"%0*d\"}", (int)before, 0, usage_text,
			(int)(LONG - before), 0);

		assert_true(vgw__usage_find(body, (size_t)len, &usage));
		assert_int_equal(vgw__usage_total(&usage), 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_stream_in_one_piece_gives_what_it_holds),
		cmocka_unit_test(words_behind_the_last_event_are_an_end_that_was_broken_off),
		cmocka_unit_test(every_cut_into_two_pieces_gives_the_same),
		cmocka_unit_test(random_cuts_into_many_pieces_give_the_same),
		cmocka_unit_test(the_boundary_is_known_after_every_byte),
		cmocka_unit_test(an_event_longer_than_the_limit_is_told_however_it_is_cut),
		cmocka_unit_test(a_megabyte_event_is_watched_without_memory),
		cmocka_unit_test(usage_of_a_complete_answer_is_found),
		cmocka_unit_test(usage_of_a_long_answer_is_found_wherever_it_is),
	};

	return cmocka_run_group_tests_name("json_sse", tests, NULL, NULL);
}
