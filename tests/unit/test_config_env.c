/* SPDX-License-Identifier: Apache-2.0 */
/* ${NAME} inside values, VLLMGW_* instead of values, and which file is read. */
#include "config_testing.h"

#include <sys/stat.h>
#include <unistd.h>

static char *complain(const char *text, const char *const *environment)
{
	char *lines;

	assert_null(config_load_text(text, environment, &lines));
	return lines;
}

static void check_complaint(const char *text, const char *const *environment, const char *expected)
{
	char *lines = complain(text, environment);

	assert_string_equal(lines, expected);
	free(lines);
}

static void references_are_replaced_once_and_typed_afterwards(void **state)
{
	static const char *const environment[] = { "N=7", "B=2MiB", "K=a$b${N}", "EMPTY=", NULL };
	struct config *config =
		config_load_good("workers: ${N}\nlimits: {body: ${B}, connections: ${EMPTY:-12}${N}}\n"
				 "admin: {key: ${K}}\nstate_dir: /x/$$HOME/${NOPE:-y z}/$N\n" CONFIG_MODEL,
			environment);

	(void)state;
	assert_int_equal(config->workers, 7);
	assert_int_equal(config->limits.body_bytes, 2 << 20);
	assert_int_equal(config->limits.connections, 127);
	assert_string_equal(config->admin.key, "a$b${N}");
	assert_string_equal(config->state_dir, "/x/$HOME/y z/$N");
	config_free(config);
}

static void a_missing_variable_names_the_key_and_the_variable(void **state)
{
	static const char *const bad[] = { "X=\xff", NULL };

	(void)state;
	check_complaint("admin: {key: ${ADMIN}}\n" CONFIG_MODEL, NULL,
		"c.yaml:1:14: admin.key: variable ADMIN is not set; set it, or write ${ADMIN:-default}");
	check_complaint("models: {m: {backend: {kind: static, urls: [\"http://${H}\"]}}}\n", NULL,
		"c.yaml:1:45: models.m.backend.urls[0]: variable H is not set; set it, or write "
		"${H:-default}");
	check_complaint("state_dir: a${1x}\n" CONFIG_MODEL, NULL,
		"c.yaml:1:12: state_dir: a '${' here does not begin ${NAME} or ${NAME:-default}; "
		"write $${ for the characters themselves");
	check_complaint("state_dir: a${X\n" CONFIG_MODEL, NULL,
		"c.yaml:1:12: state_dir: a '${' here does not begin ${NAME} or ${NAME:-default}; "
		"write $${ for the characters themselves");
	check_complaint("state_dir: ${X}\n" CONFIG_MODEL, bad,
		"c.yaml:1:12: state_dir: the value of variable X is not valid UTF-8");
}

static void a_variable_cannot_become_syntax(void **state)
{
	static const char *const environment[] = { "X=a\nworkers: 9, [", NULL };
	struct config *config = config_load_good("state_dir: ${X}\n" CONFIG_MODEL, environment);

	(void)state;
	assert_string_equal(config->state_dir, "a\nworkers: 9, [");
	assert_int_equal(config->workers, 0);
	config_free(config);
}

static void names_filled_at_a_start_stay_in_commands_and_nowhere_else(void **state)
{
	struct config *config = config_load_good("models: {m: {backend: {kind: process, command: [a, "
						 "\"${PORT}-${MODEL}\", ${DEVICES}], env: {A: ${PORT}}}}}\n",
		NULL);

	(void)state;
	assert_non_null(
		strstr(config->models.items[0].backend_json, "[\"a\",\"${PORT}-${MODEL}\",\"${DEVICES}\"]"));
	assert_non_null(strstr(config->models.items[0].backend_json, "{\"A\":\"${PORT}\"}"));
	config_free(config);
	check_complaint("state_dir: /x${PORT}\n" CONFIG_MODEL, NULL,
		"c.yaml:1:12: state_dir: variable PORT is not set; set it, or write ${PORT:-default}");
}

static void variables_override_the_file(void **state)
{
	static const char *const environment[] = { "VLLMGW_LIMITS_BODY=1MiB",
		"VLLMGW_LISTEN=127.0.0.1:1, unix:/s", "VLLMGW_LIMITS_QUEUE_REQUESTS=5",
		"VLLMGW_LOG_ACCESS=false", "VLLMGW_ADMIN_KEY=$x${Y}", "VLLMGW_RESIDENCY_PRELOAD=m",
		"VLLMGW_RESIDENCY_IDLE_TTL_STOP=null", "VLLMGW_CONFIG=/nowhere", NULL };
	struct config *config = config_load_good("limits: {body: 2MiB, queue: }\nlisten: a:1\n"
						 "residency: {idle_ttl: {stop: 5m}}\n" CONFIG_MODEL,
		environment);

	(void)state;
	assert_int_equal(config->limits.body_bytes, 1 << 20);
	assert_int_equal(config->limits.queue_requests, 5);
	assert_int_equal(config->listen.count, 2);
	assert_string_equal(config->listen.items[1].path, "/s");
	assert_false(config->log.access);
	assert_string_equal(config->admin.key, "$x${Y}");
	assert_string_equal(config->residency.preload.items[0], "m");
	assert_int_equal(config->residency.idle_stop_ms, -1);
	config_free(config);
}

static void a_wrong_variable_is_named_instead_of_a_place(void **state)
{
	static const char *const environment[] = { "VLLMGW_LIMITS_BODY=much", "VLLMGW_LISTEN=x", NULL };

	(void)state;
	check_complaint(CONFIG_MODEL, environment,
		"VLLMGW_LIMITS_BODY: limits.body: 'much' is not a number with a unit; write a size such as "
		"64MiB, "
		"24GiB or 500MB\n"
		"VLLMGW_LISTEN: listen[0]: 'x' is not host:port, \"[::1]:port\", unix:/path or systemd");
}

static void an_unknown_variable_is_a_warning_unless_a_value_uses_it(void **state)
{
	static const char *const environment[] = { "VLLMGW_LIMIT_BODY=1MiB", "VLLMGW_MINE=/tmp",
		"VLLMGW_ZZZ=1", "VLLMGW_PROMPTS=x", NULL };
	char *lines;
	struct config *config =
		config_load_text("state_dir: ${VLLMGW_MINE}\n" CONFIG_MODEL, environment, &lines);

	(void)state;
	assert_non_null(config);
	assert_string_equal(lines, "warning: VLLMGW_LIMIT_BODY: no key has this variable, it is ignored; did "
				   "you mean 'VLLMGW_LIMITS_BODY'?\n"
				   "warning: VLLMGW_PROMPTS: no key has this variable, it is ignored\n"
				   "warning: VLLMGW_ZZZ: no key has this variable, it is ignored");
	free(lines);
	config_free(config);
}

static void variables_alone_are_a_configuration(void **state)
{
	static const char *const environment[] = { "VLLMGW_WORKERS=2", "STATE_DIRECTORY=/a:/b", NULL };
	struct config_source source = { .environment = environment };
	struct config_report *report = calloc(1, sizeof(*report));
	struct config *config;

	(void)state;
	assert_non_null(report);
	assert_int_equal(config_load(&config, &source, report), 0);
	assert_null(config->path);
	assert_int_equal(config->workers, 2);
	assert_string_equal(config->state_dir, "/a");
	config_free(config);
	free(report);
}

static void the_state_directory_follows_the_environment(void **state)
{
	static const char *const xdg[] = { "XDG_STATE_HOME=/x", "HOME=/h", NULL };
	struct config *config = config_load_good(CONFIG_MODEL, xdg);

	(void)state;
	assert_string_equal(config->state_dir, "/x/vllmgw");
	config_free(config);
}

/* --- files --- */

static char *make_directory(void **state)
{
	char *path = strdup("/tmp/vllmgw-config-XXXXXX");

	(void)state;
	assert_non_null(path);
	assert_non_null(mkdtemp(path));
	return path;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static char *load_file(const char *path)
{
	struct config_source source = { .path = path, .environment = config_no_environment };
	struct config_report *report = calloc(1, sizeof(*report));
	struct config *config;
	char *lines;

	assert_non_null(report);
	(void)config_load(&config, &source, report);
	lines = config_join_report(report);
	config_free(config);
	free(report);
	return lines;
}

/* `expected` with PATH for the file's name. */
static void check_file(const char *path, const char *text, mode_t mode, const char *expected)
{
	char *lines;
	char *shown = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&shown, &len);

	assert_non_null(out);
	write_file(path, text, mode);
	lines = load_file(path);
	for (const char *at = lines; *at;) {
		bool is_path = strncmp(at, path, strlen(path)) == 0;

		if (is_path)
			(void)fputs("PATH", out);
		else
			(void)fputc(*at, out);
		at += is_path ? strlen(path) : 1;
	}
	assert_int_equal(fclose(out), 0);
	assert_string_equal(shown, expected);
	free(shown);
	free(lines);
}

static void a_literal_key_in_a_readable_file_is_a_warning(void **state)
{
	char *directory = make_directory(state);
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/c.yaml", directory);
	check_file(path, "admin: {key: abc}\n" CONFIG_MODEL, 0640, "");
	check_file(path, "admin: {key: \"${NOPE:-x}\"}\n" CONFIG_MODEL, 0644, "");
	check_file(path, "admin: {key: abc}\n" CONFIG_MODEL, 0644,
		"warning: PATH:1:14: a key is written out in a file that everybody may read; chmod 640 PATH, "
		"or write ${NAME}");
	check_file(path, CONFIG_MODEL, 0666,
		"warning: PATH: others may write to it (mode 0666); chmod go-w PATH");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(directory), 0);
	free(directory);
}

static void a_file_that_cannot_be_read_says_why(void **state)
{
	char *lines = load_file("/nowhere/c.yaml");

	(void)state;
	assert_string_equal(lines, "/nowhere/c.yaml: cannot be read: No such file or directory");
	free(lines);
	lines = load_file("/");
	assert_string_equal(lines, "/: cannot be read: Is a directory");
	free(lines);
}

static void the_file_is_looked_for_in_four_places(void **state)
{
	static const char *const named[] = { "VLLMGW_CONFIG=/v.yaml", NULL };
	char *directory = make_directory(state);
	char before[4096];
	char text[256];

	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(config_find("/o.yaml", named, text, sizeof(text)), 0);
	assert_string_equal(text, "/o.yaml");
	assert_int_equal(config_find(NULL, named, text, sizeof(text)), 0);
	assert_string_equal(text, "/v.yaml");
	if (access("/etc/vllmgw/vllmgw.yaml", F_OK) != 0) {
		assert_int_equal(config_find(NULL, config_no_environment, text, sizeof(text)), -1);
		assert_string_equal(text,
			"no configuration found; looked at -c FILE, $VLLMGW_CONFIG, ./vllmgw.yaml, "
			"/etc/vllmgw/vllmgw.yaml");
	}
	write_file("vllmgw.yaml", CONFIG_MODEL, 0640);
	assert_int_equal(config_find(NULL, config_no_environment, text, sizeof(text)), 0);
	assert_string_equal(text, "vllmgw.yaml");
	assert_int_equal(unlink("vllmgw.yaml"), 0);
	assert_int_equal(chdir(before), 0);
	assert_int_equal(rmdir(directory), 0);
	free(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_are_replaced_once_and_typed_afterwards),
		cmocka_unit_test(a_missing_variable_names_the_key_and_the_variable),
		cmocka_unit_test(a_variable_cannot_become_syntax),
		cmocka_unit_test(names_filled_at_a_start_stay_in_commands_and_nowhere_else),
		cmocka_unit_test(variables_override_the_file),
		cmocka_unit_test(a_wrong_variable_is_named_instead_of_a_place),
		cmocka_unit_test(an_unknown_variable_is_a_warning_unless_a_value_uses_it),
		cmocka_unit_test(variables_alone_are_a_configuration),
		cmocka_unit_test(the_state_directory_follows_the_environment),
		cmocka_unit_test(a_literal_key_in_a_readable_file_is_a_warning),
		cmocka_unit_test(a_file_that_cannot_be_read_says_why),
		cmocka_unit_test(the_file_is_looked_for_in_four_places),
	};

	return cmocka_run_group_tests_name("config_env", tests, NULL, NULL);
}
