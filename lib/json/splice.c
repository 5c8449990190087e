/* SPDX-License-Identifier: Apache-2.0 */
/* Edits are collected as ranges of the client's body with offsets into the scratch buffer (which moves while
 * it grows) and only made into pointers at the end. */
#include "json/splice.h"

#include <string.h>

void vgw__splice_init(struct vgw__splice *splice, const struct vgw__scan *scan, struct vgw__buf *scratch)
{
	vgw__buf_reset(scratch);
	splice->scan = scan;
	splice->scratch = scratch;
	splice->edit_count = 0;
	splice->added_count = 0;
}

/* --- collecting --- */

static vgw_status no_scratch(vgw_error *err)
{
	return vgw_error_set_fault(err, VGW_NOMEM, VGW_FAULT_OUT_OF_MEMORY, "no memory to rewrite the body");
}

static vgw_status find_member(
	const struct vgw__splice *splice, const char *name, const struct vgw__json_span **out, vgw_error *err)
{
	*out = vgw__scan_find(splice->scan, name, strlen(name));
	if (*out)
		return VGW_OK;
	return vgw_error_set(err, VGW_INTERNAL, 0, "the body was not scanned for the key \"%s\"", name);
}

static bool is_added(const struct vgw__splice *splice, const char *name)
{
	for (size_t i = 0; i < splice->added_count; i++)
		if (strcmp(splice->added[i].text, name) == 0)
			return true;
	return false;
}

static vgw_status check_room(const struct vgw__splice *splice, vgw_error *err)
{
	if (splice->edit_count + splice->added_count < VGW__SPLICE_MAX_EDITS)
		return VGW_OK;
	return vgw_error_set(err, VGW_INVALID, 0,
		"over %u edits of one body: shorten the lists of keys to add and cut", VGW__SPLICE_MAX_EDITS);
}

/* One more edit of the bytes [start, end) of an existing member; its text is what the scratch buffer got
 * since `text_at`. */
static vgw_status add_edit(struct vgw__splice *splice, const struct vgw__json_span *member,
	const struct vgw__splice_edit *edit, vgw_error *err)
{
	vgw_status status = check_room(splice, err);

	if (status != VGW_OK)
		return status;
	for (size_t i = 0; i < splice->edit_count; i++)
		if (splice->edits[i].key_start == member->key_start)
			return vgw_error_set(err, VGW_INVALID, 0,
				"two edits of the member at byte %u of one body",
				(unsigned)member->key_start);
	splice->edits[splice->edit_count] = *edit;
	splice->edits[splice->edit_count].key_start = member->key_start;
	splice->edits[splice->edit_count].text_len = splice->scratch->len - edit->text_at;
	splice->edit_count++;
	return VGW_OK;
}

static vgw_status note_added(struct vgw__splice *splice, const char *name, size_t text_at, vgw_error *err)
{
	vgw_status status = check_room(splice, err);

	if (status != VGW_OK)
		return status;
	if (is_added(splice, name))
		return vgw_error_set(err, VGW_INVALID, 0, "the key \"%s\" is added twice to one body", name);
	if (!vgw__buf_append(splice->scratch, ",", 1)) /* the last one goes without, if nothing follows */
		return no_scratch(err);
	splice->added[splice->added_count] = (struct vgw__json_name){ name, strlen(name) };
	splice->added_text[splice->added_count] =
		(struct vgw__splice_edit){ .text_at = text_at, .text_len = splice->scratch->len - text_at };
	splice->added_count++;
	return VGW_OK;
}

/* `text` between quotes, with what JSON wants escaped. The text is UTF-8 already. */
static bool append_string(struct vgw__buf *out, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	const unsigned char *end = p + len;
	bool ok = vgw__buf_append(out, "\"", 1);

	while (ok && p < end) {
		const unsigned char *run = p;

		while (p < end && *p >= ' ' && *p != '"' && *p != '\\')
			p++;
		ok = vgw__buf_append(out, run, (size_t)(p - run));
		if (!ok || p == end)
			break;
		if (*p < ' ')
			ok = vgw__buf_print(out, "\\u%04x", *p);
		else
			ok = vgw__buf_append(out, *p == '"' ? "\\\"" : "\\\\", 2);
		p++;
	}
	return ok && vgw__buf_append(out, "\"", 1);
}

/* Begin a member to be set: the bytes to replace, and for a new one `"name":`. */
static vgw_status begin_set(struct vgw__splice *splice, const char *name,
	const struct vgw__json_span **member, struct vgw__splice_edit *edit, vgw_error *err)
{
	vgw_status status = find_member(splice, name, member, err);

	if (status != VGW_OK)
		return status;
	*edit = (struct vgw__splice_edit){
		.start = (*member)->start, .end = (*member)->end, .text_at = splice->scratch->len
	};
	if ((*member)->kind == VGW__JSON_ABSENT &&
		(!append_string(splice->scratch, name, strlen(name)) ||
			!vgw__buf_append(splice->scratch, ":", 1)))
		return no_scratch(err);
	return VGW_OK;
}

static vgw_status end_set(struct vgw__splice *splice, const char *name, const struct vgw__json_span *member,
	const struct vgw__splice_edit *edit, vgw_error *err)
{
	if (member->kind == VGW__JSON_ABSENT)
		return note_added(splice, name, edit->text_at, err);
	return add_edit(splice, member, edit, err);
}

vgw_status vgw__splice_set(
	struct vgw__splice *splice, const char *name, const char *json, size_t json_len, vgw_error *err)
{
	const struct vgw__json_span *member;
	struct vgw__splice_edit edit;
	vgw_status status = begin_set(splice, name, &member, &edit, err);

	if (status != VGW_OK)
		return status;
	if (!vgw__buf_append(splice->scratch, json, json_len))
		return no_scratch(err);
	return end_set(splice, name, member, &edit, err);
}

vgw_status vgw__splice_set_string(
	struct vgw__splice *splice, const char *name, const char *text, size_t len, vgw_error *err)
{
	const struct vgw__json_span *member;
	struct vgw__splice_edit edit;
	vgw_status status = begin_set(splice, name, &member, &edit, err);

	if (status != VGW_OK)
		return status;
	if (!append_string(splice->scratch, text, len))
		return no_scratch(err);
	return end_set(splice, name, member, &edit, err);
}

vgw_status vgw__splice_add_default(
	struct vgw__splice *splice, const char *name, const char *member, size_t member_len, vgw_error *err)
{
	const struct vgw__json_span *present;
	size_t text_at = splice->scratch->len;
	vgw_status status = find_member(splice, name, &present, err);

	if (status != VGW_OK || present->kind != VGW__JSON_ABSENT || is_added(splice, name))
		return status;
	if (!vgw__buf_append(splice->scratch, member, member_len))
		return no_scratch(err);
	return note_added(splice, name, text_at, err);
}

vgw_status vgw__splice_remove(struct vgw__splice *splice, const char *name, vgw_error *err)
{
	const struct vgw__json_span *member;
	struct vgw__splice_edit edit;
	vgw_status status = find_member(splice, name, &member, err);

	if (status != VGW_OK || member->kind == VGW__JSON_ABSENT)
		return status;
	for (size_t i = 0; i < splice->edit_count; i++)
		if (splice->edits[i].is_removal && splice->edits[i].key_start == member->key_start)
			return VGW_OK;
	edit = (struct vgw__splice_edit){ .start = member->key_start,
		.end = member->end,
		.is_removal = true,
		.text_at = splice->scratch->len };
	return add_edit(splice, member, &edit, err);
}

/* --- usage in a stream --- */

static const struct vgw__json_name flags[] = {
	{ "include_usage", sizeof("include_usage") - 1 },
	{ "continuous_usage_stats", sizeof("continuous_usage_stats") - 1 },
};

static bool append_flag(struct vgw__buf *out, size_t flag, bool is_followed)
{
	return vgw__buf_print(out, "\"%s\":true%s", flags[flag].text, is_followed ? "," : "");
}

/* The client's object with its flags replaced, those it lacks in front. */
static bool print_options(struct vgw__buf *out, const struct vgw__scan *inner, const struct vgw__json_span *spans,
	size_t count)
{
	size_t missing = 0, first = count > 1 && spans[1].start < spans[0].start;
	bool ok = vgw__buf_append(out, inner->data, inner->open);
	uint32_t at = inner->open;

	for (size_t i = 0; i < count; i++)
		missing += spans[i].kind == VGW__JSON_ABSENT;
	for (size_t i = 0; i < count; i++) {
		if (spans[i].kind == VGW__JSON_ABSENT)
			ok = ok && append_flag(out, i, --missing || inner->members);
	}
	for (size_t i = 0; i < count; i++) {
		const struct vgw__json_span *span = &spans[i ^ first];

		if (span->kind == VGW__JSON_ABSENT)
			continue;
		ok = ok && vgw__buf_append(out, inner->data + at, span->start - at) && vgw__buf_append(out, "true", 4);
		at = span->end;
	}
	return ok && vgw__buf_append(out, inner->data + at, inner->len - at);
}

vgw_status vgw__splice_include_usage(
	struct vgw__splice *splice, bool is_continuous, struct vgw__usage_asked *asked, vgw_error *err)
{
	static const char at_end[] = "{\"include_usage\":true}";
	static const char always[] = "{\"include_usage\":true,\"continuous_usage_stats\":true}";
	const struct vgw__json_span *options = &splice->scan->body[VGW__BODY_STREAM_OPTIONS];
	struct vgw__splice_edit edit = { .start = options->start, .end = options->end, .text_at = splice->scratch->len };
	struct vgw__json_span spans[2];
	struct vgw__scan_options inner_options = { .extra_count = 2, .extra_names = flags, .extra = spans };
	struct vgw__scan inner;
	vgw_status status;

	*asked = (struct vgw__usage_asked){ .at_end = false };
	if (options->kind == VGW__JSON_ABSENT || options->kind == VGW__JSON_NULL)
		return vgw__splice_set(splice, "stream_options", is_continuous ? always : at_end,
			is_continuous ? sizeof(always) - 1 : sizeof(at_end) - 1, err);
	if (options->kind != VGW__JSON_OBJECT)
		return VGW_OK;
	status = vgw__scan_body(&inner, splice->scan->data + options->start, options->end - options->start,
		&inner_options, err);
	if (status != VGW_OK)
		return status;
	asked->at_end = spans[0].kind == VGW__JSON_TRUE;
	asked->in_each = asked->at_end && spans[1].kind == VGW__JSON_TRUE;
	if (asked->at_end && (asked->in_each || !is_continuous))
		return VGW_OK;
	if (!print_options(splice->scratch, &inner, spans, is_continuous ? 2 : 1))
		return no_scratch(err);
	return add_edit(splice, options, &edit, err);
}

/* --- putting together --- */

static uint32_t skip_space(const struct vgw__scan *scan, uint32_t at)
{
	while (scan->data[at] == ' ' || scan->data[at] == '\t' || scan->data[at] == '\n' ||
		scan->data[at] == '\r')
		at++;
	return at;
}

/* Offset of the comma in front of a member that is not the first: between the two there is only whitespace.
 * */
static uint32_t comma_before(const struct vgw__scan *scan, uint32_t at)
{
	do
		at--;
	while (scan->data[at] != ',');
	return at;
}

static void sort_edits(struct vgw__splice_edit *edits, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct vgw__splice_edit edit = edits[i];
		size_t j = i;

		for (; j > 0 && edits[j - 1].start > edit.start; j--)
			edits[j] = edits[j - 1];
		edits[j] = edit;
	}
}

/* Give each removal its comma: the one behind, with the whitespace up to the next key; or, where the last
 * member goes, the one in front of the members that go together with it. Returns how many members go. */
static uint32_t take_commas(const struct vgw__scan *scan, struct vgw__splice_edit *edits, size_t count)
{
	uint32_t removed = 0;
	size_t run = 0; /* the first of the removals that touch each other up to here */

	for (size_t i = 0; i < count; i++) {
		uint32_t next;

		if (!edits[i].is_removal)
			continue;
		removed++;
		if (i == 0 || !edits[i - 1].is_removal || edits[i - 1].end != edits[i].start)
			run = i;
		next = skip_space(scan, edits[i].end);
		if (scan->data[next] == ',')
			edits[i].end = skip_space(scan, next + 1);
		else if (skip_space(scan, scan->open) != edits[run].start)
			edits[run].start = comma_before(scan, edits[run].start);
	}
	return removed;
}

static void emit(struct vgw__segment *segments, size_t *count, const char *data, size_t len)
{
	if (len == 0)
		return;
	if (*count && segments[*count - 1].data + segments[*count - 1].len == data)
		segments[*count - 1].len += len;
	else
		segments[(*count)++] = (struct vgw__segment){ data, len };
}

vgw_status vgw__splice_finish(const struct vgw__splice *splice,
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS], size_t *count, vgw_error *err)
{
	const struct vgw__scan *scan = splice->scan;
	const char *scratch =
		splice->scratch->data ? splice->scratch->data : ""; /* only cuts: it stayed empty */
	struct vgw__splice_edit edits[VGW__SPLICE_MAX_EDITS];
	bool has_rest;
	size_t at;

	*count = 0;
	memcpy(edits, splice->edits, splice->edit_count * sizeof(*edits));
	sort_edits(edits, splice->edit_count);
	has_rest = take_commas(scan, edits, splice->edit_count) < scan->members;
	emit(segments, count, scan->data, scan->open);
	for (size_t i = 0; i < splice->added_count; i++) {
		bool is_followed = has_rest || i + 1 < splice->added_count;
		const struct vgw__splice_edit *text = &splice->added_text[i];

		emit(segments, count, scratch + text->text_at,
			is_followed ? text->text_len : text->text_len - 1);
	}
	at = scan->open;
	for (size_t i = 0; i < splice->edit_count; i++) {
		if (edits[i].start < at)
			return vgw_error_set(err, VGW_INTERNAL, 0, "edits of one body overlap");
		emit(segments, count, scan->data + at, edits[i].start - at);
		emit(segments, count, scratch + edits[i].text_at, edits[i].text_len);
		at = edits[i].end;
	}
	emit(segments, count, scan->data + at, scan->len - at);
	return VGW_OK;
}

size_t vgw__segments_length(const struct vgw__segment *segments, size_t count)
{
	size_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += segments[i].len;
	return total;
}
