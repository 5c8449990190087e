/* SPDX-License-Identifier: Apache-2.0 */
/* Base URLs of engines: what is taken from them, and what is refused in which words. */
#include "testing.h"

#include "net/endpoint.h"

#include <string.h>

struct good {
	const char *url;
	const char *kept;
	const char *host;
	const char *authority;
	const char *base_path;
	uint16_t port;
	bool is_tls;
};

static void a_base_url_is_taken_apart(void **state)
{
	static const struct good rows[] = {
		{ "http://127.0.0.1:8000", "http://127.0.0.1:8000", "127.0.0.1", "127.0.0.1:8000", "", 8000, false },
		{ "http://127.0.0.1:8000/", "http://127.0.0.1:8000", "127.0.0.1", "127.0.0.1:8000", "", 8000, false },
		{ "http://127.0.0.1/a/b//", "http://127.0.0.1/a/b", "127.0.0.1", "127.0.0.1:80", "/a/b", 80, false },
		{ "https://127.0.0.1", "https://127.0.0.1", "127.0.0.1", "127.0.0.1:443", "", 443, true },
		{ "http://[::1]:81", "http://[::1]:81", "[::1]", "[::1]:81", "", 81, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__endpoint *endpoint;
		vgw_error err = VGW_ERROR_INIT;

		if (vgw__endpoint_new(&endpoint, rows[i].url, &err) != VGW_OK)
			fail_msg("%s: %s", rows[i].url, err.text);
		assert_string_equal(endpoint->url, rows[i].kept);
		assert_string_equal(endpoint->host, rows[i].host);
		assert_string_equal(endpoint->authority, rows[i].authority);
		assert_string_equal(endpoint->base_path, rows[i].base_path);
		assert_int_equal(endpoint->port, rows[i].port);
		assert_int_equal(endpoint->is_tls, rows[i].is_tls);
		assert_null(endpoint->unix_path);
		assert_int_equal(endpoint->address_count, 1);
		vgw__endpoint_unref(endpoint);
	}
}

static void a_unix_socket_is_an_endpoint(void **state)
{
	struct vgw__endpoint *endpoint;

	(void)state;
	assert_int_equal(vgw__endpoint_new(&endpoint, "unix:/run/engine.sock", NULL), VGW_OK);
	assert_string_equal(endpoint->unix_path, "/run/engine.sock");
	assert_string_equal(endpoint->authority, "localhost");
	assert_string_equal(endpoint->base_path, "");
	assert_int_equal(endpoint->address_count, 1);
	assert_int_equal(endpoint->addresses[0].addr.ss_family, AF_UNIX);
	vgw__endpoint_unref(endpoint);
}

static void what_a_base_url_must_not_have_is_refused_with_its_name(void **state)
{
	static const struct {
		const char *url;
		const char *words;
	} rows[] = {
		{ "", "cannot be understood" },
		{ "127.0.0.1:8000", "" },
		{ "ftp://127.0.0.1/", "must begin with http://" },
		{ "http://user@127.0.0.1/", "a user or a password" },
		{ "http://user:secret@127.0.0.1/", "a user or a password" },
		{ "http://127.0.0.1/?a=b", "a query" },
		{ "http://127.0.0.1/?", "a query" },
		{ "http://127.0.0.1/#a", "a fragment" },
		{ "http://127.0.0.1:0", "port" },
		{ "http://127.0.0.1:65536", "" },
		{ "http://127.0.0.1/a b", "" },
		{ "http://127.0.0.1/\r\nX: y", "" },
		{ "http://", "" },
		{ "unix:run/engine.sock", "an absolute path" },
		{ "unix:", "an absolute path" },
		{ "unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaa", "at most 107 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vgw__endpoint *endpoint;
		vgw_error err = VGW_ERROR_INIT;

		if (vgw__endpoint_new(&endpoint, rows[i].url, &err) != VGW_INVALID)
			fail_msg("'%s' is not refused", rows[i].url);
		assert_null(endpoint);
		assert_int_not_equal(strlen(err.text), 0);
		if (!strstr(err.text, rows[i].words))
			fail_msg("'%s': %s", rows[i].url, err.text);
		assert_null(strstr(err.text, "secret"));
	}
}

static void a_name_that_does_not_resolve_is_an_endpoint_without_addresses(void **state)
{
	struct vgw__endpoint *endpoint;

	(void)state;
	assert_int_equal(vgw__endpoint_new(&endpoint, "http://no-such-host.invalid:1", NULL), VGW_OK);
	assert_int_equal(endpoint->address_count, 0);
	vgw__endpoint_unref(endpoint);
}

static void no_two_endpoints_have_the_same_id(void **state)
{
	struct vgw__endpoint *first, *second;

	(void)state;
	assert_int_equal(vgw__endpoint_new(&first, "unix:/a", NULL), VGW_OK);
	assert_int_equal(vgw__endpoint_new(&second, "unix:/a", NULL), VGW_OK);
	assert_int_not_equal(first->id, second->id);
	assert_ptr_equal(vgw__endpoint_ref(first), first);
	vgw__endpoint_unref(first);
	assert_string_equal(first->unix_path, "/a");
	vgw__endpoint_unref(first);
	vgw__endpoint_unref(second);
	vgw__endpoint_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_base_url_is_taken_apart),
		cmocka_unit_test(a_unix_socket_is_an_endpoint),
		cmocka_unit_test(what_a_base_url_must_not_have_is_refused_with_its_name),
		cmocka_unit_test(a_name_that_does_not_resolve_is_an_endpoint_without_addresses),
		cmocka_unit_test(no_two_endpoints_have_the_same_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
