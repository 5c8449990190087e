/* SPDX-License-Identifier: Apache-2.0 */
/* An engine's answer, cut in three different ways: whole, byte by byte, and in pieces whose lengths the input
 * chooses. The oracle: the same events each time, and no payload outside the bytes that were given. */
#include "fuzz.h"

#include "../support/h1_events.h"

static struct h1_events *feed(const uint8_t *data, size_t size, size_t step, const uint8_t *steps, size_t step_count)
{
	struct h1_events *events = calloc(1, sizeof(*events));
	size_t at = 0;

	FUZZ_CHECK(events);
	for (size_t i = 0; at < size; i++) {
		size_t len = step_count ? (size_t)steps[i % step_count] % 32 + 1 : step;

		if (len > size - at)
			len = size - at;
		h1_events_feed(events, data + at, len);
		at += len;
	}
	h1_events_close(events);
	return events;
}

static void compare(const struct h1_events *one, const struct h1_events *other)
{
	FUZZ_CHECK(one->text_len == other->text_len);
	FUZZ_CHECK(memcmp(one->text, other->text, one->text_len) == 0);
	FUZZ_CHECK(one->surplus == other->surplus);
}

static void drop(struct h1_events *events)
{
	h1_events_fini(events);
	free(events);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct h1_events *whole, *bytes, *pieces;

	if (size > 100000)
		return 0;
	whole = feed(data, size, size, NULL, 0);
	bytes = feed(data, size, 1, NULL, 0);
	pieces = feed(data, size, 0, data, size < 16 ? size : 16);
	/* what follows a malformed byte is not looked at, so that how much of it there is says nothing */
	if (whole->text_len >= 8 && memcmp(whole->text + whole->text_len - 8, "bad-", 4) == 0)
		bytes->surplus = pieces->surplus = whole->surplus;
	compare(whole, bytes);
	compare(whole, pieces);
	drop(whole);
	drop(bytes);
	drop(pieces);
	return 0;
}
