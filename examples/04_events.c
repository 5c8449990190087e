/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to models, as it happens. Events come on a thread of the library, in their order and never under a
 * lock, so the handler may call whatever it likes: this one asks for the state of the model it hears about.
 *
 *   cc 04_events.c $(pkg-config --cflags --libs vllmgw)
 *   ./a.out vllmgw-engine */
#include <vllmgw/event.h>
#include <vllmgw/residency.h>

#include <stdio.h>

enum { PATIENCE_MS = 60000, BACKEND_BYTES = 4096 };

static void on_event(void *user, const vgw_event *event)
{
	vgw_residency *residency = user;
	const char *standing = vgw_residency_get_standing(residency, event->model);

	switch (event->kind) {
	case VGW_EVENT_TRANSITION:
		printf("%s: %s -> %s (%s), in /v1/models: %s %s\n", event->replica, event->from, event->to, event->cause,
			standing ? standing : "gone", event->text);
		break;
	case VGW_EVENT_PROGRESS:
		printf("%s: %s, %d %%\n", event->replica, event->text, event->percent);
		break;
	case VGW_EVENT_LOST:
		printf("%llu events were lost\n", (unsigned long long)event->lost_count);
		break;
	default:
		printf("%s: %s: %s\n", event->model, event->cause, event->text);
		break;
	}
}

static vgw_status publish(vgw_residency *residency, const char *command, vgw_error *err)
{
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	char backend[BACKEND_BYTES];
	vgw_registry *registry;
	vgw_status status = vgw_registry_new(&registry, err);

	(void)snprintf(backend, sizeof(backend),
		"{\"kind\":\"process\",\"command\":[\"%s\",\"--port\",\"${PORT}\",\"--model\",\"${MODEL}\"]}", command);
	model.name = "a";
	model.kind = "process";
	model.backend_json = backend;
	if (status == VGW_OK)
		status = vgw_registry_add(registry, &model, err);
	if (status == VGW_OK)
		status = vgw_residency_apply(residency, registry, err);
	vgw_registry_unref(registry);
	return status;
}

int main(int argc, char **argv)
{
	const vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_subscription *subscription = NULL;
	vgw_residency *residency = NULL;
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status;

	if (argc != 2) {
		fprintf(stderr, "usage: %s COMMAND\n", argv[0]);
		return 2;
	}
	status = vgw_residency_new(&residency, &options, &err);
	if (status == VGW_OK)
		status = vgw_residency_subscribe(&subscription, residency, on_event, residency, &err);
	if (status == VGW_OK)
		status = publish(residency, argv[1], &err);
	if (status == VGW_OK)
		status = vgw_residency_load(residency, "a", vgw_now_ms() + PATIENCE_MS, &err);
	if (status == VGW_OK)
		status = vgw_residency_unload(residency, "a", 0, vgw_now_ms() + PATIENCE_MS, &err);
	if (status != VGW_OK)
		fprintf(stderr, "%s: %s\n", vgw_status_get_name(status), err.text);
	vgw_subscription_end(subscription);
	vgw_residency_free(residency);
	return status == VGW_OK ? 0 : 1;
}
