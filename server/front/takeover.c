/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a connection over from libmicrohttpd.
 *
 * Why: MHD walks its whole list of suspended connections at every resume, and does not notice a client that
 * leaves while suspended. Ten thousand open streams make both unbearable. So a request that streams, or that
 * must wait, leaves MHD in its handler:
 *
 *   handler: dup(fd), *state = NULL, return MHD_NO ──► MHD closes its copy. With MHD_USE_TURBO it does so
 * without a shutdown, so the connection lives on in ours.
 *
 * From there on stream.c writes to it. */
#include "front/linger.h"
#include "front/stream.h"
#include "front/tls_client.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int dup_socket(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 3) : -1;
}

static bool open_stream(struct exchange *x)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return false;
	stream->fd = dup_socket(x->mhd);
	stream->watch.user = x;
	if (stream->fd < 0 || vgw_watch_add(x->worker->loop, &stream->watch, stream->fd, EPOLLRDHUP,
				      stream_on_event, NULL) != VGW_OK) {
		if (stream->fd >= 0)
			(void)close(stream->fd);
		free(stream);
		return false;
	}
	stream->tls = tls_client_ref(x->connection ? x->connection->tls : NULL);
	x->stream = stream;
	x->worker->stream_count++;
	link_append(&x->worker->streams, &x->link);
	return true;
}

/* What came before the take-over goes first. */
static void catch_up(struct exchange *x)
{
	bool was_full = x->answer_len > 0;

	if (!x->reply)
		return;
	stream_put_head(x);
	if (x->answer_len)
		(void)stream_data(x, x->answer, x->answer_len);
	free(x->answer);
	x->answer = NULL;
	x->answer_len = 0;
	x->answer_capacity = 0;
	x->stream->is_full = was_full;
}

enum MHD_Result stream_take_over(struct exchange *x, void **state)
{
	if (x->worker->stream_count >= x->worker->front->connections_each || !open_stream(x)) {
		exchange_cancel(x);
		return reply_fault(x, VGW_FAULT_SERVER_OVERLOADED, "too many streams are open", NULL);
	}
	*state = NULL;
	x->mhd = NULL;
	if (x->connection)
		x->connection->exchange = NULL;
	x->connection = NULL;
	catch_up(x);
	return MHD_NO;
}

enum MHD_Result stream_refuse(struct exchange *x, void **state, vgw_fault fault, const char *why)
{
	size_t len = 0;
	char *text = reply_print_fault(x, fault, why, &len);
	int fd = text ? dup_socket(x->mhd) : -1;

	if (fd >= 0) {
		*state = NULL;
		x->status = vgw_fault_get_info(fault)->http;
		x->facts.fault = vgw_fault_get_info(fault)->code;
		/* It is short and the first thing on this connection since the request: it fits the socket.
		 */
		(void)send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		linger_take(x->worker, fd, LINGER_BODY_BYTES);
		exchange_free(x);
	}
	free(text);
	return MHD_NO;
}
