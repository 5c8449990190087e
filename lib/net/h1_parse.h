/* SPDX-License-Identifier: Apache-2.0 */
/* Strict HTTP/1.1 answers: the head, parsed in one pass once it is complete, and the body, decoded as it comes.
 * Nothing is allocated and nothing is kept: every function works on the bytes it is given, and any way of cutting
 * the same bytes into pieces gives the same result. Doubt about the framing is BAD, never a guess. */
#ifndef VGW_NET_H1_PARSE_H
#define VGW_NET_H1_PARSE_H

#include "net/transport.h"

enum {
	VGW__H1_HEAD_BYTES = 64 * 1024,
	VGW__H1_HEADERS = 256,
	VGW__H1_EXTENSION_BYTES = 4 * 1024, /* after one chunk's size */
	VGW__H1_TRAILER_BYTES = 8 * 1024,   /* all of them together */
};

enum vgw__h1_step {
	VGW__H1_MORE, /* all bytes were used, the end is not among them */
	VGW__H1_DATA, /* a piece of the body */
	VGW__H1_DONE, /* the head or the body is complete */
	VGW__H1_BAD,
};

enum vgw__h1_framing { VGW__H1_NO_BODY, VGW__H1_LENGTH, VGW__H1_CHUNKED, VGW__H1_UNTIL_CLOSE };

struct vgw__h1_head {
	uint32_t status;
	enum vgw__h1_framing framing;
	uint64_t length;     /* with VGW__H1_LENGTH */
	int64_t announced;   /* the Content-Length header, -1: none */
	bool is_last;        /* the connection cannot be used again */
	size_t header_count;
};

struct vgw__h1_body {
	uint64_t left;     /* bytes of the body or of the chunk still to come */
	uint16_t skipped;  /* bytes of this chunk's extension, or of the trailers */
	uint8_t framing;
	uint8_t state;
	uint8_t digits;    /* of the chunk's size */
};

/* Look for the end of a head. `*scanned` (0 at first) is how much of `data` was looked at in earlier calls.
 * DONE: the head is data[0 .. *scanned). */
enum vgw__h1_step vgw__h1_scan_head(const char *data, size_t len, size_t *scanned, const char **why);

/* Parse a complete head; DONE or BAD. Names in `data` become lower case; `headers` has VGW__H1_HEADERS places and
 * points into `data` afterwards. An answer to HEAD has no body. */
enum vgw__h1_step vgw__h1_parse_head(char *data, size_t len, bool is_head_request, struct vgw__header *headers,
	struct vgw__h1_head *head, const char **why);

void vgw__h1_body_init(struct vgw__h1_body *body, const struct vgw__h1_head *head);

/* Decode the next step; may be called with len 0. `*used` bytes were consumed, with DATA `*payload` (never empty)
 * lies among them. After DONE, data + *used does not belong to this answer any more. */
enum vgw__h1_step vgw__h1_body_next(struct vgw__h1_body *body, const char *data, size_t len, size_t *used,
	struct vgw__span *payload);

/* The connection was closed by the engine: was that the end of the body? */
bool vgw__h1_body_may_end(const struct vgw__h1_body *body);

#endif
