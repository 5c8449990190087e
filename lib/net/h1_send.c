/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: one head, composed here and nowhere else, and the caller's body segments, handed to the kernel without a
 * copy. The usual request goes out with one sendmsg(); only what does not fit is remembered. */
#include "net/h1.h"

#include "util/alloc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	SEGMENTS_AT_ONCE = 32,
	TURN_BYTES = 1 << 20, /* an engine that reads as fast as we write would otherwise have the loop for a whole body */
};

enum progress { ALL_SENT, BLOCKED, REFUSED };

/* --- the head ---------------------------------------------------------------------------------------------------- */

static bool append_text(struct vgw__buf *buf, const char *text)
{
	return vgw__buf_append(buf, text, strlen(text));
}

static bool append_header(struct vgw__buf *buf, const struct vgw__header *header)
{
	return vgw__buf_append(buf, header->name.data, header->name.len) && vgw__buf_append(buf, ": ", 2) &&
		vgw__buf_append(buf, header->value.data, header->value.len) && vgw__buf_append(buf, "\r\n", 2);
}

static bool append_length(struct vgw__buf *buf, const struct vgw__upstream_request *request)
{
	uint64_t length = 0;

	if (!request->has_body && strcmp(request->method, "POST") != 0)
		return append_text(buf, "\r\n");
	for (size_t i = 0; request->has_body && i < request->body_count; i++)
		length += request->body[i].len;
	return append_text(buf, "Content-Length: ") && vgw__buf_append_count(buf, length) &&
		append_text(buf, "\r\n\r\n");
}

vgw_status vgw__h1_compose(struct vgw__h1 *h1, const struct vgw__upstream_request *request, vgw_error *err)
{
	struct vgw__buf *buf = &h1->request_head;
	bool is_fine;

	vgw__buf_reset(buf);
	is_fine = append_text(buf, request->method) && append_text(buf, " ") &&
		append_text(buf, request->endpoint->base_path) && append_text(buf, request->path) &&
		append_text(buf, " HTTP/1.1\r\nHost: ") && append_text(buf, request->endpoint->authority) &&
		append_text(buf, "\r\n");
	for (size_t i = 0; is_fine && i < request->header_count; i++)
		is_fine = append_header(buf, &request->headers[i]);
	if (is_fine && append_length(buf, request))
		return VGW_OK;
	return vgw_error_set(err, VGW_INVALID, 0, "the request's headers take more than %d bytes",
		(int)VGW__H1_REQUEST_HEAD_BYTES);
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

static int fill_segments(struct iovec *segments, const char *head, size_t head_len,
	const struct vgw__upstream_request *request, const struct vgw__h1_sent *sent, size_t room)
{
	size_t body_count = request->has_body ? request->body_count : 0;
	size_t offset = sent->offset;
	int count = 0;

	if (sent->head < head_len)
		segments[count++] = (struct iovec){ (char *)head + sent->head, head_len - sent->head };
	for (size_t i = sent->segment; i < body_count && count < SEGMENTS_AT_ONCE && room; i++) {
		const struct vgw__span *span = &request->body[i];
		size_t len = span->len - offset < room ? span->len - offset : room;

		if (len)
			segments[count++] = (struct iovec){ (char *)span->data + offset, len };
		room -= len;
		offset = 0;
	}
	return count;
}

static void count_sent(struct vgw__h1_sent *sent, size_t head_len, const struct vgw__upstream_request *request,
	size_t bytes)
{
	size_t take = head_len - sent->head < bytes ? head_len - sent->head : bytes;

	sent->head += take;
	bytes -= take;
	while (bytes) {
		size_t left = request->body[sent->segment].len - sent->offset;

		if (bytes < left) {
			sent->offset += bytes;
			return;
		}
		bytes -= left;
		sent->segment++;
		sent->offset = 0;
	}
}

/* A write that took less than was offered means a full socket: the next one would only say EAGAIN. BLOCKED is also who
 * has had its turn: the next one comes at once, and what else has happened comes first. */
static enum progress send_some(struct vgw__h1_conn *conn, const char *head, size_t head_len,
	const struct vgw__upstream_request *request, struct vgw__h1_sent *sent)
{
	struct iovec segments[SEGMENTS_AT_ONCE];
	size_t room = TURN_BYTES;

	for (;;) {
		struct msghdr message = { .msg_iov = segments };
		int count = fill_segments(segments, head, head_len, request, sent, room);
		size_t offered = 0;
		ssize_t written;

		if (!count)
			return ALL_SENT;
		for (int i = 0; i < count; i++)
			offered += segments[i].iov_len;
		message.msg_iovlen = (size_t)count;
		written = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno == EAGAIN ? BLOCKED : REFUSED;
		count_sent(sent, head_len, request, (size_t)written);
		if ((size_t)written < offered)
			return BLOCKED;
		room = room > (size_t)written ? room - (size_t)written : 0;
		if (!room)
			return fill_segments(segments, head, head_len, request, sent, 1) ? BLOCKED : ALL_SENT;
	}
}

/* The engine may have answered before it stopped to listen: what it said is read before the call ends. */
static void stop_sending(struct vgw__h1_conn *conn, int sys_errno)
{
	if (sys_errno != EPIPE && sys_errno != ECONNRESET)
		vgw__h1_fail_later(conn, VGW__OUTCOME_FAILED, sys_errno, "the request could not be sent");
}

bool vgw__h1_postpone(struct vgw__h1_conn *conn, const struct vgw__upstream_request *request,
	const struct vgw__h1_sent *sent)
{
	const struct vgw__buf *head = &vgw__h1_of(conn)->request_head;
	struct vgw__h1_send *send = vgw__alloc(sizeof(*send) + head->len);

	if (!send)
		return false;
	send->request = *request;
	send->sent = *sent;
	send->head_len = head->len;
	memcpy(send->head, head->data, head->len);
	conn->send = send;
	return true;
}

bool vgw__h1_send_now(struct vgw__h1_conn *conn, const struct vgw__upstream_request *request)
{
	const struct vgw__buf *head = &vgw__h1_of(conn)->request_head;
	struct vgw__h1_sent sent = { 0 };

	switch (send_some(conn, head->data, head->len, request, &sent)) {
	case ALL_SENT:
		conn->is_sent = true;
		return true;
	case BLOCKED:
		if (!vgw__h1_postpone(conn, request, &sent))
			return false;
		if (!vgw__h1_listen(conn))
			vgw__h1_fail_later(conn, VGW__OUTCOME_FAILED, 0, "epoll refused the connection");
		return true;
	case REFUSED:
		stop_sending(conn, errno);
		return true;
	}
	return true;
}

void vgw__h1_tell_sent(struct vgw__h1_conn *conn)
{
	if (conn->events->on_sent)
		conn->events->on_sent(conn->user);
}

void vgw__h1_send_more(struct vgw__h1_conn *conn)
{
	struct vgw__h1_send *send = conn->send;

	switch (send_some(conn, send->head, send->head_len, &send->request, &send->sent)) {
	case ALL_SENT:
		conn->is_sent = true;
		if (conn->state == VGW__H1_BODY) /* the answer was faster than the request */
			vgw__h1_tell_sent(conn);
		break;
	case BLOCKED:
		return;
	case REFUSED:
		stop_sending(conn, errno);
		break;
	}
	vgw__free(send);
	conn->send = NULL;
}
