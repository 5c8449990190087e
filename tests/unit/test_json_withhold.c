/* SPDX-License-Identifier: Apache-2.0 */
/* One event is taken out of a stream, however the stream is cut, and nothing else is touched. */
#include "testing.h"

#include "json/withhold.h"

#include <string.h>

struct out {
	char text[32768];
	size_t len;
	size_t pieces;
};

static void emit(void *user, const void *data, size_t len)
{
	struct out *out = user;

	assert_true(len > 0 && out->len + len <= sizeof(out->text));
	memcpy(out->text + out->len, data, len);
	out->len += len;
	out->pieces++;
}

/* In three pieces, cut at `a` and `b`. */
static uint64_t feed(const char *text, size_t a, size_t b, struct out *out)
{
	struct vgw__withhold withhold;
	uint64_t dropped;

	*out = (struct out){ .len = 0 };
	vgw__withhold_init(&withhold);
	vgw__withhold_feed(&withhold, text, a, emit, out);
	vgw__withhold_feed(&withhold, text + a, b - a, emit, out);
	vgw__withhold_feed(&withhold, text + b, strlen(text) - b, emit, out);
	vgw__withhold_end(&withhold, emit, out);
	dropped = withhold.dropped;
	vgw__withhold_fini(&withhold);
	return dropped;
}

#define TOKEN "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}"
#define COST "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}"

static void the_usage_event_goes_wherever_the_stream_is_cut(void **state)
{
	static const char *const ends[] = { "\n", "\r\n", "\r" };
	struct out out;

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		char text[1024], wanted[1024];
		size_t len;

		(void)snprintf(text, sizeof(text), TOKEN "%s%s" COST "%s%sdata: [DONE]%s%s", ends[i], ends[i], ends[i],
			ends[i], ends[i], ends[i]);
		(void)snprintf(wanted, sizeof(wanted), TOKEN "%s%sdata: [DONE]%s%s", ends[i], ends[i], ends[i], ends[i]);
		len = strlen(text);
		for (size_t a = 0; a <= len; a++) {
			for (size_t b = a; b <= len; b += 1 + (b - a) / 8) {
				assert_int_equal(feed(text, a, b, &out), 1);
				assert_int_equal(out.len, strlen(wanted));
				assert_memory_equal(out.text, wanted, out.len);
			}
		}
	}
}

static void every_other_event_passes_byte_for_byte(void **state)
{
	static const char *const texts[] = {
		(TOKEN "\n\n" TOKEN "\n\ndata: [DONE]\n\n"),
		(": keepalive\n\n" TOKEN "\n\n"),
		"data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
		"data: {\"choices\":[],\"usage\":null}\n\n",
		"data: {\"choices\":[{\"text\":\"\\\"choices\\\":[]\"}],\"usage\":{}}\n\n",
		"data: {\"choices\":[{\"x\":{\"choices\":[]}}],\"usage\":{\"prompt_tokens\":1}}\n\n",
		"data: {\"x\":{\"choices\":[],\"usage\":{}}}\n\n",
		"data: {\"error\":{\"message\":\"no\"}}\n\n",
		"event: x\ndata: {\"choices\":[],\"usage\":{}}\n\n",
		"data: {\"choices\":[],\"usage\":{}\n\n",
		"data: {\"choices\":[],\"usage\":{}}",
		"data: {\"choices\":",
		("\n\n\n" TOKEN),
		"",
	};
	struct out out;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		for (size_t a = 0; a <= strlen(texts[i]); a++) {
			assert_int_equal(feed(texts[i], a, a + (strlen(texts[i]) - a) / 2, &out), 0);
			assert_int_equal(out.len, strlen(texts[i]));
			assert_memory_equal(out.text, texts[i], out.len);
		}
	}
}

static void spaces_in_the_json_do_not_hide_it(void **state)
{
	static const char text[] = "data: {\"usage\": {\"prompt_tokens\": 1}, \"choices\" : [ ] }\n\n";
	struct out out;

	(void)state;
	assert_int_equal(feed(text, 0, 0, &out), 1);
	assert_int_equal(out.len, 0);
}

static void a_token_is_not_held_back_until_its_event_ends(void **state)
{
	static const char part[] = "data: {\"id\":\"c\",\"choices\":[{\"ind";
	struct vgw__withhold withhold;
	struct out out = { .len = 0 };

	(void)state;
	vgw__withhold_init(&withhold);
	vgw__withhold_feed(&withhold, part, sizeof(part) - 1, emit, &out);
	assert_int_equal(out.len, sizeof(part) - 1);
	vgw__withhold_fini(&withhold);
}

static void a_piece_of_many_events_stays_one_piece(void **state)
{
	struct out out;
	static const char text[] = TOKEN "\n\n" TOKEN "\n\n" TOKEN "\n\n";

	(void)state;
	assert_int_equal(feed(text, 0, 0, &out), 0);
	assert_int_equal(out.pieces, 1);
}

static void an_endless_event_is_let_through(void **state)
{
	static char text[40000];
	static struct out out;
	struct vgw__withhold withhold;

	(void)state;
	memset(text, 'x', sizeof(text));
	vgw__withhold_init(&withhold);
	for (size_t i = 0; i < 5; i++) {
		vgw__withhold_feed(&withhold, text, 5000, emit, &out);
		out.len = i < 3 ? out.len : 0;
	}
	assert_true(out.pieces >= 2);
	assert_int_equal(withhold.held.len, 0);
	vgw__withhold_fini(&withhold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_usage_event_goes_wherever_the_stream_is_cut),
		cmocka_unit_test(every_other_event_passes_byte_for_byte),
		cmocka_unit_test(spaces_in_the_json_do_not_hide_it),
		cmocka_unit_test(a_token_is_not_held_back_until_its_event_ends),
		cmocka_unit_test(a_piece_of_many_events_stays_one_piece),
		cmocka_unit_test(an_endless_event_is_let_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
