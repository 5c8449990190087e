/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of multipart/form-data, beside those of JSON: where the value of the `model` part is, so that it can be
 * replaced while every other byte goes on as it came.
 *
 *   --B CRLF  headers CRLF CRLF  content  CRLF --B CRLF  ...  content  CRLF --B-- [CRLF]
 *                                ^start   ^end
 *
 * Why not a library's: they build values, forgive, and do not say where a value lies. This one forgives nothing that
 * two readers might read differently (RFC 2046, RFC 7578): no preamble, no epilogue, no padding behind a delimiter, no
 * delimiter inside a part, no folded header, no second `model`. Nothing is copied: the body must outlive the scan. */
#ifndef VGW_JSON_FORM_H
#define VGW_JSON_FORM_H

#include "json/scan.h"
#include "json/splice.h"

#define VGW__FORM_BOUNDARY_BYTES 70u /* RFC 2046 */
#define VGW__FORM_TYPE_BYTES 112u   /* of a Content-Type with the longest */
#define VGW__FORM_PARTS 64u
#define VGW__FORM_HEAD_BYTES 4096u /* of one part's headers */
#define VGW__FORM_SEGMENTS 3u

struct vgw__form {
	const char *data; /* borrowed */
	size_t len;
	size_t boundary_len;
	size_t part_count;
	size_t model_start; /* of the value, if has_model */
	size_t model_end;
	bool has_model;
	bool is_stream; /* the `stream` part is one of the words that engines take for true */
	char boundary[VGW__FORM_BOUNDARY_BYTES + 1];
};

/* `type` is the value of Content-Type. Errors: INVALID with the fault INVALID_MULTIPART. */
VGW_CHECKED vgw_status vgw__form_scan(
	struct vgw__form *form, const char *type, const char *data, size_t len, vgw_error *err);

/* As vgw__scan_get_name(): MISSING_MODEL, INVALID_MODEL, INVALID_ENCODING. */
VGW_CHECKED vgw_status vgw__form_get_model(
	const struct vgw__form *form, char out[VGW__NAME_MAX_BYTES + 1], size_t *len, vgw_error *err);

/* The body with another model; where it named none, a part is put in front. NULL: the body as it came. The segments
 * borrow the body, `model` and *scratch. INVALID: no form of this boundary can hold that name. NOMEM. */
VGW_CHECKED vgw_status vgw__form_set_model(const struct vgw__form *form, const char *model, struct vgw__buf *scratch,
	struct vgw__segment segments[VGW__FORM_SEGMENTS], size_t *count, vgw_error *err);

/* A Content-Type that says the boundary and nothing else. */
void vgw__form_print_type(const struct vgw__form *form, char out[VGW__FORM_TYPE_BYTES]);

#endif
