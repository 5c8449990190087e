/* SPDX-License-Identifier: Apache-2.0 */
/* The first look at a request's head: refuse whatever two parsers might read differently, and pick out the headers
 * that the gateway uses, in one pass. */
#ifndef VGW_SERVER_FRONT_GUARD_H
#define VGW_SERVER_FRONT_GUARD_H

#include "front/decode.h"

#include <vllmgw/status.h>

#include <microhttpd.h>

struct request_head {
	uint64_t content_length; /* 0 without one */
	bool has_length;
	bool is_chunked;
	bool expects_continue;
	bool is_http10;
	enum decode_coding coding; /* of the body */
	bool is_last;     /* the client wants the connection to end with the answer */
	bool has_upgrade; /* ignored, but what follows may be another protocol: close after the answer */
	const char *content_type; /* borrowed of MHD, NULL: absent */
	const char *accept;
	const char *traceparent;
	const char *tracestate;
	const char *origin;
	const char *authorization;
	const char *api_key; /* X-API-Key */
	const char *session; /* X-Session-ID, else X-User-ID */
	bool has_session_id;
};

/* VGW_FAULT_NONE, or what is wrong with a sentence in *why (NULL: the fault's own). After a fault the connection must
 * be closed. */
vgw_fault guard_check(struct request_head *head, struct MHD_Connection *connection, const char *method,
	const char *version, const char **why);

/* Is this the media type of a JSON body? */
bool guard_is_json(const struct request_head *head);

/* Or of a form? Its boundary is looked at with its body. */
bool guard_is_form(const struct request_head *head);

#endif
