/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of answers: which of the engine's are acceptable, which of their headers go on, and our own headers. */
#ifndef VGW_GATEWAY_HEAD_H
#define VGW_GATEWAY_HEAD_H

#include "gateway/call.h"

enum { VGW__HEAD_HEADERS = 24 };

/* A head on its way to the front, in one piece of memory. */
struct vgw__held_head {
	uint32_t status;
	bool is_sse;
	int64_t content_length;
	size_t header_count;
	vgw_header headers[VGW__HEAD_HEADERS];
	size_t text_len;
	char text[2304]; /* what the headers point into */
};

enum vgw__verdict {
	VGW__VERDICT_FORWARD,
	VGW__VERDICT_DIGEST, /* an error page: read its beginning, answer 502 */
	VGW__VERDICT_REFUSE, /* not an answer a client may see */
	VGW__VERDICT_NOMEM,
};

/* Judge the engine's head and keep what goes on in *out (NULL unless FORWARD). *why: a constant sentence. */
enum vgw__verdict vgw__head_judge(struct vgw__held_head **out, vgw_call *call, const struct vgw__response_head *head,
	const char **why);

/* The head of an answer of our own with a JSON body of `len` bytes. NULL without memory. */
struct vgw__held_head *vgw__head_new_own(vgw_call *call, uint32_t status, size_t len);

void vgw__head_free(vgw_worker *worker, struct vgw__held_head *head); /* NULL is allowed */

/* Add our own headers: request id, model, replica, timing. */
void vgw__head_add_ours(struct vgw__held_head *head, const vgw_call *call);

/* Another header; its value is copied. */
void vgw__head_add(struct vgw__held_head *head, const char *name, const char *value);

/* `ms` 0: only the seconds are known. */
void vgw__head_add_retry_after(struct vgw__held_head *head, uint32_t seconds, int64_t ms);

/* A sentence for people from the beginning of an engine's error page: its JSON message, or its text without markup.
 * At most 200 bytes, in *out. */
void vgw__head_digest(char *out, size_t size, const char *page, size_t len, uint32_t status);

#endif
