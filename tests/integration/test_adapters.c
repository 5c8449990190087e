/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters behind a gateway without a front: what an engine is asked, in which order, and what a call sees of it. */
#include "testing.h"

#include "rawserver.h"

#include <vllmgw/vllmgw.h>

#include <stdatomic.h>
#include <string.h>

#define OK_JSON(length) "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " length "\r\n\r\n"
#define NONE OK_JSON("11") "{\"data\":[]}"
#define EMPTY OK_JSON("2") "{}"
#define LOADED "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nSuccess"
#define ALREADY "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 30\r\n\r\n'x' has already been loaded. If"
#define UNKNOWN "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{\"error\":{}}"

struct stage {
	vgw_gateway *gateway;
	vgw_loop *loop;
	vgw_worker *worker;
	vgw_call *call;
	bool is_ended;
	uint32_t status;
	atomic_int told; /* of an order: its status, -1 before */
};

static void on_head(void *user, const vgw_answer_head *head)
{
	((struct stage *)user)->status = head->status;
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
	(void)report;
	((struct stage *)user)->is_ended = true;
}

static const vgw_call_events events = {
	.size = sizeof(events), .on_head = on_head, .on_data = on_data, .on_end = on_end,
};

static void begin(struct stage *stage, const char *url)
{
	vgw_gateway_options options = VGW_GATEWAY_OPTIONS_INIT;
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	vgw_adapter_options adapter = VGW_ADAPTER_OPTIONS_INIT;
	vgw_registry *registry;
	char backend[256];

	memset(stage, 0, sizeof(*stage));
	atomic_init(&stage->told, -1);
	(void)snprintf(backend, sizeof(backend), "{\"urls\":[\"%s\"]}", url);
	options.health_interval_ms = -1;
	model.name = "big";
	model.kind = "static";
	model.backend_json = backend;
	adapter.name = "sql";
	adapter.base = "big";
	adapter.path = "/adapters/sql";
	assert_int_equal(vgw_gateway_new(&stage->gateway, &options, NULL), VGW_OK);
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &model, NULL), VGW_OK);
	assert_int_equal(vgw_registry_add_adapter(registry, &adapter, NULL), VGW_OK);
	assert_int_equal(vgw_gateway_apply(stage->gateway, registry, NULL), VGW_OK);
	vgw_registry_unref(registry);
	assert_int_equal(vgw_loop_new(&stage->loop, NULL), VGW_OK);
	assert_int_equal(vgw_worker_attach(&stage->worker, stage->gateway, stage->loop, NULL), VGW_OK);
}

static void end(struct stage *stage, struct rawserver *server)
{
	const char *why;

	vgw_worker_detach(stage->worker);
	vgw_loop_free(stage->loop);
	vgw_gateway_free(stage->gateway);
	why = rawserver_join(server);
	if (why)
		fail_msg("%s", why);
}

static void ask(struct stage *stage)
{
	static const char body[] = "{\"model\":\"sql\",\"messages\":[]}";
	vgw_request request = VGW_REQUEST_INIT;

	request.operation = VGW_OPERATION_CHAT_COMPLETIONS;
	request.body = body;
	request.body_len = sizeof(body) - 1;
	stage->is_ended = false;
	assert_int_equal(vgw_worker_call(&stage->call, stage->worker, &request, &events, stage, NULL), VGW_OK);
}

static void finish(struct stage *stage)
{
	int64_t until_ms = vgw_now_ms() + 10000;

	while (!stage->is_ended && vgw_now_ms() < until_ms)
		assert_int_equal(vgw_loop_run_once(stage->loop, 100, NULL), VGW_OK);
	assert_true(stage->is_ended);
}

static void answer(struct rawserver *server, const char *begins, const char *holds, const char *with)
{
	int fd = rawserver_accept(server);
	const char *head, *body;
	size_t len = 0;

	rawserver_expect_request(server, fd);
	head = rawserver_get_head(server);
	body = rawserver_get_body(server, &len);
	if (head && strncmp(head, begins, strlen(begins)) != 0)
		rawserver_fail(server, head);
	if (holds && !(body && memmem(body, len, holds, strlen(holds))))
		rawserver_fail(server, holds);
	rawserver_send(server, fd, with);
	rawserver_close(server, fd);
}

static void one_that_is_there_already_and_is_then_forgotten(struct rawserver *server, void *user)
{
	(void)user;
	answer(server, "GET /v1/models ", NULL, NONE);
	answer(server, "POST /v1/load_lora_adapter ", "\"lora_path\":\"/adapters/sql\"", ALREADY);
	answer(server, "POST /v1/completions ", "\"model\":\"sql.", EMPTY);
	answer(server, "POST /v1/chat/completions ", "\"model\":\"sql.", EMPTY);
	answer(server, "POST /v1/chat/completions ", "\"model\":\"sql.", UNKNOWN);
	answer(server, "GET /v1/models ", NULL, NONE);
	answer(server, "POST /v1/load_lora_adapter ", "\"lora_name\":\"sql.", LOADED);
	answer(server, "POST /v1/completions ", "\"model\":\"sql.", EMPTY);
	answer(server, "POST /v1/chat/completions ", "\"model\":\"sql.", EMPTY);
}

static void what_the_engine_has_is_used_and_what_it_forgot_is_loaded_again(void **state)
{
	struct rawserver *server = rawserver_start(one_that_is_there_already_and_is_then_forgotten, NULL, NULL);
	struct stage stage;

	(void)state;
	assert_non_null(server);
	begin(&stage, rawserver_get_url(server));
	ask(&stage);
	assert_true(vgw_call_is_waiting(stage.call));
	finish(&stage);
	assert_int_equal(stage.status, 200);
	ask(&stage);
	assert_false(vgw_call_is_waiting(stage.call));
	finish(&stage);
	assert_int_equal(stage.status, 200);
	end(&stage, server);
}

static void a_404_that_stays(struct rawserver *server, void *user)
{
	(void)user;
	for (int i = 0; i < 2; i++) {
		answer(server, "GET /v1/models ", NULL, NONE);
		answer(server, "POST /v1/load_lora_adapter ", NULL, LOADED);
		answer(server, "POST /v1/completions ", NULL, EMPTY);
		answer(server, "POST /v1/chat/completions ", NULL, UNKNOWN);
	}
}

static void an_answer_404_is_the_client_s_when_a_load_has_not_helped(void **state)
{
	struct rawserver *server = rawserver_start(a_404_that_stays, NULL, NULL);
	struct stage stage;

	(void)state;
	assert_non_null(server);
	begin(&stage, rawserver_get_url(server));
	ask(&stage);
	finish(&stage);
	assert_int_equal(stage.status, 404);
	end(&stage, server);
}

static void one_that_never_answers(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_expect_close(server, fd);
}

static void a_gateway_ends_although_an_engine_is_still_loading(void **state)
{
	struct rawserver *server = rawserver_start(one_that_never_answers, NULL, NULL);
	struct stage stage;
	int64_t begun_ms;

	(void)state;
	assert_non_null(server);
	begin(&stage, rawserver_get_url(server));
	ask(&stage);
	ask(&stage);
	assert_int_equal(vgw_loop_run_once(stage.loop, 10, NULL), VGW_OK);
	vgw_call_cancel(stage.call); /* the other one is cancelled with its worker */
	begun_ms = vgw_now_ms();
	end(&stage, server);
	assert_true(vgw_now_ms() - begun_ms < 5000);
}

static void on_order(void *user, vgw_status status, const vgw_error *err)
{
	(void)err;
	atomic_store(&((struct stage *)user)->told, (int)status);
}

static void a_load_and_an_unload(struct rawserver *server, void *user)
{
	(void)user;
	answer(server, "GET /v1/models ", NULL, NONE);
	answer(server, "POST /v1/load_lora_adapter ", NULL, LOADED);
	answer(server, "POST /v1/completions ", NULL, EMPTY);
	answer(server, "POST /v1/unload_lora_adapter ", "\"lora_name\":\"sql.", LOADED);
}

static void await_order(struct stage *stage)
{
	int64_t until_ms = vgw_now_ms() + 10000;

	while (atomic_load(&stage->told) < 0 && vgw_now_ms() < until_ms)
		assert_int_equal(vgw_loop_run_once(stage->loop, 1, NULL), VGW_OK);
	assert_int_equal(atomic_exchange(&stage->told, -1), VGW_OK);
}

static void an_operator_s_orders_are_carried_out_and_told(void **state)
{
	struct rawserver *server = rawserver_start(a_load_and_an_unload, NULL, NULL);
	struct stage stage;
	vgw_error err;

	(void)state;
	assert_non_null(server);
	begin(&stage, rawserver_get_url(server));
	assert_int_equal(vgw_gateway_load_adapter(stage.gateway, "big", 0, NULL, NULL, &err), VGW_NOT_FOUND);
	assert_int_equal(vgw_gateway_load_adapter(stage.gateway, "sql", vgw_now_ms() + 10000, on_order, &stage, &err), VGW_OK);
	await_order(&stage);
	assert_int_equal(vgw_gateway_unload_adapter(stage.gateway, "sql", vgw_now_ms() + 10000, on_order, &stage, &err),
		VGW_OK);
	await_order(&stage);
	end(&stage, server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_engine_has_is_used_and_what_it_forgot_is_loaded_again),
		cmocka_unit_test(an_answer_404_is_the_client_s_when_a_load_has_not_helped),
		cmocka_unit_test(a_gateway_ends_although_an_engine_is_still_loading),
		cmocka_unit_test(an_operator_s_orders_are_carried_out_and_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
