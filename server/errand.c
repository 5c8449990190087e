/* SPDX-License-Identifier: Apache-2.0 */
/* Errands: what passes between a worker and whoever answers in its place. A message is posted when there is something
 * to deliver and none is under way, so that bursts become one delivery.
 *
 * The lock of an errand is held for moments only and nothing is called under it. */
#include "errand.h"

#include <stdlib.h>
#include <string.h>

enum { PENDING_MAX_BYTES = 256 * 1024 };

/* The answer's side moves it on. */
enum progress { NOT_BEGUN, BEGUN, OVER };

struct errand {
	struct errand_request request; /* const after new, down to user */
	struct desk *desk;
	vgw_loop *loop;
	errand_deliver_fn deliver;
	void *user;
	char *texts;
	void *extra;
	struct errand *next;
	struct link link;           /* guarded by *ring_lock */
	pthread_mutex_t *ring_lock; /* NULL: not registered */

	pthread_mutex_t lock; /* guards the rest */
	vgw_message message;
	enum progress progress;
	uint32_t status; /* of a head that was not delivered yet */
	const char *type;
	int64_t length;
	uint32_t retry_after;
	const char *fault;
	char *data;
	size_t len;
	size_t capacity;
	bool is_posted;
	bool is_full; /* the client is slow */
	bool is_gone; /* the worker's side is over */
};

/* --- life ----------------------------------------------------------------------------------------------------- */

static size_t text_size(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static const char *keep(char **at, const char *text)
{
	char *copy = *at;
	size_t size = text_size(text);

	if (!text)
		return NULL;
	memcpy(copy, text, size);
	*at += size;
	return copy;
}

static bool copy_request(struct errand *errand, const struct errand_request *request)
{
	size_t size = text_size(request->name) + request->body_len + 1;
	char *at;

	for (int i = 0; i < ROUTE_QUERY_COUNT; i++)
		size += text_size(request->query[i]);
	errand->texts = malloc(size);
	if (!errand->texts)
		return false;
	at = errand->texts;
	errand->request = *request;
	errand->request.name = keep(&at, request->name);
	for (int i = 0; i < ROUTE_QUERY_COUNT; i++)
		errand->request.query[i] = keep(&at, request->query[i]);
	errand->request.body = at;
	if (request->body_len)
		memcpy(at, request->body, request->body_len);
	at[request->body_len] = '\0';
	return true;
}

struct errand *errand_new(const struct errand_request *request, vgw_loop *loop, errand_deliver_fn deliver, void *user)
{
	struct errand *errand = calloc(1, sizeof(*errand));

	if (!errand || !copy_request(errand, request) || pthread_mutex_init(&errand->lock, NULL) != 0) {
		if (errand)
			free(errand->texts);
		free(errand);
		return NULL;
	}
	link_init(&errand->link);
	errand->loop = loop;
	errand->deliver = deliver;
	errand->user = user;
	errand->message.user = errand;
	return errand;
}

static void free_errand(struct errand *errand)
{
	if (errand->ring_lock) {
		(void)pthread_mutex_lock(errand->ring_lock);
		link_remove(&errand->link);
		(void)pthread_mutex_unlock(errand->ring_lock);
	}
	(void)pthread_mutex_destroy(&errand->lock);
	free(errand->data);
	free(errand->extra);
	free(errand->texts);
	free(errand);
}

/* Both sides are over, and no message is under way that would come back to it. */
static bool is_done(const struct errand *errand)
{
	return errand->progress == OVER && errand->is_gone && !errand->is_posted;
}

static void unlock(struct errand *errand)
{
	bool is_last = is_done(errand);

	(void)pthread_mutex_unlock(&errand->lock);
	if (is_last)
		free_errand(errand);
}

void errand_register(struct errand *errand, struct desk *desk, struct link *ring, pthread_mutex_t *lock)
{
	errand->desk = desk;
	errand->ring_lock = lock;
	(void)pthread_mutex_lock(lock);
	link_append(ring, &errand->link);
	(void)pthread_mutex_unlock(lock);
}

struct errand **errand_next(struct errand *errand)
{
	return &errand->next;
}

void *errand_alloc(struct errand *errand, size_t size)
{
	free(errand->extra);
	errand->extra = calloc(1, size);
	return errand->extra;
}

void errands_free(struct link *ring)
{
	while (!link_is_empty(ring)) {
		struct errand *errand = LINK_OWNER(ring->next, struct errand, link);

		link_remove(&errand->link);
		errand->ring_lock = NULL;
		free_errand(errand);
	}
}

const struct errand_request *errand_get_request(const struct errand *errand)
{
	return &errand->request;
}

struct desk *errand_get_desk(const struct errand *errand)
{
	return errand->desk;
}

/* --- the worker's side ---------------------------------------------------------------------------------------- */

/* Nothing of the errand may be touched after the end was delivered: the worker leaves it then. */
static void on_message(vgw_message *message)
{
	struct errand *errand = message->user;
	struct errand_delivery delivery;
	char *data;

	(void)pthread_mutex_lock(&errand->lock);
	errand->is_posted = false;
	if (errand->is_gone) {
		unlock(errand);
		return;
	}
	delivery = (struct errand_delivery){
		.user = errand->user, .status = errand->status, .type = errand->type, .length = errand->length,
		.retry_after = errand->retry_after, .fault = errand->fault, .data = errand->data,
		.len = errand->len, .is_end = errand->progress == OVER,
	};
	data = errand->data;
	errand->status = 0;
	errand->data = NULL;
	errand->len = 0;
	errand->capacity = 0;
	(void)pthread_mutex_unlock(&errand->lock);
	errand->deliver(&delivery);
	free(data);
}

void errand_set_full(struct errand *errand, bool is_full)
{
	(void)pthread_mutex_lock(&errand->lock);
	errand->is_full = is_full;
	(void)pthread_mutex_unlock(&errand->lock);
}

void errand_leave(struct errand *errand)
{
	(void)pthread_mutex_lock(&errand->lock);
	errand->is_gone = true;
	if (!errand->desk)
		errand->progress = OVER; /* nobody ever took it */
	unlock(errand);
}

/* --- the answer's side ---------------------------------------------------------------------------------------- */

static void post_locked(struct errand *errand)
{
	if (errand->is_posted || errand->is_gone)
		return;
	errand->is_posted = true;
	vgw_loop_post(errand->loop, &errand->message, on_message);
}

static bool append_locked(struct errand *errand, const void *data, size_t len)
{
	if (len > errand->capacity - errand->len) {
		size_t want = errand->len + len;
		char *bigger = realloc(errand->data, want);

		if (!bigger)
			return false;
		errand->data = bigger;
		errand->capacity = want;
	}
	if (len)
		memcpy(errand->data + errand->len, data, len);
	errand->len += len;
	return true;
}

bool errand_is_gone(struct errand *errand)
{
	bool is_gone;

	(void)pthread_mutex_lock(&errand->lock);
	is_gone = errand->is_gone;
	(void)pthread_mutex_unlock(&errand->lock);
	return is_gone;
}

static void answer(struct errand *errand, uint32_t status, const char *type, const char *body, uint32_t retry_after,
	const char *fault)
{
	(void)pthread_mutex_lock(&errand->lock);
	errand->progress = OVER;
	errand->status = status;
	errand->type = type;
	errand->retry_after = retry_after;
	errand->fault = fault;
	if (!append_locked(errand, body, strlen(body)))
		errand->status = 503; /* with no body: there is no memory for one */
	errand->length = (int64_t)errand->len;
	post_locked(errand);
	unlock(errand);
}

static void answer_fault_text(struct errand *errand, vgw_fault fault, const char *why, uint32_t retry_after)
{
	const vgw_fault_info *info = vgw_fault_get_info(fault);
	char *body = vgw_fault_dup_body(fault, why, NULL);

	answer(errand, info->http, "application/json", body ? body : "", retry_after, info->code);
	vgw_free(body);
}

void errand_answer(struct errand *errand, uint32_t status, const char *type, char *body, void (*free_fn)(void *))
{
	if (!body) {
		answer_fault_text(errand, VGW_FAULT_OUT_OF_MEMORY, NULL, 0);
		return;
	}
	answer(errand, status, type, body, 0, NULL);
	free_fn(body);
}

void errand_answer_fault(struct errand *errand, vgw_fault fault, const char *why)
{
	answer_fault_text(errand, fault, why, 0);
}

void errand_answer_error(struct errand *errand, const vgw_error *err)
{
	answer_fault_text(errand, vgw_error_get_fault(err), err->text[0] ? err->text : NULL, err->retry_after);
}

void errand_begin(struct errand *errand, const char *type)
{
	(void)pthread_mutex_lock(&errand->lock);
	errand->progress = BEGUN;
	errand->status = 200;
	errand->type = type;
	errand->length = -1;
	post_locked(errand);
	(void)pthread_mutex_unlock(&errand->lock);
}

bool errand_write(struct errand *errand, const void *data, size_t len)
{
	bool is_taken;

	(void)pthread_mutex_lock(&errand->lock);
	is_taken = !errand->is_full && errand->len + len <= PENDING_MAX_BYTES && append_locked(errand, data, len);
	if (is_taken)
		post_locked(errand);
	(void)pthread_mutex_unlock(&errand->lock);
	return is_taken;
}

void errand_end(struct errand *errand)
{
	(void)pthread_mutex_lock(&errand->lock);
	errand->progress = OVER;
	post_locked(errand);
	unlock(errand);
}

void errand_stop(struct errand *errand)
{
	bool is_begun;

	(void)pthread_mutex_lock(&errand->lock);
	is_begun = errand->progress != NOT_BEGUN;
	(void)pthread_mutex_unlock(&errand->lock);
	if (is_begun)
		errand_end(errand);
	else
		errand_answer_fault(errand, VGW_FAULT_SHUTTING_DOWN, NULL);
}
