/* SPDX-License-Identifier: Apache-2.0 */
/* Principals, accounts and addresses, under a clock of our own. */
#include "testing.h"

#include "gateway/worker.h"

#include <pthread.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

static vgw_gateway *begin(uint64_t address_rpm)
{
	vgw_gateway_options options = VGW_GATEWAY_OPTIONS_INIT;
	vgw_gateway *gateway;
	vgw_error err;

	options.address_rpm = address_rpm;
	assert_int_equal(vgw_gateway_new(&gateway, &options, &err), VGW_OK);
	return gateway;
}

static vgw_principal *make(vgw_gateway *gateway, const char *name, const char *const *models, size_t count)
{
	vgw_principal_options options = VGW_PRINCIPAL_OPTIONS_INIT;
	vgw_principal *principal;
	vgw_error err;

	options.name = name;
	options.models = models;
	options.model_count = count;
	if (vgw_principal_new(&principal, gateway, &options, &err) != VGW_OK)
		return NULL;
	return principal;
}

static vgw_limit_ask ask_for(uint64_t rpm, uint64_t tpm, uint64_t tokens, uint32_t concurrency)
{
	return (vgw_limit_ask){ .size = sizeof(vgw_limit_ask), .name = "a", .requests_per_minute = rpm,
		.tokens_per_minute = tpm, .tokens = tokens, .concurrency = concurrency };
}

static void a_principal_may_use_what_its_patterns_say(void **state)
{
	static const char *const patterns[] = { "small", "big-*", "llama3:8b" };
	static const char *const everything[] = { "*" };
	vgw_gateway *gateway = begin(0);
	vgw_principal *some = make(gateway, "some", patterns, 3);
	vgw_principal *all = make(gateway, "all", everything, 1);
	vgw_principal *open = make(gateway, "open", NULL, 0);

	(void)state;
	assert_true(vgw_principal_may_use(some, "small"));
	assert_true(vgw_principal_may_use(some, "big-"));
	assert_true(vgw_principal_may_use(some, "big-7b"));
	assert_true(vgw_principal_may_use(some, "llama3:8b"));
	assert_false(vgw_principal_may_use(some, "smaller"));
	assert_false(vgw_principal_may_use(some, "smal"));
	assert_false(vgw_principal_may_use(some, "bi"));
	assert_false(vgw_principal_may_use(some, "Small"));
	assert_false(vgw_principal_may_use(some, ""));
	assert_true(vgw_principal_may_use(all, "anything"));
	assert_true(vgw_principal_may_use(open, "anything"));
	assert_true(vgw_principal_may_use(NULL, "anything"));
	vgw_principal_unref(some);
	vgw_principal_unref(all);
	vgw_principal_unref(open);
	vgw_gateway_free(gateway);
}

static void a_bad_principal_is_refused_with_a_reason(void **state)
{
	static const char *const bad[] = { "a*b" };
	vgw_principal_options options = VGW_PRINCIPAL_OPTIONS_INIT;
	vgw_gateway *gateway = begin(0);
	vgw_principal *principal;
	vgw_error err;

	(void)state;
	assert_null(make(gateway, "", NULL, 0));
	assert_null(make(gateway, NULL, NULL, 0));
	assert_null(make(gateway, "two words", NULL, 0));
	assert_null(make(gateway, "x", bad, 1));
	options.name = "x";
	options.tokens_per_minute = VGW_LIMIT_MAX + 1;
	assert_int_equal(vgw_principal_new(&principal, gateway, &options, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "above"));
	assert_null(principal);
	vgw_gateway_free(gateway);
}

static void principals_of_one_name_share_an_account_that_outlives_each_of_them(void **state)
{
	vgw_gateway *gateway = begin(0);
	vgw_principal *old = make(gateway, "alice", NULL, 0);
	vgw_principal *new = make(gateway, "alice", NULL, 0);
	vgw_principal *other = make(gateway, "bob", NULL, 0);
	vgw_limit_ask ask = ask_for(2, 0, 0, 0);
	vgw_limit_answer answer;

	(void)state;
	assert_ptr_equal(old->account, new->account);
	assert_ptr_not_equal(old->account, other->account);
	vgw__account_take(old->account, &ask, SECOND, &answer);
	assert_int_equal(answer.requests_left, 1);
	vgw_principal_unref(old);
	vgw__account_take(new->account, &ask, SECOND, &answer);
	assert_int_equal(answer.requests_left, 0);
	assert_true(answer.is_allowed);
	vgw_principal_unref(new);
	vgw_principal_unref(other);
	new = make(gateway, "alice", NULL, 0);
	vgw__account_take(new->account, &ask, SECOND, &answer);
	assert_int_equal(answer.requests_left, 1);
	vgw_principal_unref(new);
	vgw_gateway_free(gateway);
}

static void what_one_limit_refuses_takes_nothing_of_the_others(void **state)
{
	vgw_gateway *gateway = begin(0);
	vgw_principal *alice = make(gateway, "alice", NULL, 0);
	struct vgw__account *account = alice->account;
	vgw_limit_ask ask = ask_for(10, 1000, 600, 2), small = ask_for(10, 1000, 1, 2);
	vgw_limit_answer answer;

	(void)state;
	vgw__account_take(account, &ask, SECOND, &answer);
	assert_true(answer.is_allowed);
	for (int i = 0; i < 100; i++) {
		vgw__account_take(account, &ask, SECOND, &answer);
		assert_false(answer.is_allowed);
		assert_int_equal(answer.reason, VGW_LIMIT_TOKENS);
		assert_int_equal(answer.retry_ms, 12000);
		assert_int_equal(answer.requests_left, 9);
		assert_int_equal(answer.tokens_left, 400);
	}
	assert_int_equal(account->in_flight, 1);
	vgw__account_take(account, &small, SECOND, &answer);
	assert_true(answer.is_allowed);
	vgw__account_take(account, &small, SECOND, &answer);
	assert_int_equal(answer.reason, VGW_LIMIT_CONCURRENCY);
	assert_int_equal(answer.requests_left, 8);
	vgw__account_settle(account, &small, 1, SECOND);
	vgw__account_settle(account, &ask, 100, SECOND);
	vgw__account_take(account, &ask, SECOND, &answer);
	assert_true(answer.is_allowed);
	assert_int_equal(answer.tokens_left, 1000 - 1 - 100 - 600);
	vgw__account_settle(account, &ask, 0, SECOND);
	assert_int_equal(account->in_flight, 0);
	vgw_principal_unref(alice);
	vgw_gateway_free(gateway);
}

static void a_request_that_used_more_than_it_reserved_is_charged_for_it(void **state)
{
	vgw_gateway *gateway = begin(0);
	vgw_principal *alice = make(gateway, "alice", NULL, 0);
	vgw_limit_ask ask = ask_for(0, 1000, 100, 0);
	vgw_limit_answer answer;

	(void)state;
	vgw__account_take(alice->account, &ask, SECOND, &answer);
	vgw__account_settle(alice->account, &ask, 1500, SECOND);
	vgw__account_take(alice->account, &ask, SECOND, &answer);
	assert_int_equal(answer.reason, VGW_LIMIT_TOKENS);
	assert_int_equal(answer.retry_ms, 36000); /* 1500 + 100 - 1000, at 1000 a minute */
	vgw_principal_unref(alice);
	vgw_gateway_free(gateway);
}

/* --- many threads --------------------------------------------------------------------------------------------- */

struct crowd {
	struct vgw__account *account;
	pthread_barrier_t start;
	atomic_uint allowed;
	atomic_uint under_way;
	atomic_bool is_over;
};

static void *push(void *user)
{
	struct crowd *crowd = user;
	vgw_limit_ask ask = ask_for(1000, 0, 0, 3);
	vgw_limit_answer answer;

	(void)pthread_barrier_wait(&crowd->start);
	for (int i = 0; i < 5000; i++) {
		vgw__account_take(crowd->account, &ask, SECOND, &answer);
		if (!answer.is_allowed)
			continue;
		if (atomic_fetch_add(&crowd->under_way, 1) >= 3)
			atomic_store(&crowd->is_over, true);
		atomic_fetch_add(&crowd->allowed, 1);
		atomic_fetch_sub(&crowd->under_way, 1);
		vgw__account_settle(crowd->account, &ask, 0, SECOND);
	}
	return NULL;
}

static void threads_together_get_exactly_the_limit(void **state)
{
	enum { THREADS = 4 };
	vgw_gateway *gateway = begin(0);
	vgw_principal *alice = make(gateway, "alice", NULL, 0);
	struct crowd crowd = { .account = alice->account };
	pthread_t threads[THREADS];

	(void)state;
	assert_int_equal(pthread_barrier_init(&crowd.start, NULL, THREADS), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, push, &crowd), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(crowd.allowed, 1000);
	assert_false(crowd.is_over);
	assert_int_equal(alice->account->in_flight, 0);
	(void)pthread_barrier_destroy(&crowd.start);
	vgw_principal_unref(alice);
	vgw_gateway_free(gateway);
}

/* --- addresses ------------------------------------------------------------------------------------------------ */

static void each_address_has_its_own_limit(void **state)
{
	vgw_gateway *gateway = begin(60);
	struct vgw__addresses *addresses = gateway->limits.addresses;

	(void)state;
	for (int i = 0; i < 60; i++)
		assert_int_equal(vgw__addresses_take(addresses, "192.0.2.1", SECOND), 0);
	assert_int_equal(vgw__addresses_take(addresses, "192.0.2.1", SECOND), SECOND);
	assert_int_equal(vgw__addresses_take(addresses, "192.0.2.2", SECOND), 0);
	assert_int_equal(vgw__addresses_take(addresses, "192.0.2.1", 2 * SECOND), 0);
	vgw_gateway_free(gateway);
}

static void a_flood_of_addresses_does_not_free_one_at_its_limit(void **state)
{
	vgw_gateway *gateway = begin(10);
	struct vgw__addresses *addresses = gateway->limits.addresses;
	char text[32];

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(vgw__addresses_take(addresses, "192.0.2.1", SECOND), 0);
	for (int i = 0; i < 300000; i++) {
		(void)snprintf(text, sizeof(text), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		assert_int_equal(vgw__addresses_take(addresses, text, SECOND), 0);
	}
	assert_true(vgw__addresses_take(addresses, "192.0.2.1", SECOND) > 0);
	vgw_gateway_free(gateway);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_principal_may_use_what_its_patterns_say),
		cmocka_unit_test(a_bad_principal_is_refused_with_a_reason),
		cmocka_unit_test(principals_of_one_name_share_an_account_that_outlives_each_of_them),
		cmocka_unit_test(what_one_limit_refuses_takes_nothing_of_the_others),
		cmocka_unit_test(a_request_that_used_more_than_it_reserved_is_charged_for_it),
		cmocka_unit_test(threads_together_get_exactly_the_limit),
		cmocka_unit_test(each_address_has_its_own_limit),
		cmocka_unit_test(a_flood_of_addresses_does_not_free_one_at_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
