/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between versions of libmicrohttpd, and how a daemon of ours is started. */
#ifndef VGW_SERVER_FRONT_MHD_COMPAT_H
#define VGW_SERVER_FRONT_MHD_COMPAT_H

#include "front/internal.h"

/* A daemon in external epoll mode on a socket that listens already, or without one (-1): then connections are added.
 * NULL: it could not be started. */
struct MHD_Daemon *mhd_start(struct listener *listener, int listen_fd, unsigned connections, size_t head_bytes);
int mhd_get_epoll_fd(struct MHD_Daemon *daemon);
#endif
