/* SPDX-License-Identifier: Apache-2.0 */
/* The answer parser: a table of answers and what becomes of them, each in every way of cutting it in two and byte by
 * byte; and the limits. */
#include "testing.h"

#include "h1_events.h"

struct row {
	const char *answer;
	const char *events;
};

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_EVENTS "200 chunked=0 announced=-1 last=0 transfer-encoding=chunked; "

static const struct row rows[] = {
	/* framing */
	{ OK "Content-Length: 2\r\n\r\nok", "200 length=2 announced=2 last=0 content-length=2; |ok| done" },
	{ OK "Content-Length: 0\r\n\r\n", "200 length=0 announced=0 last=0 content-length=0; done" },
	{ OK "Content-Length: 007\r\n\r\nseven77", "200 length=7 announced=7 last=0 content-length=007; |seven77| done" },
	{ OK "\r\nto the end", "200 until-close=0 announced=-1 last=1  |to the end| done" },
	{ "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n!", "200 length=1 announced=1 last=1 content-length=1; |!| done" },
	{ OK "Connection: x, Close\r\nContent-Length: 0\r\n\r\n",
	  "200 length=0 announced=0 last=1 connection=x, Close;content-length=0; done" },
	{ OK "Connection: closed\r\nContent-Length: 0\r\n\r\n",
	  "200 length=0 announced=0 last=0 connection=closed;content-length=0; done" },
	{ "HTTP/1.1 204 No Content\r\n\r\n", "204 none=0 announced=-1 last=0  done" },
	{ "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "204 none=0 announced=0 last=0 content-length=0; done" },
	{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304 none=0 announced=9 last=0 content-length=9; done" },
	{ "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "103 none=0 announced=-1 last=0 link=x; done" },
	{ OK "Content-Length: 5\r\n\r\nfour", "200 length=5 announced=5 last=0 content-length=5; |four| cut-in-body" },
	{ OK "Content-Length: 5\r\n", "cut-in-head" },
	{ "", "cut-in-head" },
	{ OK "Content-Length: 9223372036854775807\r\n\r\n!",
	  "200 length=9223372036854775807 announced=9223372036854775807 last=0 content-length=9223372036854775807; "
	  "|!| cut-in-body" },
	/* heads */
	{ OK "NAME-1:value\r\nb: \t two words \t \r\nempty:\r\nContent-Length: 0\r\n\r\n",
	  "200 length=0 announced=0 last=0 name-1=value;b=two words;empty=;content-length=0; done" },
	{ "HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n", "500 length=0 announced=0 last=0 content-length=0; done" },
	{ "HTTP/1.1 200 caf\xc3\xa9\r\nA: \xff\r\nContent-Length: 0\r\n\r\n",
	  "200 length=0 announced=0 last=0 a=\xff;content-length=0; done" },
	{ "HTTP/1.1 200\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 99 X\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 099 X\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 600 X\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 2x0 X\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 2000 X\r\n\r\n", "bad-head" },
	{ "HTTP/1.1  200 X\r\n\r\n", "bad-head" },
	{ "HTTP/1.2 200 X\r\n\r\n", "bad-head" },
	{ "HTTP/2 200\r\n\r\n", "bad-head" },
	{ "http/1.1 200 OK\r\n\r\n", "bad-head" },
	{ "\r\nHTTP/1.1 200 OK\r\n\r\n", "bad-head" },
	{ "SSH-2.0-x\r\n", "bad-head" },
	{ "HTTP/1.1 200 O\rK\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 200 O\x01K\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 200 OK\n\r\n", "bad-head" },
	{ OK "A: b\n\r\n", "bad-head" },
	{ OK "A: b\r\n\n", "bad-head" },
	{ OK "A: b\rc\r\n\r\n", "bad-head" },
	{ OK "A: b\r\r\n\r\n", "bad-head" },
	{ OK "A: b\x7f\r\n\r\n", "bad-head" },
	{ OK "A: b\x1f\r\n\r\n", "bad-head" },
	{ OK "A: b\r\n c\r\n\r\n", "bad-head" },
	{ OK " A: b\r\n\r\n", "bad-head" },
	{ OK "A : b\r\n\r\n", "bad-head" },
	{ OK "A\t: b\r\n\r\n", "bad-head" },
	{ OK ": b\r\n\r\n", "bad-head" },
	{ OK "A\r\n\r\n", "bad-head" },
	{ OK "A(: b\r\n\r\n", "bad-head" },
	{ OK "A\xc3\xa9: b\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 101 Switching Protocols\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n", "bad-head" },
	{ "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-head" },
	{ OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-head" },
	{ OK "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", "bad-head" },
	{ OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "bad-head" },
	{ OK "Content-Length: 5, 5\r\n\r\n", "bad-head" },
	{ OK "Content-Length: +5\r\n\r\n", "bad-head" },
	{ OK "Content-Length: -5\r\n\r\n", "bad-head" },
	{ OK "Content-Length: 0x5\r\n\r\n", "bad-head" },
	{ OK "Content-Length: 5 5\r\n\r\n", "bad-head" },
	{ OK "Content-Length:\r\n\r\n", "bad-head" },
	{ OK "Content-Length: 9223372036854775808\r\n\r\n", "bad-head" },
	{ OK "Content-Length: 18446744073709551617\r\n\r\n", "bad-head" },
	{ OK "Transfer-Encoding: gzip\r\n\r\n", "bad-head" },
	{ OK "Transfer-Encoding: gzip, chunked\r\n\r\n", "bad-head" },
	{ OK "Transfer-Encoding: xchunked\r\n\r\n", "bad-head" },
	{ OK "Transfer-Encoding:\r\n\r\n", "bad-head" },
	{ OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-head" },
	{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "bad-head" },
	/* chunks */
	{ CHUNKED "2\r\nok\r\n0\r\n\r\n", CHUNKED_EVENTS "|ok| done" },
	{ CHUNKED "0\r\n\r\n", CHUNKED_EVENTS "done" },
	{ CHUNKED "3\r\n\r\n\n\r\nA\r\n0123456789\r\n000\r\n\r\n", CHUNKED_EVENTS "|\r\n\n0123456789| done" },
	{ CHUNKED "2;a=b;c=\"d\"\r\nok\r\n0;x\r\n\r\n", CHUNKED_EVENTS "|ok| done" },
	{ CHUNKED "2 \t ;a\r\nok\r\n0\r\n\r\n", CHUNKED_EVENTS "|ok| done" },
	{ CHUNKED "1\r\n!\r\n0\r\nA: b\r\nC: d\r\n\r\n", CHUNKED_EVENTS "|!| done" },
	{ CHUNKED "00000000000000ff\r\n!", CHUNKED_EVENTS "|!| cut-in-body" },
	{ CHUNKED "2\r\nok\r\n0\r\n", CHUNKED_EVENTS "|ok| cut-in-body" },
	{ CHUNKED "7fffffffffffffff\r\n!", CHUNKED_EVENTS "|!| cut-in-body" },
	{ CHUNKED "8000000000000000\r\n!", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "00000000000000001\r\n!", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED " 2\r\nok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "2 \r\nok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "2\nok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "2\rok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "2;a\nok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "2;a\rb\r\nok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "0x2\r\nok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "-2\r\nok\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "2\r\nokX", CHUNKED_EVENTS "|ok| bad-body" },
	{ CHUNKED "2\r\nok\n", CHUNKED_EVENTS "|ok| bad-body" },
	{ CHUNKED "2\r\nok\rX", CHUNKED_EVENTS "|ok| bad-body" },
	{ CHUNKED "0\r\nA: b\n\r\n", CHUNKED_EVENTS "bad-body" },
	{ CHUNKED "0\r\n\rX", CHUNKED_EVENTS "bad-body" },
};

static struct h1_events *feed_in_two(const char *data, size_t len, size_t cut)
{
	struct h1_events *events = calloc(1, sizeof(*events));

	assert_non_null(events);
	h1_events_feed(events, data, cut);
	h1_events_feed(events, data + cut, len - cut);
	h1_events_close(events);
	return events;
}

static void drop(struct h1_events *events)
{
	h1_events_fini(events);
	free(events);
}

static void every_answer_gives_the_same_however_it_is_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].answer);

		for (size_t cut = 0; cut <= len; cut++) {
			struct h1_events *events = feed_in_two(rows[i].answer, len, cut);

			if (strcmp(events->text, rows[i].events) != 0)
				fail_msg("row %zu cut at %zu: '%s', not '%s'", i, cut, events->text, rows[i].events);
			drop(events);
		}
	}
}

static void every_answer_gives_the_same_byte_by_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct h1_events *events = calloc(1, sizeof(*events));

		assert_non_null(events);
		for (const char *at = rows[i].answer; *at; at++)
			h1_events_feed(events, at, 1);
		h1_events_close(events);
		if (strcmp(events->text, rows[i].events) != 0)
			fail_msg("row %zu: '%s', not '%s'", i, events->text, rows[i].events);
		drop(events);
	}
}

static void bytes_behind_the_end_are_not_part_of_the_answer(void **state)
{
	static const char *const answers[] = {
		OK "Content-Length: 2\r\n\r\nokHTTP/1.1",
		CHUNKED "0\r\n\r\nHTTP/1.1",
		"HTTP/1.1 204 X\r\n\r\nHTTP/1.1",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		for (size_t cut = 0; cut <= strlen(answers[i]); cut++) {
			struct h1_events *events = feed_in_two(answers[i], strlen(answers[i]), cut);

			assert_string_equal(events->text + strlen(events->text) - 4, "done");
			assert_int_equal(events->surplus, 8);
			drop(events);
		}
	}
}

static void a_zero_byte_is_refused_everywhere_outside_the_body(void **state)
{
	static const char head[] = OK "A: b\r\nTransfer-Encoding: chunked\r\n\r\n1;ab\r\n!\r\n0\r\nC: d\r\n\r\n";
	size_t payload = (size_t)(strstr(head, "!") - head);

	(void)state;
	for (size_t at = 0; at < sizeof(head) - 1; at++) {
		char copy[sizeof(head)];
		struct h1_events *events;

		memcpy(copy, head, sizeof(head));
		copy[at] = '\0';
		events = feed_in_two(copy, sizeof(head) - 1, 0);
		/* where a line end was overwritten the rest is a part of that line: not complete is refused, too */
		if (at != payload)
			assert_null(strstr(events->text + (events->text_len > 4 ? events->text_len - 4 : 0), "done"));
		drop(events);
	}
}

static void an_answer_to_head_has_no_body_whatever_it_announces(void **state)
{
	char head_text[] = OK "Content-Length: 5\r\n\r\n";
	struct vgw__header headers[VGW__H1_HEADERS];
	struct vgw__h1_head head;
	const char *why;

	(void)state;
	assert_int_equal(vgw__h1_parse_head(head_text, sizeof(head_text) - 1, true, headers, &head, &why), VGW__H1_DONE);
	assert_int_equal(head.framing, VGW__H1_NO_BODY);
	assert_int_equal(head.announced, 5);
	assert_false(head.is_last);
}

/* --- limits ------------------------------------------------------------------------------------------------------ */

/* `head`, then `unit` as often as asked, then `tail`. */
static struct h1_events *feed_repeated(const char *head, const char *unit, size_t times, const char *tail)
{
	struct h1_events *events = calloc(1, sizeof(*events));
	size_t unit_len = strlen(unit), len = strlen(head) + times * unit_len + strlen(tail);
	char *data = malloc(len + 1);
	char *at = data;

	assert_non_null(events);
	assert_non_null(data);
	memcpy(at, head, strlen(head));
	at += strlen(head);
	for (size_t i = 0; i < times; i++, at += unit_len)
		memcpy(at, unit, unit_len);
	memcpy(at, tail, strlen(tail) + 1);
	h1_events_feed(events, data, len / 2);
	h1_events_feed(events, data + len / 2, len - len / 2);
	h1_events_close(events);
	free(data);
	return events;
}

struct limit {
	const char *head;
	const char *unit;
	size_t times; /* still accepted; one more is not */
	const char *tail;
	const char *verdict;
};

static void what_is_at_a_limit_is_taken_and_one_more_is_not(void **state)
{
	static const struct limit limits[] = {
		{ OK, "a: b\r\n", VGW__H1_HEADERS, "\r\n", "bad-head" },
		{ OK "a: ", "x", VGW__H1_HEAD_BYTES - 17 - 3 - 4, "\r\n\r\n", "bad-head" },
		{ CHUNKED "1;", "x", VGW__H1_EXTENSION_BYTES, "\r\n!\r\n0\r\n\r\n", "bad-body" },
		{ CHUNKED "0\r\n", "A: b\r\n", VGW__H1_TRAILER_BYTES / 5 - 1, "\r\n", "bad-body" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const struct limit *limit = &limits[i];
		struct h1_events *events = feed_repeated(limit->head, limit->unit, limit->times, limit->tail);

		assert_string_equal(events->text + events->text_len - 4, "done");
		drop(events);
		events = feed_repeated(limit->head, limit->unit, limit->times + 1 + (i == 3), limit->tail);
		assert_string_equal(events->text + events->text_len - 8, limit->verdict);
		drop(events);
	}
}

static void a_head_that_never_ends_is_refused_at_its_limit(void **state)
{
	struct h1_events *events = feed_repeated(OK "a: ", "x", VGW__H1_HEAD_BYTES, "");

	(void)state;
	assert_string_equal(events->text, "bad-head");
	drop(events);
}

static void the_limits_of_extensions_count_for_each_chunk_alone(void **state)
{
	struct h1_events *events = feed_repeated(CHUNKED, "1;aaaaaaaaaaaaaaaa\r\n!\r\n", 1000, "0\r\n\r\n");

	(void)state;
	assert_string_equal(events->text + events->text_len - 4, "done");
	drop(events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_answer_gives_the_same_however_it_is_cut),
		cmocka_unit_test(every_answer_gives_the_same_byte_by_byte),
		cmocka_unit_test(bytes_behind_the_end_are_not_part_of_the_answer),
		cmocka_unit_test(a_zero_byte_is_refused_everywhere_outside_the_body),
		cmocka_unit_test(an_answer_to_head_has_no_body_whatever_it_announces),
		cmocka_unit_test(what_is_at_a_limit_is_taken_and_one_more_is_not),
		cmocka_unit_test(a_head_that_never_ends_is_refused_at_its_limit),
		cmocka_unit_test(the_limits_of_extensions_count_for_each_chunk_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
