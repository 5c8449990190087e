/* SPDX-License-Identifier: Apache-2.0 */
/* The whole gateway inside a program of yours, without HTTP in front: two models, one request, the answer printed
 * as it streams.
 *
 *   example_01_embed_gateway http://127.0.0.1:8001 http://127.0.0.1:8002 [PROMPT]
 *
 * The first URL serves the model "small", the second "big" (as their --served-model-name, or change served_name). */
#include <vllmgw/vllmgw.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct program {
	vgw_loop *loop;
	int status;
};

static void on_head(void *user, const vgw_answer_head *head)
{
	(void)user;
	fprintf(stderr, "status %u%s\n", head->status, head->is_stream ? ", streaming" : "");
}

static vgw_flow on_data(void *user, const void *data, size_t len)
{
	(void)user;
	fwrite(data, 1, len, stdout);
	fflush(stdout);
	return VGW_FLOW_GO;
}

static void on_end(void *user, const vgw_call_report *report)
{
	struct program *program = user;

	fprintf(stderr, "\n%s by %s in %lld us, %llu events\n", report->is_clean ? "answered" : "broken off",
		report->replica, (long long)report->total_us, (unsigned long long)report->events);
	program->status = report->fault == VGW_FAULT_NONE ? EXIT_SUCCESS : EXIT_FAILURE;
	vgw_loop_stop(program->loop);
}

static vgw_status add_model(vgw_registry *registry, const char *name, const char *url, vgw_error *err)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	char backend[512];

	snprintf(backend, sizeof(backend), "{\"kind\":\"static\",\"urls\":[\"%s\"]}", url);
	options.name = name;
	options.kind = "static";
	options.backend_json = backend;
	return vgw_registry_add(registry, &options, err);
}

static vgw_status publish(vgw_gateway *gateway, char **urls, vgw_error *err)
{
	vgw_registry *registry = NULL;
	vgw_status status = vgw_registry_new(&registry, err);

	if (status == VGW_OK)
		status = add_model(registry, "small", urls[0], err);
	if (status == VGW_OK)
		status = add_model(registry, "big", urls[1], err);
	if (status == VGW_OK)
		status = vgw_gateway_apply(gateway, registry, err);
	vgw_registry_unref(registry); /* the gateway has its own reference */
	return status;
}

static vgw_status ask(vgw_worker *worker, struct program *program, const char *body, vgw_error *err)
{
	static const vgw_call_events events = {
		.size = sizeof(events),
		.on_head = on_head,
		.on_data = on_data,
		.on_end = on_end,
	};
	vgw_request request = VGW_REQUEST_INIT;
	vgw_call *call;
	vgw_status status;

	request.operation = VGW_OPERATION_CHAT_COMPLETIONS;
	request.body = body; /* borrowed until on_sent or on_end */
	request.body_len = strlen(body);
	status = vgw_worker_call(&call, worker, &request, &events, program, err);
	return status == VGW_OK ? vgw_loop_run(program->loop, err) : status;
}

int main(int argc, char **argv)
{
	struct program program = { NULL, EXIT_FAILURE };
	vgw_gateway *gateway = NULL;
	vgw_worker *worker = NULL;
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status;
	char body[1024];

	if (argc < 3) {
		fprintf(stderr, "usage: %s URL_OF_SMALL URL_OF_BIG [PROMPT]\n", argv[0]);
		return 2;
	}
	snprintf(body, sizeof(body),
		"{\"model\":\"small\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"%.500s\"}]}",
		argc > 3 ? argv[3] : "Say hello.");
	status = vgw_gateway_new(&gateway, NULL, &err);
	if (status == VGW_OK)
		status = publish(gateway, argv + 1, &err);
	if (status == VGW_OK)
		status = vgw_loop_new(&program.loop, &err);
	if (status == VGW_OK)
		status = vgw_worker_attach(&worker, gateway, program.loop, &err);
	if (status == VGW_OK)
		status = ask(worker, &program, body, &err);
	if (status != VGW_OK)
		fprintf(stderr, "error: %s\n", err.text);
	vgw_worker_detach(worker);
	vgw_loop_free(program.loop);
	vgw_gateway_free(gateway);
	return program.status;
}
