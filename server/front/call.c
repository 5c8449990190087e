/* SPDX-License-Identifier: Apache-2.0 */
/* From a complete body to its answer.
 *
 *   vgw_worker_call() ─┬─ refused ──────────────► error through MHD
 *                      ├─ streams, or waits ────► taken over from MHD: takeover.c
 *                      └─ else: suspended in MHD
 *                            ├─ whole answer in one turn ──► queued with MHD, resumed
 *                            ├─ answer goes on ────────────► resumed, then taken over
 *                            └─ client leaves ─────────────► cancelled, resumed, closed by MHD */
#include "front/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { ANSWER_MAX_BYTES = 512 * 1024, WATCH_AFTER_US = 20000 };

/* --- suspended in MHD ----------------------------------------------------------------------------------------- */

void exchange_resume(struct exchange *x)
{
	if (!x->is_suspended)
		return;
	x->is_suspended = false;
	x->worker->suspended_count--;
	link_remove(&x->link);
	vgw_watch_remove(x->worker->loop, &x->client);
	MHD_resume_connection(x->mhd);
	worker_pump(x->worker);
}

static void suspend(struct exchange *x)
{
	MHD_suspend_connection(x->mhd);
	x->is_suspended = true;
	x->worker->suspended_count++;
	link_append(&x->worker->suspended, &x->link);
	sweep_arm(x->worker);
}

/* MHD does not look at a suspended connection. A half-closed one counts as gone, as everywhere. */
static void on_client(vgw_watch *watch, uint32_t events)
{
	struct exchange *x = watch->user;

	if (!(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	exchange_cancel(x);
	x->is_client_gone = true;
	(void)reply_fault(x, VGW_FAULT_CLIENT_CLOSED, NULL, NULL);
	exchange_resume(x);
}

/* Only of those that have been waiting for a while: most are answered before this costs anything. */
void exchanges_watch_clients(struct worker *worker)
{
	int64_t before_us = worker_now_ms(worker) * 1000 - WATCH_AFTER_US;

	for (struct link *at = worker->suspended.prev; at != &worker->suspended; at = at->prev) {
		struct exchange *x = LINK_OWNER(at, struct exchange, link);
		const union MHD_ConnectionInfo *info;

		if (x->client.is_added)
			break; /* all before it are watched already */
		if (x->begun_us > before_us || !x->call)
			continue;
		info = MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		x->client.user = x;
		if (!info || vgw_watch_add(worker->loop, &x->client, info->connect_fd, EPOLLRDHUP | EPOLLET,
				     on_client, NULL) != VGW_OK)
			break; /* no room in epoll: the next sweep tries again */
	}
}

/* --- the call's events ---------------------------------------------------------------------------------------- */

static void on_sent(void *user)
{
	exchange_forget_body(user);
}

static void convert(vgw_defer *defer)
{
	struct exchange *x = defer->user;

	x->wants_takeover = true;
	exchange_resume(x);
}

static void convert_later(struct exchange *x)
{
	x->convert.user = x;
	vgw_defer_call(x->worker->loop, &x->convert, convert);
}

static void on_head(void *user, const vgw_answer_head *head)
{
	struct exchange *x = user;

	if (x->is_committed)
		early_head(x, head);
	else if (x->stream)
		stream_head(x, head);
	else
		x->reply = reply_of_head(x, head);
	if (!x->stream && x->route->is_forward && head->content_length < 0)
		convert_later(x); /* its head need not wait for its body, which may be a stream */
}

static bool gather_answer(struct exchange *x, const void *data, size_t len)
{
	if (len > x->answer_capacity - x->answer_len) {
		size_t want = x->answer_len + len;
		char *bigger = realloc(x->answer, want);

		if (!bigger)
			return false;
		x->answer = bigger;
		x->answer_capacity = want;
	}
	memcpy(x->answer + x->answer_len, data, len);
	x->answer_len += len;
	return true;
}

static vgw_flow on_data(void *user, const void *data, size_t len)
{
	struct exchange *x = user;

	if (x->stream && !x->is_told_late)
		return stream_data(x, data, len);
	if (x->stream && x->answer_len + len > ANSWER_MAX_BYTES)
		return VGW_FLOW_GO; /* no error is so long; the rest of it is left out */
	if (!gather_answer(x, data, len))
		x->is_broken = true;
	if (x->stream)
		return VGW_FLOW_GO;
	convert_later(x);
	return x->answer_len >= ANSWER_MAX_BYTES ? VGW_FLOW_FULL : VGW_FLOW_GO;
}

/* Through MHD, whole. Without memory MHD closes the connection, which is what the client must see then. */
static enum MHD_Result queue_answer(struct exchange *x)
{
	struct reply *reply = x->reply;
	char *answer = x->answer;
	size_t len = x->answer_len;

	x->reply = NULL;
	x->answer = NULL;
	x->answer_len = 0;
	x->answer_capacity = 0;
	if (x->is_broken || !reply) {
		reply_free(x->worker, reply);
		free(answer);
		return MHD_NO;
	}
	return reply_queue(x, reply, answer, len, free);
}

static void on_end(void *user, const vgw_call_report *report)
{
	struct exchange *x = user;

	x->call = NULL;
	x->has_ended = true;
	if (x->worker->front->options.access_log)
		access_facts_fill(&x->facts, report);
	if (x->is_told_late) {
		early_end(x, report->is_clean != 0);
		return;
	}
	if (x->stream) {
		stream_end(x, report->is_clean != 0);
		return;
	}
	x->is_broken = x->is_broken || !report->is_clean;
	if (x->wants_takeover)
		return; /* the handler is about to be called, and finds it ended */
	vgw_defer_cancel(x->worker->loop, &x->convert);
	if (queue_answer(x) != MHD_YES)
		x->is_broken = true; /* the handler is called after the resume, and closes */
	exchange_resume(x);
}

static const vgw_call_events events = {
	.size = sizeof(vgw_call_events),
	.on_sent = on_sent,
	.on_head = on_head,
	.on_data = on_data,
	.on_end = on_end,
};

/* --- the handler ---------------------------------------------------------------------------------------------- */

static const char *keep_text(char **at, const char *text)
{
	size_t size = text ? strlen(text) + 1 : 0;
	char *copy = *at;

	if (!text)
		return NULL;
	memcpy(copy, text, size);
	*at += size;
	return copy;
}

/* Header values live in MHD's memory, which goes when the connection is taken over. */
static bool keep_texts(struct exchange *x, vgw_request *request)
{
	const struct request_head *head = &x->head;
	size_t size = 1;
	char *at;

	size += head->accept ? strlen(head->accept) + 1 : 0;
	size += head->traceparent ? strlen(head->traceparent) + 1 : 0;
	size += head->tracestate ? strlen(head->tracestate) + 1 : 0;
	size += request->path ? strlen(request->path) + 1 : 0;
	size += request->path && head->content_type ? strlen(head->content_type) + 1 : 0;
	x->texts = malloc(size);
	if (!x->texts)
		return false;
	at = x->texts;
	request->accept = keep_text(&at, head->accept);
	request->traceparent = keep_text(&at, head->traceparent);
	request->tracestate = keep_text(&at, head->tracestate);
	if (request->path) {
		request->path = keep_text(&at, request->path);
		request->content_type = keep_text(&at, head->content_type);
	}
	return true;
}

/* Other systems' requests become ours here. */
static vgw_fault rewrite(struct exchange *x, struct route_rewrite *made)
{
	vgw_fault fault = x->route->rewrite(x->worker->front->options.catalogue, x->route, x->body, x->body_len, made);

	if (fault != VGW_FAULT_NONE)
		return fault;
	free(x->body);
	x->body = made->body;
	x->body_len = strlen(made->body);
	x->body_capacity = x->body_len;
	return VGW_FAULT_NONE;
}

/* Where the operator chooses the one model there is, another name in a request is no mistake of its client. */
static enum MHD_Result refuse(struct exchange *x, const vgw_error *err)
{
	vgw_fault fault = vgw_error_get_fault(err);

	if (x->worker->front->options.is_aic && (fault == VGW_FAULT_MODEL_NOT_FOUND || fault == VGW_FAULT_MISSING_MODEL))
		return reply_fault(x, VGW_FAULT_NO_MODEL_LOADED, NULL, NULL);
	x->retry_after_ms = (int64_t)err->retry_after * 1000;
	return reply_fault(x, fault, err->text, NULL);
}

static enum MHD_Result take_over(struct exchange *x, void **state)
{
	enum MHD_Result result = stream_take_over(x, state);

	if (!*state)
		early_arm(x);
	return result;
}

static enum MHD_Result begin_call(struct exchange *x, void **state, vgw_request *request)
{
	vgw_error err = VGW_ERROR_INIT;

	request->body = x->body ? x->body : "";
	request->body_len = x->body_len;
	request->request_id = x->request_id;
	request->principal = x->principal;
	request->session = x->head.session;
	request->content_type = x->head.content_type;
	request->address = x->principal ? NULL : auth_get_address(x, x->address, sizeof(x->address));
	if (!keep_texts(x, request))
		return reply_fault(x, VGW_FAULT_OUT_OF_MEMORY, NULL, NULL);
	if (vgw_worker_call(&x->call, x->worker->gateway_worker, request, &events, x, &err) != VGW_OK)
		return refuse(x, &err);
	if (vgw_call_is_stream(x->call) || vgw_call_is_waiting(x->call) || x->is_head ||
		x->worker->suspended_count >= SUSPENDED_MAX)
		return take_over(x, state);
	suspend(x);
	return MHD_YES;
}

static enum MHD_Result forward(struct exchange *x, void **state, const char *url)
{
	vgw_request request = VGW_REQUEST_INIT;
	struct forward made = { .path = NULL };
	vgw_fault fault = forward_prepare(x, url, &made, &request);
	enum MHD_Result result = fault == VGW_FAULT_NONE ? begin_call(x, state, &request) : reply_fault(x, fault, NULL, NULL);

	free(made.path);
	return result;
}

enum MHD_Result exchange_call(struct exchange *x, void **state, const char *url)
{
	vgw_request request = VGW_REQUEST_INIT;
	struct route_rewrite made;

	if (x->route->is_forward)
		return forward(x, state, url);
	if (x->route->rewrite) {
		vgw_fault fault;

		made.why[0] = '\0';
		fault = rewrite(x, &made);
		if (fault != VGW_FAULT_NONE)
			return reply_fault(x, fault, made.why[0] ? made.why : NULL, NULL);
		request.model = made.model;
	}
	request.operation = x->route->operation;
	return begin_call(x, state, &request);
}

enum MHD_Result exchange_take_over_now(struct exchange *x, void **state)
{
	if (x->has_ended && !x->wants_takeover)
		return MHD_NO; /* its answer could not be queued */
	if (x->has_ended)
		return queue_answer(x);
	return stream_take_over(x, state);
}
