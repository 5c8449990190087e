/* SPDX-License-Identifier: Apache-2.0 */
/* Closing a connection so that the client can read the last answer: say that nothing more comes, then read away what
 * the client still sends until it closes too. Closing at once with unread bytes would reset the connection. */
#ifndef VGW_SERVER_FRONT_LINGER_H
#define VGW_SERVER_FRONT_LINGER_H

#include "front/internal.h"

enum { LINGER_BODY_BYTES = 1024 * 1024 };

/* Takes the descriptor. Reads at most `bytes` and a little more, for at most two seconds. */
void linger_take(struct worker *worker, int fd, size_t bytes);
void lingers_close(struct worker *worker);

#endif
