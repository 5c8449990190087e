/* SPDX-License-Identifier: Apache-2.0 */
/* TLS and other origins, as configured. */
#include "testing.h"

#include "config_testing.h"

#include <stdlib.h>
#include <string.h>

#define FILES "tls: {certificate: /c.pem, key: /k.pem}\n"

static void addresses_say_whether_they_speak_tls(void **state)
{
	struct config *config = config_load_good("listen: [\"https://[::1]:8443\", http://a:80, b:81, https://systemd, "
						 "unix:/s]\nadmin: {listen: https://127.0.0.1:9}\n" FILES CONFIG_MODEL,
		NULL);
	const struct config_listen *items = config->listen.items;

	(void)state;
	assert_int_equal(config->listen.count, 5);
	assert_true(items[0].is_tls && items[0].kind == CONFIG_LISTEN_TCP && items[0].port == 8443);
	assert_string_equal(items[0].host, "::1");
	assert_string_equal(items[0].text, "https://[::1]:8443");
	assert_true(!items[1].is_tls && items[1].port == 80 && strcmp(items[1].host, "a") == 0);
	assert_true(!items[2].is_tls && items[2].port == 81);
	assert_true(items[3].is_tls && items[3].kind == CONFIG_LISTEN_SYSTEMD);
	assert_true(!items[4].is_tls && items[4].kind == CONFIG_LISTEN_UNIX);
	assert_true(config->admin.listen.items[0].is_tls);
	assert_string_equal(config->tls.certificate, "/c.pem");
	assert_int_equal(config->tls.min_version, CONFIG_TLS_1_2);
	config_free(config);
}

static void certificate_key_and_addresses_belong_together(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "listen: https://a:1\n" CONFIG_MODEL, "c.yaml:1:9: listen: https:// needs tls.certificate and tls.key" },
		{ "admin: {listen: https://a:1}\n" CONFIG_MODEL,
			"c.yaml:1:17: admin.listen: https:// needs tls.certificate and tls.key" },
		{ "listen: https://a:1\ntls: {certificate: /c}\n" CONFIG_MODEL,
			"c.yaml:2:20: tls.key: is needed with tls.certificate: the file of its private key" },
		{ "listen: https://a:1\ntls: {key: /c}\n" CONFIG_MODEL,
			"c.yaml:2:12: tls.certificate: is needed with tls.key: the file of the certificate and its chain" },
		{ "listen: a:1\n" FILES CONFIG_MODEL, "c.yaml:2:20: tls.certificate: is not used: no address begins with "
						      "https://; write listen: https://HOST:PORT" },
		{ "listen: [https://a:1, a:1]\n" FILES CONFIG_MODEL,
			"c.yaml:1:23: listen[1]: 'a:1' is already listened on by listen[0] (c.yaml:1:10)" },
		{ "listen: https://unix:/s\n" CONFIG_MODEL,
			"c.yaml:1:9: listen: 'https://unix:/s' has no valid port: a number from 0 to 65535" },
		{ "listen: https://a:1\ntls: {certificate: /c, key: /k, min_version: TLSv1}\n" CONFIG_MODEL,
			"c.yaml:2:46: tls.min_version: 'TLSv1' is none of TLSv1.2, TLSv1.3; did you mean 'TLSv1.2'?" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void origins_are_written_as_browsers_write_them(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "cors: {origins: [\"*\", https://a.example, http://b:8080, app.example]}\n" CONFIG_MODEL,
			"c.yaml:1:57: cors.origins[3]: 'app.example' is not an origin: write https://host, "
			"http://host:port, or \"*\" for all" },
		{ "cors: {origins: [https://a.example/, https://*.example]}\n" CONFIG_MODEL,
			"c.yaml:1:18: cors.origins[0]: 'https://a.example/' is not an origin: it ends with the host or its "
			"port, without a path, and * only stands alone\n"
			"c.yaml:1:38: cors.origins[1]: 'https://*.example' is not an origin: it ends with the host or its "
			"port, without a path, and * only stands alone" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_say_whether_they_speak_tls),
		cmocka_unit_test(certificate_key_and_addresses_belong_together),
		cmocka_unit_test(origins_are_written_as_browsers_write_them),
	};

	return cmocka_run_group_tests_name("config_edge", tests, NULL, NULL);
}
