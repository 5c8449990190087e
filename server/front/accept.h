/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting TLS clients: those are ours before they are libmicrohttpd's. */
#ifndef VGW_SERVER_FRONT_ACCEPT_H
#define VGW_SERVER_FRONT_ACCEPT_H

#include "front/internal.h"

/* Takes the listening descriptor. -1: it cannot be watched, and is the caller's still. */
int accept_begin(struct listener *listener, int fd);
/* There is room again. */
void accept_go_on(struct listener *listener);
/* Take in those who wait already, then close the socket. Idempotent. */
void accept_end(struct listener *listener);

#endif
