/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong with engines, and what those who wait are told. */
#include "testing.h"

#include "fake_controller.h"

#include <vllmgw/event.h>

#include <pthread.h>
#include <string.h>

enum { SOON_MS = 20000 };

struct stage {
	struct fakes fakes;
	vgw_residency *residency;
};

static const char *const two[] = { "a", "b", NULL };

static void set_stage(struct stage *stage, int64_t backoff_ms)
{
	const vgw_residency_options options = { .size = sizeof(options), .backoff_ms = backoff_ms };

	fakes_init(&stage->fakes);
	stage->residency = fakes_residency(&stage->fakes, &options);
	fakes_apply(stage->residency, "fake", two);
}

static void strike_stage(struct stage *stage)
{
	vgw_residency_free(stage->residency);
	assert_int_equal(stage->fakes.up, 0);
	fakes_fini(&stage->fakes);
}

static int64_t soon(void)
{
	return vgw_now_ms() + SOON_MS;
}

static vgw_status ask(struct stage *stage, const char *model, vgw_error *err)
{
	vgw_lease *lease;
	vgw_status status = vgw_residency_acquire(&lease, stage->residency, model, soon(), err);

	vgw_lease_release(lease);
	return status;
}

static void an_unknown_failure_is_told_and_tried_again_after_a_while(void **unused)
{
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;

	(void)unused;
	set_stage(&stage, 20);
	fakes_fail(&stage.fakes, "a", 1, VGW_FAILURE_UNKNOWN, "RuntimeError: the tensor is sad");
	assert_int_equal(ask(&stage, "a", &err), VGW_BACKEND);
	assert_int_equal(vgw_error_get_fault(&err), VGW_FAULT_MODEL_START_FAILED);
	assert_non_null(strstr(err.text, "model 'a'"));
	assert_non_null(strstr(err.text, "the tensor is sad"));
	/* The next one waits for the end of the back-off, and is served. */
	assert_int_equal(ask(&stage, "a", &err), VGW_OK);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 2);
	assert_int_equal(fakes_get(&stage.fakes, "a")->stops, 1);
	strike_stage(&stage);
}

static void a_user_error_is_permanent_until_a_reset(void **unused)
{
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;

	(void)unused;
	set_stage(&stage, 1);
	fakes_fail(&stage.fakes, "a", 1, VGW_FAILURE_USER, "error: unrecognized arguments: --nonsense");
	assert_int_equal(ask(&stage, "a", &err), VGW_BACKEND);
	assert_int_equal(err.retry_after, 0);
	assert_int_equal(ask(&stage, "a", &err), VGW_BACKEND);
	assert_non_null(strstr(err.text, "--nonsense"));
	assert_int_equal(err.retry_after, 0);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 1);
	assert_string_equal(vgw_residency_get_standing(stage.residency, "a"), "failed");
	assert_int_equal(vgw_residency_reset(stage.residency, "a", 0, &err), VGW_OK);
	assert_int_equal(ask(&stage, "a", &err), VGW_OK);
	strike_stage(&stage);
}

static void out_of_memory_is_tried_once_more_while_the_asker_waits(void **unused)
{
	vgw_error err = VGW_ERROR_INIT;
	struct stage stage;

	(void)unused;
	set_stage(&stage, 1);
	fakes_fail(&stage.fakes, "a", 1, VGW_FAILURE_MEMORY, "torch.OutOfMemoryError: CUDA out of memory");
	assert_int_equal(ask(&stage, "a", &err), VGW_OK);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 2);
	fakes_fail(&stage.fakes, "b", 2, VGW_FAILURE_MEMORY, "torch.OutOfMemoryError: CUDA out of memory");
	assert_int_equal(ask(&stage, "b", &err), VGW_BACKEND);
	assert_non_null(strstr(err.text, "CUDA out of memory"));
	assert_int_equal(fakes_get(&stage.fakes, "b")->activations, 2);
	strike_stage(&stage);
}

/* Wait for a transition; the handler runs on the library's thread. */
struct watch {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *model;
	const char *to;
	char cause[32];
	char text[240];
	bool is_seen;
};

static void wait_until_seen(struct watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	while (!watch->is_seen)
		pthread_cond_wait(&watch->changed, &watch->lock);
	pthread_mutex_unlock(&watch->lock);
}

static void on_event(void *user, const vgw_event *event)
{
	struct watch *watch = user;

	pthread_mutex_lock(&watch->lock);
	if (event->kind == VGW_EVENT_TRANSITION && strcmp(event->model, watch->model) == 0 &&
		strcmp(event->to, watch->to) == 0 && !watch->is_seen) {
		(void)snprintf(watch->cause, sizeof(watch->cause), "%s", event->cause);
		(void)snprintf(watch->text, sizeof(watch->text), "%s", event->text);
		watch->is_seen = true;
		pthread_cond_broadcast(&watch->changed);
	}
	pthread_mutex_unlock(&watch->lock);
}

static void a_crash_is_noticed_at_once_and_the_next_request_starts_it_again(void **unused)
{
	struct watch watch = {
		.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .model = "a", .to = "leaving",
	};
	vgw_error err = VGW_ERROR_INIT;
	vgw_subscription *subscription;
	struct stage stage;

	(void)unused;
	set_stage(&stage, 20);
	assert_int_equal(ask(&stage, "a", &err), VGW_OK);
	assert_int_equal(vgw_residency_subscribe(&subscription, stage.residency, on_event, &watch, &err), VGW_OK);
	fakes_kill(&stage.fakes, "a", "exit code 0 after 12 s");
	wait_until_seen(&watch);
	assert_string_equal(watch.cause, "crashed");
	assert_string_equal(watch.text, "exit code 0 after 12 s");
	vgw_subscription_end(subscription);
	assert_int_equal(ask(&stage, "a", &err), VGW_OK);
	assert_int_equal(fakes_get(&stage.fakes, "a")->activations, 2);
	strike_stage(&stage);
}

static void a_start_under_way_at_the_end_is_given_up_and_swept(void **unused)
{
	struct stage stage;

	(void)unused;
	set_stage(&stage, 1);
	fakes_hold(&stage.fakes, "a");
	assert_int_equal(vgw_residency_load(stage.residency, "a", 0, NULL), VGW_OK);
	assert_true(fakes_wait_held(&stage.fakes, "a"));
	vgw_residency_free(stage.residency);
	assert_int_equal(fakes_get(&stage.fakes, "a")->stops, 1);
	assert_int_equal(fakes_get(&stage.fakes, "a")->destroyed, 1);
	assert_int_equal(fakes_get(&stage.fakes, "b")->destroyed, 1);
	fakes_fini(&stage.fakes);
}

static void engines_left_alone_at_the_end_are_not_stopped_but_a_half_start_is(void **unused)
{
	const vgw_residency_options options = {
		.size = sizeof(options), .max_resident = 2, .on_exit = VGW_ON_EXIT_LEAVE,
	};
	struct stage stage;

	(void)unused;
	fakes_init(&stage.fakes);
	stage.residency = fakes_residency(&stage.fakes, &options);
	fakes_apply(stage.residency, "fake", two);
	assert_int_equal(ask(&stage, "b", NULL), VGW_OK);
	fakes_hold(&stage.fakes, "a");
	assert_int_equal(vgw_residency_load(stage.residency, "a", 0, NULL), VGW_OK);
	assert_true(fakes_wait_held(&stage.fakes, "a"));
	vgw_residency_free(stage.residency);
	assert_int_equal(fakes_get(&stage.fakes, "a")->stops, 1);
	assert_int_equal(fakes_get(&stage.fakes, "b")->stops, 0);
	assert_true(fakes_get(&stage.fakes, "b")->is_up);
	fakes_fini(&stage.fakes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_failure_is_told_and_tried_again_after_a_while),
		cmocka_unit_test(a_user_error_is_permanent_until_a_reset),
		cmocka_unit_test(out_of_memory_is_tried_once_more_while_the_asker_waits),
		cmocka_unit_test(a_crash_is_noticed_at_once_and_the_next_request_starts_it_again),
		cmocka_unit_test(a_start_under_way_at_the_end_is_given_up_and_swept),
		cmocka_unit_test(engines_left_alone_at_the_end_are_not_stopped_but_a_half_start_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
