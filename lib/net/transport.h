/* SPDX-License-Identifier: Apache-2.0 */
/* One request to an engine and its answer, on a worker's loop. An interface, so that HTTP/1.1 by hand (h1) and
 * libcurl (https, proxies) are two implementations of one thing.
 *
 *   caller                         transport                          engine
 *     |--- start(request) ------------>|--- connect or reuse ------------>|
 *     |<-- on_sent --------------------|--- head + body segments -------->|
 *     |<-- on_head --------------------|<-- status line, headers ---------|
 *     |<-- on_data (borrowed bytes) ---|<-- body, as it comes ------------|
 *     |--- FULL -> it stops reading    |                                  |
 *     |--- resume -------------------->|                                  |
 *     |<-- on_end, exactly once -------|                                  |
 *
 * Exactly one attempt per call: whether to try again is the caller's decision, on_end says what is known.
 * Callbacks come from the loop, never from inside start(); inside a callback the caller may cancel, and may start
 * other calls. After on_end or cancel the handle is gone. One thread: that of the loop. */
#ifndef VGW_NET_TRANSPORT_H
#define VGW_NET_TRANSPORT_H

#include "net/endpoint.h"

#include <vllmgw/loop.h>

struct vgw__transport;     /* an implementation's per-worker state; begins with `ops` */
struct vgw__upstream_call; /* one request under way */

struct vgw__span {
	const char *data;
	size_t len;
};

struct vgw__header {
	struct vgw__span name; /* lower case in answers */
	struct vgw__span value;
};

/* Everything it points to is borrowed until on_sent, on_end or cancel. */
struct vgw__upstream_request {
	struct vgw__endpoint *endpoint; /* the transport takes its own reference */
	const char *method;             /* "POST" */
	const char *path;               /* a constant of the route table; base_path is put before it */
	const struct vgw__header *headers; /* names and values already checked; no Host, no framing headers */
	size_t header_count;
	const struct vgw__span *body;   /* sent with one Content-Length; none when has_body is false */
	size_t body_count;
	bool has_body;
	int64_t connect_timeout_ms;     /* a duration; 0: none */
};

struct vgw__response_head {
	uint32_t status;
	const struct vgw__header *headers; /* validated; borrowed during on_head */
	size_t header_count;
	int64_t content_length; /* -1: not known */
};

enum vgw__flow { VGW__FLOW_GO, VGW__FLOW_FULL }; /* FULL: the bytes were taken, send no more until resumed */

enum vgw__outcome {
	VGW__OUTCOME_COMPLETE,    /* the whole answer arrived */
	VGW__OUTCOME_CONNECT,     /* no connection: nothing was sent, another replica is safe */
	VGW__OUTCOME_LOST,        /* connection closed or reset before any byte of an answer */
	VGW__OUTCOME_TRUNCATED,   /* connection ended inside the answer */
	VGW__OUTCOME_BAD,         /* what came is not an acceptable HTTP/1.1 answer */
	VGW__OUTCOME_FAILED,      /* out of memory or descriptors on our side */
};

struct vgw__upstream_result {
	enum vgw__outcome outcome;
	bool is_reused;    /* the connection had served a request before */
	bool is_sent;      /* the request had been handed to the kernel completely */
	int sys_errno;
	const char *why;   /* constant sentence for logs and error bodies */
};

struct vgw__upstream_events {
	void (*on_sent)(void *user); /* nothing of the request is needed any more; once, just before on_head or, when
	                              * the answer is faster than the request, later. May not cancel. NULL: fine */
	void (*on_head)(void *user, const struct vgw__response_head *head);
	enum vgw__flow (*on_data)(void *user, const char *data, size_t len); /* at most 64 KiB per turn, len > 0 */
	void (*on_end)(void *user, const struct vgw__upstream_result *result);
};

struct vgw__transport_ops {
	const char *name; /* "h1", "curl" */
	vgw_status (*start)(struct vgw__transport *transport, struct vgw__upstream_call **out,
		const struct vgw__upstream_request *request, const struct vgw__upstream_events *events, void *user,
		vgw_error *err);
	void (*resume)(struct vgw__upstream_call *call); /* after FULL; may be called when not paused */
	void (*cancel)(struct vgw__upstream_call *call); /* closes the connection at once; no more callbacks */
	void (*destroy)(struct vgw__transport *transport); /* after the last call ended */
};

struct vgw__transport {
	const struct vgw__transport_ops *ops;
};

/* First member of each implementation's call, so that resume and cancel find their way. */
struct vgw__upstream_call {
	struct vgw__transport *transport;
};

static inline vgw_status vgw__upstream_start(struct vgw__transport *transport, struct vgw__upstream_call **out,
	const struct vgw__upstream_request *request, const struct vgw__upstream_events *events, void *user,
	vgw_error *err)
{
	return transport->ops->start(transport, out, request, events, user, err);
}

static inline void vgw__upstream_resume(struct vgw__upstream_call *call)
{
	call->transport->ops->resume(call);
}

static inline void vgw__upstream_cancel(struct vgw__upstream_call *call)
{
	call->transport->ops->cancel(call);
}

/* Plain HTTP/1.1, written by hand. `idle_ms`: how long an unused connection is kept (below the engine's 5 s). */
vgw_status vgw__h1_new(struct vgw__transport **out, vgw_loop *loop, int64_t idle_ms, vgw_error *err);

/* libcurl, for https endpoints (endpoint->ca_file); speaks plain http as well. */
vgw_status vgw__curl_new(struct vgw__transport **out, vgw_loop *loop, vgw_error *err);

#endif
