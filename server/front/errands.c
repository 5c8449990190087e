/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that the desk answers: their connection is taken over from MHD at once, because nobody knows how long the
 * answer takes, and written as every other stream is. */
#include "front/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERRAND_BODY_BYTES = 64 * 1024 };

vgw_fault exchange_check_errand(const struct exchange *x, const char **why)
{
	bool has_body = x->head.is_chunked || x->head.content_length > 0;

	if (x->worker->is_draining)
		return VGW_FAULT_SHUTTING_DOWN;
	if (has_body && !guard_is_json(&x->head))
		return VGW_FAULT_UNSUPPORTED_MEDIA_TYPE;
	if (has_body && !x->head.has_length) {
		*why = "send a Content-Length";
		return VGW_FAULT_BAD_REQUEST;
	}
	return x->head.content_length > ERRAND_BODY_BYTES ? VGW_FAULT_REQUEST_TOO_LARGE : VGW_FAULT_NONE;
}

bool exchange_read_query(const struct exchange *x, const char *query[ROUTE_QUERY_COUNT])
{
	static const char *const names[] = {
#define XX(name, text) [ROUTE_QUERY_##name] = text,
		ROUTE_QUERY_MAP(XX)
#undef XX
	};

	for (int i = 0; i < ROUTE_QUERY_COUNT; i++) {
		/* MHD keeps its own copy of each value, in memory of the connection that may be written to */
		char *value = (char *)(uintptr_t)MHD_lookup_connection_value(x->mhd, MHD_GET_ARGUMENT_KIND, names[i]);

		query[i] = value;
		if (value && route_decode_value(value) != 0)
			return false;
	}
	return true;
}

/* --- delivering ----------------------------------------------------------------------------------------------- */

static size_t add(vgw_header *headers, size_t count, const char *name, const char *value)
{
	headers[count] = (vgw_header){ name, strlen(name), value, strlen(value) };
	return count + 1;
}

static void deliver_head(struct exchange *x, const struct errand_delivery *delivery)
{
	vgw_header headers[6];
	char seconds[16];
	vgw_answer_head head = {
		.status = delivery->status,
		.is_stream = delivery->length < 0 && strcmp(delivery->type, "text/event-stream") == 0,
		.headers = headers,
		.content_length = delivery->length,
	};

	head.header_count = add(headers, 0, "content-type", delivery->type);
	head.header_count = add(headers, head.header_count, "x-request-id", x->request_id);
	head.header_count = add(headers, head.header_count, "cache-control", "no-cache");
	if (head.is_stream)
		head.header_count = add(headers, head.header_count, "x-accel-buffering", "no");
	(void)snprintf(seconds, sizeof(seconds), "%" PRIu32, delivery->retry_after);
	if (delivery->retry_after)
		head.header_count = add(headers, head.header_count, "retry-after", seconds);
	x->facts.fault = delivery->fault;
	stream_head(x, &head);
}

/* The stream ends the exchange later, never from inside these. */
static void deliver(const struct errand_delivery *delivery)
{
	struct exchange *x = delivery->user;

	if (delivery->status)
		deliver_head(x, delivery);
	if (delivery->len && stream_data(x, delivery->data, delivery->len) == VGW_FLOW_FULL)
		errand_set_full(x->errand, true);
	if (delivery->is_end) {
		x->has_ended = true;
		stream_end(x, true);
	}
}

/* --- beginning ------------------------------------------------------------------------------------------------ */

static vgw_fault make_errand(struct exchange *x, const char *url)
{
	char name[ROUTE_NAME_BYTES];
	size_t name_len;
	struct errand_request request = {
		.route = x->route, .name = name, .body = x->body, .body_len = x->body_len, .front = x->worker->front,
	};

	if (route_get_name(x->route, url, strlen(url), name, sizeof(name), &name_len) != 0)
		return VGW_FAULT_NOT_FOUND;
	if (!exchange_read_query(x, request.query))
		return VGW_FAULT_BAD_REQUEST;
	x->errand = errand_new(&request, x->worker->loop, deliver, x);
	return x->errand ? VGW_FAULT_NONE : VGW_FAULT_OUT_OF_MEMORY;
}

enum MHD_Result exchange_errand(struct exchange *x, void **state, const char *url)
{
	vgw_fault fault = make_errand(x, url);
	enum MHD_Result result;

	if (fault != VGW_FAULT_NONE)
		return reply_fault(x, fault, NULL, NULL);
	exchange_forget_body(x);
	result = stream_take_over(x, state);
	if (x->stream && !desk_take(x->worker->front->options.desk, x->errand))
		errand_answer_fault(x->errand, VGW_FAULT_SHUTTING_DOWN, NULL);
	return result;
}
