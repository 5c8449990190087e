/* SPDX-License-Identifier: Apache-2.0 */
/* The running usage goes out of each event, however the stream is cut, and nothing else is touched. */
#include "testing.h"

#include "json/usage_cut.h"

#include <stdlib.h>
#include <string.h>

struct out {
	char text[200000];
	size_t len;
	size_t pieces;
};

static void emit(void *user, const void *data, size_t len)
{
	struct out *out = user;

	assert_true(len > 0 && out->len + len < sizeof(out->text));
	memcpy(out->text + out->len, data, len);
	out->len += len;
	out->text[out->len] = '\0';
	out->pieces++;
}

/* In three pieces, cut at `a` and `b`, each in memory of its own size. */
static void feed(const char *text, size_t a, size_t b, struct out *out)
{
	size_t at[] = { 0, a, b, strlen(text) };
	struct vgw__usage_cut cut;

	out->len = out->pieces = 0;
	out->text[0] = '\0';
	vgw__usage_cut_init(&cut);
	for (size_t i = 0; i < 3; i++) {
		size_t len = at[i + 1] - at[i];
		char *piece = malloc(len + 1);

		assert_non_null(piece);
		memcpy(piece, text + at[i], len);
		vgw__usage_cut_feed(&cut, piece, len, emit, out);
		free(piece);
	}
	vgw__usage_cut_end(&cut, emit, out);
	vgw__usage_cut_fini(&cut);
}

#define USAGE "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"details\":{\"a\":[1]}}"
#define CHOICES "\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\":{}\"}}]"

static const struct {
	const char *given;
	const char *wanted; /* NULL: as it came */
} events[] = {
	{ "data: {\"id\":\"c\"," CHOICES "," USAGE "}", "data: {\"id\":\"c\"," CHOICES "}" },
	{ "data: {" CHOICES " , " USAGE ", \"x\":1}", "data: {" CHOICES " , \"x\":1}" },
	{ "data:{" USAGE ", " CHOICES "}", "data:{ " CHOICES "}" },
	{ "data: {\"id\":\"c\",\"choices\":[]," USAGE "}", NULL },
	{ "data: {\"id\":\"c\",\"choices\":[ ]," USAGE "}", NULL },
	{ "data: {" CHOICES ",\"usage\":null}", NULL },
	{ "data: {" CHOICES ",\"x\":{" USAGE "}}", NULL },
	{ "data: {\"choices\":[{\"text\":\"usage\"}]}", NULL },
	{ "data: {" USAGE "}", NULL },
	{ "data: {" CHOICES "," USAGE, NULL },
	{ "data: {" CHOICES "," USAGE "," USAGE "}", NULL },
	{ ": comment " USAGE, NULL },
	{ "event: x", NULL },
	{ "data: [DONE]", NULL },
	{ "", NULL },
};

static void only_the_running_usage_goes_wherever_the_stream_is_cut(void **state)
{
	static const char *const ends[] = { "\n", "\r\n", "\r" };
	static struct out out;
	char given[1024], wanted[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		for (size_t e = 0; e < sizeof(ends) / sizeof(ends[0]); e++) {
			const char *want = events[i].wanted ? events[i].wanted : events[i].given;
			size_t len;

			(void)snprintf(given, sizeof(given), "%s%s%sdata: {\"choices\":[1],\"usage\":{}}%s%s", events[i].given,
				ends[e], ends[e], ends[e], ends[e]);
			(void)snprintf(wanted, sizeof(wanted), "%s%s%sdata: {\"choices\":[1]}%s%s", want, ends[e], ends[e],
				ends[e], ends[e]);
			len = strlen(given);
			for (size_t a = 0; a <= len; a++) {
				for (size_t b = a; b <= len; b += 1 + (b - a) / 4) {
					feed(given, a, b, &out);
					if (strcmp(out.text, wanted) != 0)
						fail_msg("event %zu, cut at %zu and %zu: %s", i, a, b, out.text);
				}
			}
		}
	}
}

static void a_piece_of_many_events_stays_one_piece(void **state)
{
	static struct out out;
	static const char text[] = "data: {" CHOICES "," USAGE "}\n\n"
				   "data: {" CHOICES "," USAGE "}\n\n"
				   "data: {" CHOICES "," USAGE "}\n\n";

	(void)state;
	feed(text, 0, 0, &out);
	assert_int_equal(out.pieces, 1);
}

static void what_is_no_event_yet_passes_at_the_end(void **state)
{
	static struct out out;
	static const char text[] = "data: {\"choices\":[1]}\n\ndata: {\"cho";

	(void)state;
	feed(text, 3, 30, &out);
	assert_string_equal(out.text, text);
}

static void an_event_too_long_to_be_held_passes_as_it_is(void **state)
{
	static struct out out;
	static char text[150000];
	size_t len = 70000;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	memcpy(text, "data: {\"choices\":[\"", 19);
	(void)snprintf(text + len, sizeof(text) - len, "\"],%s}\n\ndata: {\"choices\":[1],\"usage\":{}}\n\n", USAGE);
	feed(text, 1000, 69000, &out);
	assert_memory_equal(out.text, text, len);
	assert_non_null(strstr(out.text + len, USAGE));
	assert_non_null(strstr(out.text + len, "data: {\"choices\":[1]}\n\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_running_usage_goes_wherever_the_stream_is_cut),
		cmocka_unit_test(a_piece_of_many_events_stays_one_piece),
		cmocka_unit_test(what_is_no_event_yet_passes_at_the_end),
		cmocka_unit_test(an_event_too_long_to_be_held_passes_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
