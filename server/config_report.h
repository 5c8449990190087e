/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration, as lines for people. It has a fixed size, so that "out of memory" can
 * be reported too; nothing here prints. */
#ifndef VGW_SERVER_CONFIG_REPORT_H
#define VGW_SERVER_CONFIG_REPORT_H

#include <stdbool.h>
#include <stddef.h>

/* Where a value comes from. */
enum config_origin { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_VARIABLE };

struct config_place {
	enum config_origin origin;
	const char *name; /* the file as it was named, or the variable; NULL for a default */
	int line;         /* from 1; 0 when it is no file */
	int column;       /* from 1, in characters */
};

enum { CONFIG_REPORT_LINES = 20, CONFIG_REPORT_TEXT = 512 };

struct config_message {
	enum config_origin origin;
	int line;
	int column;
	char text[CONFIG_REPORT_TEXT]; /* "vllmgw.yaml:12:5: limits.body: ...", one line, no secrets */
};

struct config_messages {
	size_t total; /* how many there were; the first CONFIG_REPORT_LINES are kept */
	struct config_message lines[CONFIG_REPORT_LINES];
};

struct config_report {
	struct config_messages errors;
	struct config_messages warnings;
};

/* How many lines can be read: min(total, CONFIG_REPORT_LINES). */
size_t config_messages_count(const struct config_messages *messages);

void config_report_init(struct config_report *report);

/* `place` may be NULL (nothing to point at), `path` too (no key concerned). */
void config_report_error(struct config_report *report, const struct config_place *place, const char *path,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
void config_report_warning(struct config_report *report, const struct config_place *place, const char *path,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

/* By position: the file from top to bottom, then variables. */
void config_report_sort(struct config_report *report);

/* "vllmgw.yaml:12:5", "VLLMGW_LISTEN" or "default" into `text`; returns text. */
const char *config_place_print(const struct config_place *place, char *text, size_t size);

#endif
