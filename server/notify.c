/* SPDX-License-Identifier: Apache-2.0 */
/* libsystemd's notifications and socket activation. */
#include "notify.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>
#include <time.h>

/* A service manager that cannot be told is not a reason to stop serving: results are not looked at. */

int notify_take_sockets(int *first)
{
	*first = SD_LISTEN_FDS_START;
	return sd_listen_fds(1);
}

void notify_ready(const char *status)
{
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void notify_reloading(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
		(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1\nSTATUS=Finishing the requests under way");
}

void notify_alive(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}

int64_t notify_get_watchdog_ms(void)
{
	uint64_t usec = 0;

	return sd_watchdog_enabled(0, &usec) > 0 ? (int64_t)(usec / 2000) : 0;
}
