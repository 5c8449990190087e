/* SPDX-License-Identifier: Apache-2.0 */
/* See upcall.h. */
#include "testing.h"

#include "upcall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEADLINE_MS = 20000 };

static void on_sent(void *user)
{
	struct upcall *call = user;

	call->sent_count++;
	assert_int_equal(call->end_count, 0);
}

static void on_head(void *user, const struct vgw__response_head *head)
{
	struct upcall *call = user;
	size_t at = 0;

	call->head_count++;
	call->status = head->status;
	call->content_length = head->content_length;
	for (size_t i = 0; i < head->header_count && at < sizeof(call->header); i++)
		at += (size_t)snprintf(call->header + at, sizeof(call->header) - at, "%.*s=%.*s;",
			(int)head->headers[i].name.len, head->headers[i].name.data,
			(int)head->headers[i].value.len, head->headers[i].value.data);
	if (call->head_hook)
		call->head_hook(call);
}

static enum vgw__flow on_data(void *user, const char *data, size_t len)
{
	struct upcall *call = user;

	assert_int_not_equal(len, 0);
	call->data_count++;
	if (!call->is_body_dropped) {
		call->body = realloc(call->body, call->body_len + len + 1);
		assert_non_null(call->body);
		memcpy(call->body + call->body_len, data, len);
		call->body[call->body_len + len] = '\0';
	}
	call->body_len += len;
	if (call->data_hook)
		call->data_hook(call);
	return call->full_at && call->body_len >= call->full_at ? VGW__FLOW_FULL : VGW__FLOW_GO;
}

static void on_end(void *user, const struct vgw__upstream_result *result)
{
	struct upcall *call = user;

	call->end_count++;
	call->result = *result;
	call->handle = NULL;
	if (call->end_hook)
		call->end_hook(call);
}

const struct vgw__upstream_events upcall_events = { on_sent, on_head, on_data, on_end };

void upcall_start(struct upcall *call, struct vgw__transport *transport,
	const struct vgw__upstream_request *request)
{
	vgw_error err = VGW_ERROR_INIT;

	call->transport = transport;
	if (vgw__upstream_start(transport, &call->handle, request, &upcall_events, call, &err) != VGW_OK)
		fail_msg("start: %s", err.text);
	assert_non_null(call->handle);
	assert_int_equal(call->end_count, 0);
}

void upcall_cancel(struct upcall *call)
{
	vgw__upstream_cancel(call->handle);
	call->handle = NULL;
}

void upcall_fini(struct upcall *call)
{
	free(call->body);
	memset(call, 0, sizeof(*call));
}

void upcall_run_until(vgw_loop *loop, const int *value, int want)
{
	int64_t deadline_ms = vgw_now_ms() + DEADLINE_MS;

	while (*value < want) {
		assert_true(vgw_now_ms() < deadline_ms);
		assert_int_equal(vgw_loop_run_once(loop, 1000, NULL), VGW_OK);
	}
}

void upcall_finish(vgw_loop *loop, struct upcall *call)
{
	upcall_run_until(loop, &call->end_count, 1);
	assert_int_equal(call->end_count, 1);
}
