/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate that is shown to clients.
 *
 *   main: tls_stage(), tls_commit(), tls_refresh() ──► context (immutable, counted), swapped
 *   worker: tls_new_session() ──► a connection keeps the context it began with
 *
 * The files are looked at again several times a second: what renews certificates needs not tell the server. */
#ifndef VGW_SERVER_TLS_H
#define VGW_SERVER_TLS_H

#include "config.h"

#include <openssl/ssl.h>

enum { TLS_TICK_MS = 250 };

struct tls;

struct tls *tls_new(void); /* NULL without memory */
void tls_free(struct tls *tls); /* sessions may live on; NULL is allowed */

/* Read the files without showing them to anybody. 0; 1: usable, but with a warning in `why` (expired, or soon); -1: not
 * usable, with a sentence. *config must live until it was replaced by a later commit. Without a certificate: 0. Main
 * thread, as the three below. */
int tls_stage(struct tls *tls, const struct config *config, char *why, size_t size);
void tls_commit(struct tls *tls);
/* Has a file changed? 1: read again (a warning in `why`, or ""); 0: no; -1: not usable, the old one stays. */
int tls_refresh(struct tls *tls, char *why, size_t size);
bool tls_has_files(const struct tls *tls);

/* A server's side of a new connection with the newest certificate. NULL without memory. Any thread. */
SSL *tls_new_session(struct tls *tls);

#endif
