/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a store, whose answers come on any thread and must reach the worker that asked.
 *
 *   worker: ask() ──► store ... any thread: answer() ──► mailbox's list, its eventfd rings ──► worker: fn
 *
 * A request that ended meanwhile left its ticket cancelled: what the store granted is settled with nothing used. A
 * mailbox that was closed meanwhile lives until its last ticket came back. */
#include "gateway/limits.h"
#include "util/alloc.h"
#include "util/list.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct vgw__mailbox {
	struct vgw__limits *limits;
	vgw_loop *loop;
	vgw_watch watch;
	int fd;
	pthread_mutex_t lock;
	unsigned refs;             /* the worker and each ticket; guarded by lock, as the two below */
	bool is_closed;
	struct vgw__list answered;
};

struct vgw_limit_ticket {
	struct vgw__list link; /* in mailbox->answered */
	struct vgw__mailbox *mailbox;
	vgw_principal *principal; /* whose account the question names */
	vgw__answered_fn fn;   /* NULL: cancelled; the worker's thread only */
	void *user;
	vgw_limit_ask ask;
	vgw_limit_answer answer;
};

/* --- giving back ---------------------------------------------------------------------------------------------- */

static void unref(struct vgw__mailbox *mailbox)
{
	bool is_last;

	(void)pthread_mutex_lock(&mailbox->lock);
	is_last = --mailbox->refs == 0;
	(void)pthread_mutex_unlock(&mailbox->lock);
	if (!is_last)
		return;
	if (mailbox->fd >= 0)
		(void)close(mailbox->fd);
	(void)pthread_mutex_destroy(&mailbox->lock);
	vgw__free(mailbox);
}

static void free_ticket(vgw_limit_ticket *ticket)
{
	vgw_principal_unref(ticket->principal);
	unref(ticket->mailbox);
	vgw__free(ticket);
}

/* Nobody waits for the answer any more. */
static void give_back(vgw_limit_ticket *ticket)
{
	const struct vgw__limits *limits = ticket->mailbox->limits;

	if (ticket->answer.is_allowed && ticket->answer.reason != VGW_LIMIT_STORE)
		limits->store->settle(limits->store_user, &ticket->ask, ticket->answer.place, 0);
	free_ticket(ticket);
}

/* --- answers -------------------------------------------------------------------------------------------------- */

static vgw_limit_ticket *take_answered(struct vgw__mailbox *mailbox)
{
	struct vgw__list *first;

	(void)pthread_mutex_lock(&mailbox->lock);
	first = vgw__list_first(&mailbox->answered);
	if (first)
		vgw__list_remove(first);
	(void)pthread_mutex_unlock(&mailbox->lock);
	return first ? VGW__CONTAINER(first, vgw_limit_ticket, link) : NULL;
}

static void on_ring(vgw_watch *watch, uint32_t events)
{
	struct vgw__mailbox *mailbox = watch->user;
	vgw_limit_ticket *ticket;
	uint64_t rings;

	(void)events;
	(void)!read(mailbox->fd, &rings, sizeof(rings)); /* EAGAIN: it has been read already */
	while ((ticket = take_answered(mailbox)) != NULL) {
		if (ticket->fn) {
			ticket->fn(ticket->user, &ticket->answer);
			free_ticket(ticket);
		} else {
			give_back(ticket);
		}
	}
}

void vgw_limit_ticket_answer(vgw_limit_ticket *ticket, const vgw_limit_answer *answer)
{
	struct vgw__mailbox *mailbox = ticket->mailbox;
	const uint64_t one = 1;
	bool is_closed;

	memcpy(&ticket->answer, answer, answer->size < sizeof(*answer) ? answer->size : sizeof(*answer));
	(void)pthread_mutex_lock(&mailbox->lock);
	is_closed = mailbox->is_closed;
	if (!is_closed) {
		vgw__list_append(&mailbox->answered, &ticket->link);
		(void)!write(mailbox->fd, &one, sizeof(one)); /* cannot fail before 2^64 rings */
	}
	(void)pthread_mutex_unlock(&mailbox->lock);
	if (is_closed)
		give_back(ticket);
}

/* --- the worker's side ---------------------------------------------------------------------------------------- */

vgw_status vgw__mailbox_new(struct vgw__mailbox **out, struct vgw__limits *limits, vgw_loop *loop, vgw_error *err)
{
	struct vgw__mailbox *mailbox = vgw__alloc(sizeof(*mailbox));
	vgw_status status;

	*out = NULL;
	if (!mailbox || pthread_mutex_init(&mailbox->lock, NULL) != 0) {
		vgw__free(mailbox);
		return vgw_error_set(err, VGW_NOMEM, 0, "mailbox");
	}
	mailbox->limits = limits;
	mailbox->loop = loop;
	mailbox->refs = 1;
	mailbox->watch.user = mailbox;
	vgw__list_init(&mailbox->answered);
	mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->fd < 0) {
		status = vgw_error_set(err, VGW_INTERNAL, errno, "cannot make an eventfd for a worker: %s",
			strerror(errno));
	} else {
		status = vgw_watch_add(loop, &mailbox->watch, mailbox->fd, EPOLLIN, on_ring, err);
	}
	if (status != VGW_OK) {
		unref(mailbox);
		return status;
	}
	*out = mailbox;
	return VGW_OK;
}

void vgw__mailbox_free(struct vgw__mailbox *mailbox)
{
	vgw_limit_ticket *ticket;

	if (!mailbox)
		return;
	vgw_watch_remove(mailbox->loop, &mailbox->watch);
	(void)pthread_mutex_lock(&mailbox->lock);
	mailbox->is_closed = true;
	(void)pthread_mutex_unlock(&mailbox->lock);
	while ((ticket = take_answered(mailbox)) != NULL)
		give_back(ticket);
	unref(mailbox);
}

vgw_limit_ticket *vgw__mailbox_ask(struct vgw__mailbox *mailbox, vgw_principal *principal, const vgw_limit_ask *ask,
	vgw__answered_fn fn, void *user)
{
	struct vgw__limits *limits = mailbox->limits;
	vgw_limit_ticket *ticket = vgw__alloc(sizeof(*ticket));

	if (!ticket)
		return NULL;
	vgw__list_init(&ticket->link);
	ticket->mailbox = mailbox;
	ticket->principal = vgw_principal_ref(principal);
	ticket->fn = fn;
	ticket->user = user;
	ticket->ask = *ask;
	(void)pthread_mutex_lock(&mailbox->lock);
	mailbox->refs++;
	(void)pthread_mutex_unlock(&mailbox->lock);
	limits->store->ask(limits->store_user, &ticket->ask, ticket);
	return ticket;
}

void vgw__ticket_cancel(vgw_limit_ticket *ticket)
{
	ticket->fn = NULL;
}
