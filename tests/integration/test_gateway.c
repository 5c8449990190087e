/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway without a front: requests in by vgw_worker_call(), answers out by callbacks, engines by script. */
#include "testing.h"

#include "rawserver.h"

#include <vllmgw/vllmgw.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* --- one client ------------------------------------------------------------------------------------------------- */

struct client {
	vgw_gateway *gateway;
	vgw_loop *loop;
	vgw_worker *worker;
	vgw_call *call;
	char body[65536];
	size_t len;
	size_t full_at; /* say FULL once so many bytes came; 0: never */
	unsigned status;
	bool is_stream;
	bool is_sent;
	bool has_ended;
	bool is_clean;
	vgw_fault fault;
	unsigned attempts;
	long long tokens;
	char headers[4096];
};

static void on_sent(void *user)
{
	struct client *client = user;

	client->is_sent = true;
}

static void on_head(void *user, const vgw_answer_head *head)
{
	struct client *client = user;
	size_t at = 0;

	client->status = head->status;
	client->is_stream = head->is_stream != 0;
	for (size_t i = 0; i < head->header_count; i++)
		at += (size_t)snprintf(client->headers + at, sizeof(client->headers) - at, "%.*s: %.*s\n",
			(int)head->headers[i].name_len, head->headers[i].name, (int)head->headers[i].value_len,
			head->headers[i].value);
}

static vgw_flow on_data(void *user, const void *data, size_t len)
{
	struct client *client = user;

	assert_true(client->len + len < sizeof(client->body));
	memcpy(client->body + client->len, data, len);
	client->len += len;
	client->body[client->len] = '\0';
	return client->full_at && client->len >= client->full_at ? VGW_FLOW_FULL : VGW_FLOW_GO;
}

static void on_end(void *user, const vgw_call_report *report)
{
	struct client *client = user;

	assert_false(client->has_ended);
	client->has_ended = true;
	client->is_clean = report->is_clean != 0;
	client->fault = report->fault;
	client->attempts = report->attempts;
	client->tokens = report->completion_tokens;
}

static const vgw_call_events events = {
	.size = sizeof(events),
	.on_sent = on_sent,
	.on_head = on_head,
	.on_data = on_data,
	.on_end = on_end,
};

static void publish(struct client *client, const char *const *urls, size_t count, const char *served_name)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	vgw_error err;
	char backend[512] = "{\"kind\":\"static\",\"api_key\":\"up-key\",\"urls\":[";

	for (size_t i = 0; i < count; i++)
		(void)snprintf(backend + strlen(backend), sizeof(backend) - strlen(backend), "%s\"%s\"", i ? "," : "",
			urls[i]);
	(void)snprintf(backend + strlen(backend), sizeof(backend) - strlen(backend), "]}");
	options.name = "small";
	options.served_name = served_name;
	options.kind = "static";
	options.backend_json = backend;
	options.defaults_json = "{\"temperature\":0.5}";
	assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &options, &err), VGW_OK);
	if (vgw_gateway_apply(client->gateway, registry, &err) != VGW_OK)
		fail_msg("%s", err.text);
	vgw_registry_unref(registry);
}

static struct client *begin(const char *const *urls, size_t count, int64_t first_byte_ms)
{
	vgw_gateway_options options = VGW_GATEWAY_OPTIONS_INIT;
	struct client *client = calloc(1, sizeof(*client));
	vgw_error err;

	assert_non_null(client);
	options.first_byte_timeout_ms = first_byte_ms;
	options.max_event_bytes = 32;
	options.health_interval_ms = -1; /* scripts count connections */
	assert_int_equal(vgw_gateway_new(&client->gateway, &options, &err), VGW_OK);
	publish(client, urls, count, "org/small");
	assert_int_equal(vgw_loop_new(&client->loop, &err), VGW_OK);
	assert_int_equal(vgw_worker_attach(&client->worker, client->gateway, client->loop, &err), VGW_OK);
	return client;
}

static void end(struct client *client, struct rawserver *server)
{
	const char *why = server ? rawserver_join(server) : NULL;

	vgw_worker_detach(client->worker);
	vgw_loop_free(client->loop);
	assert_int_equal(vgw_gateway_count_calls(client->gateway), 0);
	vgw_gateway_free(client->gateway);
	free(client);
	if (why)
		fail_msg("the engine: %s", why);
}

static vgw_status ask(struct client *client, const char *body, vgw_error *err)
{
	vgw_request request = VGW_REQUEST_INIT;

	request.operation = VGW_OPERATION_CHAT_COMPLETIONS;
	request.body = body;
	request.body_len = strlen(body);
	request.accept = "text/event-stream";
	return vgw_worker_call(&client->call, client->worker, &request, &events, client, err);
}

/* Turn the loop until `*flag`, but not for ever. */
static void wait_for(struct client *client, const bool *flag)
{
	int64_t until_ms = vgw_now_ms() + 10000;

	while (!*flag && vgw_now_ms() < until_ms)
		assert_int_equal(vgw_loop_run_once(client->loop, 100, NULL), VGW_OK);
	assert_true(*flag);
}

/* --- engines ---------------------------------------------------------------------------------------------------- */

static void answers_in_two_pieces(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);
	const char *body;
	size_t len;

	rawserver_expect_request(server, fd);
	memcpy(user, rawserver_get_head(server), strlen(rawserver_get_head(server)) + 1);
	body = rawserver_get_body(server, &len);
	memcpy((char *)user + 4096, body, 4096 > len ? len : 4096);
	rawserver_send_alone(server, fd,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: uvicorn\r\nSet-Cookie: a=b\r\n"
		"Content-Length: 58\r\n\r\n{\"usage\":{\"prompt_tokens\":3,",
		133);
	rawserver_send(server, fd, "\"completion_tokens\":7}}       ");
}

static void the_body_goes_up_with_its_model_and_defaults_spliced_and_comes_back_whole(void **state)
{
	static char seen[8192];
	struct rawserver *server = rawserver_start(answers_in_two_pieces, seen, NULL);
	const char *urls[] = { rawserver_get_url(server) };
	struct client *client = begin(urls, 1, 0);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{ \"x\": 1.50, \"model\" : \"small\",\"priority\":9 }", &err), VGW_OK);
	wait_for(client, &client->has_ended);
	assert_string_equal(seen + 4096, "{\"temperature\":0.5, \"x\": 1.50, \"model\" : \"org/small\" }");
	assert_non_null(strcasestr(seen, "authorization: Bearer up-key\r\n"));
	assert_non_null(strcasestr(seen, "x-request-id: req-"));
	assert_int_equal(client->status, 200);
	assert_true(client->is_clean && client->is_sent);
	assert_int_equal(client->tokens, 7);
	assert_null(strstr(client->headers, "uvicorn"));
	assert_null(strcasestr(client->headers, "cookie"));
	assert_non_null(strstr(client->headers, "x-vllmgw-replica: small/0\n"));
	end(client, server);
}

static void refuses_to_listen(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
}

static void an_engine_that_cannot_be_reached_is_replaced_by_another_before_the_first_byte(void **state)
{
	struct rawserver *server = rawserver_start(refuses_to_listen, NULL, NULL);
	const char *urls[] = { "http://127.0.0.1:1", rawserver_get_url(server) };
	struct client *client = begin(urls, 2, 0);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\"}", &err), VGW_OK);
	wait_for(client, &client->has_ended);
	assert_int_equal(client->status, 200);
	assert_in_range(client->attempts, 1, 2);
	assert_string_equal(client->body, "{}");
	end(client, server);
}

static void when_no_engine_can_be_reached_the_answer_says_so(void **state)
{
	const char *urls[] = { "http://127.0.0.1:1", "http://127.0.0.1:2" };
	struct client *client = begin(urls, 2, 0);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\"}", &err), VGW_OK);
	wait_for(client, &client->has_ended);
	assert_int_equal(client->status, 502);
	assert_int_equal(client->attempts, 2);
	assert_non_null(strstr(client->body, "\"code\":\"upstream_unavailable\""));
	assert_true(client->is_clean);
	end(client, NULL);
}

static void dies_after_the_request(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_reset(server, fd);
	rawserver_expect_no_connection(server, 200);
}

static void a_post_that_may_have_been_executed_is_not_sent_twice(void **state)
{
	struct rawserver *server = rawserver_start(dies_after_the_request, NULL, NULL);
	const char *urls[] = { rawserver_get_url(server), rawserver_get_url(server) };
	struct client *client = begin(urls, 2, 0);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\"}", &err), VGW_OK);
	wait_for(client, &client->has_ended);
	assert_int_equal(client->status, 502);
	assert_int_equal(client->attempts, 1);
	assert_non_null(strstr(client->body, "upstream_connection_lost"));
	end(client, server);
}

static void dies_mid_stream(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, user ? user :
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
		"b\r\ndata: one\n\n\r\n9\r\ndata: two\r\n");
	rawserver_close(server, fd);
}

static void an_engine_that_dies_mid_stream_leaves_its_bytes_an_error_event_and_an_unclean_end(void **state)
{
	struct rawserver *server = rawserver_start(dies_mid_stream, NULL, NULL);
	const char *urls[] = { rawserver_get_url(server) };
	struct client *client = begin(urls, 1, 0);
	static const char expected[] = "data: one\n\ndata: two\n\ndata: {\"error\":{";
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\",\"stream\":true}", &err), VGW_OK);
	assert_true(vgw_call_is_stream(client->call));
	wait_for(client, &client->has_ended);
	assert_true(client->is_stream);
	assert_memory_equal(client->body, expected, sizeof(expected) - 1);
	assert_non_null(strstr(client->body, "\"code\":\"upstream_aborted\""));
	assert_false(client->is_clean);
	assert_int_equal(client->fault, VGW_FAULT_UPSTREAM_ABORTED);
	end(client, server);
}

/* Its end comes with the bytes that make it too long: those are not handed on. */
static void an_event_that_is_too_long_is_not_the_beginning_of_the_error_event(void **state)
{
	static char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
		"a\r\ndata: long\r\n28\r\n, and longer than one is allowed to be\n\n\r\n";
	struct rawserver *server = rawserver_start(dies_mid_stream, answer, NULL);
	const char *urls[] = { rawserver_get_url(server) };
	struct client *client = begin(urls, 1, 0);

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\",\"stream\":true}", NULL), VGW_OK);
	wait_for(client, &client->has_ended);
	assert_non_null(strstr(client->body, "data: long\n\ndata: {\"error\":{"));
	end(client, server);
}

static void is_truncated(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"half\":");
	rawserver_close(server, fd);
}

static void a_truncated_answer_that_is_no_stream_becomes_an_honest_error(void **state)
{
	struct rawserver *server = rawserver_start(is_truncated, NULL, NULL);
	const char *urls[] = { rawserver_get_url(server) };
	struct client *client = begin(urls, 1, 0);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\"}", &err), VGW_OK);
	wait_for(client, &client->has_ended);
	assert_int_equal(client->status, 502);
	assert_null(strstr(client->body, "half"));
	assert_true(client->is_clean);
	end(client, server);
}

static void says_nothing(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_expect_close(server, fd);
}

static void an_engine_that_says_nothing_in_time_is_given_up_and_its_connection_closed(void **state)
{
	struct rawserver *server = rawserver_start(says_nothing, NULL, NULL);
	const char *urls[] = { rawserver_get_url(server) };
	struct client *client = begin(urls, 1, 150);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\"}", &err), VGW_OK);
	wait_for(client, &client->has_ended);
	assert_int_equal(client->status, 504);
	assert_non_null(strstr(client->body, "upstream_timeout"));
	end(client, server);
}

static void a_cancelled_call_closes_its_connection_and_is_heard_of_no_more(void **state)
{
	struct rawserver *server = rawserver_start(says_nothing, NULL, NULL);
	const char *urls[] = { rawserver_get_url(server) };
	struct client *client = begin(urls, 1, 0);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\"}", &err), VGW_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(vgw_loop_run_once(client->loop, 20, NULL), VGW_OK);
	vgw_call_cancel(client->call);
	assert_false(client->has_ended);
	end(client, server);
}

static void what_is_wrong_with_a_request_is_told_at_once(void **state)
{
	static const struct {
		const char *body;
		vgw_fault fault;
	} rows[] = {
		{ "", VGW_FAULT_INVALID_JSON },
		{ "[]", VGW_FAULT_INVALID_JSON },
		{ "{}", VGW_FAULT_MISSING_MODEL },
		{ "{\"model\":7}", VGW_FAULT_INVALID_MODEL },
		{ "{\"model\":\"nix\"}", VGW_FAULT_MODEL_NOT_FOUND },
		{ "{\"model\":\"small\",\"mod\\u0065l\":\"nix\"}", VGW_FAULT_DUPLICATE_KEY },
		{ "{\"model\":\"small\",\"stream\":\"yes\"}", VGW_FAULT_INVALID_STREAM },
	};
	const char *urls[] = { "http://127.0.0.1:1" };
	struct client *client = begin(urls, 1, 0);
	vgw_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_not_equal(ask(client, rows[i].body, &err), VGW_OK);
		assert_int_equal(vgw_error_get_fault(&err), rows[i].fault);
		assert_null(client->call);
	}
	end(client, NULL);
}

static void a_request_keeps_the_models_it_began_with_while_others_are_published(void **state)
{
	struct rawserver *server = rawserver_start(dies_mid_stream, NULL, NULL);
	const char *urls[] = { rawserver_get_url(server) };
	const char *others[] = { "http://127.0.0.1:1" };
	struct client *client = begin(urls, 1, 0);
	vgw_error err;

	(void)state;
	assert_int_equal(ask(client, "{\"model\":\"small\",\"stream\":true}", &err), VGW_OK);
	publish(client, others, 1, "org/other");
	wait_for(client, &client->has_ended);
	assert_memory_equal(client->body, "data: one\n\n", 11);
	end(client, server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_body_goes_up_with_its_model_and_defaults_spliced_and_comes_back_whole),
		cmocka_unit_test(an_engine_that_cannot_be_reached_is_replaced_by_another_before_the_first_byte),
		cmocka_unit_test(when_no_engine_can_be_reached_the_answer_says_so),
		cmocka_unit_test(a_post_that_may_have_been_executed_is_not_sent_twice),
		cmocka_unit_test(an_engine_that_dies_mid_stream_leaves_its_bytes_an_error_event_and_an_unclean_end),
		cmocka_unit_test(an_event_that_is_too_long_is_not_the_beginning_of_the_error_event),
		cmocka_unit_test(a_truncated_answer_that_is_no_stream_becomes_an_honest_error),
		cmocka_unit_test(an_engine_that_says_nothing_in_time_is_given_up_and_its_connection_closed),
		cmocka_unit_test(a_cancelled_call_closes_its_connection_and_is_heard_of_no_more),
		cmocka_unit_test(what_is_wrong_with_a_request_is_told_at_once),
		cmocka_unit_test(a_request_keeps_the_models_it_began_with_while_others_are_published),
	};

	return cmocka_run_group_tests_name("gateway", tests, NULL, NULL);
}
