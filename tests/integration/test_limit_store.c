/* SPDX-License-Identifier: Apache-2.0 */
/* A limits' store of a test's own: questions are kept, and answered when the test says so, on any thread. */
#include "testing.h"

#include <vllmgw/vllmgw.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct scene {
	vgw_gateway *gateway;
	vgw_loop *loop;
	vgw_worker *worker;
	vgw_principal *principal;
	vgw_call *call;
	/* the store */
	vgw_limit_ticket *ticket;
	vgw_limit_ask asked;
	unsigned asks;
	unsigned settled;
	uint64_t tokens;
	uint64_t place;
	/* the answer */
	unsigned status;
	bool has_ended;
	vgw_limit_reason limited;
	char headers[2048];
};

static void on_ask(void *user, const vgw_limit_ask *ask, vgw_limit_ticket *ticket)
{
	struct scene *scene = user;

	scene->asks++;
	scene->asked = *ask;
	scene->ticket = ticket;
}

static void on_settle(void *user, const vgw_limit_ask *ask, uint64_t place, uint64_t tokens)
{
	struct scene *scene = user;

	assert_string_equal(ask->name, "alice");
	scene->settled++;
	scene->place = place;
	scene->tokens = tokens;
}

static const vgw_limit_store store = { .size = sizeof(store), .ask = on_ask, .settle = on_settle };

static void on_head(void *user, const vgw_answer_head *head)
{
	struct scene *scene = user;
	size_t at = 0;

	scene->status = head->status;
	for (size_t i = 0; i < head->header_count; i++)
		at += (size_t)snprintf(scene->headers + at, sizeof(scene->headers) - at, "%.*s: %.*s\n",
			(int)head->headers[i].name_len, head->headers[i].name, (int)head->headers[i].value_len,
			head->headers[i].value);
}

static vgw_flow on_data(void *user, const void *data, size_t len)
{
	(void)user;
	(void)data;
	(void)len;
	return VGW_FLOW_GO;
}

static void on_end(void *user, const vgw_call_report *report)
{
	struct scene *scene = user;

	scene->has_ended = true;
	scene->limited = report->limited;
}

static const vgw_call_events events = {
	.size = sizeof(events),
	.on_head = on_head,
	.on_data = on_data,
	.on_end = on_end,
};

static void publish(struct scene *scene)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	vgw_error err;

	options.name = "small";
	options.kind = "static";
	options.backend_json = "{\"kind\":\"static\",\"urls\":[\"http://127.0.0.1:1\"]}"; /* refuses */
	assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &options, &err), VGW_OK);
	assert_int_equal(vgw_gateway_apply(scene->gateway, registry, &err), VGW_OK);
	vgw_registry_unref(registry);
}

static int begin(void **state)
{
	vgw_gateway_options options = VGW_GATEWAY_OPTIONS_INIT;
	vgw_principal_options who = VGW_PRINCIPAL_OPTIONS_INIT;
	struct scene *scene = calloc(1, sizeof(*scene));
	vgw_error err;

	assert_non_null(scene);
	options.limit_store = &store;
	options.limit_store_user = scene;
	who.name = "alice";
	who.tokens_per_minute = 5000;
	assert_int_equal(vgw_gateway_new(&scene->gateway, &options, &err), VGW_OK);
	publish(scene);
	assert_int_equal(vgw_loop_new(&scene->loop, &err), VGW_OK);
	assert_int_equal(vgw_worker_attach(&scene->worker, scene->gateway, scene->loop, &err), VGW_OK);
	assert_int_equal(vgw_principal_new(&scene->principal, scene->gateway, &who, &err), VGW_OK);
	*state = scene;
	return 0;
}

static int end(void **state)
{
	struct scene *scene = *state;

	vgw_worker_detach(scene->worker);
	vgw_principal_unref(scene->principal);
	vgw_loop_free(scene->loop);
	vgw_gateway_free(scene->gateway);
	free(scene);
	return 0;
}

static void call(struct scene *scene)
{
	static const char body[] = "{\"model\":\"small\",\"max_tokens\":100,\"messages\":[]}";
	vgw_request request = VGW_REQUEST_INIT;
	vgw_error err;

	request.operation = VGW_OPERATION_CHAT_COMPLETIONS;
	request.body = body;
	request.body_len = sizeof(body) - 1;
	request.principal = scene->principal;
	if (vgw_worker_call(&scene->call, scene->worker, &request, &events, scene, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static void answer(struct scene *scene, vgw_limit_reason reason, bool is_allowed)
{
	vgw_limit_answer say = VGW_LIMIT_ANSWER_INIT;

	say.is_allowed = is_allowed;
	say.reason = reason;
	say.retry_ms = 2500;
	say.tokens_left = 42;
	say.tokens_reset_ms = 90500;
	say.place = 7;
	vgw_limit_ticket_answer(scene->ticket, &say);
}

static void run_to_the_end(struct scene *scene)
{
	int64_t deadline_ms = vgw_now_ms() + 10000;
	vgw_error err;

	while (!scene->has_ended && vgw_now_ms() < deadline_ms)
		assert_int_equal(vgw_loop_run_once(scene->loop, 50, &err), VGW_OK);
	assert_true(scene->has_ended);
}

static void a_question_holds_the_request_and_nothing_else(void **state)
{
	struct scene *scene = *state;
	vgw_error err;

	call(scene);
	assert_int_equal(scene->asks, 1);
	assert_int_equal(scene->asked.tokens_per_minute, 5000);
	assert_in_range(scene->asked.tokens, 100, 130);
	assert_int_equal(vgw_loop_run_once(scene->loop, 0, &err), VGW_OK);
	assert_false(scene->has_ended);
	assert_false(vgw_call_is_waiting(scene->call));
	answer(scene, VGW_LIMIT_NONE, true);
	run_to_the_end(scene);
	assert_int_equal(scene->status, 502); /* the engine refuses, so no token was used */
	assert_int_equal(scene->settled, 1);
	assert_int_equal(scene->place, 7);
	assert_int_equal(scene->tokens, 0);
	assert_non_null(strstr(scene->headers, "x-ratelimit-remaining-tokens: 42\n"));
	assert_non_null(strstr(scene->headers, "x-ratelimit-reset-tokens: 1m31s\n"));
}

static void a_refusal_is_told_and_settles_nothing(void **state)
{
	struct scene *scene = *state;

	call(scene);
	answer(scene, VGW_LIMIT_TOKENS, false);
	run_to_the_end(scene);
	assert_int_equal(scene->status, 429);
	assert_int_equal(scene->limited, VGW_LIMIT_TOKENS);
	assert_non_null(strstr(scene->headers, "retry-after: 3\n"));
	assert_non_null(strstr(scene->headers, "retry-after-ms: 2500\n"));
	assert_int_equal(scene->settled, 0);
}

static void a_store_that_cannot_tell_opens_or_closes(void **state)
{
	struct scene *scene = *state;

	call(scene);
	answer(scene, VGW_LIMIT_STORE, true);
	run_to_the_end(scene);
	assert_int_equal(scene->status, 502);
	assert_null(strstr(scene->headers, "x-ratelimit"));
	scene->has_ended = false;
	call(scene);
	answer(scene, VGW_LIMIT_STORE, false);
	run_to_the_end(scene);
	assert_int_equal(scene->status, 503);
	assert_int_equal(scene->settled, 0);
}

static void a_grant_for_a_request_that_is_gone_is_given_back(void **state)
{
	struct scene *scene = *state;
	vgw_error err;

	call(scene);
	vgw_call_cancel(scene->call);
	answer(scene, VGW_LIMIT_NONE, true);
	assert_int_equal(vgw_loop_run_once(scene->loop, 1000, &err), VGW_OK);
	assert_int_equal(scene->settled, 1);
	assert_int_equal(scene->tokens, 0);
	assert_false(scene->has_ended);
}

/* Both in one turn: an operator ends the request, and the store's answer has come. */
static void an_answer_for_a_request_that_has_failed_already_changes_nothing(void **state)
{
	struct scene *scene = *state;

	call(scene);
	vgw_call_fail(scene->call, VGW_FAULT_UPSTREAM_ABORTED, "ended by an operator");
	answer(scene, VGW_LIMIT_TOKENS, false);
	run_to_the_end(scene);
	assert_int_equal(scene->status, 502);
	assert_int_equal(scene->limited, VGW_LIMIT_NONE);
	scene->has_ended = false;
	call(scene);
	vgw_call_fail(scene->call, VGW_FAULT_UPSTREAM_ABORTED, "ended by an operator");
	answer(scene, VGW_LIMIT_NONE, true);
	run_to_the_end(scene);
	assert_int_equal(scene->status, 502);
	assert_int_equal(scene->settled, 1);
	assert_int_equal(scene->tokens, 0);
}

static void *answer_elsewhere(void *user)
{
	answer(user, VGW_LIMIT_NONE, true);
	return NULL;
}

static void an_answer_may_come_from_any_thread_and_after_the_worker_is_gone(void **state)
{
	struct scene *scene = *state;
	pthread_t thread;

	call(scene);
	assert_int_equal(pthread_create(&thread, NULL, answer_elsewhere, scene), 0);
	run_to_the_end(scene);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(scene->settled, 1);

	call(scene);
	vgw_worker_detach(scene->worker);
	scene->worker = NULL;
	assert_int_equal(pthread_create(&thread, NULL, answer_elsewhere, scene), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(scene->settled, 2);
	assert_int_equal(scene->tokens, 0);
}

static void a_principal_without_limits_asks_nobody(void **state)
{
	struct scene *scene = *state;
	vgw_principal_options who = VGW_PRINCIPAL_OPTIONS_INIT;
	vgw_error err;

	vgw_principal_unref(scene->principal);
	who.name = "free";
	assert_int_equal(vgw_principal_new(&scene->principal, scene->gateway, &who, &err), VGW_OK);
	call(scene);
	run_to_the_end(scene);
	assert_int_equal(scene->asks, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_question_holds_the_request_and_nothing_else, begin, end),
		cmocka_unit_test_setup_teardown(a_refusal_is_told_and_settles_nothing, begin, end),
		cmocka_unit_test_setup_teardown(a_store_that_cannot_tell_opens_or_closes, begin, end),
		cmocka_unit_test_setup_teardown(a_grant_for_a_request_that_is_gone_is_given_back, begin, end),
		cmocka_unit_test_setup_teardown(an_answer_for_a_request_that_has_failed_already_changes_nothing, begin, end),
		cmocka_unit_test_setup_teardown(an_answer_may_come_from_any_thread_and_after_the_worker_is_gone, begin, end),
		cmocka_unit_test_setup_teardown(a_principal_without_limits_asks_nobody, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
