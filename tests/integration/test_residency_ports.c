/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting on a loop without blocking it: grants, refusals, cancellations that cross them, cuts. */
#include "testing.h"

#include "fake_controller.h"
#include "residency/residency.h"

#include <pthread.h>
#include <string.h>

enum { SOON_MS = 20000, THREADS = 3, ROUNDS = 400, AT_ONCE = 8 };

struct call {
	struct vgw__waiter *waiter;
	struct vgw__resident *resident;
	int answers;
	bool is_brief; /* gives its lease back at once */
	vgw_status status;
	vgw_fault fault;
	uint64_t cuts;
};

struct worker {
	vgw_loop *loop;
	struct vgw__port *port;
	int cuts_heard;
};

static void on_cut(void *user)
{
	((struct worker *)user)->cuts_heard++;
}

static void on_granted(void *user, vgw_status status, uint64_t cuts, const vgw_error *err)
{
	struct call *call = user;

	call->waiter = NULL;
	call->answers++;
	call->status = status;
	call->cuts = cuts;
	if (call->is_brief && status == VGW_OK)
		vgw__gate_leave(call->resident);
	call->fault = status == VGW_OK ? VGW_FAULT_NONE : vgw_error_get_fault(err);
}

static void hire(struct worker *worker, vgw_residency *residency)
{
	memset(worker, 0, sizeof(*worker));
	assert_int_equal(vgw_loop_new(&worker->loop, NULL), VGW_OK);
	assert_int_equal(vgw__port_new(&worker->port, residency, worker->loop, on_cut, worker, NULL), VGW_OK);
}

static void dismiss(struct worker *worker)
{
	vgw__port_free(worker->port);
	vgw_loop_free(worker->loop);
}

static void wait_for_lease(struct worker *worker, struct call *call, struct vgw__resident *resident,
	int64_t deadline_ms)
{
	const struct vgw__wish wish = { .deadline_ms = deadline_ms, .priority = VGW__WISH_NORMAL };

	memset(call, 0, sizeof(*call));
	call->resident = resident;
	call->waiter = vgw__residency_wait(worker->port, resident, &wish, on_granted, call, NULL);
	assert_non_null(call->waiter);
}

static void run_until_answered(struct worker *worker, const struct call *call)
{
	int64_t until_ms = vgw_now_ms() + SOON_MS;

	while (!call->answers) {
		assert_true(vgw_now_ms() < until_ms);
		assert_int_equal(vgw_loop_run_once(worker->loop, 100, NULL), VGW_OK);
	}
}

static vgw_residency *make(struct fakes *fakes, const vgw_residency_options *options)
{
	static const char *const two[] = { "a", "b", NULL };
	vgw_residency *residency;

	fakes_init(fakes);
	residency = fakes_residency(fakes, options);
	fakes_apply(residency, "fake", two);
	return residency;
}

static void a_worker_gets_its_lease_on_its_own_loop(void **unused)
{
	const vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	struct fakes fakes;
	vgw_residency *residency = make(&fakes, &options);
	struct vgw__resident *resident = vgw__residency_find(residency, "a");
	struct worker worker;
	struct call call;

	(void)unused;
	hire(&worker, residency);
	assert_false(vgw__gate_enter(resident));
	wait_for_lease(&worker, &call, resident, vgw_now_ms() + SOON_MS);
	run_until_answered(&worker, &call);
	assert_int_equal(call.status, VGW_OK);
	assert_int_equal(vgw__gate_count(resident), 1);
	vgw_free(vgw_residency_dup_state(residency)); /* who waited is served first, then the gate opens */
	assert_true(vgw__gate_enter(resident));
	vgw__gate_leave(resident);
	vgw__gate_leave(resident);
	assert_int_equal(vgw__gate_count(resident), 0);
	dismiss(&worker);
	vgw__resident_unref(resident);
	vgw_residency_free(residency);
	fakes_fini(&fakes);
}

static void more_waiters_than_there_is_room_for_are_refused(void **unused)
{
	const vgw_residency_options options = { .size = sizeof(options), .max_waiters = 1 };
	struct fakes fakes;
	vgw_residency *residency = make(&fakes, &options);
	struct vgw__resident *resident = vgw__residency_find(residency, "a");
	struct worker worker;
	struct call first, second;

	(void)unused;
	hire(&worker, residency);
	fakes_hold(&fakes, "a");
	wait_for_lease(&worker, &first, resident, vgw_now_ms() + SOON_MS);
	assert_true(fakes_wait_held(&fakes, "a"));
	wait_for_lease(&worker, &second, resident, vgw_now_ms() + SOON_MS);
	run_until_answered(&worker, &second);
	assert_int_equal(second.status, VGW_BUSY);
	assert_int_equal(second.fault, VGW_FAULT_SERVER_OVERLOADED);
	assert_int_equal(first.answers, 0);
	vgw__waiter_cancel(first.waiter);
	fakes_release(&fakes, "a");
	dismiss(&worker);
	vgw__resident_unref(resident);
	vgw_residency_free(residency);
	fakes_fini(&fakes);
}

static void a_lease_that_was_cut_is_told_to_every_worker(void **unused)
{
	const vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	struct fakes fakes;
	vgw_residency *residency = make(&fakes, &options);
	struct vgw__resident *resident = vgw__residency_find(residency, "a");
	int64_t until_ms = vgw_now_ms() + SOON_MS;
	struct worker worker;
	struct call call;

	(void)unused;
	hire(&worker, residency);
	wait_for_lease(&worker, &call, resident, until_ms);
	run_until_answered(&worker, &call);
	assert_int_equal(call.cuts, vgw__resident_cuts(resident));
	assert_int_equal(vgw_residency_unload(residency, "a", 1, 0, NULL), VGW_OK);
	while (!worker.cuts_heard) {
		assert_true(vgw_now_ms() < until_ms);
		assert_int_equal(vgw_loop_run_once(worker.loop, 100, NULL), VGW_OK);
	}
	assert_int_not_equal(call.cuts, vgw__resident_cuts(resident));
	vgw__gate_leave(resident);
	dismiss(&worker);
	vgw__resident_unref(resident);
	vgw_residency_free(residency);
	fakes_fini(&fakes);
}

/* --- cancellations that cross grants --- */

struct storm {
	vgw_residency *residency;
	const char *model;
	unsigned seed;
	pthread_t thread;
	int granted;
	int cancelled;
	int refused;
};

static unsigned draw(struct storm *storm)
{
	storm->seed = storm->seed * 1103515245u + 12345u;
	return storm->seed >> 16;
}

static void begin_round(struct worker *worker, struct call *calls, struct vgw__resident *resident)
{
	for (int i = 0; i < AT_ONCE; i++) {
		if (vgw__gate_enter(resident)) {
			calls[i] = (struct call){ .resident = resident, .answers = 1, .status = VGW_OK };
			vgw__gate_leave(resident);
			continue;
		}
		wait_for_lease(worker, &calls[i], resident, vgw_now_ms() + SOON_MS);
		calls[i].is_brief = true; /* who waits for a model and holds a lease on it may wait for himself */
	}
}

/* Each is cancelled at some moment, or waits for its answer. */
static void end_round(struct storm *storm, struct worker *worker, struct call *calls)
{
	for (int i = 0; i < AT_ONCE; i++) {
		if (draw(storm) % 2)
			(void)!vgw_loop_run_once(worker->loop, 0, NULL);
		if (calls[i].waiter && draw(storm) % 2) {
			vgw__waiter_cancel(calls[i].waiter);
			storm->cancelled++;
			continue;
		}
		run_until_answered(worker, &calls[i]);
		if (calls[i].status == VGW_OK)
			storm->granted++;
		else
			storm->refused++;
	}
}

static void *rage(void *user)
{
	struct storm *storm = user;
	struct vgw__resident *resident = vgw__residency_find(storm->residency, storm->model);
	struct call calls[AT_ONCE];
	struct worker worker;

	hire(&worker, storm->residency);
	for (int round = 0; round < ROUNDS; round++) {
		begin_round(&worker, calls, resident);
		end_round(storm, &worker, calls);
		if (draw(storm) % 8 == 0)
			(void)vgw_residency_unload(storm->residency, storm->model, draw(storm) % 2, 0, NULL);
	}
	dismiss(&worker);
	vgw__resident_unref(resident);
	return NULL;
}

static void cancellations_that_cross_grants_lose_no_lease(void **unused)
{
	const vgw_residency_options options = { .size = sizeof(options), .backoff_ms = 1 };
	struct storm storms[THREADS];
	struct fakes fakes;
	vgw_residency *residency = make(&fakes, &options);
	struct vgw__resident *a = vgw__residency_find(residency, "a"), *b = vgw__residency_find(residency, "b");
	int granted = 0, cancelled = 0;

	(void)unused;
	for (unsigned i = 0; i < THREADS; i++) {
		storms[i] = (struct storm){ .residency = residency, .model = i % 2 ? "b" : "a", .seed = 1000 + i };
		assert_int_equal(pthread_create(&storms[i].thread, NULL, rage, &storms[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(storms[i].thread, NULL), 0);
		granted += storms[i].granted;
		cancelled += storms[i].cancelled;
	}
	assert_true(granted > 0);
	assert_true(cancelled > 0);
	/* A question is answered after everything that was said before it. */
	vgw_free(vgw_residency_dup_state(residency));
	assert_int_equal(vgw__gate_count(a), 0);
	assert_int_equal(vgw__gate_count(b), 0);
	vgw__resident_unref(a);
	vgw__resident_unref(b);
	vgw_residency_free(residency);
	assert_int_equal(fakes.up, 0);
	assert_int_equal(fakes.most_up, 1);
	fakes_fini(&fakes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_worker_gets_its_lease_on_its_own_loop),
		cmocka_unit_test(more_waiters_than_there_is_room_for_are_refused),
		cmocka_unit_test(a_lease_that_was_cut_is_told_to_every_worker),
		cmocka_unit_test(cancellations_that_cross_grants_lose_no_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
