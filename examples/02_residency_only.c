/* SPDX-License-Identifier: Apache-2.0 */
/* A residency without HTTP: two engines, room for one, a lease for each in turn.
 *
 *   acquire("a") -> started, served ... release     acquire("b") -> a leaves, b is started ... release
 *
 *   cc 02_residency_only.c $(pkg-config --cflags --libs vllmgw)
 *   ./a.out vllmgw-engine          # the simulator; or any command that takes --port and --model */
#include <vllmgw/residency.h>

#include <stdio.h>

enum { PATIENCE_MS = 60000, BACKEND_BYTES = 4096 };

static void print_line(void *user, vgw_log_level level, const char *area, const char *model, const char *text)
{
	(void)user;
	(void)level;
	printf("    [%s] %s: %s\n", area, model ? model : "-", text);
}

static vgw_status add_model(vgw_registry *registry, const char *name, const char *command, vgw_error *err)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	char backend[BACKEND_BYTES];

	(void)snprintf(backend, sizeof(backend),
		"{\"kind\":\"process\",\"command\":[\"%s\",\"--port\",\"${PORT}\",\"--model\",\"${MODEL}\"]}", command);
	options.name = name;
	options.kind = "process";
	options.backend_json = backend;
	return vgw_registry_add(registry, &options, err);
}

static vgw_status publish_models(vgw_residency *residency, const char *command, vgw_error *err)
{
	vgw_registry *registry;
	vgw_status status = vgw_registry_new(&registry, err);

	if (status == VGW_OK)
		status = add_model(registry, "a", command, err);
	if (status == VGW_OK)
		status = add_model(registry, "b", command, err);
	if (status == VGW_OK)
		status = vgw_residency_apply(residency, registry, err);
	vgw_registry_unref(registry); /* the residency has its own reference */
	return status;
}

/* While the lease is held the model stays; any HTTP client may talk to the endpoint. */
static vgw_status use(vgw_residency *residency, const char *model, vgw_error *err)
{
	vgw_lease *lease;
	vgw_status status = vgw_residency_acquire(&lease, residency, model, vgw_now_ms() + PATIENCE_MS, err);

	if (status == VGW_OK)
		printf("%s serves at %s\n", model, vgw_lease_get_endpoint(lease));
	vgw_lease_release(lease);
	return status;
}

int main(int argc, char **argv)
{
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_residency *residency = NULL;
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status;
	char *decisions;

	if (argc != 2) {
		fprintf(stderr, "usage: %s COMMAND\n", argv[0]);
		return 2;
	}
	options.logger.fn = print_line;
	options.logger.level = VGW_LOG_INFO;
	options.max_resident = 1;
	status = vgw_residency_new(&residency, &options, &err);
	if (status == VGW_OK)
		status = publish_models(residency, argv[1], &err);
	if (status == VGW_OK)
		status = use(residency, "a", &err);
	if (status == VGW_OK)
		status = use(residency, "b", &err);
	if (status == VGW_OK) {
		decisions = vgw_residency_dup_decisions(residency);
		printf("why: %s\n", decisions ? decisions : "?");
		vgw_free(decisions);
	} else {
		fprintf(stderr, "%s: %s\n", vgw_status_get_name(status), err.text);
	}
	vgw_residency_free(residency); /* stops what it started */
	return status == VGW_OK ? 0 : 1;
}
