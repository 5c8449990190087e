/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of events: order, losses, handlers that call back. */
#include "testing.h"

#include "observe/events.h"

#include <pthread.h>
#include <string.h>

enum { KEPT = 4 };

struct listener {
	struct vgw__events *events;
	vgw_subscription *subscription;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_held; /* the handler stands still */
	int count;
	uint64_t lost;
	char order[256];
	bool ends_itself;
};

static void init(struct listener *listener, struct vgw__events *events)
{
	memset(listener, 0, sizeof(*listener));
	listener->events = events;
	pthread_mutex_init(&listener->lock, NULL);
	pthread_cond_init(&listener->changed, NULL);
}

static void on_event(void *user, const vgw_event *event)
{
	struct listener *listener = user;
	size_t len;

	pthread_mutex_lock(&listener->lock);
	len = strlen(listener->order);
	(void)snprintf(listener->order + len, sizeof(listener->order) - len, "%s ",
		event->kind == VGW_EVENT_LOST ? "LOST" : event->model);
	listener->count++;
	listener->lost += event->lost_count;
	pthread_cond_broadcast(&listener->changed);
	while (listener->is_held)
		pthread_cond_wait(&listener->changed, &listener->lock);
	pthread_mutex_unlock(&listener->lock);
	if (listener->ends_itself)
		vgw_subscription_end(listener->subscription);
}

static void post(struct vgw__events *events, const char *model)
{
	vgw__events_post(events, &(const vgw_event){ .kind = VGW_EVENT_TRANSITION, .model = model });
}

static void wait_for_count(struct listener *listener, int count)
{
	pthread_mutex_lock(&listener->lock);
	while (listener->count < count)
		pthread_cond_wait(&listener->changed, &listener->lock);
	pthread_mutex_unlock(&listener->lock);
}

static void hold(struct listener *listener, bool is_held)
{
	pthread_mutex_lock(&listener->lock);
	listener->is_held = is_held;
	pthread_cond_broadcast(&listener->changed);
	pthread_mutex_unlock(&listener->lock);
}

static void events_arrive_in_their_order_at_every_listener(void **unused)
{
	struct listener one, two;
	struct vgw__events *events;

	(void)unused;
	assert_int_equal(vgw__events_new(&events, 64, NULL), VGW_OK);
	init(&one, events);
	init(&two, events);
	post(events, "unheard");
	assert_int_equal(vgw__events_subscribe(events, &one.subscription, on_event, &one, NULL), VGW_OK);
	assert_int_equal(vgw__events_subscribe(events, &two.subscription, on_event, &two, NULL), VGW_OK);
	post(events, "a");
	post(events, "b");
	post(events, "c");
	wait_for_count(&one, 3);
	wait_for_count(&two, 3);
	vgw_subscription_end(one.subscription);
	vgw_subscription_end(two.subscription);
	assert_string_equal(one.order, "a b c ");
	assert_string_equal(two.order, "a b c ");
	vgw__events_free(events);
}

static void what_does_not_fit_is_told_as_lost_in_its_place(void **unused)
{
	struct vgw__events *events;
	struct listener listener;

	(void)unused;
	assert_int_equal(vgw__events_new(&events, KEPT, NULL), VGW_OK);
	init(&listener, events);
	assert_int_equal(vgw__events_subscribe(events, &listener.subscription, on_event, &listener, NULL), VGW_OK);
	hold(&listener, true);
	post(events, "first");
	wait_for_count(&listener, 1);
	for (int i = 0; i < KEPT + 3; i++)
		post(events, "x");
	hold(&listener, false);
	wait_for_count(&listener, 1 + KEPT + 1);
	post(events, "last");
	wait_for_count(&listener, 1 + KEPT + 2);
	vgw_subscription_end(listener.subscription);
	assert_string_equal(listener.order, "first x x x x LOST last ");
	assert_int_equal(listener.lost, 3);
	vgw__events_free(events);
}

static void a_handler_may_end_its_own_subscription(void **unused)
{
	struct listener one, two;
	struct vgw__events *events;

	(void)unused;
	assert_int_equal(vgw__events_new(&events, 64, NULL), VGW_OK);
	init(&one, events);
	init(&two, events);
	one.ends_itself = true;
	assert_int_equal(vgw__events_subscribe(events, &one.subscription, on_event, &one, NULL), VGW_OK);
	assert_int_equal(vgw__events_subscribe(events, &two.subscription, on_event, &two, NULL), VGW_OK);
	post(events, "a");
	post(events, "b");
	wait_for_count(&two, 2);
	vgw_subscription_end(two.subscription);
	vgw__events_free(events);
	assert_string_equal(one.order, "a ");
	assert_string_equal(two.order, "a b ");
}

static void ending_waits_for_the_handler_under_way(void **unused)
{
	struct vgw__events *events;
	struct listener listener;

	(void)unused;
	assert_int_equal(vgw__events_new(&events, 64, NULL), VGW_OK);
	init(&listener, events);
	assert_int_equal(vgw__events_subscribe(events, &listener.subscription, on_event, &listener, NULL), VGW_OK);
	post(events, "a");
	wait_for_count(&listener, 1);
	vgw_subscription_end(listener.subscription);
	/* The handler has left the lock for good: it may be destroyed. */
	assert_int_equal(pthread_mutex_destroy(&listener.lock), 0);
	vgw__events_free(events);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_arrive_in_their_order_at_every_listener),
		cmocka_unit_test(what_does_not_fit_is_told_as_lost_in_its_place),
		cmocka_unit_test(a_handler_may_end_its_own_subscription),
		cmocka_unit_test(ending_waits_for_the_handler_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
