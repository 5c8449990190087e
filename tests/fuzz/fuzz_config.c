/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration: it is refused with a place, or printed and read back as the same. */
#include "fuzz.h"

#include "config.h"

#include <string.h>

/* What is printed has defaults and quotes put in; it must stay below the reader's own bounds. */
enum { LONGEST = 16 * 1024 };

static const char *const environment[] = { "NAME=va$l\nue \xc2\x85", "EMPTY=", "WORD=null", "NUMBER=1e3",
	NULL };

static char *print(const struct config *config)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	FUZZ_CHECK(out && config_print(config, out, false) == 0 && fclose(out) == 0);
	return text;
}

static void check_report(const struct config_report *report)
{
	for (size_t i = 0; i < config_messages_count(&report->errors); i++)
		FUZZ_CHECK(strncmp(report->errors.lines[i].text, "fuzz:", 5) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_report report;
	struct config_source source = {
		.path = "fuzz", .text = (const char *)data, .len = size, .environment = environment
	};
	struct config *config;
	struct config *again;
	char *text;
	char *text_again;

	if (size > LONGEST)
		return 0;
	if (config_load(&config, &source, &report) != 0) {
		check_report(&report);
		return 0;
	}
	text = print(config);
	source.text = text;
	source.len = strlen(text);
	FUZZ_CHECK(config_load(&again, &source, &report) == 0);
	text_again = print(again);
	FUZZ_CHECK(strcmp(text, text_again) == 0);
	free(text_again);
	free(text);
	config_free(again);
	config_free(config);
	return 0;
}
