/* SPDX-License-Identifier: Apache-2.0 */
/* The desk's thread and its two queues: errands, and events that the residency's event thread brings. Vigils belong
 * to the desk's thread alone. */
#include "desk.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ERRANDS_MAX = 1024, VIGILS_MAX = 256, EVENTS_MAX = 4096, TICK_MS = 100 };

/* A copy of an event; the texts lie behind it. */
struct note {
	struct note *next;
	vgw_event event;
};

struct desk {
	struct desk_options options; /* const after new */
	vgw_residency *residency;
	pthread_t thread;
	vgw_subscription *subscription;
	bool is_stopped;    /* by whoever stops it */
	struct link vigils; /* the desk's thread */
	size_t vigil_count;

	pthread_mutex_t ring_lock;
	struct link ring; /* guarded by ring_lock: every errand there is */

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	struct errand *first_errand;
	struct errand **last_errand;
	size_t errand_count;
	struct note *first_note;
	struct note **last_note;
	size_t note_count;
	uint64_t lost;
	bool is_listening; /* there are vigils */
	bool is_stopping;
};

/* --- events --------------------------------------------------------------------------------------------------- */

static const char *put(char **at, const char *text)
{
	char *copy = *at;
	size_t size = strlen(text) + 1;

	memcpy(copy, text, size);
	*at += size;
	return copy;
}

static struct note *copy_event(const vgw_event *event)
{
	size_t size = strlen(event->model) + strlen(event->replica) + strlen(event->from) + strlen(event->to) +
		strlen(event->cause) + strlen(event->text) + 6;
	struct note *note = calloc(1, sizeof(*note) + size);
	char *at;

	if (!note)
		return NULL;
	at = (char *)(note + 1);
	note->event = *event;
	note->event.model = put(&at, event->model);
	note->event.replica = put(&at, event->replica);
	note->event.from = put(&at, event->from);
	note->event.to = put(&at, event->to);
	note->event.cause = put(&at, event->cause);
	note->event.text = put(&at, event->text);
	return note;
}

/* On the residency's event thread. */
static void on_event(void *user, const vgw_event *event)
{
	struct desk *desk = user;
	struct note *note = copy_event(event);

	(void)pthread_mutex_lock(&desk->lock);
	if (note && desk->is_listening && desk->note_count < EVENTS_MAX) {
		*desk->last_note = note;
		desk->last_note = &note->next;
		desk->note_count++;
		note = NULL;
		(void)pthread_cond_signal(&desk->changed);
	} else if (desk->is_listening) {
		desk->lost++;
	}
	(void)pthread_mutex_unlock(&desk->lock);
	free(note);
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

/* Members that a kind of event does not have are left out. */
static char *print_event(const vgw_event *event)
{
	json_t *json = json_pack("{s:I, s:s, s:o}", "at_ms", (json_int_t)event->at_ms, "kind",
		vgw_event_kind_get_name(event->kind), "model", text_or_null(event->model));
	char *text;

	if (event->kind == VGW_EVENT_LOST)
		(void)json_object_set_new(json, "lost", json_integer((json_int_t)event->lost_count));
	if (event->replica[0])
		(void)json_object_set_new(json, "replica", json_string(event->replica));
	if (event->kind == VGW_EVENT_TRANSITION || event->kind == VGW_EVENT_CIRCUIT) {
		(void)json_object_set_new(json, "from", json_string(event->from));
		(void)json_object_set_new(json, "to", json_string(event->to));
	}
	if (event->kind == VGW_EVENT_PROGRESS)
		(void)json_object_set_new(json, "percent", event->percent < 0 ? json_null() : json_integer(event->percent));
	if (event->cause[0])
		(void)json_object_set_new(json, "cause", json_string(event->cause));
	if (event->text[0])
		(void)json_object_set_new(json, "text", json_string(event->text));
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

/* --- vigils --------------------------------------------------------------------------------------------------- */

static void set_listening(struct desk *desk)
{
	(void)pthread_mutex_lock(&desk->lock);
	desk->is_listening = desk->vigil_count > 0;
	(void)pthread_mutex_unlock(&desk->lock);
}

static void forget(struct desk *desk, struct vigil *vigil)
{
	link_remove(&vigil->link);
	desk->vigil_count--;
}

bool desk_keep(struct desk *desk, struct vigil *vigil)
{
	if (desk->vigil_count >= VIGILS_MAX) {
		errand_answer_fault(vigil->errand, VGW_FAULT_SERVER_OVERLOADED, "too many requests wait or follow");
		return false;
	}
	link_append(&desk->vigils, &vigil->link);
	desk->vigil_count++;
	set_listening(desk);
	return true;
}

void desk_let_go(struct desk *desk, struct vigil *vigil)
{
	forget(desk, vigil);
}

/* A vigil that says it has been answered is gone with its errand: it must leave the ring first. */
static void tell(struct desk *desk, const vgw_event *event)
{
	char *json = print_event(event);
	struct desk_event told = { event, json };
	struct link *at = desk->vigils.next;

	while (at != &desk->vigils) {
		struct vigil *vigil = LINK_OWNER(at, struct vigil, link);

		at = at->next;
		forget(desk, vigil);
		if (!vigil->hear || vigil->hear(vigil, &told)) {
			link_append(at, &vigil->link);
			desk->vigil_count++;
		}
	}
	free(json);
}

static void drop(struct vigil *vigil)
{
	if (vigil->drop)
		vigil->drop(vigil);
}

static void tick(struct desk *desk)
{
	struct link *at = desk->vigils.next;
	int64_t now_ms = vgw_now_ms();

	while (at != &desk->vigils) {
		struct vigil *vigil = LINK_OWNER(at, struct vigil, link);

		at = at->next;
		forget(desk, vigil);
		if (errand_is_gone(vigil->errand)) {
			drop(vigil);
			errand_end(vigil->errand);
		} else if (vigil->tick(vigil, now_ms)) {
			link_append(at, &vigil->link);
			desk->vigil_count++;
		}
	}
	set_listening(desk);
}

/* --- the thread ----------------------------------------------------------------------------------------------- */

static void wait_locked(struct desk *desk)
{
	struct timespec until;

	if (!desk->vigil_count) {
		(void)pthread_cond_wait(&desk->changed, &desk->lock);
		return;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)TICK_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	(void)pthread_cond_timedwait(&desk->changed, &desk->lock, &until);
}

static struct errand *pop_errand_locked(struct desk *desk)
{
	struct errand *errand = desk->first_errand;

	if (!errand)
		return NULL;
	desk->first_errand = *errand_next(errand);
	if (!desk->first_errand)
		desk->last_errand = &desk->first_errand;
	desk->errand_count--;
	return errand;
}

static struct note *pop_note_locked(struct desk *desk)
{
	struct note *note = desk->first_note;

	if (!note)
		return NULL;
	desk->first_note = note->next;
	if (!desk->first_note)
		desk->last_note = &desk->first_note;
	desk->note_count--;
	return note;
}

static void tell_lost(struct desk *desk, uint64_t lost)
{
	vgw_event event = { .size = sizeof(event), .kind = VGW_EVENT_LOST, .at_ms = vgw_now_ms(), .model = "",
		.replica = "", .from = "", .to = "", .cause = "", .text = "", .lost_count = lost };

	tell(desk, &event);
}

/* One thing at a time: events first, so that who waits hears before a next errand blocks. */
static void work(struct desk *desk)
{
	struct errand *errand = NULL;
	struct note *note;
	uint64_t lost;

	(void)pthread_mutex_lock(&desk->lock);
	note = pop_note_locked(desk);
	lost = note ? 0 : desk->lost;
	desk->lost -= lost;
	if (!note && !lost)
		errand = pop_errand_locked(desk);
	if (!note && !lost && !errand && !desk->is_stopping)
		wait_locked(desk);
	(void)pthread_mutex_unlock(&desk->lock);
	if (note)
		tell(desk, &note->event);
	if (lost)
		tell_lost(desk, lost);
	if (errand)
		errand_get_request(errand)->route->errand(errand);
	free(note);
}

static void *run(void *user)
{
	struct desk *desk = user;
	int64_t tick_ms = 0;
	bool is_stopping = false;

	while (!is_stopping) {
		work(desk);
		if (desk->vigil_count && vgw_now_ms() >= tick_ms) {
			tick(desk);
			tick_ms = vgw_now_ms() + TICK_MS;
		}
		(void)pthread_mutex_lock(&desk->lock);
		is_stopping = desk->is_stopping;
		(void)pthread_mutex_unlock(&desk->lock);
	}
	return NULL;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static int start(struct desk *desk)
{
	pthread_condattr_t clock;
	vgw_error err = VGW_ERROR_INIT;

	if (pthread_mutex_init(&desk->ring_lock, NULL) != 0 || pthread_mutex_init(&desk->lock, NULL) != 0 ||
		pthread_condattr_init(&clock) != 0)
		return -1;
	(void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	if (pthread_cond_init(&desk->changed, &clock) != 0)
		return -1;
	(void)pthread_condattr_destroy(&clock);
	if (vgw_residency_subscribe(&desk->subscription, desk->residency, on_event, desk, &err) != VGW_OK)
		return -1;
	return pthread_create(&desk->thread, NULL, run, desk) == 0 ? 0 : -1;
}

struct desk *desk_new(const struct desk_options *options)
{
	struct desk *desk = calloc(1, sizeof(*desk));

	if (!desk)
		return NULL;
	desk->options = *options;
	desk->residency = vgw_gateway_get_residency(options->gateway);
	link_init(&desk->vigils);
	link_init(&desk->ring);
	desk->last_errand = &desk->first_errand;
	desk->last_note = &desk->first_note;
	if (start(desk) != 0) {
		vgw_subscription_end(desk->subscription);
		free(desk);
		return NULL;
	}
	return desk;
}

void desk_stop(struct desk *desk)
{
	struct errand *errand;

	if (!desk || desk->is_stopped)
		return;
	desk->is_stopped = true;
	(void)pthread_mutex_lock(&desk->lock);
	desk->is_stopping = true;
	desk->is_listening = false;
	(void)pthread_cond_signal(&desk->changed);
	(void)pthread_mutex_unlock(&desk->lock);
	(void)pthread_join(desk->thread, NULL);
	vgw_subscription_end(desk->subscription);
	(void)pthread_mutex_lock(&desk->lock);
	while ((errand = pop_errand_locked(desk)) != NULL)
		errand_stop(errand);
	for (struct note *note; (note = pop_note_locked(desk)) != NULL;)
		free(note);
	(void)pthread_mutex_unlock(&desk->lock);
	while (!link_is_empty(&desk->vigils)) {
		struct vigil *vigil = LINK_OWNER(desk->vigils.next, struct vigil, link);

		forget(desk, vigil);
		drop(vigil);
		errand_stop(vigil->errand);
	}
}

void desk_free(struct desk *desk)
{
	if (!desk)
		return;
	errands_free(&desk->ring);
	(void)pthread_cond_destroy(&desk->changed);
	(void)pthread_mutex_destroy(&desk->lock);
	(void)pthread_mutex_destroy(&desk->ring_lock);
	free(desk);
}

bool desk_take(struct desk *desk, struct errand *errand)
{
	bool is_taken;

	(void)pthread_mutex_lock(&desk->lock);
	is_taken = !desk->is_stopping && desk->errand_count < ERRANDS_MAX;
	errand_register(errand, desk, &desk->ring, &desk->ring_lock);
	if (is_taken) {
		*desk->last_errand = errand;
		desk->last_errand = errand_next(errand);
		desk->errand_count++;
		(void)pthread_cond_signal(&desk->changed);
	}
	(void)pthread_mutex_unlock(&desk->lock);
	return is_taken;
}

vgw_gateway *desk_get_gateway(struct desk *desk)
{
	return desk->options.gateway;
}

vgw_residency *desk_get_residency(struct desk *desk)
{
	return desk->residency;
}

int desk_reload(struct desk *desk, char *why, size_t size)
{
	return desk->options.reload(desk->options.reload_user, why, size);
}

struct adhoc *desk_get_adhoc(struct desk *desk)
{
	return desk->options.adhoc;
}

int desk_publish(struct desk *desk, char *why, size_t size)
{
	return desk->options.publish(desk->options.reload_user, why, size);
}
