/* SPDX-License-Identifier: Apache-2.0 */
/* The body that goes upstream: the client's own bytes with a few members of the top level replaced, added or
 * cut.
 *
 *   client's body   {"model":"alias","priority":9,"messages":[...]}
 *   edits                     ^^^^^^^ -------------
 *   segments        {"stream_options":{...},  "model":  "served"  ,  "messages":[...]}
 *                    \___ scratch ________/   \_body_/  scratch      \_ body ________/
 *
 * Everything no edit touches keeps its bytes and its place: unknown fields, number formats, order,
 * whitespace. New members go first, where no edit of an old one can meet them. */
#ifndef VGW_JSON_SPLICE_H
#define VGW_JSON_SPLICE_H

#include "json/scan.h"
#include "util/buf.h"

#define VGW__SPLICE_MAX_EDITS 16u                                  /* replaced, added or cut members */
#define VGW__SPLICE_MAX_SEGMENTS (2u * VGW__SPLICE_MAX_EDITS + 2u) /* more can never be needed */

struct vgw__segment {
	const char *data;
	size_t len;
};

struct vgw__splice_edit {
	uint32_t start; /* these bytes of the body go ... */
	uint32_t end;
	uint32_t key_start; /* of the member it belongs to */
	bool is_removal;
	size_t text_at; /* ... and these of the scratch buffer come */
	size_t text_len;
};

struct vgw__splice {
	const struct vgw__scan *scan; /* borrowed */
	struct vgw__buf *scratch;     /* borrowed: the new bytes */
	uint32_t edit_count;
	uint32_t added_count;
	struct vgw__splice_edit edits[VGW__SPLICE_MAX_EDITS];
	struct vgw__json_name added[VGW__SPLICE_MAX_EDITS]; /* names of new members, borrowed */
	struct vgw__splice_edit added_text[VGW__SPLICE_MAX_EDITS];
};

/* *scan, its body and *scratch are borrowed until the segments are no longer needed; *scratch belongs to the
 * splice alone and is reset here. Every verb below fails with INVALID (too many edits, or two edits of one
 * member), NOMEM (no memory, or the scratch buffer's ceiling) or INTERNAL (the scan was not asked to look for
 * that name), and may then only be followed by giving up. Names are borrowed as long as *scan. */
void vgw__splice_init(struct vgw__splice *splice, const struct vgw__scan *scan, struct vgw__buf *scratch);

/* The member's value becomes this JSON text, or this text made a JSON string; an absent member is added. */
VGW_CHECKED vgw_status vgw__splice_set(
	struct vgw__splice *splice, const char *name, const char *json, size_t json_len, vgw_error *err);
VGW_CHECKED vgw_status vgw__splice_set_string(
	struct vgw__splice *splice, const char *name, const char *text, size_t len, vgw_error *err);

/* `member` is a rendered `"name":value`; it is added only if the client did not send that key (any value of
 * the client's counts, null and one that is cut too). Of several for one name the first counts. */
VGW_CHECKED vgw_status vgw__splice_add_default(
	struct vgw__splice *splice, const char *name, const char *member, size_t member_len, vgw_error *err);

/* The member goes, with one comma. No member of that name, or cutting it twice, is no mistake. */
VGW_CHECKED vgw_status vgw__splice_remove(struct vgw__splice *splice, const char *name, vgw_error *err);

/* What the client asked for itself. */
struct vgw__usage_asked {
	bool at_end;
	bool in_each; /* event */
};

/* Make the engine report usage in a stream, at its end or in each event: stream_options.include_usage, and
 * continuous_usage_stats, become true and the client's other stream options stay. A stream_options that is
 * no object stays too: the engine refuses it. Two of one flag are refused as DUPLICATE_KEY. */
VGW_CHECKED vgw_status vgw__splice_include_usage(
	struct vgw__splice *splice, bool is_continuous, struct vgw__usage_asked *asked, vgw_error *err);

/* The pieces to send one after the other: they borrow the body and the scratch buffer. */
VGW_CHECKED vgw_status vgw__splice_finish(const struct vgw__splice *splice,
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS], size_t *count, vgw_error *err);

size_t vgw__segments_length(const struct vgw__segment *segments, size_t count);

#endif
