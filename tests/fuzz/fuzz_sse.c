/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an event stream. Cut into pieces they must give what they give whole, and both what a naive
 * reader gives that collects each event and parses it with jansson. The first byte says how to cut, the
 * second gives the limit of an event; the rest is the stream. */
#include "fuzz.h"

#include "json/sse.h"

#include <jansson.h>
#include <string.h>

struct naive {
	uint64_t events;
	bool is_done;
	bool is_sure; /* of the usage: no event was one that the two may read differently */
	struct vgw__usage usage;
	char *data; /* of the event under way */
	size_t len;
	bool has_data;
};

static void take_usage(struct naive *naive, const json_t *usage)
{
#define XX(field, key)                                                                                       \
	if (json_is_integer(json_object_get(usage, key)) &&                                                  \
		json_integer_value(json_object_get(usage, key)) >= 0)                                        \
		naive->usage.tokens[VGW__USAGE_##field] = json_integer_value(json_object_get(usage, key));
	VGW__USAGE_KEYS(XX)
#undef XX
}

static void end_event(struct naive *naive)
{
	json_t *tree;

	if (!naive->has_data)
		return;
	naive->events++;
	naive->is_done = naive->is_done || (naive->len == 6 && memcmp(naive->data, "[DONE]", 6) == 0);
	tree = json_loadb(
		naive->data, naive->len, JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	if (!tree && memmem(naive->data, naive->len, "\"usage\"", 7))
		naive->is_sure = false; /* the finder takes what comes before the fault */
	if (tree && memmem(naive->data, naive->len, "\\u", 2))
		naive->is_sure = false; /* the finder knows no escaped keys */
	if (memmem(naive->data, naive->len, "put_tokens", 10) &&
		memmem(naive->data, naive->len, "t_tokens", 8))
		naive->is_sure = false; /* two keys for one number: there, the last one written wins */
	if (memmem(naive->data, naive->len, "\"-0\"", 4) || memmem(naive->data, naive->len, "-0", 2))
		naive->is_sure = false; /* an integer of 0 for jansson */
	if (tree && json_is_object(tree)) {
		const char *key;
		json_t *value;

		json_object_foreach(tree, key, value) {
			if (strcmp(key, "usage") == 0)
				take_usage(naive, value);
			else if (strcmp(key, "response") == 0 || strcmp(key, "message") == 0)
				take_usage(naive, json_object_get(value, "usage"));
		}
	}
	json_decref(tree);
}

static void take_line(struct naive *naive, const char *line, size_t len)
{
	if (len == 0) {
		end_event(naive);
		naive->has_data = false;
		naive->len = 0;
		return;
	}
	if (len < 4 || memcmp(line, "data", 4) != 0 || (len > 4 && line[4] != ':'))
		return;
	line += len > 4 ? 5 : 4;
	len -= len > 4 ? 5 : 4;
	if (len && *line == ' ') {
		line++;
		len--;
	}
	if (naive->has_data)
		naive->data[naive->len++] = '\n';
	memcpy(naive->data + naive->len, line, len);
	naive->len += len;
	naive->has_data = true;
}

static void read_naively(struct naive *naive, const char *bytes, size_t size)
{
	size_t start = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	for (size_t i = start; i < size; i++) {
		if (bytes[i] != '\n' && bytes[i] != '\r')
			continue;
		take_line(naive, bytes + start, i - start);
		if (bytes[i] == '\r' && i + 1 < size && bytes[i + 1] == '\n')
			i++;
		start = i + 1;
	}
	if (naive->has_data || size - start >= 5)
		naive->is_sure = false; /* the usage of an event without its end counts, too */
}

static void check_same(const struct vgw__sse *a, const struct vgw__sse *b)
{
	FUZZ_CHECK(a->events == b->events);
	FUZZ_CHECK(a->is_done == b->is_done);
	FUZZ_CHECK(a->is_too_long == b->is_too_long);
	FUZZ_CHECK(memcmp(&a->usage, &b->usage, sizeof(a->usage)) == 0);
	FUZZ_CHECK(vgw__sse_at_boundary(a) == vgw__sse_at_boundary(b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct naive naive = { .is_sure = true, .usage = VGW__USAGE_INIT };
	struct vgw__sse whole, pieces, bytes;
	const char *stream = (const char *)data + 2;
	size_t step;

	if (size < 2)
		return 0;
	size -= 2;
	vgw__sse_init(&whole, data[1]);
	vgw__sse_init(&pieces, data[1]);
	vgw__sse_init(&bytes, data[1]);
	vgw__sse_feed(&whole, stream, size);
	for (size_t at = 0; at < size; at += step) {
		step = 1 + (data[0] * (at + 1)) % 61;
		step = step < size - at ? step : size - at;
		vgw__sse_feed(&pieces, stream + at, step);
	}
	for (size_t at = 0; at < size; at++)
		vgw__sse_feed(&bytes, stream + at, 1);
	check_same(&whole, &pieces);
	check_same(&whole, &bytes);

	naive.data = malloc(size + 1);
	FUZZ_CHECK(naive.data);
	read_naively(&naive, stream, size);
	FUZZ_CHECK(naive.events == whole.events);
	FUZZ_CHECK(naive.is_done == whole.is_done);
	if (naive.is_sure)
		FUZZ_CHECK(memcmp(&naive.usage, &whole.usage, sizeof(naive.usage)) == 0);
	free(naive.data);
	return 0;
}
