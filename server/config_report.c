/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting, ordering and wording of what is wrong with a configuration. */
#include "config_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t config_messages_count(const struct config_messages *messages)
{
	return messages->total < CONFIG_REPORT_LINES ? messages->total : CONFIG_REPORT_LINES;
}

void config_report_init(struct config_report *report)
{
	memset(report, 0, sizeof(*report));
}

const char *config_place_print(const struct config_place *place, char *text, size_t size)
{
	if (place->origin == CONFIG_FROM_DEFAULT)
		(void)snprintf(text, size, "default");
	else if (place->line == 0)
		(void)snprintf(text, size, "%s", place->name);
	else
		(void)snprintf(text, size, "%s:%d:%d", place->name, place->line, place->column);
	return text;
}

/* What the file says may hold newlines and terminal sequences; a line of the report may not. */
static void flatten(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

static void __attribute__((format(printf, 4, 0))) add(struct config_messages *messages,
	const struct config_place *place, const char *path, const char *format, va_list args)
{
	struct config_message *message;
	char where[256];
	size_t len;

	if (messages->total++ >= CONFIG_REPORT_LINES)
		return;
	message = &messages->lines[messages->total - 1];
	message->text[0] = '\0';
	if (place) {
		message->origin = place->origin;
		message->line = place->line;
		message->column = place->column;
		(void)snprintf(message->text, sizeof(message->text),
			"%s: ", config_place_print(place, where, sizeof(where)));
	}
	len = strlen(message->text);
	if (path && *path) {
		(void)snprintf(message->text + len, sizeof(message->text) - len, "%s: ", path);
		len = strlen(message->text);
	}
	(void)vsnprintf(message->text + len, sizeof(message->text) - len, format, args);
	flatten(message->text);
}

void config_report_error(struct config_report *report, const struct config_place *place, const char *path,
	const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(&report->errors, place, path, format, args);
	va_end(args);
}

void config_report_warning(struct config_report *report, const struct config_place *place, const char *path,
	const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(&report->warnings, place, path, format, args);
	va_end(args);
}

static int by_position(const void *a, const void *b)
{
	const struct config_message *left = a;
	const struct config_message *right = b;

	if (left->origin != right->origin)
		return left->origin < right->origin ? -1 : 1;
	if (left->line != right->line)
		return left->line < right->line ? -1 : 1;
	if (left->column != right->column)
		return left->column < right->column ? -1 : 1;
	return strcmp(left->text, right->text);
}

void config_report_sort(struct config_report *report)
{
	qsort(report->errors.lines, config_messages_count(&report->errors), sizeof(report->errors.lines[0]),
		by_position);
	qsort(report->warnings.lines, config_messages_count(&report->warnings),
		sizeof(report->warnings.lines[0]), by_position);
}
