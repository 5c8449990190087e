/* SPDX-License-Identifier: Apache-2.0 */
/* A program that gives a call up from inside one of its callbacks: nothing more is heard of it, nothing leaks. */
#include "testing.h"

#include "rawserver.h"

#include <vllmgw/vllmgw.h>

#include <stdlib.h>
#include <string.h>

enum place { IN_SENT, IN_HEAD, IN_DATA };

struct client {
	vgw_call *call;
	enum place place;
	bool has_cancelled;
	size_t heard_since; /* callbacks after the cancel */
};

static void hear(struct client *client, enum place place)
{
	if (client->has_cancelled) {
		client->heard_since++;
	} else if (client->place == place) {
		client->has_cancelled = true;
		vgw_call_cancel(client->call);
	}
}

static void on_sent(void *user)
{
	hear(user, IN_SENT);
}

static void on_head(void *user, const vgw_answer_head *head)
{
	assert_int_equal(head->status, 200);
	hear(user, IN_HEAD);
}

/* FULL: what is told of a call that is no more must not be kept in it. */
static vgw_flow on_data(void *user, const void *data, size_t len)
{
	(void)data;
	assert_true(len > 0);
	hear(user, IN_DATA);
	return VGW_FLOW_FULL;
}

static void on_end(void *user, const vgw_call_report *report)
{
	struct client *client = user;

	(void)report;
	client->heard_since++;
}

static const vgw_call_events events = { .size = sizeof(events), .on_sent = on_sent, .on_head = on_head,
	.on_data = on_data, .on_end = on_end };

/* Both events come in one piece: the second is already here when the first is given up. */
static void answers(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, user);
}

static void publish(vgw_gateway *gateway, const char *url)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	vgw_error err;
	char backend[256];

	(void)snprintf(backend, sizeof(backend), "{\"kind\":\"static\",\"urls\":[\"%s\"]}", url);
	options.name = "small";
	options.kind = "static";
	options.backend_json = backend;
	assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &options, &err), VGW_OK);
	assert_int_equal(vgw_gateway_apply(gateway, registry, &err), VGW_OK);
	vgw_registry_unref(registry);
}

static void turn_until_cancelled(vgw_loop *loop, const struct client *client)
{
	int64_t until_ms = vgw_now_ms() + 10000;

	while (!client->has_cancelled && vgw_now_ms() < until_ms)
		assert_int_equal(vgw_loop_run_once(loop, 100, NULL), VGW_OK);
	assert_true(client->has_cancelled);
	assert_int_equal(vgw_loop_run_once(loop, 0, NULL), VGW_OK);
}

static void cancel_in(enum place place, const char *answer)
{
	struct rawserver *server;
	vgw_gateway_options options = VGW_GATEWAY_OPTIONS_INIT;
	vgw_request request = VGW_REQUEST_INIT;
	struct client client = { .place = place };
	vgw_gateway *gateway;
	vgw_worker *worker;
	vgw_loop *loop;
	vgw_error err;
	const char *why;

	server = rawserver_start(answers, (void *)(uintptr_t)answer, NULL);
	options.health_interval_ms = -1;
	assert_int_equal(vgw_gateway_new(&gateway, &options, &err), VGW_OK);
	publish(gateway, rawserver_get_url(server));
	assert_int_equal(vgw_loop_new(&loop, &err), VGW_OK);
	assert_int_equal(vgw_worker_attach(&worker, gateway, loop, &err), VGW_OK);
	request.operation = VGW_OPERATION_CHAT_COMPLETIONS;
	request.body = "{\"model\":\"small\",\"stream\":true}";
	request.body_len = strlen(request.body);
	assert_int_equal(vgw_worker_call(&client.call, worker, &request, &events, &client, &err), VGW_OK);
	turn_until_cancelled(loop, &client);
	assert_int_equal(client.heard_since, 0);
	assert_int_equal(vgw_gateway_count_calls(gateway), 0);
	vgw_worker_detach(worker);
	vgw_loop_free(loop);
	vgw_gateway_free(gateway);
	why = rawserver_join(server);
	if (why)
		fail_msg("the engine: %s", why);
}

static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "b\r\ndata: one\n\n\r\nb\r\ndata: two\n\n\r\n";
static const char whole[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
static const char whole_and_closed[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				       "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";

static void a_call_given_up_when_its_request_is_sent_is_heard_of_no_more(void **state)
{
	(void)state;
	cancel_in(IN_SENT, stream);
	cancel_in(IN_SENT, whole);
}

static void a_call_given_up_at_the_head_is_heard_of_no_more(void **state)
{
	(void)state;
	cancel_in(IN_HEAD, stream);
	cancel_in(IN_HEAD, whole);
	cancel_in(IN_HEAD, whole_and_closed);
}

static void a_call_given_up_at_its_data_is_heard_of_no_more(void **state)
{
	(void)state;
	cancel_in(IN_DATA, stream);
	cancel_in(IN_DATA, whole);
	cancel_in(IN_DATA, whole_and_closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_given_up_when_its_request_is_sent_is_heard_of_no_more),
		cmocka_unit_test(a_call_given_up_at_the_head_is_heard_of_no_more),
		cmocka_unit_test(a_call_given_up_at_its_data_is_heard_of_no_more),
	};

	return cmocka_run_group_tests_name("cancel", tests, NULL, NULL);
}
