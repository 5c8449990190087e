/* SPDX-License-Identifier: Apache-2.0 */
/* One line per request, as JSON, without a word of what was asked or answered. */
#ifndef VGW_SERVER_ACCESS_LOG_H
#define VGW_SERVER_ACCESS_LOG_H

#include "log_sink.h"

#include <vllmgw/gateway.h>

/* What a call's report says, copied; texts are cut. */
struct access_facts {
	char key[65]; /* whose key it was; empty: none */
	char model[64];
	char replica[64];
	char fallback_from[64]; /* the model asked for when another answered; empty: none did */
	uint32_t attempts;
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint64_t events;
	int64_t queue_us;
	int64_t first_byte_us;
	int64_t prompt_tokens;
	int64_t completion_tokens;
	bool is_estimated; /* the tokens */
	const char *limited; /* which limit refused it, NULL: none */
	int64_t limit_us;  /* waiting for the limits' store; -1: not asked */
	const char *fault; /* code, NULL: none */
};

struct access_entry {
	const char *method;
	const char *path;
	const char *peer;
	const char *request_id;
	uint32_t status; /* 0: no answer was given */
	bool is_client_gone;
	bool is_broken; /* the answer broke off */
	int64_t total_us;
	struct access_facts facts;
};

struct access_log {
	struct log_sink *sink;
};

void access_facts_fill(struct access_facts *facts, const vgw_call_report *report);
void access_log_write(struct access_log *log, const struct access_entry *entry);

/* The method if it is a known one, else "OTHER"; constant. */
const char *log_method(const char *method);
/* A path fit for a line of JSON: unprintable bytes, quotes and backslashes become '?', cut to size. */
void log_path(char *out, size_t size, const char *path);

#endif
