/* SPDX-License-Identifier: Apache-2.0 */
/* Quirks of libmicrohttpd by version. Everything else of the front relies on documented behaviour of all of them. */
#include "front/mhd_compat.h"

#include "front/mhd_version.h"
#include "front/tls_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* A daemon of ours belongs to one thread; and a connection that is added must be begun with at once, for
 * stream_give_back(), which 1.0 does only if told this. 0.9.75 does so anyway, and does not know the flag. */
enum { SINGLE_THREADED = 1 << 19 };

/* Asked of the library found at run time: all have one soname. "1.0.1": the major number tells. */
static bool is_1_0(void)
{
	return strtol(MHD_get_version(), NULL, 10) >= 1;
}

/* Paths are compared as they are sent: no %HH is decoded. */
static size_t keep_escapes(void *user, struct MHD_Connection *connection, char *text)
{
	(void)user;
	(void)connection;
	return strlen(text);
}

static void print_peer(struct connection *connection, const struct sockaddr *address)
{
	if (!address)
		memcpy(connection->peer, "unknown", sizeof("unknown"));
	else if (address->sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
			connection->peer, sizeof(connection->peer));
	else if (address->sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
			connection->peer, sizeof(connection->peer));
	else
		memcpy(connection->peer, "unix", sizeof("unix"));
}

static bool is_loopback(const struct sockaddr *address)
{
	const struct in6_addr *six;

	if (!address)
		return false;
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
	if (address->sa_family != AF_INET6)
		return false;
	six = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
}

static void open_connection(struct listener *listener, struct MHD_Connection *mhd, void **state)
{
	const union MHD_ConnectionInfo *fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct connection *connection = fd ? calloc(1, sizeof(*connection)) : NULL;
	const struct returning *returning = listener->worker->returning;
	const struct sockaddr *address = NULL;
	const union MHD_ConnectionInfo *peer;

	*state = connection;
	if (!connection)
		return; /* served without deadlines of ours */
	connection->worker = listener->worker;
	connection->fd = fd->connect_fd;
	if (returning && returning->fd != connection->fd)
		returning = NULL;
	link_init(&connection->link);
	if (returning) {
		connection->asked_bytes = returning->asked_bytes;
		connection->tls = tls_client_ref(returning->tls);
	} else if (listener->is_tls) {
		connection->tls = tls_client_find(listener, connection->fd);
	}
	if (connection->tls) {
		address = tls_client_get_address(connection->tls);
	} else {
		peer = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
		address = peer ? peer->client_addr : NULL;
	}
	print_peer(connection, address);
	connection->is_local = is_loopback(address);
	if (returning) {
		deadline_start_idle(connection);
		return;
	}
	connection->is_fresh = true;
	atomic_fetch_add(&listener->worker->front->fresh, 1);
	deadline_start(connection, DEADLINE_HEAD);
}

/* libmicrohttpd 1.0 closes some connections (a chunk's line that does not fit its buffer) without a word about the
 * request that was under way on them. */
static void close_connection(struct connection *connection)
{
	if (connection->exchange) {
		connection->exchange->is_client_gone = true;
		exchange_free(connection->exchange);
	}
	deadline_stop(connection);
	free(connection->query);
	tls_client_unref(connection->tls);
	free(connection);
}

static void on_connection(void *user, struct MHD_Connection *mhd, void **state,
	enum MHD_ConnectionNotificationCode code)
{
	struct connection *connection = *state;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		open_connection(user, mhd, state);
		return;
	}
	if (connection)
		close_connection(connection);
	*state = NULL;
}

/* The only place where a query is seen as it came: afterwards it is cut into pieces, and a plus is a space. */
static void *on_uri(void *user, const char *uri, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *connection = info ? info->socket_context : NULL;
	const char *query = strchr(uri, '?');

	(void)user;
	if (!connection)
		return NULL;
	free(connection->query);
	connection->query = query ? strdup(query) : NULL;
	connection->is_query_lost = query && !connection->query;
	return NULL;
}

struct MHD_Daemon *mhd_start(struct listener *listener, int listen_fd, unsigned connections, size_t head_bytes)
{
	/* no MHD_USE_ERROR_LOG: its complaints are about clients, and taking a connection over looks like one */
	unsigned flags = MHD_USE_EPOLL | MHD_USE_TURBO | MHD_ALLOW_SUSPEND_RESUME |
		MHD_USE_SUPPRESS_DATE_NO_CLOCK; /* printed anew for each answer, and no client of an API wants it */
	struct MHD_OptionItem options[] = {
#if MHD_VERSION >= 0x01000000
		{ MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1, NULL },
#else
		{ MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
#endif
		{ listen_fd < 0 ? MHD_OPTION_END : MHD_OPTION_LISTEN_SOCKET, listen_fd, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};

	if (listen_fd < 0)
		flags |= MHD_USE_NO_LISTEN_SOCKET;
	if (is_1_0())
		flags |= SINGLE_THREADED;
	return MHD_start_daemon(flags, 0, NULL, NULL, exchange_handle, listener,
		MHD_OPTION_CONNECTION_LIMIT, connections,
		/* also for pieces of the body; MHD clears all of it after every request, so more is not better */
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, head_bytes,
		MHD_OPTION_NOTIFY_COMPLETED, exchange_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener,
		MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
		MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL,
		MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

int mhd_get_epoll_fd(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);

	return info ? info->epoll_fd : -1;
}

const char *mhd_get_version(void)
{
	return MHD_get_version();
}

const char *mhd_get_weakness(void)
{
	return is_1_0()
		? NULL
		: "this version of libmicrohttpd accepts bare LF line ends, folded header lines and NUL bytes; put a "
		  "strict proxy in front where clients are hostile";
}
