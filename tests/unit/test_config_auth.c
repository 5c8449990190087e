/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in the configuration: what is taken, and what is said about mistakes. */
#include "config_testing.h"

static const char *const environment[] = { "ALICE=sk-alice-secret", "HOME=/h", NULL };

static void a_key_has_what_is_written_and_defaults_for_the_rest(void **state)
{
	struct config *config = config_load_good("auth:\n"
						 "  keys_file: /etc/keys\n"
						 "  per_ip_rpm: 7\n"
						 "  keys: [{name: alice, key: ${ALICE}, tpm: 5, may_swap: false}]\n"
						 "models: {m: {backend: {kind: static, urls: http://h:1}}}\n",
		environment);
	const struct config_auth_key *key = &config->auth.keys.items[0];

	(void)state;
	assert_int_equal(config->auth.keys.count, 1);
	assert_string_equal(config->auth.keys_file, "/etc/keys");
	assert_int_equal(config->auth.per_ip_rpm, 7);
	assert_string_equal(config->auth.store, "memory");
	assert_string_equal(key->name, "alice");
	assert_string_equal(key->key, "sk-alice-secret");
	assert_int_equal(key->tpm, 5);
	assert_int_equal(key->rpm, 0);
	assert_false(key->may_swap);
	assert_false(key->is_admin);
	assert_int_equal(key->models.count, 0);
	config_free(config);
}

static void mistakes_in_keys_are_told_with_their_place(void **state)
{
	static const struct {
		const char *keys;
		const char *message;
	} rows[] = {
		{ "[{name: a}]", "give either 'key' or 'sha256'" },
		{ "[{name: a, key: longenough, sha256: abc}]", "give either 'key' or 'sha256'" },
		{ "[{name: a, sha256: abc}]", "64 hexadecimal digits" },
		{ "[{name: \"a b\", key: longenough}]", "the name has a space" },
		{ "[{key: longenough}]", "key 'name' is missing" },
		{ "[{name: a, key: longenough, rpms: 5}]", "did you mean" },
		{ "[{name: a, key: longenough, models: [\"a*b\"]}]", "can only be the last character" },
		{ "[{name: a, key: longenough, priority: high}]", "high" },
		{ "[alice]", "is not a key" },
		{ "{name: a}", "found a mapping" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *config;
		char *lines;
		char text[512];

		(void)snprintf(text, sizeof(text), "auth:\n  keys: %s\nmodels: {}\n", rows[i].keys);
		config = config_load_text(text, environment, &lines);
		assert_null(config);
		if (!strstr(lines, rows[i].message) || !strstr(lines, "c.yaml:2"))
			fail_msg("%s: %s", rows[i].keys, lines);
		free(lines);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_has_what_is_written_and_defaults_for_the_rest),
		cmocka_unit_test(mistakes_in_keys_are_told_with_their_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
