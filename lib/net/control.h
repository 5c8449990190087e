/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP for controllers and probes: one blocking call by libcurl, with a deadline, a cap and a way to give up.
 * For executor threads, never for a worker. Each call has a connection of its own. */
#ifndef VGW_NET_CONTROL_H
#define VGW_NET_CONTROL_H

#include <vllmgw/status.h>

enum { VGW__CONTROL_ANSWER_BYTES = 4 << 20 }; /* when the request names no other cap */

struct vgw__endpoint;

struct vgw__control_request {
	const char *url;          /* http:// or https://; "http://localhost/path" with a unix socket */
	const struct vgw__endpoint *endpoint; /* whose addresses the host of `url` has; NULL: the name is looked up */
	const char *unix_path;    /* NULL, or the socket to use instead of the host */
	const char *method;       /* NULL: GET */
	const char *body;         /* NULL: none */
	size_t body_len;
	const char *content_type; /* of the body; NULL: application/json */
	const char *bearer_token; /* NULL: none; never shown in messages */
	const char *ca_file;      /* NULL: the system's certificates */
	const char *cert_file;    /* client certificate and key (PEM), or NULL */
	const char *key_file;
	const char *const *headers; /* more of them: "Name: value" */
	size_t header_count;
	int64_t deadline_ms;      /* vgw_now_ms() time */
	size_t max_answer_bytes;  /* 0: VGW__CONTROL_ANSWER_BYTES */
	int cancel_fd;            /* the call gives up when it is readable; -1: none */
	/* NULL: the body is collected. Otherwise pieces come as they arrive, without a cap, also those of an error
	 * answer (`status` tells); false ends the call, which is a success then. Called on the calling thread. */
	bool (*on_data)(void *user, uint32_t status, const char *data, size_t len);
	void *user;
};

#define VGW__CONTROL_REQUEST_INIT { .cancel_fd = -1 }

struct vgw__control_answer {
	uint32_t status; /* any: what a 404 means is the caller's to say */
	char *body;      /* ends with NUL, which is not counted; "" when streamed; NULL after a failure */
	size_t body_len;
};

/* Blocks until the answer is complete, the deadline has passed or cancel_fd is readable.
 * TIMEOUT, CANCELLED; INVALID: the request itself is wrong; BACKEND: no (acceptable) answer; NOMEM. */
vgw_status vgw__control_call(const struct vgw__control_request *request, struct vgw__control_answer *answer,
	vgw_error *err);

void vgw__control_answer_fini(struct vgw__control_answer *answer); /* also of a zeroed one */

#endif
