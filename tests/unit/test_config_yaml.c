/* SPDX-License-Identifier: Apache-2.0 */
/* What the reader of YAML refuses, and where it says so. */
#include "config_testing.h"

#define HINT "; text that begins with [ { * & ! or contains ': ' needs quotes"

static void what_is_not_plain_yaml_is_refused_with_its_place(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "a: [1, 2\nb: 3\n", "c.yaml:2:2: not valid YAML: did not find expected ',' or ']' "
				      "(while parsing a flow sequence from line 1)" HINT },
		{ "listen: [::]:8080\n", "c.yaml:1:10: not valid YAML: did not find expected node content "
					 "(while parsing a flow node from line 1)" HINT },
		{ "\tlisten: a\n", "c.yaml:1:1: not valid YAML: found character that cannot start any token "
				   "(while scanning for the next token from line 1)" HINT },
		{ "log: {level: \xff}\n", "c.yaml:1:14: not valid UTF-8 text: invalid leading UTF-8 octet" },
		{ "# \xc3\xa9\xc3\xa9\n# \xc3\xa9 \xe2\x82\n",
			"c.yaml:2:6: not valid UTF-8 text: invalid trailing UTF-8 octet" },
		{ "log: {level: \"a\\0b\"}\n", "c.yaml:1:14: text with a NUL character; remove the \\0" },
		{ "{[a]: b}\n", "c.yaml:1:2: a key must be plain text, not a list or a mapping" },
		{ "'': b\n", "c.yaml:1:1: empty key" },
		{ "- a\n", "c.yaml:1:1: expected a mapping with keys such as 'listen' and 'models'" },
		{ "hello\n", "c.yaml:1:1: expected a mapping with keys such as 'listen' and 'models'" },
		{ "workers: 1\n---\nworkers: 2\n",
			"c.yaml:2:1: a second document (---) begins here; a configuration is one document" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void anchors_aliases_and_tags_are_refused_each_at_its_place(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "log: &l {level: info}\n" CONFIG_MODEL, "c.yaml:1:6: anchors (&l) are not supported; "
							  "repeat the value, or put it under 'defaults'" },
		{ "limits:\n  body: *b\n" CONFIG_MODEL, "c.yaml:2:9: aliases (*b) are not supported; repeat "
							"the value, or put it under 'defaults'" },
		{ "workers: !!int 3\nlog: !x {}\n" CONFIG_MODEL,
			"c.yaml:1:10: tags (tag:yaml.org,2002:int) are not supported; remove it, the key "
			"decides the type\n"
			"c.yaml:2:6: tags (!x) are not supported; remove it, the key decides the type" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void a_duplicate_key_names_both_places(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "workers: 1\nworkers: 2\n" CONFIG_MODEL,
			"c.yaml:2:1: duplicate key 'workers'; it is already on line 1" },
		{ "models:\n  m: {backend: {kind: static, urls: [http://h]}}\n  m: {}\n",
			"c.yaml:3:3: duplicate key 'm'; it is already on line 2" },
		{ "models:\n  m:\n    backend: {kind: static, urls: [http://h]}\n    request:\n"
		  "      defaults: {a: 1, b: 2,\n        a: 3}\n",
			"c.yaml:6:9: duplicate key 'a'; it is already on line 5" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

/* `unit` repeated `count` times between two texts. */
static char *repeat(const char *before, const char *unit, size_t count, const char *after)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	(void)fputs(before, out);
	for (size_t i = 0; i < count; i++)
		(void)fputs(unit, out);
	(void)fputs(after, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void check_refused(char *text, const char *expected)
{
	char *lines;

	assert_null(config_load_text(text, NULL, &lines));
	assert_string_equal(lines, expected);
	free(lines);
	free(text);
}

static void size_depth_and_number_are_bounded(void **state)
{
	(void)state;
	check_refused(repeat("", "# a comment of thirty two bytes\n", 32769, ""),
		"c.yaml:1:1: larger than 1 MiB; a configuration is smaller");
	check_refused(repeat("a: ", "[", 16, ""), "c.yaml:1:19: nested more than 16 deep");
	check_refused(repeat("a: [", "1,", 10000, "]"),
		"c.yaml:1:19999: more than 10000 values; a configuration is smaller");
}

static void a_million_nested_brackets_end_quickly(void **state)
{
	(void)state;
	check_refused(repeat("a: ", "[", 1000000, ""), "c.yaml:1:19: nested more than 16 deep");
}

static void an_empty_file_is_a_configuration_with_a_warning(void **state)
{
	static const char *const texts[] = { "", "# nothing\n", "---\n", "~\n",
		"\xef\xbb\xbf# with a byte order mark\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *lines;
		struct config *config = config_load_text(texts[i], NULL, &lines);

		assert_string_equal(lines, "warning: models: there are none: every request will be refused");
		assert_non_null(config);
		assert_int_equal(config->limits.body_bytes, 64 << 20);
		free(lines);
		config_free(config);
	}
}

static void more_errors_than_lines_are_counted(void **state)
{
	struct config_report *report = calloc(1, sizeof(*report));
	char *text = repeat("limits:\n", "  x: 1\n", 30, "");
	struct config_source source = { .path = "c.yaml", .text = text, .len = strlen(text) };
	struct config *config;

	(void)state;
	assert_non_null(report);
	assert_int_equal(config_load(&config, &source, report), -1);
	assert_int_equal(report->errors.total, 30); /* 29 duplicates, one unknown key */
	assert_int_equal(config_messages_count(&report->errors), CONFIG_REPORT_LINES);
	assert_string_equal(
		report->errors.lines[0].text, "c.yaml:3:3: duplicate key 'x'; it is already on line 2");
	free(report);
	free(text);
}

static void a_line_of_the_report_is_one_line_without_control_characters(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "\"a\\nb\\e[31m\": 1\n" CONFIG_MODEL, "c.yaml:1:1: a?b?[31m: unknown key" },
	};

	(void)state;
	config_check_mistakes(mistakes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_plain_yaml_is_refused_with_its_place),
		cmocka_unit_test(anchors_aliases_and_tags_are_refused_each_at_its_place),
		cmocka_unit_test(a_duplicate_key_names_both_places),
		cmocka_unit_test(size_depth_and_number_are_bounded),
		cmocka_unit_test(a_million_nested_brackets_end_quickly),
		cmocka_unit_test(an_empty_file_is_a_configuration_with_a_warning),
		cmocka_unit_test(more_errors_than_lines_are_counted),
		cmocka_unit_test(a_line_of_the_report_is_one_line_without_control_characters),
	};

	return cmocka_run_group_tests_name("config_yaml", tests, NULL, NULL);
}
