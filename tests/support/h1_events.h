/* SPDX-License-Identifier: Apache-2.0 */
/* The h1 parser driven with bytes in pieces, and what it said, as one line of text: two ways of cutting the same
 * bytes are compared by comparing two lines. Header only, so that fuzz targets can use it too. */
#ifndef VGW_TESTS_H1_EVENTS_H
#define VGW_TESTS_H1_EVENTS_H

#include "net/h1_parse.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct h1_events {
	char *input;      /* the head so far, as a connection would keep it */
	size_t input_len;
	size_t scanned;
	bool is_in_body;
	bool is_over;
	struct vgw__h1_body body;
	struct vgw__header headers[VGW__H1_HEADERS];
	char *text;       /* "200 length=2 last=0 [a=b] |ok| done" */
	size_t text_len;
	size_t text_size;
	bool is_in_data;  /* payload is written without its cuts */
	size_t surplus;   /* bytes behind the end of the answer */
};

static inline void h1_events_add(struct h1_events *events, const char *data, size_t len)
{
	if (events->text_len + len + 1 > events->text_size) {
		events->text_size = 2 * (events->text_len + len + 1);
		events->text = realloc(events->text, events->text_size);
		if (!events->text)
			abort();
	}
	if (len)
		memcpy(events->text + events->text_len, data, len);
	events->text_len += len;
	events->text[events->text_len] = '\0';
}

__attribute__((format(printf, 2, 3)))
static inline void h1_events_print(struct h1_events *events, const char *format, ...)
{
	char line[256];
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	h1_events_add(events, line, len < (int)sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

static inline void h1_events_end(struct h1_events *events, const char *word)
{
	if (events->is_in_data)
		h1_events_add(events, "| ", 2);
	events->is_in_data = false;
	h1_events_add(events, word, strlen(word));
	events->is_over = true;
}

static inline void h1_events_body(struct h1_events *events, const char *data, size_t len)
{
	for (;;) {
		struct vgw__span payload;
		size_t used;
		enum vgw__h1_step step = vgw__h1_body_next(&events->body, data, len, &used, &payload);

		if (used > len || payload.data < data || payload.data + payload.len > data + used)
			abort();
		data += used;
		len -= used;
		if (step == VGW__H1_MORE && len)
			abort();
		if (step == VGW__H1_MORE)
			return;
		if (step != VGW__H1_DATA) {
			h1_events_end(events, step == VGW__H1_DONE ? "done" : "bad-body");
			events->surplus = step == VGW__H1_DONE ? len : 0;
			return;
		}
		if (!payload.len)
			abort();
		if (!events->is_in_data)
			h1_events_add(events, "|", 1);
		events->is_in_data = true;
		h1_events_add(events, payload.data, payload.len);
	}
}

static inline void h1_events_head(struct h1_events *events)
{
	const char *why = NULL;
	struct vgw__h1_head head;
	enum vgw__h1_step step = vgw__h1_scan_head(events->input, events->input_len, &events->scanned, &why);
	size_t len = events->scanned;

	if (step == VGW__H1_MORE)
		return;
	if (step == VGW__H1_DONE)
		step = vgw__h1_parse_head(events->input, len, false, events->headers, &head, &why);
	if (step != VGW__H1_DONE) {
		if (!why)
			abort();
		h1_events_end(events, "bad-head");
		return;
	}
	h1_events_print(events, "%u %s=%" PRIu64 " announced=%" PRId64 " last=%d ", head.status,
		head.framing == VGW__H1_CHUNKED ? "chunked" : head.framing == VGW__H1_LENGTH ? "length" :
		head.framing == VGW__H1_NO_BODY ? "none" : "until-close", head.length, head.announced, (int)head.is_last);
	for (size_t i = 0; i < head.header_count; i++) {
		h1_events_add(events, events->headers[i].name.data, events->headers[i].name.len);
		h1_events_add(events, "=", 1);
		h1_events_add(events, events->headers[i].value.data, events->headers[i].value.len);
		h1_events_add(events, ";", 1);
	}
	h1_events_add(events, " ", 1);
	events->is_in_body = true;
	vgw__h1_body_init(&events->body, &head);
	h1_events_body(events, events->input + len, events->input_len - len);
}

static inline void h1_events_feed(struct h1_events *events, const void *data, size_t len)
{
	if (events->is_over) {
		events->surplus += len;
		return;
	}
	if (events->is_in_body) {
		h1_events_body(events, data, len);
		return;
	}
	events->input = realloc(events->input, events->input_len + len + 1);
	if (!events->input)
		abort();
	if (len)
		memcpy(events->input + events->input_len, data, len);
	events->input_len += len;
	h1_events_head(events);
}

static inline void h1_events_close(struct h1_events *events)
{
	if (events->is_over)
		return;
	if (events->is_in_body && vgw__h1_body_may_end(&events->body))
		h1_events_end(events, "done");
	else
		h1_events_end(events, events->is_in_body ? "cut-in-body" : "cut-in-head");
}

static inline void h1_events_fini(struct h1_events *events)
{
	free(events->input);
	free(events->text);
}

#endif
