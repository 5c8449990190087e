/* SPDX-License-Identifier: Apache-2.0 */
/* One line per request, as JSON, without a word of what was asked or answered. */
#ifndef VGW_SERVER_ACCESS_LOG_H
#define VGW_SERVER_ACCESS_LOG_H

#include "log_sink.h"

#include <vllmgw/gateway.h>

struct access_log {
	struct log_sink *sink;
};

/* What the front knows of a request; NULL texts are left out. */
struct access_entry {
	const char *method;
	const char *path;    /* a constant of the route table, or the raw path of one that does not exist */
	const char *peer;
	uint32_t status;
	const vgw_call_report *report; /* NULL: answered without an engine */
	bool is_client_gone;
	int64_t total_us;
};

void access_log_write(struct access_log *log, const struct access_entry *entry);

#endif
