/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with a method and a path of their own: which paths are for clients, and what an engine gets of the rest. */
#include "testing.h"

#include "rawserver.h"

#include <vllmgw/vllmgw.h>

#include <stdlib.h>
#include <string.h>

struct client {
	vgw_gateway *gateway;
	vgw_loop *loop;
	vgw_worker *worker;
	vgw_call *call;
	unsigned status;
	long long length; /* of the head */
	bool has_ended;
	bool is_clean;
	size_t len;
	char body[1024];
	char headers[2048];
};

static void on_head(void *user, const vgw_answer_head *head)
{
	struct client *client = user;
	size_t at = 0;

	client->status = head->status;
	client->length = head->content_length;
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
	return VGW_FLOW_GO;
}

static void on_end(void *user, const vgw_call_report *report)
{
	struct client *client = user;

	client->has_ended = true;
	client->is_clean = report->is_clean != 0;
}

static const vgw_call_events events = {
	.size = sizeof(events), .on_head = on_head, .on_data = on_data, .on_end = on_end,
};

static void begin(struct client *client, const char *url, const char *default_model)
{
	vgw_gateway_options options = VGW_GATEWAY_OPTIONS_INIT;
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	char backend[256];
	vgw_error err;

	memset(client, 0, sizeof(*client));
	options.health_interval_ms = -1; /* scripts count connections */
	(void)snprintf(backend, sizeof(backend), "{\"kind\":\"static\",\"urls\":[\"%s\"]}", url);
	model.name = "small";
	model.kind = "static";
	model.backend_json = backend;
	assert_int_equal(vgw_gateway_new(&client->gateway, &options, &err), VGW_OK);
	assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &model, &err), VGW_OK);
	if (default_model)
		assert_int_equal(vgw_registry_set_default(registry, default_model, &err), VGW_OK);
	assert_int_equal(vgw_gateway_apply(client->gateway, registry, &err), VGW_OK);
	vgw_registry_unref(registry);
	assert_int_equal(vgw_loop_new(&client->loop, &err), VGW_OK);
	assert_int_equal(vgw_worker_attach(&client->worker, client->gateway, client->loop, &err), VGW_OK);
}

static void end(struct client *client, struct rawserver *server)
{
	const char *why = server ? rawserver_join(server) : NULL;

	vgw_worker_detach(client->worker);
	vgw_loop_free(client->loop);
	vgw_gateway_free(client->gateway);
	if (why)
		fail_msg("the engine: %s", why);
}

static vgw_status ask(struct client *client, const char *method, const char *path, const char *body, vgw_error *err)
{
	vgw_request request = VGW_REQUEST_INIT;

	request.operation = VGW_OPERATION_PASSTHROUGH;
	request.method = method;
	request.path = path;
	request.body = body;
	request.body_len = strlen(body);
	request.content_type = "text/odd; x=y";
	return vgw_worker_call(&client->call, client->worker, &request, &events, client, err);
}

static void finish(struct client *client)
{
	int64_t until_ms = vgw_now_ms() + 10000;

	while (!client->has_ended && vgw_now_ms() < until_ms)
		assert_int_equal(vgw_loop_run_once(client->loop, 100, NULL), VGW_OK);
	assert_true(client->has_ended);
}

static void answers_oddly(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);
	const char *body;
	size_t len;

	rawserver_expect_request(server, fd);
	body = rawserver_get_body(server, &len);
	(void)snprintf(user, 2048, "%s|%.*s", rawserver_get_head(server), (int)len, len ? body : "");
	rawserver_send(server, fd, "HTTP/1.1 500 No\r\nContent-Type: text/html\r\nSet-Cookie: a=b\r\nCache-Control: no-store\r\n"
		"Content-Length: 4\r\n\r\n<no>");
}

static void everything_arrives_as_it_was_and_so_does_the_answer(void **state)
{
	static char seen[2048];
	struct rawserver *server = rawserver_start(answers_oddly, seen, NULL);
	struct client client;
	vgw_error err;

	(void)state;
	begin(&client, rawserver_get_url(server), "small");
	assert_int_equal(ask(&client, "PATCH", "/a%20b/c;d?e=f+g&&h", "\x01{not json", &err), VGW_OK);
	assert_false(vgw_call_is_stream(client.call));
	finish(&client);
	assert_memory_equal(seen, "PATCH /a%20b/c;d?e=f+g&&h HTTP/1.1\r\n", 36);
	assert_non_null(strcasestr(seen, "content-type: text/odd; x=y\r\n"));
	assert_non_null(strstr(seen, "|\x01{not json"));
	assert_int_equal(client.status, 500);
	assert_string_equal(client.body, "<no>");
	assert_non_null(strstr(client.headers, "cache-control: no-store\n"));
	assert_null(strstr(client.headers, "cookie"));
	assert_true(client.is_clean);
	end(&client, server);
}

static void answers_head(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
}

static void an_answer_to_head_keeps_its_length_and_has_no_body(void **state)
{
	struct rawserver *server = rawserver_start(answers_head, NULL, NULL);
	struct client client;
	vgw_error err;

	(void)state;
	begin(&client, rawserver_get_url(server), "small");
	assert_int_equal(ask(&client, "HEAD", "/x", "", &err), VGW_OK);
	finish(&client);
	assert_int_equal(client.status, 200);
	assert_int_equal(client.length, 1234);
	assert_int_equal(client.len, 0);
	assert_true(client.is_clean);
	end(&client, server);
}

static void paths_that_are_not_for_clients_are_refused_before_anything_is_sent(void **state)
{
	static const struct {
		const char *path;
		vgw_fault fault;
	} rows[] = {
		{ "", VGW_FAULT_BAD_REQUEST }, { "x", VGW_FAULT_BAD_REQUEST }, { "//x", VGW_FAULT_BAD_REQUEST },
		{ "/x//y", VGW_FAULT_BAD_REQUEST }, { "/./x", VGW_FAULT_BAD_REQUEST }, { "/x/..", VGW_FAULT_BAD_REQUEST },
		{ "/x/%2E%2e/y", VGW_FAULT_BAD_REQUEST }, { "/..;a/x", VGW_FAULT_BAD_REQUEST }, { "/;a", VGW_FAULT_BAD_REQUEST },
		{ "/x%2Fy", VGW_FAULT_BAD_REQUEST }, { "/x%5cy", VGW_FAULT_BAD_REQUEST }, { "/x\\y", VGW_FAULT_BAD_REQUEST },
		{ "/x%00", VGW_FAULT_BAD_REQUEST }, { "/x%0d%0ay", VGW_FAULT_BAD_REQUEST }, { "/x y", VGW_FAULT_BAD_REQUEST },
		{ "/x\r\ny", VGW_FAULT_BAD_REQUEST }, { "/x%2", VGW_FAULT_BAD_REQUEST }, { "/x%gg", VGW_FAULT_BAD_REQUEST },
		{ "/x%2573leep", VGW_FAULT_BAD_REQUEST }, { "/x#y", VGW_FAULT_BAD_REQUEST }, { "/x?a b", VGW_FAULT_BAD_REQUEST },
		{ "/x?a\nb", VGW_FAULT_BAD_REQUEST }, { "/\xc3\xbc", VGW_FAULT_BAD_REQUEST },
		{ "/sleep", VGW_FAULT_PERMISSION_DENIED }, { "/sleep/", VGW_FAULT_PERMISSION_DENIED },
		{ "/SLEEP?level=1", VGW_FAULT_PERMISSION_DENIED }, { "/%73%6c%65%65%70", VGW_FAULT_PERMISSION_DENIED },
		{ "/sleep;x=y", VGW_FAULT_PERMISSION_DENIED }, { "/v1/load_lora_adapter", VGW_FAULT_PERMISSION_DENIED },
		{ "/reset_anything", VGW_FAULT_PERMISSION_DENIED }, { "/collective_rpc/x", VGW_FAULT_PERMISSION_DENIED },
	};
	struct client client;
	vgw_error err;

	(void)state;
	begin(&client, "http://127.0.0.1:1", "small");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (ask(&client, "GET", rows[i].path, "", &err) == VGW_OK || vgw_error_get_fault(&err) != rows[i].fault)
			fail_msg("%s: %s", rows[i].path, err.text);
	}
	assert_int_equal(ask(&client, "TRACE", "/x", "", &err), VGW_INVALID);
	assert_int_equal(vgw_error_get_fault(&err), VGW_FAULT_METHOD_NOT_ALLOWED);
	assert_int_equal(ask(&client, NULL, "/x", "", &err), VGW_INVALID);
	assert_int_equal(ask(&client, "GET", NULL, "", &err), VGW_INVALID);
	end(&client, NULL);
}

static void without_a_default_model_there_is_nobody_to_ask(void **state)
{
	struct client client;
	vgw_error err;

	(void)state;
	begin(&client, "http://127.0.0.1:1", NULL);
	assert_int_equal(ask(&client, "GET", "/x", "", &err), VGW_NOT_FOUND);
	assert_int_equal(vgw_error_get_fault(&err), VGW_FAULT_NO_MODEL_LOADED);
	end(&client, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_arrives_as_it_was_and_so_does_the_answer),
		cmocka_unit_test(an_answer_to_head_keeps_its_length_and_has_no_body),
		cmocka_unit_test(paths_that_are_not_for_clients_are_refused_before_anything_is_sent),
		cmocka_unit_test(without_a_default_model_there_is_nobody_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
