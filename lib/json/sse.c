/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of an event stream, as the HTML standard has them: LF, CR or CR LF ends a line, a blank line ends
 * an event, one space behind the colon is no part of the value, several data lines are one text.
 *
 * Two ways through, with the same result. An event that arrives whole, as nearly all do, with one data line
 * and no `"usage": {` in it, is passed over sixteen bytes at a time. All others go byte by byte through the
 * line machine:
 *
 *   NAME --"data:"--> SPACE --> VALUE ----> line end --> NAME
 *     `---anything else-------> SKIP ---'
 */
#include "json/sse.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum state { NAME, SPACE, VALUE, SKIP };

static const char data_name[] = "data";
static const char done_text[] = "[DONE]";
static const char bom[] = "\xef\xbb\xbf";

#define NO_MATCH 0xff /* as a count of matched bytes */
#define BOM_OVER 3

void vgw__sse_init(struct vgw__sse *sse, uint64_t max_event)
{
	*sse = (struct vgw__sse){ .usage = VGW__USAGE_INIT, .max_event = max_event ? max_event : UINT64_MAX };
}

static void account(struct vgw__sse *sse, size_t bytes)
{
	sse->event_bytes += bytes;
	if (sse->event_bytes > sse->max_event)
		sse->is_too_long = true;
}

/* --- events that can be passed over --- */

/* First LF, CR or `"u` from p on; `end` if there is none. A quote that is the very last byte is none. */
static const char *find_mark(const char *p, const char *end)
{
#if defined(__SSE2__)
	const __m128i lf = _mm_set1_epi8('\n');
	const __m128i cr = _mm_set1_epi8('\r');
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i letter = _mm_set1_epi8('u');

	while (end - p >= 17) {
		__m128i text = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i next = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
		__m128i pair = _mm_and_si128(_mm_cmpeq_epi8(text, quote), _mm_cmpeq_epi8(next, letter));
		__m128i line = _mm_or_si128(_mm_cmpeq_epi8(text, lf), _mm_cmpeq_epi8(text, cr));
		int mask = _mm_movemask_epi8(_mm_or_si128(pair, line));

		if (mask)
			return p + __builtin_ctz((unsigned)mask);
		p += 16;
	}
#endif
	while (p < end && *p != '\n' && *p != '\r' && !(*p == '"' && end - p > 1 && p[1] == 'u'))
		p++;
	return p;
}

/* Is there a usage object at p, or could there be one if the bytes that are not here yet were? */
static bool may_be_usage(const char *p, const char *end)
{
	static const char key[] = "\"usage\"";
	size_t len = sizeof(key) - 1;

	if ((size_t)(end - p) < len)
		return true;
	if (memcmp(p, key, len) != 0)
		return false;
	p += len;
	while (p < end && (*p == ' ' || *p == '\t' || *p == ':'))
		p++;
	return p == end || *p == '{' || *p == '\n' || *p == '\r';
}

/* Bytes of the line end at p: 2 for CR LF, else 1; 0: none, or the LF that belongs to a CR may still come. */
static size_t line_end_length(const char *p, const char *end)
{
	if (p < end && *p == '\n')
		return 1;
	return end - p > 1 && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
}

/* Length of the event at p if it is here with its blank line and of no interest; 0: look closer. */
static size_t plain_event(const char *p, const char *end, size_t *line_end)
{
	const char *start = p;
	size_t blank;

	if (end - p < 8 || memcmp(p, "data:", 5) != 0 || p[5] == '[' || p[6] == '[')
		return 0;
	for (p = find_mark(p, end); p < end && *p == '"'; p = find_mark(p + 1, end))
		if (may_be_usage(p, end))
			return 0;
	*line_end = line_end_length(p, end);
	if (!*line_end)
		return 0;
	p += *line_end;
	blank = line_end_length(p, end);
	if (blank != *line_end)
		return 0;
	return (size_t)(p + blank - start);
}

/* --- the line machine --- */

static void end_event(struct vgw__sse *sse)
{
	if (sse->has_data) {
		sse->events++;
		if (sse->done_len == sizeof(done_text) - 1)
			sse->is_done = true;
	}
	sse->has_data = false;
	sse->has_field = false;
	sse->done_len = 0;
	sse->event_bytes = 0;
}

/* A data line begins: the first of its event, or one that continues it behind a line feed. */
static void begin_data(struct vgw__sse *sse)
{
	if (!sse->has_data) {
		vgw__usage_start(&sse->finder);
		sse->done_len = 0;
	} else {
		vgw__usage_feed(&sse->finder, "\n", 1, &sse->usage);
		sse->done_len = NO_MATCH;
	}
	sse->has_data = true;
}

static void end_line(struct vgw__sse *sse)
{
	bool is_blank = sse->state == NAME && sse->name_len == 0;

	if (sse->state == NAME && sse->name_len == sizeof(data_name) - 1)
		begin_data(sse); /* "data" without a colon: an empty line of data */
	account(sse, 1);
	sse->state = NAME;
	sse->name_len = 0;
	sse->bom_len = BOM_OVER;
	if (is_blank)
		end_event(sse);
}

static void feed_name(struct vgw__sse *sse, char c)
{
	account(sse, 1);
	if (sse->bom_len < BOM_OVER && sse->name_len == 0 && c == bom[sse->bom_len]) {
		sse->bom_len++;
		return;
	}
	if (sse->bom_len != 0 && sse->bom_len < BOM_OVER)
		sse->name_len = NO_MATCH; /* half a mark */
	sse->bom_len = BOM_OVER;
	if (c != ':')
		sse->has_field = true;
	if (c == ':' && sse->name_len == sizeof(data_name) - 1) {
		begin_data(sse);
		sse->state = SPACE;
	} else if (sse->name_len < sizeof(data_name) - 1 && c == data_name[sse->name_len]) {
		sse->name_len++;
	} else {
		sse->state = SKIP;
	}
}

static void match_done(struct vgw__sse *sse, const char *p, const char *end)
{
	for (; p < end && sse->done_len != NO_MATCH; p++) {
		if (sse->done_len < sizeof(done_text) - 1 && *p == done_text[sse->done_len])
			sse->done_len++;
		else
			sse->done_len = NO_MATCH;
	}
}

static const char *find_line_end(const char *p, const char *end)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));
	const char *cr;

	end = lf ? lf : end;
	cr = memchr(p, '\r', (size_t)(end - p));
	return cr ? cr : end;
}

/* The rest of a line's value, or what there is of it. */
static const char *feed_rest(struct vgw__sse *sse, const char *p, const char *end)
{
	const char *stop = find_line_end(p, end);

	if (sse->state == VALUE) {
		match_done(sse, p, stop);
		vgw__usage_feed(&sse->finder, p, (size_t)(stop - p), &sse->usage);
	}
	account(sse, (size_t)(stop - p));
	return stop;
}

static const char *step(struct vgw__sse *sse, const char *p, const char *end)
{
	bool is_second = *p == '\n' && sse->after_cr;

	if (*p == '\n' || sse->after_cr)
		sse->has_crlf = is_second;
	sse->after_cr = *p == '\r';
	if (is_second)
		return p + 1;
	if (*p == '\n' || *p == '\r') {
		end_line(sse);
		return p + 1;
	}
	if (sse->state == NAME) {
		feed_name(sse, *p);
		return p + 1;
	}
	if (sse->state == SPACE) {
		sse->state = VALUE;
		if (*p == ' ') {
			account(sse, 1);
			return p + 1;
		}
	}
	return feed_rest(sse, p, end);
}

void vgw__sse_feed(struct vgw__sse *sse, const void *data, size_t len)
{
	const char *p = data;
	const char *end = p + len;

	while (p < end) {
		if (sse->event_bytes == 0 && !(sse->after_cr && *p == '\n')) {
			size_t line_end = 0;
			size_t bytes = plain_event(p, end, &line_end);

			if (bytes) {
				account(sse, bytes - 2 * (line_end - 1)); /* CR LF counts as one */
				sse->events++;
				sse->event_bytes = 0;
				sse->after_cr = false;
				sse->has_crlf = line_end == 2;
				sse->bom_len = BOM_OVER;
				p += bytes;
				continue;
			}
		}
		p = step(sse, p, end);
	}
}

bool vgw__sse_at_boundary(const struct vgw__sse *sse)
{
	return sse->state == NAME && sse->name_len == 0 && !sse->has_field && !sse->has_data &&
		!(sse->after_cr && sse->has_crlf);
}

bool vgw__sse_is_broken_off(const struct vgw__sse *sse)
{
	return (sse->state != NAME || sse->name_len > 0) && !sse->has_data && !sse->is_done;
}
