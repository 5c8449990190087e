/* SPDX-License-Identifier: Apache-2.0 */
/* Run a short command and take what it prints. */
#ifndef VGW_UTIL_COMMAND_H
#define VGW_UTIL_COMMAND_H

#include "util/buf.h"
#include "util/subprocess.h"

/* Appends stdout and stderr to *out, up to its ceiling. INVALID, BACKEND: it could not be started; TIMEOUT: killed at
 * the deadline; CANCELLED: killed because `cancel_fd` (-1: none) became readable; BACKEND: it did not exit with 0.
 * A grandchild that keeps the pipe open is not waited for. */
vgw_status vgw__command_run(const char *const *argv, const char *const *env, int64_t deadline_ms, int cancel_fd,
	struct vgw__buf *out, vgw_error *err);

#endif
