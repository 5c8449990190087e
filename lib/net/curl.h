/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the curl transport. libcurl forbids to add, remove or free a transfer inside its callbacks, which is where
 * our callers hear of their answers. So what they ask for there is noted on a list and done at the end of the turn:
 *
 *   start  ──► pending ──► added to the multi handle ──► done ──► on_end
 *   resume ──► resumed ──► curl_easy_pause(CONT)
 *   cancel ──► dead    ──► removed, freed (at once when libcurl is not running)
 */
#ifndef VGW_NET_CURL_H
#define VGW_NET_CURL_H

#include "net/curl_base.h"
#include "net/h1_parse.h"
#include "net/transport.h"
#include "util/buf.h"
#include "util/list.h"

struct vgw__curl {
	struct vgw__transport transport; /* first */
	vgw_loop *loop;
	CURLM *multi;
	vgw_timer timer;
	vgw_defer defer;
	struct vgw__list pending;
	struct vgw__list resumed;
	struct vgw__list dead;
	size_t added_count; /* calls in the multi handle */
	bool is_inside;     /* libcurl is running: its callbacks are ours */
	struct vgw__header headers[VGW__H1_HEADERS];
};

struct vgw__curl_call {
	struct vgw__upstream_call call; /* first: it is the handle */
	struct vgw__list link;          /* pending, resumed or dead */
	CURL *easy;
	struct curl_slist *headers;
	struct curl_slist *resolved;    /* the endpoint's addresses: no DNS on a worker */
	struct vgw__endpoint *endpoint;
	const struct vgw__upstream_events *events;
	void *user;
	const struct vgw__span *body;   /* borrowed until all of it was read */
	size_t body_count;
	size_t segment;
	size_t offset;
	uint64_t body_bytes;
	uint64_t body_left;
	struct vgw__buf head;           /* lines of a head that is not complete */
	size_t trailer_bytes;
	const char *why;                /* not NULL: what is wrong with the answer */
	uint8_t attempts;
	uint8_t interim_count;
	bool is_added : 1;
	bool is_dead : 1;      /* cancelled: no more callbacks, nothing borrowed any more */
	bool is_paused : 1;    /* the caller is full */
	bool is_held : 1;      /* libcurl was told to hold a piece back */
	bool has_answer : 1;   /* at least one byte came */
	bool has_head : 1;     /* on_head was called */
	bool is_told_sent : 1;
	bool is_reused : 1;    /* the connection had served a request before */
	bool is_head_request : 1;
};

static inline struct vgw__curl *vgw__curl_of(const struct vgw__curl_call *call)
{
	return (struct vgw__curl *)(void *)call->call.transport;
}

/* --- curl_call.c --- */

/* Everything libcurl must know of the request; NULL: `err` says why not. */
struct vgw__curl_call *vgw__curl_call_new(struct vgw__curl *curl, const struct vgw__upstream_request *request,
	const struct vgw__upstream_events *events, void *user, vgw_error *err);
void vgw__curl_call_free(struct vgw__curl_call *call); /* it is in no list and not in the multi handle */

/* What libcurl's verdict means to our callers. */
struct vgw__upstream_result vgw__curl_call_judge(struct vgw__curl_call *call, CURLcode code);

#endif
