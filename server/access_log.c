/* SPDX-License-Identifier: Apache-2.0 */
/* Access lines: JSON when the log is JSON, else a short line for people. */
#include "access_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 1024 };

const char *log_method(const char *method)
{
	static const char *const known[] = { "GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(method, known[i]) == 0)
			return known[i];
	}
	return "OTHER";
}

void log_path(char *out, size_t size, const char *path)
{
	size_t len = 0;

	for (; path[len] && len + 1 < size; len++) {
		unsigned char c = (unsigned char)path[len];

		out[len] = (char)(c > 0x20 && c < 0x7f && c != '"' && c != '\\' ? c : '?');
	}
	out[len] = '\0';
}

static void copy(char *out, size_t size, const char *text)
{
	(void)log_sink_escape(out, size, text, strlen(text));
}

void access_facts_fill(struct access_facts *facts, const vgw_call_report *report)
{
	static const char *const reasons[VGW_LIMIT_REASON_COUNT] = {
#define XX(name, label, text) [VGW_LIMIT_##name] = label,
		VGW_LIMIT_REASON_MAP(XX)
#undef XX
	};

	copy(facts->model, sizeof(facts->model), report->model);
	copy(facts->replica, sizeof(facts->replica), report->replica);
	copy(facts->fallback_from, sizeof(facts->fallback_from), report->fallback_from);
	facts->attempts = report->attempts;
	facts->bytes_in = report->bytes_in;
	facts->bytes_out = report->bytes_out;
	facts->events = report->events;
	facts->queue_us = report->queue_us;
	facts->first_byte_us = report->first_byte_us;
	facts->prompt_tokens = report->prompt_tokens;
	facts->completion_tokens = report->completion_tokens;
	facts->is_estimated = report->is_estimated != 0;
	facts->limited = report->limited == VGW_LIMIT_NONE ? NULL : reasons[report->limited];
	facts->limit_us = report->limit_us;
	facts->fault = report->fault == VGW_FAULT_NONE ? NULL : vgw_fault_get_info(report->fault)->code;
}

static const char *outcome(const struct access_entry *entry)
{
	if (entry->is_client_gone)
		return "client_closed";
	if (entry->facts.fault)
		return entry->facts.fault;
	return entry->is_broken ? "aborted" : "ok";
}

static size_t print_json(char *line, size_t size, const struct access_entry *e)
{
	char stamp[32];
	int len, more = 0;

	log_sink_time(stamp);
	len = snprintf(line, size,
		"{\"time\":\"%s\",\"level\":\"info\",\"area\":\"access\",\"id\":\"%s\",\"peer\":\"%s\",\"method\":\"%s\","
		"\"path\":\"%s\",\"status\":%u,\"outcome\":\"%s\",\"total_us\":%" PRId64,
		stamp, e->request_id, e->peer, e->method, e->path, e->status, outcome(e), e->total_us);
	if (e->facts.key[0])
		len += snprintf(line + len, size - (size_t)len, ",\"key\":\"%s\"", e->facts.key);
	if (e->facts.limited)
		len += snprintf(line + len, size - (size_t)len, ",\"limited\":\"%s\"", e->facts.limited);
	if (e->facts.limit_us >= 0)
		len += snprintf(line + len, size - (size_t)len, ",\"limit_us\":%" PRId64, e->facts.limit_us);
	if (e->facts.is_estimated)
		len += snprintf(line + len, size - (size_t)len, ",\"tokens_estimated\":true");
	if (e->facts.fallback_from[0])
		len += snprintf(line + len, size - (size_t)len, ",\"fallback_from\":\"%s\"", e->facts.fallback_from);
	if (e->facts.model[0])
		more = snprintf(line + len, size - (size_t)len,
			",\"model\":\"%s\",\"replica\":\"%s\",\"attempts\":%u,\"queue_us\":%" PRId64
			",\"first_byte_us\":%" PRId64 ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64
			",\"events\":%" PRIu64 ",\"prompt_tokens\":%" PRId64 ",\"completion_tokens\":%" PRId64,
			e->facts.model, e->facts.replica, e->facts.attempts, e->facts.queue_us,
			e->facts.first_byte_us, e->facts.bytes_in, e->facts.bytes_out, e->facts.events,
			e->facts.prompt_tokens, e->facts.completion_tokens);
	len += more;
	line[len] = '}';
	return (size_t)len + 1;
}

static size_t print_text(char *line, size_t size, const struct access_entry *e)
{
	char stamp[32];
	int len;

	log_sink_time(stamp);
	len = snprintf(line, size, "%.8s %-5s access: %s %s %s %u %s %s%s%s%s%" PRId64 ".%03" PRId64 " ms", stamp + 11, "info",
		e->peer, e->method, e->path, e->status, outcome(e), e->facts.model, e->facts.model[0] ? " " : "",
		e->facts.key, e->facts.key[0] ? " " : "",
		e->total_us / 1000, e->total_us % 1000);
	return (size_t)len;
}

void access_log_write(struct access_log *log, const struct access_entry *entry)
{
	char line[LINE_BYTES + 512];
	size_t len = log_sink_is_json(log->sink) ? print_json(line, sizeof(line), entry)
						 : print_text(line, sizeof(line), entry);

	log_sink_line(log->sink, line, len < sizeof(line) ? len : sizeof(line) - 1);
}
