/* SPDX-License-Identifier: Apache-2.0 */
/* Reading traces, and making them of access logs. */
#include "cli/trace.h"

#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- arrivals ------------------------------------------------------------------------------------------------- */

bool trace_add(struct trace *trace, int64_t at_ms, const char *model, int64_t service_ms)
{
	char *name = strdup(model);

	if (name && trace->count == trace->capacity) {
		size_t want = trace->capacity ? 2 * trace->capacity : 256;
		vgw_arrival *bigger = realloc(trace->arrivals, want * sizeof(*bigger));

		if (!bigger) {
			free(name);
			return false;
		}
		trace->arrivals = bigger;
		trace->capacity = want;
	}
	if (name)
		trace->arrivals[trace->count++] = (vgw_arrival){ at_ms, service_ms, name };
	return name != NULL;
}

void trace_free(struct trace *trace)
{
	for (size_t i = 0; i < trace->count; i++)
		free((char *)(uintptr_t)trace->arrivals[i].model);
	free(trace->arrivals);
	*trace = (struct trace){ NULL, 0, 0 };
}

/* --- reading -------------------------------------------------------------------------------------------------- */

/* NULL: it was added, or what is wrong. */
static const char *add_line(struct trace *trace, const char *line, size_t len, json_error_t *error)
{
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, error);
	const json_t *at = json_object_get(json, "at_ms"), *service = json_object_get(json, "service_ms");
	const char *model = json_string_value(json_object_get(json, "model")), *wrong = NULL;

	if (!json)
		wrong = error->text;
	else if (!json_is_integer(at) || json_integer_value(at) < 0)
		wrong = "at_ms must be a whole number of milliseconds, not negative";
	else if (!model || !*model)
		wrong = "model must be a text";
	else if (!json_is_integer(service) || json_integer_value(service) < 0)
		wrong = "service_ms must be a whole number of milliseconds, not negative";
	else if (trace->count && json_integer_value(at) < trace->arrivals[trace->count - 1].at_ms)
		wrong = "at_ms is before the line above: sort the trace by time";
	else if (!trace_add(trace, json_integer_value(at), model, json_integer_value(service)))
		wrong = "out of memory";
	json_decref(json);
	return wrong;
}

static int read_lines(struct trace *trace, FILE *file, const char *path, char *why, size_t size)
{
	json_error_t error;
	char *line = NULL;
	size_t room = 0, number = 0;
	ssize_t len;
	int result = 0;

	while (result == 0 && (len = getline(&line, &room, file)) > 0) {
		const char *wrong;

		number++;
		if (strspn(line, " \t\r\n") == (size_t)len)
			continue;
		wrong = add_line(trace, line, (size_t)len, &error);
		if (wrong) {
			(void)snprintf(why, size, "%s:%zu: %s", path, number, wrong);
			result = -1;
		}
	}
	if (result == 0 && ferror(file)) {
		(void)snprintf(why, size, "%s: %s", path, strerror(errno));
		result = -1;
	}
	if (result == 0 && !trace->count) {
		(void)snprintf(why, size, "%s: there is no arrival in it", path);
		result = -1;
	}
	free(line);
	return result;
}

int trace_read(struct trace *trace, const char *path, char *why, size_t size)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(path, "re");
	int result;

	if (!file) {
		(void)snprintf(why, size, "%s: %s", path, strerror(errno));
		return -1;
	}
	result = read_lines(trace, file, is_stdin ? "standard input" : path, why, size);
	if (!is_stdin)
		(void)fclose(file);
	return result;
}

/* --- of an access log ----------------------------------------------------------------------------------------- */

/* "2026-01-31T12:00:00.123Z" in milliseconds; -1: it is none. */
static int64_t parse_time(const char *text)
{
	struct tm day = { 0 };
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &day) : NULL;

	if (!rest || strlen(rest) != 5 || rest[0] != '.' || strspn(rest + 1, "0123456789") != 3)
		return -1;
	return (int64_t)timegm(&day) * 1000 + strtol(rest + 1, NULL, 10);
}

static int64_t ms_of(const json_t *json, const char *key)
{
	int64_t us = json_integer_value(json_object_get(json, key));

	return us > 0 ? us / 1000 : 0;
}

int trace_add_access_line(struct trace *trace, const char *line, size_t len)
{
	json_t *json = json_loadb(line, len, 0, NULL);
	const char *area = json_string_value(json_object_get(json, "area"));
	const char *model = json_string_value(json_object_get(json, "model"));
	json_int_t status = json_integer_value(json_object_get(json, "status"));
	int64_t ended_ms = parse_time(json_string_value(json_object_get(json, "time"))), total_ms;
	int result = 0;

	if (area && strcmp(area, "access") == 0 && model && *model && status == 200 && ended_ms >= 0) {
		total_ms = ms_of(json, "total_us");
		result = trace_add(trace, ended_ms - total_ms, model, total_ms - ms_of(json, "queue_us")) ? 1 : -1;
	}
	json_decref(json);
	return result;
}

static int by_time(const void *a, const void *b)
{
	const vgw_arrival *x = a, *y = b;

	return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

void trace_settle(struct trace *trace)
{
	int64_t first_ms;

	if (!trace->count)
		return;
	qsort(trace->arrivals, trace->count, sizeof(*trace->arrivals), by_time);
	first_ms = trace->arrivals[0].at_ms;
	for (size_t i = 0; i < trace->count; i++) {
		trace->arrivals[i].at_ms -= first_ms;
		if (trace->arrivals[i].service_ms < 0)
			trace->arrivals[i].service_ms = 0;
	}
}

/* --- the command ---------------------------------------------------------------------------------------------- */

static int export_lines(FILE *file, const char *path)
{
	struct trace trace = { NULL, 0, 0 };
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int result = 0;

	while (result >= 0 && (len = getline(&line, &room, file)) > 0)
		result = trace_add_access_line(&trace, line, (size_t)len);
	free(line);
	trace_settle(&trace);
	for (size_t i = 0; i < trace.count; i++)
		cli_print_json(json_pack("{s:I, s:s, s:I}", "at_ms", (json_int_t)trace.arrivals[i].at_ms, "model",
			trace.arrivals[i].model, "service_ms", (json_int_t)trace.arrivals[i].service_ms));
	if (result < 0)
		result = cli_fail("out of memory");
	else if (!trace.count)
		result = cli_fail("%s: no answered request with a model in it; the log must be JSON (log.format: json, "
				  "log.access: true)", path);
	else
		result = CLI_OK;
	trace_free(&trace);
	return result;
}

int trace_export(const struct cli *cli, int argc, char **argv)
{
	const char *path = "-";
	FILE *file;
	int result;

	if (argc < 2 || strcmp(argv[1], "export") != 0)
		return cli_wrong(cli, "trace has one verb: export");
	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--log") != 0 || i + 1 == argc)
			return cli_wrong(cli, "unexpected argument '%s'", argv[i]);
		path = argv[++i];
	}
	if (strcmp(path, "-") == 0)
		return export_lines(stdin, "standard input");
	file = fopen(path, "re");
	if (!file)
		return cli_fail("%s: %s", path, strerror(errno));
	result = export_lines(file, path);
	(void)fclose(file);
	return result;
}
