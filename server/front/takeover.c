/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a connection over from libmicrohttpd, and giving it back.
 *
 * Why: MHD walks its whole list of suspended connections at every resume, and does not notice a client that
 * leaves while suspended. Ten thousand open streams make both unbearable. So a request that streams, or that
 * must wait, leaves MHD in its handler:
 *
 *   handler: dup(fd), *state = NULL, return MHD_NO ──► MHD closes its copy. With MHD_USE_TURBO it does so
 * without a shutdown, so the connection lives on in ours.
 *
 * From there on stream.c writes to it. When the answer has ended properly, MHD is given the descriptor like one just
 * accepted, and the client's next request finds its connection (and its TLS session) alive:
 *
 *   stream.c: the end is sent ──► MHD_add_connection(fd) ──► a new MHD connection, idle
 *
 * What MHD had read beyond the request, the beginning of a next one sent early, is lost at the take-over. So the bytes
 * that it took from the socket are compared with the length of the requests: unless they are the same, the answer says
 * that the connection ends with it. */
#include "front/linger.h"
#include "front/stream.h"
#include "front/tls_client.h"

#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int dup_socket(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? fcntl(info->connect_fd, F_DUPFD_CLOEXEC, 3) : -1;
}

/* How many bytes the client has sent on this connection, as far as MHD took them. The kernel does not count those of
 * Unix sockets; ours towards TLS we count ourselves. */
static bool count_read(const struct connection *connection, uint64_t *count)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int unread = 0;

	if (ioctl(connection->fd, FIONREAD, &unread) != 0) /* first: what comes meanwhile must not look as if read */
		return false;
	if (connection->tls)
		*count = tls_client_get_given_bytes(connection->tls);
	else if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
		 len >= offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received))
		*count = info.tcpi_bytes_received;
	else
		return false;
	*count -= (uint64_t)unread;
	return true;
}

/* May the next request come on it? MHD's daemon for it; NULL: no. */
static struct MHD_Daemon *find_way_back(const struct exchange *x)
{
	const struct connection *connection = x->connection;
	const union MHD_ConnectionInfo *info;
	uint64_t count = 0;

	if (!connection || connection->is_uncounted || x->head.is_http10 || x->head.is_last || x->head.has_upgrade ||
		!count_read(connection, &count) || count != connection->asked_bytes)
		return NULL;
	info = MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_DAEMON);
	return info ? info->daemon : NULL;
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
	stream->daemon = find_way_back(x);
	stream->asked_bytes = x->connection ? x->connection->asked_bytes : 0;
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

void stream_give_back(struct exchange *x)
{
	struct worker *worker = x->worker;
	struct MHD_Daemon *daemon = x->stream->daemon;
	struct returning returning = { .asked_bytes = x->stream->asked_bytes, .tls = tls_client_ref(x->stream->tls) };
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);

	returning.fd = stream_detach(x);
	exchange_free(x);
	if (getpeername(returning.fd, (struct sockaddr *)&address, &len) == 0) {
		worker->returning = &returning;
		(void)MHD_add_connection(daemon, returning.fd, (struct sockaddr *)&address, len); /* or closes it */
		worker->returning = NULL;
		worker_pump(worker);
	} else {
		(void)close(returning.fd); /* the client has just left */
	}
	tls_client_unref(returning.tls);
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
