/* SPDX-License-Identifier: Apache-2.0 */
/* What is printed: the effective configuration, the schema, the reference, and no secrets. */
#include "config_testing.h"

#include "config_keys.h"

#include <jansson.h>
#include <sys/wait.h>
#include <unistd.h>

static const char full[] =
	"listen: [127.0.0.1:80, \"[::1]:80\"]\n"
	"admin: {key: topsecret}\n"
	"limits: {body: 1MiB}\n"
	"state_dir: \"/a b/$$X: #\\t\\x85\\u2028\\ufeff\"\n"
	"residency: {idle_ttl: {stop: 5m}, preload: [\"null\"]}\n"
	"devices: {gpu0: {memory: 24GiB}, other: {}}\n"
	"defaults: {unlisted: true}\n"
	"models:\n"
	"  \"null\": {backend: {kind: static, urls: http://h:1/v, api_key: ${UP}}}\n"
	"  big:\n"
	"    aliases: [-1, \"x: y\", \"a#b\", \"c*\"]\n"
	"    backend:\n"
	"      kind: process\n"
	"      command: [a, --k=${UP}, ${PORT}, $$5, \"\", \"- x\"]\n"
	"      env: {HF_TOKEN: literal, SHOWN: \"x\"}\n"
	"    request: {defaults: {a: \"1\", b: 1, c: [~, \"null\", -0.5, 1e+5], \"d e\": {f: \"\"}}}\n"
	"    lora: {max_loras: 3}\n"
	"    adapters: {path: {path: \"true\", aliases: [\"false\", y]}, \"~\": {path: /a b/c, unlisted: true}}\n"
	"auth:\n"
	"  keys:\n"
	"    - {name: alice, key: keysecret, models: [\"big*\"], rpm: 60, priority: batch}\n"
	"    - {name: bob, sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF, admin: true}\n";

static const char *const environment[] = { "UP=upsecret", "VLLMGW_WORKERS=3", "HOME=/h", NULL };

static void printing_loads_as_the_same_configuration(void **state)
{
	struct config *config = config_load_good(full, environment);
	char *text = config_print_text(config, false);
	struct config *again = config_load_good(text, environment);
	char *text_again = config_print_text(again, false);

	(void)state;
	assert_string_equal(text_again, text);
	assert_string_equal(again->state_dir, config->state_dir);
	assert_int_equal(again->models.count, 2);
	assert_string_equal(
		again->models.items[1].request_defaults_json, config->models.items[1].request_defaults_json);
	assert_string_equal(again->models.items[1].aliases.items[1], "x: y");
	assert_true(again->models.items[0].is_unlisted);
	assert_int_equal(again->models.items[1].max_loras, 3);
	assert_int_equal(again->models.items[1].adapters.count, 2);
	assert_string_equal(again->models.items[1].adapters.items[0].name, "path");
	assert_string_equal(again->models.items[1].adapters.items[0].path, "true");
	assert_string_equal(again->models.items[1].adapters.items[0].aliases.items[0], "false");
	assert_string_equal(again->models.items[1].adapters.items[1].path, "/a b/c");
	assert_int_equal(again->auth.keys.count, 2);
	assert_string_equal(again->auth.keys.items[0].models.items[0], "big*");
	assert_int_equal(again->auth.keys.items[0].priority, CONFIG_PRIORITY_BATCH);
	assert_true(again->auth.keys.items[1].is_admin);
	free(text);
	free(text_again);
	config_free(config);
	config_free(again);
}

static void printed_values_say_where_they_come_from(void **state)
{
	struct config *config = config_load_good(full, environment);
	char *text = config_print_text(config, true);

	(void)state;
	assert_non_null(strstr(text, "\nworkers: 3  # $VLLMGW_WORKERS\n"));
	assert_non_null(strstr(text, "\n  body: 1MiB  # c.yaml:3\n"));
	assert_non_null(strstr(text, "\n  connections: 10000  # default\n"));
	assert_non_null(
		strstr(text, "\n  idle_ttl:\n    sleep: null  # default\n    stop: 5m  # c.yaml:5\n"));
	assert_non_null(strstr(text, "\n    unlisted: true  # c.yaml:7\n"));
	assert_non_null(strstr(text, "\n    served_name: big  # default\n"));
	free(text);
	config_free(config);
}

static void no_secret_is_printed(void **state)
{
	struct config *config = config_load_good(full, environment);
	char *text = config_print_text(config, true);

	(void)state;
	assert_null(strstr(text, "topsecret"));
	assert_null(strstr(text, "upsecret"));
	assert_null(strstr(text, "literal"));
	assert_null(strstr(text, "keysecret"));
	assert_non_null(strstr(text, "\n  key: \"***\"  # c.yaml:2\n"));
	assert_non_null(strstr(text, "\n      api_key: \"***\"  # c.yaml:9, from the environment\n"));
	assert_non_null(strstr(text,
		"\n      command: [a, \"--k=${UP}\", \"${PORT}\", \"$$5\", \"\", \"- x\"]  # c.yaml:14\n"));
	assert_non_null(strstr(text, "\n      env: {HF_TOKEN: \"***\", SHOWN: \"x\"}  # c.yaml:15\n"));
	free(text);
	config_free(config);
}

static void secrets_are_redacted_by_value(void **state)
{
	struct config *config = config_load_good(full, environment);
	char out[64];

	(void)state;
	assert_string_equal(config_redact(config, "a topsecret, upsecret.", out, sizeof(out)), "a ***, ***.");
	assert_string_equal(config_redact(config, "topsecre", out, sizeof(out)), "topsecre");
	assert_string_equal(config_redact(config, "xtopsecret", out, 4), "x**");
	config_free(config);
}

static void the_reference_names_every_key(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	assert_int_equal(config_print_reference(out), 0);
	assert_int_equal(fclose(out), 0);
	for (size_t i = 0; i < config_server_keys.count; i++) {
		char row[128];

		(void)snprintf(row, sizeof(row), "\n| `%s` | ", config_server_keys.items[i].path);
		assert_non_null(strstr(text, row));
	}
	assert_non_null(strstr(text, "\n| `models.NAME.backend(static).urls` | "));
	free(text);
}

/* --- the schema --- */

static char *print_schema(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(config_print_schema(out), 0);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* The schema of a key by its dotted path. */
static const json_t *find_key(const json_t *schema, const char *path)
{
	while (schema && *path) {
		size_t len = strcspn(path, ".");
		char name[64];

		(void)snprintf(name, sizeof(name), "%.*s", (int)len, path);
		schema = json_object_get(json_object_get(schema, "properties"), name);
		path += path[len] ? len + 1 : len;
	}
	return schema;
}

static void the_schema_describes_every_key_and_allows_no_other(void **state)
{
	char *text = print_schema();
	json_t *schema = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *model = json_object_get(json_object_get(schema, "$defs"), "model");

	(void)state;
	assert_non_null(schema);
	assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
	assert_true(json_is_false(json_object_get(model, "additionalProperties")));
	for (size_t i = 0; i < config_server_keys.count; i++) {
		const json_t *key = find_key(schema, config_server_keys.items[i].path);

		assert_true(json_is_string(json_object_get(key, "description")));
		assert_non_null(json_object_get(key, "default"));
	}
	for (size_t i = 0; i < config_model_keys.count; i++)
		assert_non_null(find_key(model, config_model_keys.items[i].path));
	json_decref(schema);
	free(text);
}

/* Run a Python program with the schema's and a configuration's names as arguments; its exit status. */
static int run_python(const char *program, const char *schema, const char *config)
{
	pid_t pid = fork();
	int status = -1;

	assert_true(pid >= 0);
	if (pid == 0) {
		execl("/usr/bin/python3", "python3", "-c", program, schema, config, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Needs Python's jsonschema and yaml; without them there is nothing to compare with. */
static void the_examples_are_valid_by_the_schema_and_by_the_loader(void **state)
{
	static const char program[] =
		"import sys, json\n"
		"try:\n"
		"  import yaml, jsonschema\n"
		"except ImportError:\n"
		"  sys.exit(77)\n"
		"import re\n"
		"text = re.sub(r'(?<![\"\\'])(\\$\\{[^}]*\\})', r'\"\\1\"', open(sys.argv[2]).read())\n"
		"v = jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))\n"
		"v.check_schema(v.schema)\n"
		"d = yaml.safe_load(text)\n"
		"v.validate(d)\n"
		"d['limits'] = {'bdoy': '1MiB'}\n"
		"sys.exit(0 if not v.is_valid(d) else 3)\n";
	static const char *const names[] = { "config/vllmgw.yaml", "config/minimal.yaml", "compose/vllmgw.yaml" };
	char schema[] = "/tmp/vllmgw-schema-XXXXXX";
	int fd = mkstemp(schema);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	int failure = 0;

	(void)state;
	assert_non_null(out);
	assert_int_equal(config_print_schema(out), 0);
	assert_int_equal(fclose(out), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct config_source source = { .environment = config_no_environment };
		struct config_report *report = calloc(1, sizeof(*report));
		struct config *config;
		char path[512];

		(void)snprintf(path, sizeof(path), VGW_SOURCE_DIR "/examples/%s", names[i]);
		source.path = path;
		assert_non_null(report);
		assert_int_equal(config_load(&config, &source, report), 0);
		config_free(config);
		free(report);
		failure = failure ? failure : run_python(program, schema, path);
	}
	assert_int_equal(unlink(schema), 0);
	if (failure == 77)
		skip();
	assert_int_equal(failure, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(printing_loads_as_the_same_configuration),
		cmocka_unit_test(printed_values_say_where_they_come_from),
		cmocka_unit_test(no_secret_is_printed),
		cmocka_unit_test(secrets_are_redacted_by_value),
		cmocka_unit_test(the_reference_names_every_key),
		cmocka_unit_test(the_schema_describes_every_key_and_allows_no_other),
		cmocka_unit_test(the_examples_are_valid_by_the_schema_and_by_the_loader),
	};

	return cmocka_run_group_tests_name("config_print", tests, NULL, NULL);
}
