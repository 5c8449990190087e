/* SPDX-License-Identifier: Apache-2.0 */
/* A command line as words, and the name of its model; what compat.aic_vllm_proxy stands for. */
#include "config_testing.h"

#include "adhoc.h"

static void check_words(const char *text, const char *const *words)
{
	char why[160] = "";
	struct adhoc_spec *spec = adhoc_parse(text, why, sizeof(why));
	size_t count = 0;

	if (!spec)
		fail_msg("%s: %s", text, why);
	for (; words[count]; count++) {
		const char *word = adhoc_spec_get_word(spec, count);

		if (!word || strcmp(word, words[count]) != 0)
			fail_msg("%s: '%s' instead of '%s'", text, word ? word : "nothing", words[count]);
	}
	assert_int_equal(adhoc_spec_get_count(spec), count);
	assert_null(adhoc_spec_get_word(spec, count));
	adhoc_spec_free(spec);
}

static void a_command_line_is_split_as_a_shell_would_and_nothing_is_expanded(void **state)
{
	static const struct {
		const char *text;
		const char *words[8]; /* up to NULL */
	} rows[] = {
		{ "m", { "m" } },
		{ " m \t--a\n\n--b\r\n", { "m", "--a", "--b" } },
		{ "m 'a b' \"c d\"", { "m", "a b", "c d" } },
		{ "m '' \"\"", { "m", "", "" } },
		{ "m a'b'\"c\"d", { "m", "abcd" } },
		{ "m 'a\"b' \"a'b\"", { "m", "a\"b", "a'b" } },
		{ "m \"a\\\"b\\\\c\\d\"", { "m", "a\"b\\c\\d" } },
		{ "m 'a\\b'", { "m", "a\\b" } },
		{ "m a\\ b \\'", { "m", "a b", "'" } },
		{ "m \\\n--a", { "m", "--a" } },
		{ "m $HOME $(id) `id` ${PORT} *", { "m", "$HOME", "$(id)", "`id`", "${PORT}", "*" } },
		{ "m a;b | c&d #e", { "m", "a;b", "|", "c&d", "#e" } },
		{ "m '{\"a\": 1}'", { "m", "{\"a\": 1}" } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_words(rows[i].text, rows[i].words);
}

static void what_cannot_be_split_is_refused_with_the_reason(void **state)
{
	static const struct {
		const char *text;
		const char *why;
	} rows[] = {
		{ "", "empty" }, { " \n", "empty" }, { "'' m", "empty" }, { "m 'a", "' is not closed" },
		{ "m \"a", "\" is not closed" }, { "m \"a\\\"", "\" is not closed" }, { "m \\", "backslash" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char why[160] = "";

		assert_null(adhoc_parse(rows[i].text, why, sizeof(why)));
		if (!strstr(why, rows[i].why))
			fail_msg("%s: %s", rows[i].text, why);
	}
}

static void a_name_is_the_models_where_that_can_be_part_of_a_path(void **state)
{
	static const char *const rows[][2] = {
		{ "org/model --x", "org/model" }, { "--x --model org/m", "org/m" }, { "--model=m", "m" }, { "--x", "adhoc" },
		{ "/models/llama/", "models/llama" }, { "./m", "adhoc" }, { "../m", "adhoc" }, { "a//b", "adhoc" },
		{ "org/m --served-model-name x y", "x" }, { "org/m --served-model-name=a/b", "a/b" },
		{ "'a b'", "adhoc" }, { "a*", "adhoc" }, { "/", "adhoc" }, { "--model", "adhoc" }, { "a/...", "a/..." },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char why[160];
		struct adhoc_spec *spec = adhoc_parse(rows[i][0], why, sizeof(why));

		assert_non_null(spec);
		assert_string_equal(adhoc_spec_get_name(spec), rows[i][1]);
		adhoc_spec_free(spec);
	}
}

static void the_proxys_key_stands_for_others_unless_they_are_given(void **state)
{
	static const char *const none[] = { "HOME=/h", NULL };
	static const char *const variable[] = { "HOME=/h", "VLLMGW_COMPAT_AIC_VLLM_PROXY=true", "VLLMGW_PASSTHROUGH=false", NULL };
	struct config *config = config_load_good("compat: {aic_vllm_proxy: true}\nmodels: {}\n", none);

	(void)state;
	assert_true(config->allow_adhoc_models && config->passthrough);
	assert_string_equal(config->listen.items[0].text, "127.0.0.1:8224");
	assert_int_equal(config->adhoc.command.count, 2);
	assert_string_equal(config->adhoc.command.items[1], "serve");
	assert_string_equal(config->adhoc.options.items[3], "${PORT}");
	assert_true(config->compat.llama_swap && config->compat.ollama && !config->compat.aic_open);
	config_free(config);
	config = config_load_good("compat: {aic_vllm_proxy: true}\nallow_adhoc_models: false\nlisten: 127.0.0.1:1\n"
				  "adhoc: {command: [run], options: []}\n"
				  "models: {m: {backend: {kind: static, urls: http://h:1}}}\n", none);
	assert_true(!config->allow_adhoc_models && config->passthrough);
	assert_string_equal(config->listen.items[0].text, "127.0.0.1:1");
	assert_int_equal(config->adhoc.options.count, 0);
	config_free(config);
	config = config_load_good("models: {}\n", variable);
	assert_true(config->allow_adhoc_models && !config->passthrough);
	config_free(config);
	config = config_load_good("models: {m: {backend: {kind: static, urls: http://h:1}}}\n", none);
	assert_true(!config->allow_adhoc_models && !config->passthrough);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_line_is_split_as_a_shell_would_and_nothing_is_expanded),
		cmocka_unit_test(what_cannot_be_split_is_refused_with_the_reason),
		cmocka_unit_test(a_name_is_the_models_where_that_can_be_part_of_a_path),
		cmocka_unit_test(the_proxys_key_stands_for_others_unless_they_are_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
