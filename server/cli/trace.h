/* SPDX-License-Identifier: Apache-2.0 */
/* Traces: one JSON object a line, {"at_ms": 2885, "model": "b", "service_ms": 3173}, in the order of their times. */
#ifndef VGW_SERVER_CLI_TRACE_H
#define VGW_SERVER_CLI_TRACE_H

#include <vllmgw/simulate.h>

#include <stdbool.h>
#include <stddef.h>

struct trace {
	vgw_arrival *arrivals; /* their names are the trace's */
	size_t count;
	size_t capacity;
};

/* Add an arrival; the name is copied. False: no memory. */
bool trace_add(struct trace *trace, int64_t at_ms, const char *model, int64_t service_ms);
void trace_free(struct trace *trace);

/* "-": standard input. 0, or -1 with "FILE:LINE: what is wrong" in `why`. The trace is the caller's either way. */
int trace_read(struct trace *trace, const char *path, char *why, size_t size);

/* A line of the gateway's access log: 1 it became an arrival, 0 it is about something else, -1 no memory. */
int trace_add_access_line(struct trace *trace, const char *line, size_t len);
/* Sorted, beginning at 0: access lines are written when requests end. */
void trace_settle(struct trace *trace);

#endif
