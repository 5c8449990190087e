/* SPDX-License-Identifier: Apache-2.0 */
/* Most events are decided by a search for "choices": a quote within a JSON string is escaped, so what is found is a
 * key, and one byte behind its bracket tells. Only a candidate, one a stream, is parsed. */
#include "json/withhold.h"

#include "json/scan.h"

#include <string.h>

enum { HELD_MAX_BYTES = 16 * 1024 };

enum verdict { PASS, DROP, UNDECIDED };

void vgw__withhold_init(struct vgw__withhold *withhold)
{
	*withhold = (struct vgw__withhold){ 0 };
	vgw__buf_init(&withhold->held, HELD_MAX_BYTES);
}

void vgw__withhold_fini(struct vgw__withhold *withhold)
{
	vgw__buf_fini(&withhold->held);
}

/* --- what an event is ----------------------------------------------------------------------------------------- */

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

static bool is_usage(const char *p, const char *end)
{
	static const struct vgw__json_name names[] = { { "choices", 7 }, { "usage", 5 } };
	struct vgw__json_span spans[2];
	const struct vgw__scan_options options = { .extra_count = 2, .extra_names = names, .extra = spans };
	struct vgw__scan scan;
	const char *data;
	size_t len;

	if (!vgw__event_get_data(p, end, &data, &len) || vgw__scan_body(&scan, data, len, &options, NULL) != VGW_OK)
		return false;
	if (spans[0].kind != VGW__JSON_ARRAY || spans[1].kind != VGW__JSON_OBJECT)
		return false;
	p = skip_space(data + spans[0].start + 1, data + spans[0].end);
	return *p == ']';
}

static enum verdict judge(const char *p, const char *end, bool is_whole)
{
	static const char key[] = "\"choices\"";
	const char *event = p;

	p = memmem(p, (size_t)(end - p), key, sizeof(key) - 1);
	if (!p)
		return is_whole ? PASS : UNDECIDED;
	p = skip_space(p + sizeof(key) - 1, end);
	if (p < end && *p == ':')
		p = skip_space(p + 1, end);
	if (p < end && *p == '[')
		p = skip_space(p + 1, end);
	if (p < end && *p != ']')
		return PASS;
	if (!is_whole)
		return UNDECIDED;
	return is_usage(event, end) ? DROP : PASS;
}

/* --- the way through ------------------------------------------------------------------------------------------ */

static void let_go(struct vgw__withhold *withhold, vgw__emit_fn emit, void *user)
{
	if (withhold->held.len)
		emit(user, withhold->held.data, withhold->held.len);
	vgw__buf_reset(&withhold->held);
}

static void pass(struct vgw__withhold *withhold, vgw__emit_fn emit, void *user)
{
	let_go(withhold, emit, user);
	withhold->passes = true;
}

static void drop(struct vgw__withhold *withhold)
{
	withhold->dropped++;
	vgw__buf_reset(&withhold->held);
}

/* Another part of an event that is held. What cannot be held passes. */
static void hold(struct vgw__withhold *withhold, const char *p, const char *end, bool is_whole, vgw__emit_fn emit,
	void *user)
{
	enum verdict verdict;

	if (!vgw__buf_append(&withhold->held, p, (size_t)(end - p))) {
		pass(withhold, emit, user);
		emit(user, p, (size_t)(end - p));
		return;
	}
	verdict = judge(withhold->held.data, withhold->held.data + withhold->held.len, is_whole);
	if (verdict == DROP)
		drop(withhold);
	else if (verdict == PASS)
		pass(withhold, emit, user);
}

void vgw__withhold_feed(struct vgw__withhold *withhold, const char *data, size_t len, vgw__emit_fn emit, void *user)
{
	const char *end = data + len;
	const char *run = data; /* from here to p: passes, not yet emitted */
	const char *p = data;

	if (len && *p == '\n' && withhold->event_end.after_cr && !withhold->passes && !withhold->held.len) {
		withhold->event_end.after_cr = false; /* the rest of the last event's line end shares its fate */
		p++;
		run += withhold->was_dropped;
	}
	while (p < end) {
		const char *stop = vgw__event_end_find(&withhold->event_end, p, end);
		const char *part = stop ? stop : end;
		enum verdict verdict = withhold->passes ? PASS : UNDECIDED;

		if (verdict != PASS && !withhold->held.len)
			verdict = judge(p, part, stop != NULL);
		if (verdict == PASS) {
			withhold->passes = true;
		} else {
			if (p > run)
				emit(user, run, (size_t)(p - run));
			run = part;
			if (verdict == DROP)
				drop(withhold);
			else
				hold(withhold, p, part, stop != NULL, emit, user);
		}
		if (stop) {
			withhold->was_dropped = verdict != PASS && !withhold->passes;
			withhold->passes = false;
		}
		p = part;
	}
	if (end > run)
		emit(user, run, (size_t)(end - run));
}

void vgw__withhold_end(struct vgw__withhold *withhold, vgw__emit_fn emit, void *user)
{
	let_go(withhold, emit, user);
}
