/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams that are answered before their model is there: a client behind an impatient proxy sees at once that it
 * is served, and how long it will take. The price is the status, which cannot tell of a failure any more.
 *
 *   taken over, waiting ── GRACE ──► 200, ": loading big, position 2, eta 14 s" ── heartbeats ──┬─► the engine's events
 *          └── refused meanwhile: an honest status                                              └─► an error event, a bad end */
#include "front/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { GRACE_MS = 100 }; /* what is refused, or granted, at once needs none of this */

static bool is_comment(const struct exchange *x)
{
	const char *style = x->worker->front->options.heartbeat;

	return style && style[0] == ':';
}

void early_tell_wait(struct exchange *x)
{
	vgw_call_wait wait = { .size = sizeof(wait) };
	char text[700];
	int len = 0;

	if (!is_comment(x) || !vgw_call_get_wait(x->call, &wait)) {
		if (x->worker->front->options.heartbeat)
			(void)stream_data(x, x->worker->front->options.heartbeat,
				strlen(x->worker->front->options.heartbeat));
		return;
	}
	if (wait.eta_ms >= 0)
		len = snprintf(text, sizeof(text), ": loading %.512s, position %u, eta %lld s\n\n", wait.model,
			(unsigned)wait.position, (long long)((wait.eta_ms + 999) / 1000));
	else
		len = snprintf(text, sizeof(text), ": loading %.512s, position %u\n\n", wait.model,
			(unsigned)wait.position);
	(void)stream_data(x, text, (size_t)len);
}

static void on_grace(vgw_timer *timer)
{
	struct exchange *x = timer->user;
	struct reply *reply;

	if (!x->call || x->reply || x->status || !vgw_call_is_waiting(x->call))
		return;
	reply = reply_new(x, 200, "text/event-stream");
	if (!reply)
		return; /* no memory: the answer comes when it comes */
	reply_add(reply, "cache-control", "no-cache");
	reply_add(reply, "x-accel-buffering", "no");
	reply->is_stream = true;
	x->reply = reply;
	x->is_committed = true;
	stream_put_head(x);
	reply_free(x->worker, x->reply);
	x->reply = NULL;
	early_tell_wait(x);
}

void early_arm(struct exchange *x)
{
	if (!x->stream || !x->call || !vgw_call_is_stream(x->call) || !vgw_call_is_waiting(x->call) ||
		!(x->worker->front->options.is_early || x->route->is_early))
		return;
	x->stream->grace.user = x;
	if (vgw_timer_start(x->worker->loop, &x->stream->grace, worker_now_ms(x->worker) + GRACE_MS, on_grace) != VGW_OK)
		return; /* as above */
}

/* The other model's name came too late for a header. */
static void tell_fallback(struct exchange *x, const vgw_answer_head *head)
{
	char text[320];

	for (size_t i = 0; i < head->header_count && is_comment(x); i++) {
		const vgw_header *header = &head->headers[i];
		int len;

		if (header->name_len != 17 || strncasecmp(header->name, "x-vllmgw-fallback", 17) != 0)
			continue;
		len = snprintf(text, sizeof(text), ": fallback %.*s\n\n", (int)header->value_len, header->value);
		if (len > 0 && (size_t)len < sizeof(text))
			(void)stream_data(x, text, (size_t)len);
	}
}

void early_head(struct exchange *x, const vgw_answer_head *head)
{
	x->is_told_late = head->status != 200 || !head->is_stream;
	if (x->is_told_late)
		x->late_status = head->status;
	else
		tell_fallback(x, head);
}

/* JSON on one line: line breaks in it are whitespace. */
static bool print_event(struct exchange *x, char **event, size_t *len)
{
	*len = x->answer_len + 8;
	*event = malloc(*len);
	if (!*event)
		return false;
	memcpy(*event, "data: ", 6);
	for (size_t i = 0; i < x->answer_len; i++)
		(*event)[6 + i] = (char)(x->answer[i] == '\n' || x->answer[i] == '\r' ? ' ' : x->answer[i]);
	memcpy(*event + *len - 2, "\n\n", 2);
	return true;
}

void early_end(struct exchange *x, bool is_clean)
{
	char *event;
	size_t len;

	if (x->answer_len && print_event(x, &event, &len)) {
		(void)stream_data(x, event, len);
		free(event);
	}
	stream_end(x, is_clean && x->late_status < 300);
}
