/* SPDX-License-Identifier: Apache-2.0 */
/* The file an engine writes its output to. A file, never a pipe: the engine must not block when nobody reads, nor die
 * when the gateway does.
 *
 *   engine ── O_APPEND ──► <state_dir>/logs/<model>.log ── new lines ──► us, while it starts
 *   at each start          .log -> .1 -> .2 -> .3
 *   too long while running the older half is given back to the file system by punching a hole: the engine's
 *                          descriptor stays good and nothing is lost between a copy and a truncation. Readers skip
 *                          the zeros of the hole.
 */
#ifndef VGW_BACKEND_ENGINE_LOG_H
#define VGW_BACKEND_ENGINE_LOG_H

#include <vllmgw/status.h>

#include "util/buf.h"

enum { VGW__LOG_PATH_SIZE = 512, VGW__LOG_KEEP = 3 };

#define VGW__LOG_CEILING_BYTES (INT64_C(64) * 1024 * 1024)

struct vgw__engine_log {
	int fd;                        /* -1: closed */
	char path[VGW__LOG_PATH_SIZE]; /* "": kept in memory, because there is no folder to write to */
	int64_t offset;                /* how far it was read */
	struct vgw__buf partial;       /* a line whose end has not come */
	bool is_skipping;              /* in a line too long to keep */
};

typedef void (*vgw__log_line_fn)(void *user, const char *line, size_t len);

/* "<state_dir>/logs/<model>.log", "@N" before ".log" for replica N > 0; letters a file name should not have are
 * replaced and a hash keeps such names apart. False: it does not fit. */
bool vgw__engine_log_make_path(char out[VGW__LOG_PATH_SIZE], const char *state_dir, const char *model,
	const char *replica);

/* Rotate and begin a new file; path "": in memory. On failure *log is closed. */
vgw_status vgw__engine_log_create(struct vgw__engine_log *log, const char *path, vgw_error *err);
/* Go on with the file of an engine that runs. NOT_FOUND, BACKEND. */
vgw_status vgw__engine_log_resume(struct vgw__engine_log *log, const char *path, vgw_error *err);
void vgw__engine_log_close(struct vgw__engine_log *log); /* the file stays */

/* Call `fn` for each line that is new, without its end; of a flood only the end. Bounded work per call. False when
 * there is more. */
bool vgw__engine_log_read(struct vgw__engine_log *log, vgw__log_line_fn fn, void *user);
/* What is left, and the line without an end; after the engine has ended. */
void vgw__engine_log_drain(struct vgw__engine_log *log, vgw__log_line_fn fn, void *user);
/* Keep the file's use of disk below the ceiling. */
void vgw__engine_log_trim(const struct vgw__engine_log *log, int64_t ceiling_bytes);

#endif
