/* SPDX-License-Identifier: Apache-2.0 */
/* Loading configurations from texts, for the tests of the server's configuration. */
#ifndef VGW_TESTS_CONFIG_TESTING_H
#define VGW_TESTS_CONFIG_TESTING_H

#include "testing.h"

#include "config.h"

#include <stdlib.h>
#include <string.h>

/* A text that must be wrong, and every line that is said about it. */
struct config_mistake {
	const char *text;
	const char *lines; /* errors, then "warning: ..." lines, joined by newlines */
};

static const char *const config_no_environment[] = { NULL };

/* The errors and warnings of a report as one text; the caller frees it. */
static inline char *config_join_report(const struct config_report *report)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	for (size_t i = 0; i < config_messages_count(&report->errors); i++)
		(void)fprintf(out, "%s%s", i ? "\n" : "", report->errors.lines[i].text);
	for (size_t i = 0; i < config_messages_count(&report->warnings); i++)
		(void)fprintf(out, "%swarning: %s", i || report->errors.total ? "\n" : "",
			report->warnings.lines[i].text);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* Load `text` as the file "c.yaml". NULL for the configuration means that errors were reported. */
static inline struct config *config_load_text(const char *text, const char *const *environment, char **lines)
{
	struct config_source source = { .path = "c.yaml", .text = text, .len = strlen(text) };
	struct config_report *report = calloc(1, sizeof(*report));
	struct config *config;
	int failure;

	assert_non_null(report);
	source.environment = environment ? environment : config_no_environment;
	failure = config_load(&config, &source, report);
	assert_true((failure == 0) == (config != NULL));
	assert_true((failure == 0) == (report->errors.total == 0));
	*lines = config_join_report(report);
	free(report);
	return config;
}

/* The same, without errors or warnings. */
static inline struct config *config_load_good(const char *text, const char *const *environment)
{
	char *lines;
	struct config *config = config_load_text(text, environment, &lines);

	assert_string_equal(lines, "");
	free(lines);
	assert_non_null(config);
	return config;
}

static inline void config_check_mistakes(const struct config_mistake *mistakes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char *lines;
		struct config *config = config_load_text(mistakes[i].text, NULL, &lines);

		assert_string_equal(lines, mistakes[i].lines);
		assert_null(config);
		free(lines);
	}
}

static inline char *config_print_text(const struct config *config, bool with_origins)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(config_print(config, out, with_origins), 0);
	assert_int_equal(fclose(out), 0);
	return text;
}

#define CONFIG_MODEL "models: {m: {backend: {kind: static, urls: [http://h]}}}\n"

#endif
