/* SPDX-License-Identifier: Apache-2.0 */
/* Writing an answer to a connection taken over from libmicrohttpd.
 *
 *   on_data ──► out (framed) ──┬─ end of the turn ──► send
 *                  │           └─ socket full ──► wait for EPOLLOUT
 *                  └─ over HIGH_WATER ──► VGW_FLOW_FULL ... below LOW_WATER ──► vgw_call_resume()
 *   EPOLLRDHUP ──► the client is gone ──► vgw_call_cancel()
 *
 * After an answer that ended properly MHD has the connection back (takeover.c), if it may. */
#include "front/stream.h"
#include "front/linger.h"
#include "front/tls_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HIGH_WATER_BYTES = 64 * 1024, /* a stream holds at most this and what one upstream read brings */
	LOW_WATER_BYTES = 16 * 1024,
	KEPT_BYTES = 512, /* an idle stream keeps no larger buffer */
	CHUNK_HEAD_BYTES = 20,
};

/* --- the end
 * -------------------------------------------------------------------------------------------------- */

int stream_detach(struct exchange *x)
{
	struct stream *stream = x->stream;
	vgw_loop *loop = x->worker->loop;
	int fd = stream->fd;

	vgw_watch_remove(loop, &stream->watch);
	vgw_defer_cancel(loop, &stream->flush);
	vgw_timer_cancel(loop, &stream->stall);
	tls_client_unref(stream->tls);
	vgw_timer_cancel(loop, &stream->grace);
	free(stream->out);
	free(stream);
	x->stream = NULL;
	x->worker->stream_count--;
	return fd;
}

/* A reset, where a plain end could be taken for the end of the answer. */
static void cut(struct exchange *x)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};
	int fd;

	tls_client_cut(x->stream->tls);
	fd = stream_detach(x);
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	(void)close(fd);
	exchange_free(x);
}

/* The end of the connection without a reset: what was sent arrives. */
static void close_gently(struct exchange *x)
{
	struct worker *worker = x->worker;

	linger_take(worker, stream_detach(x), 0);
	exchange_free(x);
}

static void finish(struct exchange *x)
{
	bool is_visible =
		x->stream->is_clean || x->stream->is_chunked || (x->reply && x->reply->content_length >= 0);

	if (x->stream->is_kept && x->stream->is_clean && !x->worker->is_draining)
		stream_give_back(x);
	else if (is_visible)
		close_gently(x);
	else
		cut(x);
}

static void on_stall(vgw_timer *timer)
{
	struct exchange *x = timer->user;

	x->is_client_gone = true;
	cut(x);
}

/* --- writing
 * -------------------------------------------------------------------------------------------------- */

static bool append(struct stream *stream, const void *data, size_t len)
{
	if (len > stream->capacity - stream->len) {
		size_t want = stream->capacity ? stream->capacity * 2 : KEPT_BYTES;
		char *bigger;

		while (want < stream->len + len)
			want *= 2;
		bigger = realloc(stream->out, want);
		if (!bigger)
			return false;
		stream->out = bigger;
		stream->capacity = want;
	}
	memcpy(stream->out + stream->len, data, len);
	stream->len += len;
	return true;
}

static void drop_sent(struct stream *stream)
{
	if (stream->sent == stream->len) {
		stream->len = 0;
		if (stream->capacity > KEPT_BYTES) {
			free(stream->out);
			stream->out = NULL;
			stream->capacity = 0;
		}
	} else {
		memmove(stream->out, stream->out + stream->sent, stream->len - stream->sent);
		stream->len -= stream->sent;
	}
	stream->sent = 0;
}

/* 0: everything is out; 1: the socket is full; -1: the connection is gone. */
static int send_out(struct stream *stream)
{
	while (stream->sent < stream->len) {
		ssize_t sent = send(stream->fd, stream->out + stream->sent, stream->len - stream->sent,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0)
			stream->sent += (size_t)sent;
		else if (errno == EAGAIN)
			return 1;
		else if (errno != EINTR)
			return -1;
	}
	return 0;
}

/* A full socket has write_timeout to take something; progress starts the time anew. */
static bool wait_for_room(struct exchange *x)
{
	struct stream *stream = x->stream;
	vgw_loop *loop = x->worker->loop;

	stream->stall.user = x;
	return vgw_watch_set(loop, &stream->watch, EPOLLRDHUP | EPOLLOUT) == VGW_OK &&
	       vgw_timer_start(loop, &stream->stall,
		       worker_now_ms(x->worker) + x->worker->front->options.write_timeout_ms,
		       on_stall) == VGW_OK;
}

static void write_more(struct exchange *x)
{
	struct stream *stream = x->stream;
	int result = stream->is_broken ? -1 : send_out(stream);

	if (result == 1 && (stream->sent || !vgw_timer_is_armed(&stream->stall)) && !wait_for_room(x))
		result = -1;
	if (result < 0) {
		x->is_client_gone = !stream->is_broken;
		cut(x);
		return;
	}
	drop_sent(stream);
	if (result == 0) {
		vgw_timer_cancel(x->worker->loop, &stream->stall);
		(void)vgw_watch_set(x->worker->loop, &stream->watch, EPOLLRDHUP);
		if (stream->is_ending) {
			finish(x);
			return;
		}
	}
	if (stream->is_full && stream->len <= LOW_WATER_BYTES) {
		stream->is_full = false;
		if (x->call)
			vgw_call_resume(x->call);
		if (x->errand)
			errand_set_full(x->errand, false);
	}
}

static void on_flush(vgw_defer *defer)
{
	write_more(defer->user);
}

void stream_on_event(vgw_watch *watch, uint32_t events)
{
	struct exchange *x = watch->user;

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		x->is_client_gone = !x->has_ended;
		cut(x);
		return;
	}
	if (events & EPOLLOUT)
		write_more(x);
}

static void flush_later(struct exchange *x)
{
	x->stream->flush.user = x;
	vgw_defer_call(x->worker->loop, &x->stream->flush, on_flush);
}

/* --- the call's events
 * ---------------------------------------------------------------------------------------- */

void stream_put_head(struct exchange *x)
{
	struct stream *stream = x->stream;
	struct reply *reply = x->reply;
	char *head;
	size_t len;

	if (!reply) {
		stream->is_broken = true;
		return;
	}
	x->status = reply->status;
	stream->is_event_stream = reply->is_stream;
	stream->is_between = true;
	stream->heard_ms = worker_now_ms(x->worker);
	if (reply->is_stream && x->call)
		heartbeat_arm(x->worker);
	stream->is_chunked = reply->content_length < 0 && !x->head.is_http10 && !x->is_head && reply->status != 204 &&
			     reply->status != 304;
	stream->is_kept = stream->daemon && !x->worker->is_draining && !reply->must_close &&
		(stream->is_chunked || reply->content_length >= 0);
	head = reply_print_head(reply, stream->is_chunked, !stream->is_kept, &len);
	if (!head || !append(stream, head, len))
		stream->is_broken = true;
	free(head);
	flush_later(x);
}

void stream_head(struct exchange *x, const vgw_answer_head *head)
{
	x->reply = reply_of_head(x, head);
	stream_put_head(x);
	if (x->reply && x->reply->content_length < 0) {
		reply_free(x->worker, x->reply); /* an open stream needs it no more */
		x->reply = NULL;
	}
}

static size_t put_chunk_head(char *text, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char reversed[16];
	size_t count = 0, at = 0;

	do {
		reversed[count++] = digits[len & 15];
		len >>= 4;
	} while (len);
	while (count)
		text[at++] = reversed[--count];
	text[at++] = '\r';
	text[at++] = '\n';
	return at;
}

vgw_flow stream_data(struct exchange *x, const void *data, size_t len)
{
	struct stream *stream = x->stream;
	char chunk[CHUNK_HEAD_BYTES];
	bool is_ok = true;

	if (x->is_head)
		return VGW_FLOW_GO;
	if (stream->is_chunked)
		is_ok = append(stream, chunk, put_chunk_head(chunk, len));
	is_ok = is_ok && append(stream, data, len);
	if (stream->is_chunked)
		is_ok = is_ok && append(stream, "\r\n", 2);
	stream->is_broken = stream->is_broken || !is_ok;
	stream->is_between = len > 1 && memcmp((const char *)data + len - 2, "\n\n", 2) == 0;
	stream->heard_ms = worker_now_ms(x->worker);
	flush_later(x);
	stream->is_full = stream->len - stream->sent >= HIGH_WATER_BYTES;
	return stream->is_full ? VGW_FLOW_FULL : VGW_FLOW_GO;
}

void stream_end(struct exchange *x, bool is_clean)
{
	struct stream *stream = x->stream;

	stream->is_ending = true;
	stream->is_clean = is_clean;
	x->is_broken = !is_clean;
	if (is_clean && stream->is_chunked && !append(stream, "0\r\n\r\n", 5))
		stream->is_broken = true;
	flush_later(x);
}

/* Only between two events, and not to clients that are slow. */
void streams_beat(struct worker *worker, const char *text, int64_t before_ms)
{
	for (struct link *at = worker->streams.next; at != &worker->streams; at = at->next) {
		struct exchange *x = LINK_OWNER(at, struct exchange, link);
		const struct stream *stream = x->stream;

		if (x->call && stream->is_event_stream && stream->is_between &&
			stream->heard_ms <= before_ms && !stream->is_full && !stream->len) {
			if (x->is_committed && vgw_call_is_waiting(x->call))
				early_tell_wait(x);
			else
				(void)stream_data(x, text, strlen(text));
		}
	}
}

/* At the end of the drain: an event that says why, as far as the sockets take it, and the cut. */
void streams_stop(struct worker *worker)
{
	for (struct link *at = worker->streams.next; at != &worker->streams; at = at->next) {
		struct exchange *x = LINK_OWNER(at, struct exchange, link);
		char *body = vgw_fault_dup_body(VGW_FAULT_SHUTTING_DOWN, NULL, NULL);
		char event[512];
		int len;

		x->is_broken = true;
		x->facts.fault = vgw_fault_get_info(VGW_FAULT_SHUTTING_DOWN)->code;
		if (x->stream->is_event_stream && !x->has_ended && body) {
			len = snprintf(event, sizeof(event), "\n\ndata: %s\n\n", body);
			if (len > 0 && (size_t)len < sizeof(event))
				(void)stream_data(x, event, (size_t)len);
		} else if (!x->status) {
			size_t size = 0;
			char *text = reply_print_fault(x, VGW_FAULT_SHUTTING_DOWN, NULL, &size);

			x->status = vgw_fault_get_info(VGW_FAULT_SHUTTING_DOWN)->http;
			if (text)
				(void)append(x->stream, text, size);
			free(text);
		}
		vgw_free(body);
		(void)send_out(x->stream);
	}
	while (!link_is_empty(&worker->streams))
		close_gently(LINK_OWNER(worker->streams.next, struct exchange, link));
}

void streams_cut(struct worker *worker)
{
	while (!link_is_empty(&worker->streams))
		cut(LINK_OWNER(worker->streams.next, struct exchange, link));
}
