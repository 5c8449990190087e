/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to systemd; without it all of this does nothing. */
#ifndef VGW_SERVER_NOTIFY_H
#define VGW_SERVER_NOTIFY_H

#include <stdint.h>

/* Sockets passed to this process: how many, the first in *first. */
int notify_take_sockets(int *first);
void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(void);
void notify_alive(void); /* the watchdog */
/* Milliseconds between two signs of life that the watchdog wants, halved; 0: none. */
int64_t notify_get_watchdog_ms(void);

#endif
