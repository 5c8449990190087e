/* SPDX-License-Identifier: Apache-2.0 */
/* Delivering events. The mutex guards the ring and the list of subscriptions and is never held while a handler
 * runs. A subscription that ends while its handler runs is waited for, unless the handler itself ends it. */
#include "observe/events.h"

#include "util/alloc.h"
#include "util/list.h"

#include <pthread.h>
#include <string.h>

struct entry {
	vgw_event event; /* its texts point into `texts`, or are static */
	char *texts;     /* NULL: no memory for them, the event is told without */
};

struct vgw_subscription {
	struct vgw__list link;
	struct vgw__events *events;
	vgw_event_fn fn;
	void *user;
	bool is_ended;
	bool is_seen; /* by the delivery under way */
};

struct vgw__events {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;          /* something to deliver, a handler returned, or the end */
	struct vgw__list subscriptions;  /* guarded by lock, as all that follows */
	vgw_subscription *running;       /* its handler runs now */
	bool is_stopping;
	struct entry *ring;
	size_t capacity;
	size_t first;
	size_t count;
	uint64_t lost;
	int64_t lost_at_ms;
};

/* --- texts ---------------------------------------------------------------------------------------------------- */

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 1;
}

static const char *put(char **at, const char *text)
{
	char *start = *at;
	size_t size = text_size(text);

	if (!start)
		return "";
	memcpy(start, text ? text : "", size);
	*at += size;
	return start;
}

static void copy_event(struct entry *entry, const vgw_event *event)
{
	char *at;

	entry->event = *event;
	entry->event.size = sizeof(entry->event);
	entry->texts = vgw__alloc(text_size(event->model) + text_size(event->replica) + text_size(event->from) +
		text_size(event->to) + text_size(event->cause) + text_size(event->text));
	at = entry->texts;
	entry->event.model = put(&at, event->model);
	entry->event.replica = put(&at, event->replica);
	entry->event.from = put(&at, event->from);
	entry->event.to = put(&at, event->to);
	entry->event.cause = put(&at, event->cause);
	entry->event.text = put(&at, event->text);
}

/* --- delivering ----------------------------------------------------------------------------------------------- */

static vgw_subscription *next_unseen(struct vgw__events *events)
{
	VGW__LIST_EACH(it, &events->subscriptions) {
		vgw_subscription *subscription = VGW__CONTAINER(it, vgw_subscription, link);

		if (!subscription->is_seen)
			return subscription;
	}
	return NULL;
}

/* With the lock held on entry and return, and let go around each handler. The list may change meanwhile: it is
 * searched from its beginning each time. */
static void deliver_locked(struct vgw__events *events, const vgw_event *event)
{
	vgw_subscription *subscription;

	VGW__LIST_EACH(it, &events->subscriptions)
		VGW__CONTAINER(it, vgw_subscription, link)->is_seen = false;
	while ((subscription = next_unseen(events)) != NULL) {
		subscription->is_seen = true;
		events->running = subscription;
		(void)pthread_mutex_unlock(&events->lock);
		subscription->fn(subscription->user, event);
		(void)pthread_mutex_lock(&events->lock);
		events->running = NULL;
		if (subscription->is_ended)
			vgw__free(subscription); /* by its own handler */
		(void)pthread_cond_broadcast(&events->changed);
	}
}

static void deliver_loss_locked(struct vgw__events *events)
{
	const vgw_event loss = {
		.size = sizeof(loss), .kind = VGW_EVENT_LOST, .percent = -1, .at_ms = events->lost_at_ms,
		.model = "", .replica = "", .from = "", .to = "", .cause = "", .text = "the queue was full",
		.lost_count = events->lost,
	};

	events->lost = 0;
	deliver_locked(events, &loss);
}

static void *dispatch(void *user)
{
	struct vgw__events *events = user;

	(void)pthread_mutex_lock(&events->lock);
	for (;;) {
		struct entry entry;

		while (!events->count && !events->lost && !events->is_stopping)
			(void)pthread_cond_wait(&events->changed, &events->lock);
		if (events->count) {
			entry = events->ring[events->first];
			events->first = (events->first + 1) % events->capacity;
			events->count--;
			deliver_locked(events, &entry.event);
			vgw__free(entry.texts);
		} else if (events->lost) {
			deliver_loss_locked(events);
		} else {
			break;
		}
	}
	(void)pthread_mutex_unlock(&events->lock);
	return NULL;
}

void vgw__events_post(struct vgw__events *events, const vgw_event *event)
{
	(void)pthread_mutex_lock(&events->lock);
	if (vgw__list_is_empty(&events->subscriptions)) {
		(void)pthread_mutex_unlock(&events->lock);
		return;
	}
	/* After a loss nothing is queued before the loss has been told, or it would be told in the wrong place. */
	if (events->count == events->capacity || events->lost) {
		if (!events->lost++)
			events->lost_at_ms = event->at_ms;
	} else {
		copy_event(&events->ring[(events->first + events->count) % events->capacity], event);
		events->count++;
	}
	(void)pthread_cond_broadcast(&events->changed);
	(void)pthread_mutex_unlock(&events->lock);
}

/* --- subscribing ---------------------------------------------------------------------------------------------- */

vgw_status vgw__events_subscribe(struct vgw__events *events, vgw_subscription **out, vgw_event_fn fn, void *user,
	vgw_error *err)
{
	vgw_subscription *subscription = vgw__alloc(sizeof(*subscription));

	*out = NULL;
	if (!subscription)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a subscription");
	subscription->events = events;
	subscription->fn = fn;
	subscription->user = user;
	subscription->is_seen = true;
	(void)pthread_mutex_lock(&events->lock);
	vgw__list_append(&events->subscriptions, &subscription->link);
	(void)pthread_mutex_unlock(&events->lock);
	*out = subscription;
	return VGW_OK;
}

void vgw_subscription_end(vgw_subscription *subscription)
{
	struct vgw__events *events;
	bool is_own;

	if (!subscription)
		return;
	events = subscription->events;
	is_own = pthread_equal(pthread_self(), events->thread) != 0;
	(void)pthread_mutex_lock(&events->lock);
	vgw__list_remove(&subscription->link);
	if (is_own && events->running == subscription) {
		subscription->is_ended = true; /* freed when its handler has returned */
		(void)pthread_mutex_unlock(&events->lock);
		return;
	}
	while (!is_own && events->running == subscription)
		(void)pthread_cond_wait(&events->changed, &events->lock);
	(void)pthread_mutex_unlock(&events->lock);
	vgw__free(subscription);
}

/* --- new, free ------------------------------------------------------------------------------------------------ */

vgw_status vgw__events_new(struct vgw__events **out, size_t capacity, vgw_error *err)
{
	struct vgw__events *events = vgw__alloc(sizeof(*events));
	struct entry *ring = vgw__calloc(capacity, sizeof(*ring));
	int failure;

	*out = NULL;
	if (!events || !ring) {
		vgw__free(ring);
		vgw__free(events);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the queue of events");
	}
	events->ring = ring;
	events->capacity = capacity;
	vgw__list_init(&events->subscriptions);
	(void)pthread_mutex_init(&events->lock, NULL);
	(void)pthread_cond_init(&events->changed, NULL);
	failure = pthread_create(&events->thread, NULL, dispatch, events);
	if (failure) {
		(void)pthread_cond_destroy(&events->changed);
		(void)pthread_mutex_destroy(&events->lock);
		vgw__free(ring);
		vgw__free(events);
		return vgw_error_set(err, VGW_INTERNAL, failure, "cannot start the thread of the events");
	}
	*out = events;
	return VGW_OK;
}

void vgw__events_free(struct vgw__events *events)
{
	if (!events)
		return;
	(void)pthread_mutex_lock(&events->lock);
	events->is_stopping = true;
	(void)pthread_cond_broadcast(&events->changed);
	(void)pthread_mutex_unlock(&events->lock);
	(void)pthread_join(events->thread, NULL);
	(void)pthread_cond_destroy(&events->changed);
	(void)pthread_mutex_destroy(&events->lock);
	vgw__free(events->ring);
	vgw__free(events);
}

const char *vgw_event_kind_get_name(vgw_event_kind kind)
{
	switch (kind) {
#define XX(name, value, text) case VGW_EVENT_##name: return text;
	VGW_EVENT_MAP(XX)
#undef XX
	default:
		return "?";
	}
}
