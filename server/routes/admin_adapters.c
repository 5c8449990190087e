/* SPDX-License-Identifier: Apache-2.0 */
/* Loading and unloading an adapter on an operator's word. The library does it on a thread of its own and tells the end
 * there; with ?wait=1 a vigil looks whether it was told. What was told is kept in something both own, because either may
 * be gone first: the vigil when the desk stops, the library's thread when it has told. */
#include "routes/admin.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct outcome {
	atomic_uint refs;
	atomic_bool is_told;
	vgw_error error; /* once it is told */
};

struct vigil_of_order {
	struct vigil vigil;
	struct outcome *outcome;
	admin_print_fn print;
	char *adapter; /* its name, behind this struct */
};

static void unref(struct outcome *outcome)
{
	if (atomic_fetch_sub(&outcome->refs, 1) == 1)
		free(outcome);
}

static void on_done(void *user, vgw_status status, const vgw_error *err)
{
	struct outcome *outcome = user;

	(void)status;
	outcome->error = *err;
	atomic_store(&outcome->is_told, true);
	unref(outcome);
}

static bool tick(struct vigil *vigil, int64_t now_ms)
{
	struct vigil_of_order *order = (struct vigil_of_order *)vigil;
	struct outcome *outcome = order->outcome;

	(void)now_ms; /* the order has a deadline of its own */
	if (!atomic_load(&outcome->is_told))
		return true;
	if (outcome->error.status == VGW_OK)
		admin_answer_state(vigil->errand, order->adapter, true, order->print);
	else
		admin_answer_error(vigil->errand, &outcome->error);
	unref(outcome);
	return false;
}

static void drop(struct vigil *vigil)
{
	unref(((struct vigil_of_order *)vigil)->outcome);
}

static vgw_status give(struct errand *errand, enum admin_action action, const char *adapter, struct outcome *outcome,
	vgw_error *err)
{
	vgw_gateway *gateway = desk_get_gateway(errand_get_desk(errand));
	int64_t deadline_ms = vgw_now_ms() + admin_get_wait_ms(errand);

	switch (action) {
	case ADMIN_LOAD:
		return vgw_gateway_load_adapter(gateway, adapter, deadline_ms, on_done, outcome, err);
	case ADMIN_UNLOAD:
		return vgw_gateway_unload_adapter(gateway, adapter, deadline_ms, on_done, outcome, err);
	default:
		return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_BAD_REQUEST,
			"'%.100s' is an adapter: its model can sleep and wake", adapter);
	}
}

static struct vigil_of_order *new_vigil(struct errand *errand, const char *adapter, admin_print_fn print)
{
	size_t size = strlen(adapter) + 1;
	struct vigil_of_order *order = errand_alloc(errand, sizeof(*order) + size);

	if (!order)
		return NULL;
	order->vigil = (struct vigil){ .errand = errand, .tick = tick, .drop = drop };
	order->print = print;
	order->adapter = memcpy(order + 1, adapter, size);
	return order;
}

void admin_act_on_adapter(struct errand *errand, enum admin_action action, const char *adapter, bool is_waiting,
	admin_print_fn print)
{
	struct vigil_of_order *order = is_waiting ? new_vigil(errand, adapter, print) : NULL;
	struct outcome *outcome = calloc(1, sizeof(*outcome));
	struct desk *desk = errand_get_desk(errand);
	vgw_error err = VGW_ERROR_INIT;

	if (!outcome || (is_waiting && !order)) {
		free(outcome);
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	atomic_init(&outcome->refs, is_waiting ? 2 : 1);
	if (order) {
		order->outcome = outcome;
		if (!desk_keep(desk, &order->vigil)) { /* answered */
			free(outcome);
			return;
		}
	}
	if (give(errand, action, adapter, outcome, &err) != VGW_OK) {
		if (order)
			desk_let_go(desk, &order->vigil);
		free(outcome);
		admin_answer_error(errand, &err);
	} else if (!order) {
		admin_answer_state(errand, adapter, false, print);
	}
}
