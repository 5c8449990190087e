/* SPDX-License-Identifier: Apache-2.0 */
/* Watches an event stream go by: counts events, finds the usage, knows where an event of our own may be put
 * in.
 * It never changes a byte and needs no memory but this struct, however the stream is cut into pieces.
 *
 *   upstream bytes --+--> client, as they are
 *                    `--> vgw__sse_feed() --> events, usage, is_done, is_too_long, boundary */
#ifndef VGW_JSON_SSE_H
#define VGW_JSON_SSE_H

#include "json/usage.h"

struct vgw__sse {
	uint64_t events;         /* finished events that carried data, [DONE] among them */
	struct vgw__usage usage; /* the newest numbers, also of an event that never ended */
	bool is_done;            /* [DONE] came */
	bool is_too_long;        /* an event was over max_event bytes (a line end is 1); stays true */

	/* the event under way */
	uint64_t event_bytes;
	uint64_t max_event;
	struct vgw__usage_finder finder; /* in its data */
	uint8_t state;    /* enum state in sse.c: where in a line */
	uint8_t name_len; /* bytes of "data" that matched */
	uint8_t done_len; /* bytes of "[DONE]" that matched */
	uint8_t bom_len;  /* bytes of a byte order mark that matched at the start of the stream */
	bool has_data;
	bool has_field; /* anything but comments */
	bool after_cr; /* the last byte was a CR: a LF now belongs to it */
	bool has_crlf; /* the last line end that is over was CR LF */
};

_Static_assert(sizeof(struct vgw__sse) <= 256, "one per stream: keep it small");

void vgw__sse_init(struct vgw__sse *sse, uint64_t max_event); /* 0: no limit */
void vgw__sse_feed(struct vgw__sse *sse, const void *data, size_t len);

/* May an event or a comment of our own follow the bytes so far? At the start, and after each blank line. */
bool vgw__sse_at_boundary(const struct vgw__sse *sse);
/* Was that the end of a stream that something broke off? Its last line has no end and is no event's data: words of
 * somebody on the way. */
bool vgw__sse_is_broken_off(const struct vgw__sse *sse);

#endif
