/* SPDX-License-Identifier: Apache-2.0 */
/* Networks hold what they should hold, in both versions of the protocol. */
#include "testing.h"

#include "config_network.h"

#include <string.h>

static void networks_hold_their_addresses_and_no_others(void **state)
{
	static const struct {
		const char *network;
		const char *inside;
		const char *outside;
	} rows[] = {
		{ "127.0.0.1", "127.0.0.1", "127.0.0.2" },
		{ "127.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1" },
		{ "10.0.0.0/8", "10.255.255.255", "11.0.0.0" },
		{ "10.0.0.0/9", "10.127.255.255", "10.128.0.0" },
		{ "192.0.2.128/25", "192.0.2.128", "192.0.2.127" },
		{ "192.0.2.7/32", "192.0.2.7", "192.0.2.6" },
		{ "0.0.0.0/0", "255.1.2.3", "2001:db8::1" },
		{ "::/0", "1.2.3.4", NULL },
		{ "fd00::/8", "fdff::1", "fe00::1" },
		{ "2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1" },
		{ "::1", "::1", "::2" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct network network, address;

		assert_true(network_parse(rows[i].network, strlen(rows[i].network), &network));
		assert_true(network_parse(rows[i].inside, strlen(rows[i].inside), &address));
		assert_true(network_holds(&network, &address));
		if (!rows[i].outside)
			continue;
		assert_true(network_parse(rows[i].outside, strlen(rows[i].outside), &address));
		assert_false(network_holds(&network, &address));
	}
}

static void what_is_no_network_is_refused(void **state)
{
	static const char *const texts[] = { "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/+8", "10.0.0.0/ 8",
		"10.0.0.0/0008", "10.0.0/8", "256.0.0.1", "fd00::/129", "fd00::1/8", "localhost", "1.2.3.4 ", "[::1]",
		"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000" };
	struct network network;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(network_parse(texts[i], strlen(texts[i]), &network));
}

static void addresses_are_printed_as_they_are_usually_written(void **state)
{
	static const char *const rows[][2] = { { "1.2.3.4", "1.2.3.4" }, { "::ffff:1.2.3.4", "1.2.3.4" },
		{ "2001:DB8:0::1", "2001:db8::1" } };
	char text[NETWORK_TEXT_BYTES];
	struct network network;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(network_parse(rows[i][0], strlen(rows[i][0]), &network));
		network_print(&network, text);
		assert_string_equal(text, rows[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_hold_their_addresses_and_no_others),
		cmocka_unit_test(what_is_no_network_is_refused),
		cmocka_unit_test(addresses_are_printed_as_they_are_usually_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
