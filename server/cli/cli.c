/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: complaints, columns, durations. */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 16 };

static void complain(const char *format, va_list ap) __attribute__((format(printf, 1, 0)));

static void complain(const char *format, va_list ap)
{
	(void)fputs("vllmgw: ", stderr);
	(void)vfprintf(stderr, format, ap);
	(void)fputc('\n', stderr);
}

int cli_wrong(const struct cli *cli, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(format, ap);
	va_end(ap);
	(void)fprintf(stderr, "usage: vllmgw %s\n", cli->usage);
	return CLI_USAGE;
}

int cli_fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(format, ap);
	va_end(ap);
	return CLI_FAILED;
}

int64_t cli_number(const struct cli *cli, const char *what, const char *text, int64_t min, int64_t max)
{
	char *end = NULL;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (!errno && end != text && !*end && value >= min && value <= max)
		return value;
	(void)cli_wrong(cli, "%s: '%s' is not a whole number from %" PRId64 " to %" PRId64, what, text, min, max);
	return -1;
}

/* --- columns -------------------------------------------------------------------------------------------------- */

void cli_table_add(struct cli_table *table, const char *format, ...)
{
	char *line = NULL, *bigger;
	va_list ap;
	int len;

	va_start(ap, format);
	len = vasprintf(&line, format, ap);
	va_end(ap);
	if (len < 0)
		return;
	bigger = realloc(table->text, table->len + (size_t)len + 2);
	if (bigger) {
		memcpy(bigger + table->len, line, (size_t)len);
		table->len += (size_t)len;
		bigger[table->len++] = '\n';
		bigger[table->len] = '\0';
		table->text = bigger;
	}
	free(line);
}

static void measure(const struct cli_table *table, size_t widths[COLUMNS_MAX])
{
	const char *at = table->text;
	size_t column = 0;

	while (*at) {
		size_t len = strcspn(at, "\t\n");

		if (column < COLUMNS_MAX && len > widths[column])
			widths[column] = len;
		column = at[len] == '\n' ? 0 : column + 1;
		at += len + 1;
	}
}

void cli_table_print(struct cli_table *table)
{
	size_t widths[COLUMNS_MAX] = { 0 }, column = 0;
	const char *at = table->text;

	if (!at)
		return;
	measure(table, widths);
	while (*at) {
		size_t len = strcspn(at, "\t\n");
		bool is_last = at[len] == '\n';

		(void)printf("%.*s", (int)len, at);
		if (is_last)
			(void)putchar('\n');
		else
			(void)printf("%*s", (int)(column < COLUMNS_MAX ? widths[column] - len + 2 : 2), "");
		column = is_last ? 0 : column + 1;
		at += len + 1;
	}
	free(table->text);
	table->text = NULL;
	table->len = 0;
}

/* --- texts ---------------------------------------------------------------------------------------------------- */

const char *cli_text(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text && *text ? text : "-";
}

const char *cli_duration(int64_t ms, char *text, size_t size)
{
	int64_t seconds = ms / 1000;

	if (ms < 0)
		(void)snprintf(text, size, "-");
	else if (ms < 1000)
		(void)snprintf(text, size, "%" PRId64 "ms", ms);
	else if (ms < 60000)
		(void)snprintf(text, size, "%" PRId64 ".%" PRId64 "s", seconds, ms % 1000 / 100);
	else if (seconds < 3600)
		(void)snprintf(text, size, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
	else
		(void)snprintf(text, size, "%" PRId64 "h%02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
	return text;
}

const char *cli_bytes(int64_t bytes, char *text, size_t size)
{
	if (bytes <= 0)
		(void)snprintf(text, size, "-");
	else if (bytes < (INT64_C(1) << 30))
		(void)snprintf(text, size, "%.1fMiB", (double)bytes / (1 << 20));
	else
		(void)snprintf(text, size, "%.1fGiB", (double)bytes / (1 << 30));
	return text;
}

void cli_print_json(json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	if (text)
		(void)puts(text);
	free(text);
	json_decref(json);
}
