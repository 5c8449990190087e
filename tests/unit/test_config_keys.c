/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: what each type takes, what it refuses, and the words it refuses with. */
#include "config_testing.h"

#include "config_keys.h"
#include "config_value.h"

#include <jansson.h>

static void a_mistake_in_a_key_is_named_with_its_place_and_remedy(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "lisen: a:1\n" CONFIG_MODEL, "c.yaml:1:1: lisen: unknown key; did you mean 'listen'?" },
		{ "limits:\n  bdoy: 1MiB\n" CONFIG_MODEL,
			"c.yaml:2:3: limits.bdoy: unknown key; did you mean 'body'?" },
		{ "limits: {que: {requests: 1}}\n" CONFIG_MODEL,
			"c.yaml:1:10: limits.que: unknown key; did you mean 'queue'?" },
		{ "max_resident: 2\n" CONFIG_MODEL,
			"c.yaml:1:1: max_resident: unknown key; did you mean 'residency.max_resident'?" },
		{ "zoo: {origins: []}\n" CONFIG_MODEL, "c.yaml:1:1: zoo: unknown key" },
		{ "limits: 3\n" CONFIG_MODEL,
			"c.yaml:1:9: limits: expected a mapping: this is a section with keys of its own" },
		{ "limits: {body: 64}\n" CONFIG_MODEL, "c.yaml:1:16: limits.body: '64' has no unit; write a "
						       "size such as 64MiB, 24GiB or 500MB" },
		{ "limits: {body: 1XB}\n" CONFIG_MODEL, "c.yaml:1:16: limits.body: '1XB' has an unknown "
							"unit; write a size such as 64MiB, 24GiB or 500MB" },
		{ "limits: {body: 1B}\n" CONFIG_MODEL,
			"c.yaml:1:16: limits.body: '1B' is out of range: from 1KiB to 4GiB" },
		{ "limits: {body: [1]}\n" CONFIG_MODEL, "c.yaml:1:16: limits.body: expected a size such as "
							"64MiB, 24GiB or 500MB, found a list" },
		{ "limits: {body: }\n" CONFIG_MODEL, "c.yaml:1:16: limits.body: expected a size such as "
						     "64MiB, 24GiB or 500MB, found nothing" },
		{ "timeouts: {idle: 30}\n" CONFIG_MODEL, "c.yaml:1:18: timeouts.idle: '30' has no unit; "
							 "write a duration such as 250ms, 15s, 20m or 1h" },
		{ "timeouts: {idle: 1.5ms}\n" CONFIG_MODEL,
			"c.yaml:1:18: timeouts.idle: '1.5ms' is not a whole number of the smallest unit; "
			"write a duration such as 250ms, 15s, 20m or 1h" },
		{ "timeouts: {idle: 99999h}\n" CONFIG_MODEL,
			"c.yaml:1:18: timeouts.idle: '99999h' is out of range: from 1ms to 720h" },
		{ "workers: 0x4\n" CONFIG_MODEL,
			"c.yaml:1:10: workers: '0x4' is not a whole number; write a whole number or auto" },
		{ "workers: 012\n" CONFIG_MODEL, "c.yaml:1:10: workers: '012' has a leading zero; write it "
						 "without; write a whole number or auto" },
		{ "workers: 300\n" CONFIG_MODEL,
			"c.yaml:1:10: workers: '300' is out of range: from 1 to 256" },
		{ "log: {access: on}\n" CONFIG_MODEL,
			"c.yaml:1:15: log.access: 'on' is not a boolean; write true or false" },
		{ "log: {level: debugg}\n" CONFIG_MODEL, "c.yaml:1:14: log.level: 'debugg' is none of error, "
							 "warn, info, debug; did you mean 'debug'?" },
		{ "heartbeat: {style: ping}\n" CONFIG_MODEL,
			"c.yaml:1:20: heartbeat.style: 'ping' is none of comment, data, off" },
		{ "admin: {key: \"a b\"}\n" CONFIG_MODEL,
			"c.yaml:1:14: admin.key: this key must be printable ASCII without spaces" },
		{ "listen: []\n" CONFIG_MODEL, "c.yaml:1:9: listen: is empty; it needs at least one item" },
		{ "listen: \"*:80\"\n" CONFIG_MODEL, "c.yaml:1:9: listen: '*:80' names no address; write "
						     "0.0.0.0:PORT or \"[::]:PORT\" for all" },
		{ "listen: [127.0.0.1, unix:a, h:70000]\n" CONFIG_MODEL,
			"c.yaml:1:10: listen[0]: '127.0.0.1' is not host:port, \"[::1]:port\", unix:/path or "
			"systemd\n"
			"c.yaml:1:21: listen[1]: 'unix:a' needs an absolute path: unix:/run/vllmgw.sock\n"
			"c.yaml:1:29: listen[2]: 'h:70000' has no valid port: a number from 0 to 65535" },
		{ "devices: {gpu0: 24GiB}\n" CONFIG_MODEL,
			"c.yaml:1:17: devices.gpu0: '24GiB' is not a device; write {memory: 24GiB}" },
		{ "defaults: {aliases: [x], pinn: true}\n" CONFIG_MODEL,
			"c.yaml:1:12: defaults.aliases: unknown key\n"
			"c.yaml:1:26: defaults.pinn: unknown key; did you mean 'pin'?" },
		{ "defaults: {pin: maybe}\n" CONFIG_MODEL,
			"c.yaml:1:17: defaults.pin: 'maybe' is not a boolean; write true or false" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void a_mistake_in_a_model_is_named_with_its_place_and_remedy(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "models: [a]\n",
			"c.yaml:1:9: models: expected a mapping from model names to models, found a list" },
		{ "models:\n  small:\n",
			"c.yaml:2:9: models.small: expected a mapping with at least the key 'backend'" },
		{ "models:\n  small: {pin: true}\n",
			"c.yaml:2:3: models.small: key 'backend' is missing; it is a mapping such as "
			"{kind: static, urls: [http://127.0.0.1:8001]}" },
		{ "models:\n  small: {backend: {urls: [http://h]}}\n",
			"c.yaml:2:11: models.small.backend: key 'kind' is missing; it is one of static, "
			"process, docker, http, kubernetes" },
		{ "models:\n  small: {backend: {kind: sttaic}}\n",
			"c.yaml:2:27: models.small.backend.kind: 'sttaic' is no kind of backend (there are "
			"static, process, docker, http, kubernetes); "
			"did you mean 'static'?" },
		{ "models:\n  small: {backend: {kind: static}}\n",
			"c.yaml:2:11: models.small.backend: key 'urls' is missing; it is a list of URLs such "
			"as "
			"[http://127.0.0.1:8001]" },
		{ "models:\n  small:\n    backend: {kind: static, url: http://h, urls: [http://h]}\n",
			"c.yaml:3:29: models.small.backend.url: unknown key; did you mean 'urls'?" },
		{ "models:\n  m: {backend: {kind: static, urls: [h:80, 'http://u:p@h', 'http://', "
		  "'http://h?x', 'http://h:0']}}\n",
			"c.yaml:2:38: models.m.backend.urls[0]: 'h:80' is not a URL: it begins with http://, "
			"https:// or unix:/\n"
			"c.yaml:2:44: models.m.backend.urls[1]: this URL has credentials in it; use api_key\n"
			"c.yaml:2:60: models.m.backend.urls[2]: 'http://' has no valid host\n"
			"c.yaml:2:71: models.m.backend.urls[3]: 'http://h?x' has a query or fragment; a base "
			"URL ends before it\n"
			"c.yaml:2:85: models.m.backend.urls[4]: 'http://h:0' has no valid port: a number "
			"from 1 to 65535" },
		{ "models:\n  m: {backend: {kind: process, command: vllm serve}}\n",
			"c.yaml:2:41: models.m.backend.command: 'vllm serve' is not a list; write it as "
			"[item, item]" },
		{ "models:\n  m: {backend: {kind: process, command: [a, ~], env: {1X: a, Y: [b]}}}\n",
			"c.yaml:2:45: models.m.backend.command[1]: expected text, found nothing; write \"\" "
			"for an empty text\n"
			"c.yaml:2:55: models.m.backend.env.1X: is not a variable's name: letters, digits and "
			"_\n"
			"c.yaml:2:65: models.m.backend.env.Y: expected text, found a list" },
		{ "models:\n  m: {backend: {kind: kubernetes, namespace: llm}}\n",
			"c.yaml:2:23: models.m.backend: names no workload to scale; give `deployment: NAME` or "
			"`statefulset: NAME`" },
		{ "models:\n  m: {backend: {kind: kubernetes, deployment: a, statefulset: b, port: 0}}\n",
			"c.yaml:2:63: models.m.backend: has a deployment and a statefulset; keep the one to be "
			"scaled\n"
			"c.yaml:2:72: models.m.backend.port: '0' is out of range: from 1 to 65535" },
		{ "models:\n  'a b': {backend: {kind: static, urls: [http://h]}}\n",
			"c.yaml:2:3: models.a b: the name has a space, quote, backslash or control character "
			"in it" },
		{ "models:\n  m:\n    backend: {kind: static, urls: [http://h]}\n    request: {defaults: {a: "
		  "on, b: 012, c: 1e999, d: .5}}\n",
			"c.yaml:4:29: models.m.request.defaults.a: 'on' is ambiguous; write true, false, "
			"null or a decimal "
			"number, or put text in quotes\n"
			"c.yaml:4:36: models.m.request.defaults.b: '012' is ambiguous; write true, false, "
			"null or a decimal "
			"number, or put text in quotes\n"
			"c.yaml:4:44: models.m.request.defaults.c: '1e999' is too large a number\n"
			"c.yaml:4:54: models.m.request.defaults.d: '.5' is ambiguous; write true, false, "
			"null or a decimal "
			"number, or put text in quotes" },
		{ "models:\n  m:\n    backend: {kind: static, urls: [http://h]}\n    sleep: {level: 3}\n    "
		  "memory: {gpu0: 18}\n",
			"c.yaml:4:20: models.m.sleep.level: '3' is out of range: from 0 to 2\n"
			"c.yaml:5:20: models.m.memory.gpu0: '18' has no unit; write a size such as 64MiB, "
			"24GiB or 500MB" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void durations_and_sizes_are_read_and_written_exactly(void **state)
{
	static const struct {
		enum config_type type;
		const char *text;
		int64_t value;
		const char *shown;
	} rows[] = {
		{ CONFIG_DURATION, "250ms", 250, "250ms" },
		{ CONFIG_DURATION, "15s", 15000, "15s" },
		{ CONFIG_DURATION, "1.5h", 5400000, "90m" },
		{ CONFIG_DURATION, "0", 0, "0" },
		{ CONFIG_DURATION, "0.001s", 1, "1ms" },
		{ CONFIG_SIZE, "64MiB", 67108864, "64MiB" },
		{ CONFIG_SIZE, "500MB", 500000000, "500MB" },
		{ CONFIG_SIZE, "1.5GiB", 1610612736, "1536MiB" },
		{ CONFIG_SIZE, "3B", 3, "3B" },
		{ CONFIG_SIZE, "1kB", 1000, "1kB" },
	};
	static const char *const wrong[] = { "", "s", "-1s", "1 s", "1.s", ".5s", "1e3s", "+1s",
		"9999999999999999999s", "9223372036854775807h", "1d", "1S", "1.0000001h" };
	char shown[32];
	int64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *problem = rows[i].type == CONFIG_SIZE
					      ? config_value_parse_size(rows[i].text, &value)
					      : config_value_parse_duration(rows[i].text, &value);

		assert_null(problem);
		assert_int_equal(value, rows[i].value);
		assert_string_equal(
			config_value_print(rows[i].type, value, shown, sizeof(shown)), rows[i].shown);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_non_null(config_value_parse_duration(wrong[i], &value));
}

static void addresses_of_every_form_are_taken_apart(void **state)
{
	struct config *config = config_load_good("listen: [localhost:0, \"[::1]:8080\", unix:/run/a.sock, "
						 "systemd]\nadmin: {listen: 127.0.0.1:9}\n" CONFIG_MODEL,
		NULL);
	const struct config_listen *items = config->listen.items;

	(void)state;
	assert_int_equal(config->listen.count, 4);
	assert_int_equal(items[0].kind, CONFIG_LISTEN_TCP);
	assert_string_equal(items[0].host, "localhost");
	assert_int_equal(items[0].port, 0);
	assert_string_equal(items[1].host, "::1");
	assert_int_equal(items[1].port, 8080);
	assert_string_equal(items[1].text, "[::1]:8080");
	assert_int_equal(items[2].kind, CONFIG_LISTEN_UNIX);
	assert_string_equal(items[2].path, "/run/a.sock");
	assert_int_equal(items[3].kind, CONFIG_LISTEN_SYSTEMD);
	assert_int_equal(config->admin.listen.count, 1);
	config_free(config);
}

static void a_socket_path_has_at_most_107_bytes(void **state)
{
	char text[300];
	char path[109];
	char *lines;
	struct config *config;

	(void)state;
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[107] = '\0';
	(void)snprintf(text, sizeof(text), "listen: unix:%s\n" CONFIG_MODEL, path);
	config_free(config_load_good(text, NULL));
	path[107] = 'x';
	path[108] = '\0';
	(void)snprintf(text, sizeof(text), "listen: unix:%s\n" CONFIG_MODEL, path);
	config = config_load_text(text, NULL, &lines);
	assert_null(config);
	assert_non_null(strstr(lines, "has a socket path of more than 107 bytes; choose a shorter one"));
	free(lines);
}

/* The model's texts as jansson reads them. */
static void check_json(const char *text, const char *expected)
{
	json_t *left = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	json_t *right = json_loads(expected, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(left);
	assert_non_null(right);
	if (!json_equal(left, right))
		assert_string_equal(text, expected);
	json_decref(left);
	json_decref(right);
}

static void a_model_carries_its_backend_and_request_defaults_as_json(void **state)
{
	static const char *const environment[] = { "TOKEN=s3cr\"et\\", NULL };
	struct config *config = config_load_good(
		"models:\n  m:\n    backend:\n      kind: process\n      command: [a, --port, ${PORT}, 012, "
		"on, \"\"]\n"
		"      env: {T: \"${TOKEN}\", D: 1.50, E: \"\\n\"}\n      stop_timeout: 1.5s\n"
		"    request: {defaults: {t: 0.20, n: ~, b: true, i: -3, s: '1', l: [1e3, x, {y: z}]}, "
		"strip: [u]}\n",
		environment);
	const struct config_model *model = &config->models.items[0];

	(void)state;
	assert_string_equal(model->backend_kind, "process");
	assert_true(model->is_managed);
	check_json(model->backend_json,
		"{\"kind\":\"process\",\"command\":[\"a\",\"--port\",\"${PORT}\",\"012\",\"on\",\"\"],"
		"\"env\":{\"T\":\"s3cr\\\"et\\\\\",\"D\":\"1.50\",\"E\":\"\\n\"},\"gpu_memory_utilization\":\"none\",\"start_timeout\":1200000,"
		"\"stop_timeout\":1500}");
	check_json(model->request_defaults_json,
		"{\"t\":0.20,\"n\":null,\"b\":true,\"i\":-3,\"s\":\"1\",\"l\":[1e3,\"x\",{\"y\":\"z\"}]}");
	assert_non_null(strstr(model->request_defaults_json, "0.20")); /* the digits as they were written */
	assert_string_equal(model->request_strip.items[0], "u");
	assert_string_equal(model->served_name, "m");
	assert_int_equal(model->place.line, 2);
	assert_int_equal(model->place.column, 3);
	config_free(config);
}

static void a_workload_is_handed_over_without_what_is_null(void **state)
{
	struct config *config = config_load_good("models:\n  m:\n    backend: {kind: kubernetes, namespace: llm, "
						 "deployment: big, replicas: 2, stop_timeout: 90s}\n", NULL);

	(void)state;
	assert_true(config->models.items[0].is_managed);
	check_json(config->models.items[0].backend_json,
		"{\"kind\":\"kubernetes\",\"namespace\":\"llm\",\"deployment\":\"big\",\"replicas\":2,"
		"\"port\":8000,\"start_timeout\":1200000,\"stop_timeout\":90000}");
	config_free(config);
}

static void what_is_not_written_has_the_documented_default(void **state)
{
	struct config *config = config_load_good(CONFIG_MODEL, NULL);
	const struct config_model *model = config_find_model(config, "m");

	(void)state;
	assert_string_equal(config->listen.items[0].text, "127.0.0.1:8080");
	assert_int_equal(config->workers, 0);
	assert_int_equal(config->admin.listen.count, 0);
	assert_null(config->admin.key);
	assert_int_equal(config->limits.connections, 10000);
	assert_int_equal(config->limits.queue_bytes, 512 << 20);
	assert_int_equal(config->timeouts.first_byte_ms, 1200000);
	assert_int_equal(config->heartbeat.style, CONFIG_HEARTBEAT_COMMENT);
	assert_int_equal(config->log.level, VGW_LOG_INFO);
	assert_true(config->log.access);
	assert_int_equal(config->residency.idle_sleep_ms, -1);
	assert_int_equal(config->residency.max_resident, 1);
	assert_null(config->default_model);
	assert_non_null(model);
	assert_false(model->is_managed);
	assert_int_equal(model->balance, CONFIG_BALANCE_LEAST_OUTSTANDING);
	assert_string_equal(model->request_defaults_json, "{}");
	assert_null(model->fallback_model);
	config_free(config);
}

static void models_take_defaults_for_keys_they_do_not_set(void **state)
{
	struct config *config = config_load_good(
		"defaults: {unlisted: true, request: {defaults: {a: 1}}, sleep: {level: 2}}\n"
		"models:\n  a: {backend: {kind: static, urls: http://h}}\n"
		"  b: {backend: {kind: static, urls: unix:/s}, unlisted: false, request: {strip: [x]}, "
		"sleep: {level: 1}}\n",
		NULL);
	const struct config_model *a = config_find_model(config, "a");
	const struct config_model *b = config_find_model(config, "b");

	(void)state;
	assert_true(a->is_unlisted);
	assert_string_equal(a->request_defaults_json, "{\"a\":1}");
	assert_int_equal(a->sleep_level, 2);
	assert_false(b->is_unlisted);
	assert_string_equal(b->request_defaults_json, "{\"a\":1}");
	assert_string_equal(b->request_strip.items[0], "x");
	assert_int_equal(b->sleep_level, 1);
	config_free(config);
}

static void every_word_of_the_log_level_is_its_number(void **state)
{
	const struct config_key *key = config_keys_find(&config_server_keys, "log.level");
	char word[32];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_true(config_words_get(key->words, i, word, sizeof(word)));
		assert_string_equal(word, vgw_log_level_get_name((vgw_log_level)i));
	}
	assert_false(config_words_get(key->words, 4, word, sizeof(word)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mistake_in_a_key_is_named_with_its_place_and_remedy),
		cmocka_unit_test(a_mistake_in_a_model_is_named_with_its_place_and_remedy),
		cmocka_unit_test(durations_and_sizes_are_read_and_written_exactly),
		cmocka_unit_test(addresses_of_every_form_are_taken_apart),
		cmocka_unit_test(a_socket_path_has_at_most_107_bytes),
		cmocka_unit_test(a_model_carries_its_backend_and_request_defaults_as_json),
		cmocka_unit_test(a_workload_is_handed_over_without_what_is_null),
		cmocka_unit_test(what_is_not_written_has_the_documented_default),
		cmocka_unit_test(models_take_defaults_for_keys_they_do_not_set),
		cmocka_unit_test(every_word_of_the_log_level_is_its_number),
	};

	return cmocka_run_group_tests_name("config_keys", tests, NULL, NULL);
}
