/* SPDX-License-Identifier: Apache-2.0 */
/* Formatting for the caller's log function; a line that nobody wants is not formatted. */
#ifndef VGW_UTIL_LOG_H
#define VGW_UTIL_LOG_H

#include <vllmgw/log.h>

void vgw__log(const vgw_logger *logger, vgw_log_level level, const char *area, const char *model,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
