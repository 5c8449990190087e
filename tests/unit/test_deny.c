/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses that no engine may have, in all their spellings. */
#include "testing.h"

#include "backend/host.h"
#include "net/deny.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static bool is_denied(const struct vgw__deny *deny, const char *text)
{
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return vgw__deny_matches(deny, (const struct sockaddr *)&four);
	assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return vgw__deny_matches(deny, (const struct sockaddr *)&six);
}

static void links_and_metadata_are_denied_in_every_spelling(void **state)
{
	static const char *const denied[] = { "169.254.169.254", "169.254.0.0", "169.254.255.255", "::ffff:169.254.169.254",
		"64:ff9b::169.254.169.254", "fe80::1", "febf::1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254",
		"fd20:ce::254" };
	static const char *const allowed[] = { "127.0.0.1", "::1", "10.0.0.1", "169.253.255.255", "169.255.0.0", "fec0::1",
		"192.168.1.1", "fd00:ec3::254", "100.100.100.201", "64:ff9b::10.0.0.1", "0.0.0.0" };
	struct vgw__deny deny;

	(void)state;
	assert_int_equal(vgw__deny_init(&deny, NULL, 0, false, NULL), VGW_OK);
	for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		if (!is_denied(&deny, denied[i]))
			fail_msg("%s is allowed", denied[i]);
	}
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		if (is_denied(&deny, allowed[i]))
			fail_msg("%s is denied", allowed[i]);
	}
	assert_int_equal(vgw__deny_init(&deny, NULL, 0, true, NULL), VGW_OK);
	assert_false(is_denied(&deny, "169.254.169.254"));
}

static void ranges_of_ones_own_come_on_top(void **state)
{
	static const char *const texts[] = { "10.0.0.0/8", "192.168.4.6", "2001:db8::/33" };
	struct vgw__deny deny;

	(void)state;
	assert_int_equal(vgw__deny_init(&deny, texts, 3, false, NULL), VGW_OK);
	assert_true(is_denied(&deny, "10.255.0.1") && is_denied(&deny, "169.254.1.1"));
	assert_true(is_denied(&deny, "192.168.4.6") && !is_denied(&deny, "192.168.4.7"));
	assert_true(is_denied(&deny, "2001:db8:7fff::1") && !is_denied(&deny, "2001:db8:8000::1"));
	assert_true(is_denied(&deny, "::ffff:10.1.2.3"));
}

static void what_is_no_range_is_named(void **state)
{
	static const char *const wrong[] = { "", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8", "fe80::/129", "host",
		"10.0.0.0/8x", "1234567890123456789012345678901234567890123456789" };
	struct vgw__deny deny;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;

		assert_int_equal(vgw__deny_init(&deny, &wrong[i], 1, false, &err), VGW_INVALID);
		assert_non_null(strstr(err.text, "is not an address or a range"));
	}
}

static void an_endpoint_keeps_its_good_addresses_and_is_refused_without_any(void **state)
{
	struct vgw__endpoint *endpoint;
	struct vgw__deny deny;
	struct sockaddr_in *second;
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	assert_int_equal(vgw__deny_init(&deny, NULL, 0, false, NULL), VGW_OK);
	assert_int_equal(vgw__endpoint_new(&endpoint, "http://169.254.169.254:80", NULL), VGW_OK);
	endpoint->addresses[1] = endpoint->addresses[0];
	second = (struct sockaddr_in *)(void *)&endpoint->addresses[1].addr;
	second->sin_addr.s_addr = htonl(0x0a000001);
	endpoint->address_count = 2;
	assert_int_equal(vgw__deny_filter(&deny, endpoint, NULL), VGW_OK);
	assert_int_equal(endpoint->address_count, 1);
	assert_memory_equal(&endpoint->addresses[0], &endpoint->addresses[1], sizeof(endpoint->addresses[0]));
	second = (struct sockaddr_in *)(void *)&endpoint->addresses[0].addr;
	second->sin_addr.s_addr = htonl(0xa9fea9fe);
	assert_int_equal(vgw__deny_filter(&deny, endpoint, &err), VGW_INVALID);
	assert_int_equal(endpoint->address_count, 0);
	assert_non_null(strstr(err.text, "upstreams.allow_link_local"));
	vgw__endpoint_unref(endpoint);
	assert_int_equal(vgw__endpoint_new(&endpoint, "unix:/run/engine.sock", NULL), VGW_OK);
	assert_int_equal(vgw__deny_filter(&deny, endpoint, NULL), VGW_OK);
	vgw__endpoint_unref(endpoint);
}

static void no_controller_can_tell_of_a_denied_endpoint(void **state)
{
	static const struct vgw__host_events silent = { .on_endpoints = NULL };
	const char *const urls[] = { "http://127.0.0.1:1", "http://169.254.169.254" };
	struct vgw__targets *targets;
	struct vgw__deny deny;
	vgw_host *host;

	(void)state;
	assert_int_equal(vgw__deny_init(&deny, NULL, 0, false, NULL), VGW_OK);
	assert_int_equal(vgw__host_new(&host, &silent, NULL, NULL, NULL), VGW_OK);
	vgw__host_set_deny(host, &deny);
	assert_int_equal(vgw_host_set_endpoint(host, urls[0], NULL), VGW_OK);
	targets = vgw__host_ref_targets(host);
	assert_int_equal(vgw_host_set_endpoints(host, urls, 2, NULL), VGW_INVALID);
	assert_int_equal(vgw_host_set_endpoint(host, "http://[::ffff:a9fe:a9fe]:80", NULL), VGW_INVALID);
	vgw__targets_unref(targets);
	assert_ptr_equal(vgw__host_ref_targets(host), targets); /* what was told before still holds */
	vgw__targets_unref(targets);
	vgw__host_free(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_and_metadata_are_denied_in_every_spelling),
		cmocka_unit_test(ranges_of_ones_own_come_on_top),
		cmocka_unit_test(what_is_no_range_is_named),
		cmocka_unit_test(an_endpoint_keeps_its_good_addresses_and_is_refused_without_any),
		cmocka_unit_test(no_controller_can_tell_of_a_denied_endpoint),
	};

	return cmocka_run_group_tests_name("deny", tests, NULL, NULL);
}
