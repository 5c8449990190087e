/* SPDX-License-Identifier: Apache-2.0 */
/* A controller of your own. This one "starts" an engine by counting to a hundred; yours would talk to a batch system,
 * a hypervisor, a cupboard full of boards. Its operations are called one at a time, never under a lock.
 *
 *   cc 03_custom_controller.c $(pkg-config --cflags --libs vllmgw) && ./a.out */
#include <vllmgw/residency.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEP_MS = 5, STEPS = 100, PATIENCE_MS = 10000 };

struct board {
	vgw_host *host; /* the library's side: where to tell the endpoint, how far we are, whether to give up */
	bool is_on;
};

/* Check the configuration (spec->backend_json) here; nothing is started yet. */
static vgw_status board_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user, vgw_error *err)
{
	struct board *board = calloc(1, sizeof(*board));

	(void)user;
	if (!board)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for %s", spec->replica);
	board->host = host;
	*self = board;
	return VGW_OK;
}

static void board_destroy(void *self)
{
	free(self);
}

static vgw_status board_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct board *board = self;
	struct pollfd cancel = { .fd = vgw_host_get_cancel_fd(board->host), .events = POLLIN };

	for (int step = 0; step < STEPS && !board->is_on; step++) {
		if (poll(&cancel, 1, STEP_MS) > 0)
			return vgw_error_set(err, VGW_CANCELLED, 0, "given up at %d %%", step);
		if (vgw_now_ms() >= deadline_ms) {
			vgw_host_set_failure(board->host, VGW_FAILURE_UNKNOWN, "the board is too slow");
			return vgw_error_set(err, VGW_TIMEOUT, 0, "not up in time");
		}
		vgw_host_set_progress(board->host, step, "charging");
	}
	board->is_on = true;
	return vgw_host_set_endpoint(board->host, "http://127.0.0.1:8000", err);
}

/* Called also after a failed activate: whatever is left must be gone when it returns. */
static vgw_status board_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	struct board *board = self;

	(void)deadline_ms;
	(void)err;
	if (depth == VGW_DEPTH_SLEEP)
		vgw_host_set_depth(board->host, VGW_DEPTH_STOP); /* this kind cannot sleep */
	board->is_on = false;
	return VGW_OK;
}

/* Without this one the library asks GET /health and GET /v1/models. */
static vgw_status board_probe(void *self, int64_t deadline_ms, vgw_error *err)
{
	const struct board *board = self;

	(void)deadline_ms;
	return board->is_on ? VGW_OK : vgw_error_set(err, VGW_BACKEND, 0, "the board is off");
}

static const vgw_controller_ops board_ops = {
	.size = sizeof(vgw_controller_ops), .kind = "board", .create = board_create, .destroy = board_destroy,
	.activate = board_activate, .deactivate = board_deactivate, .probe = board_probe,
};

static vgw_status run(vgw_residency *residency, vgw_registry *registry, vgw_error *err)
{
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	vgw_status status = vgw_residency_add_controller(residency, &board_ops, NULL, err);
	vgw_lease *lease = NULL;

	model.name = "small";
	model.kind = "board";
	model.backend_json = "{\"kind\":\"board\"}";
	if (status == VGW_OK)
		status = vgw_registry_add(registry, &model, err);
	if (status == VGW_OK)
		status = vgw_residency_apply(residency, registry, err);
	if (status == VGW_OK)
		status = vgw_residency_acquire(&lease, residency, "small", vgw_now_ms() + PATIENCE_MS, err);
	if (status == VGW_OK)
		printf("small serves at %s\n", vgw_lease_get_endpoint(lease));
	vgw_lease_release(lease);
	return status;
}

int main(void)
{
	const vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_residency *residency = NULL;
	vgw_registry *registry = NULL;
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status = vgw_residency_new(&residency, &options, &err);

	if (status == VGW_OK)
		status = vgw_registry_new(&registry, &err);
	if (status == VGW_OK)
		status = run(residency, registry, &err);
	if (status != VGW_OK)
		fprintf(stderr, "%s: %s\n", vgw_status_get_name(status), err.text);
	vgw_registry_unref(registry);
	vgw_residency_free(residency);
	return status == VGW_OK ? 0 : 1;
}
