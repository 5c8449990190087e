/* SPDX-License-Identifier: Apache-2.0 */
/* A quote within a JSON string is escaped, so a search for "usage" finds a whole string; the scan that follows tells
 * whether it is the key. */
#include "json/usage_cut.h"

#include "json/scan.h"

#include <string.h>

enum { HELD_MAX_BYTES = 64 * 1024, OUT_MAX_BYTES = 1024 * 1024 };

struct sink {
	struct vgw__usage_cut *cut;
	vgw__emit_fn emit;
	void *user;
};

void vgw__usage_cut_init(struct vgw__usage_cut *cut)
{
	*cut = (struct vgw__usage_cut){ 0 };
	vgw__buf_init(&cut->held, HELD_MAX_BYTES);
	vgw__buf_init(&cut->out, OUT_MAX_BYTES);
}

void vgw__usage_cut_fini(struct vgw__usage_cut *cut)
{
	vgw__buf_fini(&cut->held);
	vgw__buf_fini(&cut->out);
}

/* --- what goes on ------------------------------------------------------------------------------------------------- */

static void flush(const struct sink *sink)
{
	if (sink->cut->out.len)
		sink->emit(sink->user, sink->cut->out.data, sink->cut->out.len);
	vgw__buf_reset(&sink->cut->out);
}

static void put(const struct sink *sink, const char *p, const char *end)
{
	if (p == end || vgw__buf_append(&sink->cut->out, p, (size_t)(end - p)))
		return;
	flush(sink);
	sink->emit(sink->user, p, (size_t)(end - p));
}

/* --- one event ---------------------------------------------------------------------------------------------------- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* The bytes of the member with one comma; false: there is nothing to cut. */
static bool find_cut(const char *p, const char *end, const char **cut, const char **cut_end)
{
	static const struct vgw__json_name names[] = { { "choices", 7 }, { "usage", 5 } };
	struct vgw__json_span spans[2];
	const struct vgw__scan_options options = { .extra_count = 2, .extra_names = names, .extra = spans };
	struct vgw__scan scan;
	const char *data, *choice;
	size_t len;

	if (!memmem(p, (size_t)(end - p), "\"usage\"", 7) || !vgw__event_get_data(p, end, &data, &len) ||
		vgw__scan_body(&scan, data, len, &options, NULL) != VGW_OK || spans[0].kind != VGW__JSON_ARRAY ||
		spans[1].kind != VGW__JSON_OBJECT)
		return false;
	for (choice = data + spans[0].start + 1; is_space(*choice);)
		choice++;
	if (*choice == ']')
		return false;
	*cut = data + spans[1].key_start;
	*cut_end = data + spans[1].end;
	do
		--*cut;
	while (is_space(**cut));
	if (**cut == ',')
		return true;
	++*cut; /* it is the first: `choices` stands behind it, and a comma between */
	while (**cut_end != ',')
		++*cut_end;
	++*cut_end;
	return true;
}

static void put_event(const struct sink *sink, const char *p, const char *end)
{
	const char *cut, *cut_end;

	if (find_cut(p, end, &cut, &cut_end)) {
		put(sink, p, cut);
		p = cut_end;
	}
	put(sink, p, end);
}

/* --- the way through ---------------------------------------------------------------------------------------------- */

/* The rest of an event that has begun earlier, or a part that does not end it. */
static void take_part(const struct sink *sink, const char *p, const char *end, bool is_last)
{
	struct vgw__usage_cut *cut = sink->cut;

	if (!cut->passes && vgw__buf_append(&cut->held, p, (size_t)(end - p))) {
		if (!is_last)
			return;
		put_event(sink, cut->held.data, cut->held.data + cut->held.len);
	} else {
		if (cut->held.len)
			put(sink, cut->held.data, cut->held.data + cut->held.len);
		put(sink, p, end);
		cut->passes = !is_last;
	}
	vgw__buf_reset(&cut->held);
}

void vgw__usage_cut_feed(struct vgw__usage_cut *cut, const char *data, size_t len, vgw__emit_fn emit, void *user)
{
	const struct sink sink = { cut, emit, user };
	const char *end = data + len, *p = data;

	if (len && *p == '\n' && cut->event_end.after_cr && !cut->passes && !cut->held.len) {
		cut->event_end.after_cr = false; /* the rest of the last event's line end */
		put(&sink, p, p + 1);
		p++;
	}
	while (p < end) {
		const char *stop = vgw__event_end_find(&cut->event_end, p, end);

		if (stop && !cut->held.len && !cut->passes)
			put_event(&sink, p, stop);
		else
			take_part(&sink, p, stop ? stop : end, stop != NULL);
		p = stop ? stop : end;
	}
	flush(&sink);
}

void vgw__usage_cut_end(struct vgw__usage_cut *cut, vgw__emit_fn emit, void *user)
{
	if (cut->held.len)
		emit(user, cut->held.data, cut->held.len);
	vgw__buf_reset(&cut->held);
}
