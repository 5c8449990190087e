/* SPDX-License-Identifier: Apache-2.0 */
/* A client that speaks TLS. What it sends is decrypted here, and given to libmicrohttpd through a socket of our own, so
 * that all the rest of the front meets plain connections only:
 *
 *   client ══ TLS ══ outer │ SSL │ inner ── socket pair ── MHD, then perhaps stream.c, linger.c, ...
 *
 * Why not MHD's own TLS: its connections cannot be taken over, so streams and waits would need a second way to write
 * everything, through MHD's list of suspended connections, whose walk this front exists to avoid. */
#ifndef VGW_SERVER_FRONT_TLS_CLIENT_H
#define VGW_SERVER_FRONT_TLS_CLIENT_H

#include "front/internal.h"

#include <sys/socket.h>

struct tls_client;

/* Takes the descriptor of a connection just accepted. */
void tls_client_begin(struct listener *listener, int fd, const struct sockaddr_storage *address, socklen_t len);

/* MHD has begun with a descriptor of ours: whose is it? A reference; NULL: nobody's. */
struct tls_client *tls_client_find(struct listener *listener, int inner_fd);
struct tls_client *tls_client_ref(struct tls_client *client); /* NULL is allowed, as below */
void tls_client_unref(struct tls_client *client);

const struct sockaddr *tls_client_get_address(const struct tls_client *client); /* the peer's */
uint64_t tls_client_get_given_bytes(const struct tls_client *client); /* to its inner end, since it began */
int64_t tls_client_get_heard_ms(const struct tls_client *client); /* when its last bytes came */

/* The answer breaks off: the client must not take the connection's end for the answer's. Then close the descriptor. */
void tls_client_cut(struct tls_client *client);

/* At the end: what was written to them is sent as far as the sockets take it. */
void tls_clients_close(struct worker *worker);

#endif
