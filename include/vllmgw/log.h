/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/log.h
 * Where the library's own words go. Audience: callers.
 *
 * The library never writes to stderr. It hands lines to the function you give; errors it returns are not
 * logged, that is the caller's business.
 */
#ifndef VLLMGW_LOG_H
#define VLLMGW_LOG_H

#include <vllmgw/common.h>

VGW_BEGIN_DECLS

typedef enum vgw_log_level {
	VGW_LOG_ERROR = 0,
	VGW_LOG_WARN = 1,
	VGW_LOG_INFO = 2,
	VGW_LOG_DEBUG = 3,
	VGW_LOG_FORCE_INT32 = 0x7fffffff
} vgw_log_level;

/**
 * One line: `area` is a lower-case word ("residency", "net"), `model` the model it concerns or NULL, `text` one
 * line without a newline, without prompts, without secrets.
 * Called from any library thread, possibly from several at once, and possibly under a lock: it must not call
 * back into the library and should not block.
 */
typedef void (*vgw_log_fn)(void *user, vgw_log_level level, const char *area, const char *model, const char *text);

/** A log function with its user pointer and threshold; all zero: silent. Copied wherever it is taken. */
typedef struct vgw_logger {
	vgw_log_fn fn;
	void *user;
	vgw_log_level level; /* lines above it are not made */
	uint32_t reserved;
} vgw_logger;

/** "error", "warn", "info", "debug".
 *  Owns: borrowed for ever.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_log_level_get_name(vgw_log_level level);

VGW_END_DECLS

#endif
