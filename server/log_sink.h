/* SPDX-License-Identifier: Apache-2.0 */
/* Lines on their way to standard error. Writers only copy into memory; one thread writes, so a slow disk or terminal
 * never holds up a worker. What does not fit is dropped and counted, and the count is told.
 *
 *   any thread ── log_sink_line() ──► buffer ──► writer thread ──► fd */
#ifndef VGW_SERVER_LOG_SINK_H
#define VGW_SERVER_LOG_SINK_H

#include <vllmgw/log.h>

#include <stdbool.h>
#include <stddef.h>

struct log_sink;

/* `is_json`: one JSON object a line, else text for a terminal. NULL without memory or a thread. */
struct log_sink *log_sink_new(int fd, bool is_json, vgw_log_level level);
/* Writes what is left. NULL is allowed. */
void log_sink_free(struct log_sink *sink);

/* A ready line without its newline. */
void log_sink_line(struct log_sink *sink, const char *line, size_t len);
/* A log line of ours; the signature of vgw_log_fn, `user` is the sink. */
void log_sink_log(void *user, vgw_log_level level, const char *area, const char *model, const char *text);
vgw_logger log_sink_get_logger(struct log_sink *sink);
bool log_sink_is_json(const struct log_sink *sink);
void log_sink_set_level(struct log_sink *sink, vgw_log_level level);

/* Secrets that must never be written: each is replaced by ***. Copied. */
int log_sink_set_secrets(struct log_sink *sink, const char *const *secrets, size_t count);

/* "2026-01-31T12:00:00.123Z" */
void log_sink_time(char out[32]);
/* Copy text into a JSON string's inside, or for a terminal: control bytes are escaped, invalid UTF-8 replaced. */
size_t log_sink_escape(char *out, size_t size, const char *text, size_t len);

#endif
