/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration: it is refused with a place, or printed and read back as the same. */
#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const environment[] = { "NAME=va$l\nue \xc2\x85", "EMPTY=", "WORD=null", "NUMBER=1e3", NULL };

static char *print(const struct config *config)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out || config_print(config, out, false) != 0 || fclose(out) != 0)
		abort();
	return text;
}

static void check_report(const struct config_report *report)
{
	for (size_t i = 0; i < config_messages_count(&report->errors); i++) {
		if (strncmp(report->errors.lines[i].text, "fuzz:", 5) != 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_report report;
	struct config_source source = { .path = "fuzz", .text = (const char *)data, .len = size,
		.environment = environment };
	struct config *config;
	struct config *again;
	char *text;
	char *text_again;

	if (config_load(&config, &source, &report) != 0) {
		check_report(&report);
		return 0;
	}
	text = print(config);
	source.text = text;
	source.len = strlen(text);
	if (source.len <= 1024 * 1024 && config_load(&again, &source, &report) == 0) {
		text_again = print(again);
		if (strcmp(text, text_again) != 0)
			abort();
		free(text_again);
		config_free(again);
	} else if (source.len < 100 * 1024) {
		abort();
	}
	free(text);
	config_free(config);
	return 0;
}
