/* SPDX-License-Identifier: Apache-2.0 */
/* Several replicas behind a gateway without a front: what is repeated, drained, left out, and told. */
#include "testing.h"

#include "rawserver.h"

#include <vllmgw/vllmgw.h>

#include <stdlib.h>
#include <string.h>

enum { CALLS = 30, DEAD = 10 };

struct stage {
	vgw_gateway *gateway;
	vgw_loop *loop;
	vgw_worker *worker;
	unsigned begun;
	unsigned ended;
	unsigned good;
	unsigned attempts;
	char replica[256]; /* of the last call */
};

static void on_head(void *user, const vgw_answer_head *head)
{
	(void)user;
	(void)head;
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
	struct stage *stage = user;

	stage->ended++;
	stage->good += report->status == 200;
	stage->attempts += report->attempts;
	(void)snprintf(stage->replica, sizeof(stage->replica), "%s", report->replica);
}

static const vgw_call_events events = {
	.size = sizeof(events), .on_head = on_head, .on_data = on_data, .on_end = on_end,
};

static void begin(struct stage *stage, const char *const *urls, size_t count, vgw_balance balance)
{
	vgw_gateway_options options = VGW_GATEWAY_OPTIONS_INIT;
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	char backend[1024] = "{\"urls\":[";

	memset(stage, 0, sizeof(*stage));
	for (size_t i = 0; i < count; i++)
		(void)snprintf(backend + strlen(backend), sizeof(backend) - strlen(backend), "%s\"%s\"", i ? "," : "",
			urls[i]);
	(void)snprintf(backend + strlen(backend), sizeof(backend) - strlen(backend), "]}");
	options.health_interval_ms = -1;
	model.name = "small";
	model.kind = "static";
	model.backend_json = backend;
	model.balance = balance;
	assert_int_equal(vgw_gateway_new(&stage->gateway, &options, NULL), VGW_OK);
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &model, NULL), VGW_OK);
	assert_int_equal(vgw_gateway_apply(stage->gateway, registry, NULL), VGW_OK);
	vgw_registry_unref(registry);
	assert_int_equal(vgw_loop_new(&stage->loop, NULL), VGW_OK);
	assert_int_equal(vgw_worker_attach(&stage->worker, stage->gateway, stage->loop, NULL), VGW_OK);
}

static void end(struct stage *stage)
{
	vgw_worker_detach(stage->worker);
	vgw_loop_free(stage->loop);
	vgw_gateway_free(stage->gateway);
}

static void ask(struct stage *stage)
{
	static const char body[] = "{\"model\":\"small\",\"messages\":[]}";
	vgw_request request = VGW_REQUEST_INIT;
	vgw_call *call;

	request.operation = VGW_OPERATION_CHAT_COMPLETIONS;
	request.body = body;
	request.body_len = sizeof(body) - 1;
	stage->begun++;
	assert_int_equal(vgw_worker_call(&call, stage->worker, &request, &events, stage, NULL), VGW_OK);
}

static void finish(struct stage *stage)
{
	int64_t until_ms = vgw_now_ms() + 10000;

	while (stage->ended < stage->begun && vgw_now_ms() < until_ms)
		assert_int_equal(vgw_loop_run_once(stage->loop, 100, NULL), VGW_OK);
	assert_int_equal(stage->ended, stage->begun);
}

/* As many answers as the test wants, each on a connection of its own. */
static void answers(struct rawserver *server, void *user)
{
	for (int i = 0; i < *(int *)user; i++) {
		int fd = rawserver_accept(server);

		rawserver_expect_request(server, fd);
		rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
					   "Content-Length: 2\r\n\r\n{}");
		rawserver_close(server, fd);
	}
}

static void a_replica_that_refuses_connections_costs_no_request_and_is_left_out_after_five(void **state)
{
	int count = 20;
	struct rawserver *server = rawserver_start(answers, &count, NULL);
	const char *urls[] = { "http://127.0.0.1:1", rawserver_get_url(server) };
	struct stage stage;
	const char *why;
	char *text;

	(void)state;
	begin(&stage, urls, 2, VGW_BALANCE_ROUND_ROBIN);
	for (int i = 0; i < count; i++) {
		ask(&stage);
		finish(&stage);
	}
	assert_int_equal(stage.good, count);
	assert_int_equal(stage.attempts, count + 5);
	text = vgw_residency_dup_state(vgw_gateway_get_residency(stage.gateway));
	assert_non_null(strstr(text, "\"id\":\"small/0\""));
	assert_non_null(strstr(text, "\"id\":\"small/1\""));
	assert_non_null(strstr(text, "\"state\":\"open\",\"retry_in_ms\":"));
	assert_non_null(strstr(text, "5 failures in a row"));
	vgw_free(text);
	text = vgw_gateway_dup_metrics(stage.gateway);
	assert_non_null(strstr(text, "vllmgw_replica_circuit_open{model=\"small\",replica=\"small/0\"} 1\n"));
	assert_non_null(strstr(text, "vllmgw_replica_requests_total{model=\"small\",replica=\"small/1\"} 20\n"));
	vgw_free(text);
	end(&stage);
	why = rawserver_join(server);
	if (why)
		fail_msg("%s", why);
}

static void a_drained_replica_gets_nothing_until_it_is_wanted_again(void **state)
{
	int count = 4;
	struct rawserver *server = rawserver_start(answers, &count, NULL);
	const char *urls[] = { "http://127.0.0.1:1", rawserver_get_url(server) };
	vgw_residency *residency;
	struct stage stage;
	const char *why;
	vgw_error err;

	(void)state;
	begin(&stage, urls, 2, VGW_BALANCE_LEAST_OUTSTANDING);
	residency = vgw_gateway_get_residency(stage.gateway);
	assert_int_equal(vgw_residency_drain_replica(residency, "small", 0, 1, &err), VGW_OK);
	for (int i = 0; i < count; i++) {
		ask(&stage);
		finish(&stage);
	}
	assert_int_equal(stage.attempts, count); /* the one that refuses was never asked */
	assert_int_equal(vgw_residency_drain_replica(residency, "small", 1, 1, &err), VGW_OK);
	ask(&stage);
	finish(&stage);
	assert_int_equal(stage.good, count);
	assert_int_equal(stage.attempts, count);
	assert_int_equal(vgw_residency_drain_replica(residency, "small", 0, 0, &err), VGW_OK);
	ask(&stage);
	finish(&stage);
	assert_string_equal(stage.replica, urls[0]);
	assert_int_equal(vgw_residency_drain_replica(residency, "small", 2, 1, &err), VGW_NOT_FOUND);
	assert_string_equal(err.text, "model 'small' has no replica 2");
	assert_int_equal(vgw_residency_drain_replica(residency, "tiny", 0, 1, &err), VGW_NOT_FOUND);
	end(&stage);
	why = rawserver_join(server);
	if (why)
		fail_msg("%s", why);
}

static void repeats_beyond_the_first_come_out_of_a_budget(void **state)
{
	char texts[DEAD][32];
	const char *urls[DEAD];
	struct stage stage;

	(void)state;
	for (int i = 0; i < DEAD; i++) {
		(void)snprintf(texts[i], sizeof(texts[i]), "http://127.0.0.1:%d", i + 1);
		urls[i] = texts[i];
	}
	begin(&stage, urls, DEAD, VGW_BALANCE_LEAST_OUTSTANDING);
	for (int i = 0; i < CALLS; i++)
		ask(&stage);
	finish(&stage);
	assert_int_equal(stage.good, 0);
	/* Each has one repeat free; a fifth of them at a time may go on, to all DEAD at most. */
	assert_in_range(stage.attempts, 2 * CALLS + 1, 2 * CALLS + CALLS / 5 * (DEAD - 2));
	end(&stage);
}

/* Those who could not be repeated for want of a replica must not keep others from it. */
static void a_repeat_that_finds_no_other_replica_gives_its_place_in_the_budget_back(void **state)
{
	int count = 6;
	struct rawserver *server = rawserver_start(answers, &count, NULL);
	const char *urls[] = { "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", "http://127.0.0.1:4",
		rawserver_get_url(server) };
	vgw_residency *residency;
	struct stage stage;
	const char *why;

	(void)state;
	begin(&stage, urls, 5, VGW_BALANCE_ROUND_ROBIN);
	residency = vgw_gateway_get_residency(stage.gateway);
	assert_int_equal(vgw_residency_drain_replica(residency, "small", 4, 1, NULL), VGW_OK);
	for (int i = 0; i < 3; i++) {
		ask(&stage);
		finish(&stage);
	}
	assert_int_equal(stage.attempts, 12);
	assert_int_equal(vgw_residency_drain_replica(residency, "small", 4, 0, NULL), VGW_OK);
	for (int i = 0; i < count; i++) {
		ask(&stage);
		finish(&stage);
	}
	assert_int_equal(stage.good, count);
	end(&stage);
	why = rawserver_join(server);
	if (why)
		fail_msg("%s", why);
}

static void a_number_that_is_no_way_to_balance_is_refused(void **state)
{
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	vgw_error err;

	(void)state;
	model.name = "small";
	model.kind = "static";
	model.balance = VGW_BALANCE_COUNT;
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &model, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "no way to balance"));
	vgw_registry_unref(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_replica_that_refuses_connections_costs_no_request_and_is_left_out_after_five),
		cmocka_unit_test(a_drained_replica_gets_nothing_until_it_is_wanted_again),
		cmocka_unit_test(repeats_beyond_the_first_come_out_of_a_budget),
		cmocka_unit_test(a_repeat_that_finds_no_other_replica_gives_its_place_in_the_budget_back),
		cmocka_unit_test(a_number_that_is_no_way_to_balance_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
