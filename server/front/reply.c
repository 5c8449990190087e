/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of answers, for MHD to send or for ourselves. */
#include "front/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct reply *reply, const char *name, size_t name_len, const char *value, size_t value_len)
{
	char *at = reply->text + reply->text_len;

	if (reply->header_count == REPLY_HEADERS || name_len + value_len + 2 > sizeof(reply->text) - reply->text_len)
		return; /* an optional header that does not fit is left out rather than cut */
	memcpy(at, name, name_len);
	at[name_len] = '\0';
	memcpy(at + name_len + 1, value, value_len);
	at[name_len + 1 + value_len] = '\0';
	reply->headers[reply->header_count++] = (vgw_header){ at, name_len, at + name_len + 1, value_len };
	reply->text_len += name_len + value_len + 2;
}

void reply_add(struct reply *reply, const char *name, const char *value)
{
	add(reply, name, strlen(name), value, strlen(value));
}

/* A worker keeps one for the next answer: they are larger than what malloc() is quick with. */
static struct reply *take_reply(struct worker *worker, uint32_t status, int64_t content_length)
{
	struct reply *reply = worker->spare_reply ? worker->spare_reply : malloc(sizeof(*reply));

	worker->spare_reply = NULL;
	if (!reply)
		return NULL;
	reply->status = status;
	reply->is_stream = false;
	reply->must_close = false;
	reply->content_length = content_length;
	reply->header_count = 0;
	reply->text_len = 0;
	return reply;
}

void reply_free(struct worker *worker, struct reply *reply)
{
	if (!reply)
		return;
	free(worker->spare_reply);
	worker->spare_reply = reply;
}

struct reply *reply_new(const struct exchange *x, uint32_t status, const char *type)
{
	struct reply *reply = take_reply(x->worker, status, -1);

	if (!reply)
		return NULL;
	cors_add(x, reply);
	if (type)
		reply_add(reply, "content-type", type);
	reply_add(reply, "x-request-id", x->request_id);
	return reply;
}

struct reply *reply_of_head(const struct exchange *x, const vgw_answer_head *head)
{
	struct reply *reply = take_reply(x->worker, head->status, head->content_length);

	if (!reply)
		return NULL;
	reply->is_stream = head->is_stream != 0;
	cors_add(x, reply);
	for (size_t i = 0; i < head->header_count; i++)
		add(reply, head->headers[i].name, head->headers[i].name_len, head->headers[i].value,
			head->headers[i].value_len);
	return reply;
}

/* --- through MHD ---------------------------------------------------------------------------------------------- */

static bool add_headers(struct MHD_Response *response, const struct reply *reply)
{
	bool is_ok = true;

	for (size_t i = 0; i < reply->header_count; i++)
		is_ok = is_ok && MHD_add_response_header(response, reply->headers[i].name,
					 reply->headers[i].value) == MHD_YES;
	if (reply->must_close)
		is_ok = is_ok && MHD_add_response_header(response, "Connection", "close") == MHD_YES;
	return is_ok;
}

enum MHD_Result reply_queue(struct exchange *x, struct reply *reply, char *body, size_t len,
	void (*free_fn)(void *body))
{
	static char nothing[1];
	struct MHD_Response *response = NULL;
	enum MHD_Result result = MHD_NO;

	if (reply && (body || !len))
		response = body ? MHD_create_response_from_buffer_with_free_callback(len, body, free_fn)
				: MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
	if (!response && body)
		free_fn(body);
	if (response && (x->worker->is_draining || x->head.has_upgrade))
		reply->must_close = true;
	if (response && add_headers(response, reply)) {
		x->status = reply->status;
		result = MHD_queue_response(x->mhd, reply->status, response);
	}
	if (response)
		MHD_destroy_response(response);
	reply_free(x->worker, reply);
	return result;
}

static void add_fault_headers(struct reply *reply, const struct exchange *x, vgw_fault fault)
{
	int64_t wait_ms = x->retry_after_ms;
	char text[24];

	if (vgw_fault_get_info(fault)->http == 401)
		reply_add(reply, "WWW-Authenticate", "Bearer");
	if (fault == VGW_FAULT_UNSUPPORTED_CONTENT_ENCODING)
		reply_add(reply, "Accept-Encoding", DECODE_ACCEPTED);
	if (wait_ms) {
		(void)snprintf(text, sizeof(text), "%" PRId64, wait_ms);
		reply_add(reply, "retry-after-ms", text);
	}
	if (!wait_ms && fault == VGW_FAULT_SERVER_OVERLOADED)
		wait_ms = 1000; /* it passes, but nobody knows when */
	if (wait_ms) {
		(void)snprintf(text, sizeof(text), "%" PRId64, (wait_ms + 999) / 1000);
		reply_add(reply, "retry-after", text);
	}
}

enum MHD_Result reply_fault(struct exchange *x, vgw_fault fault, const char *why, const char *allow)
{
	const vgw_fault_info *info = vgw_fault_get_info(fault);
	struct reply *reply = reply_new(x, info->http, "application/json");
	char *body = vgw_fault_dup_body(fault, why, NULL);

	x->facts.fault = info->code;
	if (!reply || !body) {
		reply_free(x->worker, reply);
		vgw_free(body);
		return MHD_NO;
	}
	if (allow)
		reply_add(reply, "Allow", allow);
	add_fault_headers(reply, x, fault);
	reply->must_close = fault == VGW_FAULT_BAD_REQUEST || fault == VGW_FAULT_EXPECTATION_FAILED ||
			    fault == VGW_FAULT_UNSUPPORTED_CONTENT_ENCODING;
	return reply_queue(x, reply, body, strlen(body), vgw_free);
}

/* --- by ourselves --------------------------------------------------------------------------------------------- */

static const char *reason(uint32_t status)
{
	const char *text = MHD_get_reason_phrase_for(status);

	return text ? text : "Unknown";
}

char *reply_print_head(const struct reply *reply, bool is_chunked, bool is_close, size_t *len)
{
	/* each header's name and value carry a NUL in `text`, which makes room for two of the four bytes around them */
	size_t size = reply->text_len + 2 * reply->header_count + 256;
	char *text = malloc(size);
	size_t at;

	if (!text)
		return NULL;
	at = (size_t)snprintf(text, 128, "HTTP/1.1 %u %.64s\r\n", reply->status, reason(reply->status));
	for (size_t i = 0; i < reply->header_count; i++)
		at += (size_t)snprintf(text + at, size - at, "%s: %s\r\n", reply->headers[i].name,
			reply->headers[i].value);
	if (is_chunked)
		at += (size_t)snprintf(text + at, size - at, "transfer-encoding: chunked\r\n");
	else if (reply->content_length >= 0 && reply->status != 204) /* which may not have one */
		at += (size_t)snprintf(text + at, size - at, "content-length: %lld\r\n",
			(long long)reply->content_length);
	at += (size_t)snprintf(text + at, size - at, "%s\r\n", is_close ? "connection: close\r\n" : "");
	*len = at;
	return text;
}

char *reply_print_fault(const struct exchange *x, vgw_fault fault, const char *why, size_t *len)
{
	struct reply *reply = reply_new(x, vgw_fault_get_info(fault)->http, "application/json");
	char *body = vgw_fault_dup_body(fault, why, NULL);
	size_t head_len = 0;
	char *head = NULL, *text = NULL;

	if (reply && body) {
		add_fault_headers(reply, x, fault);
		reply->content_length = (int64_t)strlen(body);
		head = reply_print_head(reply, false, true, &head_len);
	}
	if (head)
		text = realloc(head, head_len + strlen(body));
	if (text) {
		memcpy(text + head_len, body, strlen(body));
		*len = head_len + strlen(body);
	} else {
		free(head);
	}
	reply_free(x->worker, reply);
	vgw_free(body);
	return text;
}
