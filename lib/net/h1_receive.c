/* SPDX-License-Identifier: Apache-2.0 */
/* Answers. All connections of a transport read into one buffer; what is in it is handed on before anything else is
 * read, so that a connection keeps bytes of its own only while its head is incomplete.
 *
 *   recv ──► input ──► (head, once it is complete) ──► on_head
 *                └───► body decoder ──► on_data, one call for each piece ──► on_end
 *
 * Every callback may cancel this call, which frees the connection: h1->current tells. */
#include "net/h1.h"

#include "util/alloc.h"

#include <errno.h>
#include <string.h>

/* --- the body ---------------------------------------------------------------------------------------------------- */

static void read_body(struct vgw__h1_conn *conn, const char *data, size_t len)
{
	struct vgw__h1 *h1 = vgw__h1_of(conn);

	for (;;) {
		struct vgw__span payload;
		size_t used;
		enum vgw__h1_step step = vgw__h1_body_next(&conn->body, data, len, &used, &payload);

		data += used;
		len -= used;
		if (step == VGW__H1_MORE)
			break;
		if (step == VGW__H1_BAD) {
			vgw__h1_finish(conn, VGW__OUTCOME_BAD, 0, "the answer's chunked body is malformed");
			return;
		}
		if (step == VGW__H1_DONE) {
			if (len)
				conn->is_last = true; /* it said more than it was asked */
			vgw__h1_finish(conn, VGW__OUTCOME_COMPLETE, 0, "complete");
			return;
		}
		if (conn->events->on_data(conn->user, payload.data, payload.len) == VGW__FLOW_FULL && h1->current == conn)
			conn->is_paused = true;
		if (h1->current != conn)
			return;
	}
	if (!vgw__h1_listen(conn))
		vgw__h1_finish(conn, VGW__OUTCOME_FAILED, 0, "epoll refused the connection");
}

/* --- the head ---------------------------------------------------------------------------------------------------- */

/* True: go on with the body. False: the call has ended or was cancelled. */
static bool begin_body(struct vgw__h1_conn *conn, const struct vgw__h1_head *head)
{
	struct vgw__h1 *h1 = vgw__h1_of(conn);
	struct vgw__response_head response = {
		.status = head->status,
		.headers = h1->headers,
		.header_count = head->header_count,
		.content_length = head->announced,
	};

	vgw__h1_body_init(&conn->body, head);
	if (head->is_last)
		conn->is_last = true;
	conn->state = VGW__H1_BODY;
	if (conn->is_sent)
		vgw__h1_tell_sent(conn);
	conn->events->on_head(conn->user, &response);
	return h1->current == conn;
}

/* Find the answer's head behind any number of 1xx heads. DONE: *data and *len are what follows it. */
static enum vgw__h1_step find_head(struct vgw__h1_conn *conn, char **data, size_t *len, struct vgw__h1_head *head,
	const char **why)
{
	for (;;) {
		size_t scanned = conn->scanned;
		enum vgw__h1_step step = vgw__h1_scan_head(*data, *len, &scanned, why);

		conn->scanned = (uint32_t)scanned;
		if (step == VGW__H1_DONE)
			step = vgw__h1_parse_head(*data, scanned, conn->is_head_request, vgw__h1_of(conn)->headers, head, why);
		if (step != VGW__H1_DONE)
			return step;
		*data += scanned;
		*len -= scanned;
		conn->scanned = 0;
		if (head->status >= 200)
			return VGW__H1_DONE;
		if (++conn->interim_count > VGW__H1_INTERIM_ANSWERS) {
			*why = "the answer has too many 1xx heads before it";
			return VGW__H1_BAD;
		}
	}
}

/* Keep the beginning of a head until more comes, in the buffer that it already lies in, if it does. */
static bool hold(struct vgw__h1_conn *conn, struct vgw__buf *held, const char *data, size_t len)
{
	conn->head = held;
	if (held) {
		vgw__buf_consume(held, (size_t)(data - held->data));
		return true;
	}
	if (!len)
		return true;
	conn->head = vgw__alloc(sizeof(*conn->head));
	if (!conn->head)
		return false;
	vgw__buf_init(conn->head, VGW__H1_HEAD_BYTES + VGW__H1_READ_BYTES);
	return vgw__buf_append(conn->head, data, len);
}

static void read_head(struct vgw__h1_conn *conn, char *data, size_t len)
{
	struct vgw__buf *held = conn->head;
	struct vgw__h1_head head;
	const char *why = NULL;

	conn->head = NULL; /* a callback may free the connection: what it reads must survive that */
	if (held) {
		if (!vgw__buf_append(held, data, len)) {
			vgw__h1_finish(conn, VGW__OUTCOME_FAILED, 0, "out of memory");
			goto done;
		}
		data = held->data;
		len = held->len;
	}
	switch (find_head(conn, &data, &len, &head, &why)) {
	case VGW__H1_DONE:
		if (begin_body(conn, &head))
			read_body(conn, data, len);
		break;
	case VGW__H1_MORE:
		if (hold(conn, held, data, len))
			return;
		vgw__h1_finish(conn, VGW__OUTCOME_FAILED, 0, "out of memory");
		break;
	case VGW__H1_BAD:
	case VGW__H1_DATA:
		vgw__h1_finish(conn, VGW__OUTCOME_BAD, 0, why);
		break;
	}
done:
	if (held)
		vgw__buf_fini(held);
	vgw__free(held);
}

/* --- one read ---------------------------------------------------------------------------------------------------- */

static void on_closed(struct vgw__h1_conn *conn, int sys_errno)
{
	if (!conn->has_answer)
		vgw__h1_finish(conn, VGW__OUTCOME_LOST, sys_errno, "the engine closed the connection before it answered");
	else if (conn->state == VGW__H1_BODY && !sys_errno && vgw__h1_body_may_end(&conn->body))
		vgw__h1_finish(conn, VGW__OUTCOME_COMPLETE, 0, "complete");
	else
		vgw__h1_finish(conn, VGW__OUTCOME_TRUNCATED, sys_errno, "the engine closed the connection inside its answer");
}

void vgw__h1_receive(struct vgw__h1_conn *conn, uint32_t events)
{
	struct vgw__h1 *h1 = vgw__h1_of(conn);
	ssize_t got;

	do {
		got = recv(conn->fd, h1->input, sizeof(h1->input), MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		on_closed(conn, got < 0 ? errno : 0);
		return;
	}
	conn->has_answer = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->is_last = true; /* closed behind these bytes: it would be lost on the next call */
	h1->current = conn;
	if (conn->state == VGW__H1_HEAD)
		read_head(conn, h1->input, (size_t)got);
	else
		read_body(conn, h1->input, (size_t)got);
	h1->current = NULL;
}
