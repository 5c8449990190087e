/* SPDX-License-Identifier: Apache-2.0 */
/* The call's side of adapters, all of it on the call's worker. The fast path is one lock that is never held for long,
 * and a look at a few slots. */
#include "gateway/adapters.h"

#include "gateway/allowance.h"
#include "gateway/call.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { WAITS_MAX = 1000 };

/* --- ears --------------------------------------------------------------------------------------------------------- */

static struct vgw__wait *take_answered(struct vgw__ear *ear)
{
	struct vgw__list *first;

	(void)pthread_mutex_lock(&ear->lock);
	first = vgw__list_first(&ear->answered);
	if (first)
		vgw__list_remove(first);
	(void)pthread_mutex_unlock(&ear->lock);
	return first ? VGW__CONTAINER(first, struct vgw__wait, link) : NULL;
}

/* A replica that nobody reached may have a neighbour; anything else is told. */
static void go_on_without(vgw_call *call, const vgw_error *why)
{
	vgw_fault fault = vgw_error_get_fault(why);

	if (fault == VGW_FAULT_UPSTREAM_UNAVAILABLE) {
		vgw__attempt_fail(call, why->text);
		vgw__call_drop_upstream(call);
		vgw__call_send(call, why->text);
		return;
	}
	call->retry_after = why->retry_after;
	vgw__call_fail(call, fault, why->text);
}

static void heard(struct vgw__wait *wait)
{
	vgw_call *call = wait->call;
	const vgw_error why = wait->why;

	call->adapter.wait = NULL;
	call->adapter.slot = wait->slot;
	vgw__free(wait);
	if (call->adapter.slot) {
		vgw__call_start(call);
		return;
	}
	call->adapter.site = NULL;
	go_on_without(call, &why);
}

static void on_ring(vgw_watch *watch, uint32_t events)
{
	struct vgw__ear *ear = watch->user;
	struct vgw__wait *wait;
	uint64_t rings;

	(void)events;
	(void)!read(ear->fd, &rings, sizeof(rings)); /* EAGAIN: it has been read already */
	while ((wait = take_answered(ear)) != NULL)
		heard(wait);
}

vgw_status vgw__ear_new(struct vgw__ear **out, vgw_loop *loop, vgw_error *err)
{
	struct vgw__ear *ear = vgw__alloc(sizeof(*ear));
	vgw_status status = VGW_OK;

	*out = NULL;
	if (!ear || pthread_mutex_init(&ear->lock, NULL) != 0) {
		vgw__free(ear);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to wait for an adapter");
	}
	vgw__list_init(&ear->answered);
	ear->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ear->fd < 0)
		status = vgw_error_set(err, VGW_INTERNAL, errno, "cannot make an eventfd: %s", strerror(errno));
	ear->watch.user = ear;
	if (status == VGW_OK && loop)
		status = vgw_watch_add(loop, &ear->watch, ear->fd, EPOLLIN, on_ring, err);
	if (status == VGW_OK)
		ear->loop = loop;
	if (status != VGW_OK) {
		vgw__ear_free(ear);
		return status;
	}
	*out = ear;
	return VGW_OK;
}

void vgw__ear_free(struct vgw__ear *ear)
{
	if (!ear)
		return;
	if (ear->loop)
		vgw_watch_remove(ear->loop, &ear->watch);
	if (ear->fd >= 0)
		(void)close(ear->fd);
	(void)pthread_mutex_destroy(&ear->lock);
	vgw__free(ear);
}

/* --- claiming ----------------------------------------------------------------------------------------------------- */

static struct vgw__wait *new_wait(vgw_call *call)
{
	vgw_worker *worker = call->worker;
	const vgw_principal *principal = call->allowance ? call->allowance->principal : NULL;
	struct vgw__wait *wait;

	if (!worker->ear && vgw__ear_new(&worker->ear, worker->loop, NULL) != VGW_OK)
		return NULL;
	wait = vgw__alloc(sizeof(*wait));
	if (!wait)
		return NULL;
	vgw__list_init(&wait->link);
	wait->adapter = call->seat->adapter;
	wait->ear = worker->ear;
	wait->call = call;
	wait->may_not_load = principal && principal->may_not_swap;
	wait->since_ms = vgw_now_ms();
	return wait;
}

/* Somebody waits for a place and nothing is being done for him: he may have waited long enough. */
static void relieve_locked(struct vgw__site *site)
{
	struct vgw__list *first = site->is_working ? NULL : vgw__list_first(&site->waits);

	if (first && vgw_now_ms() - VGW__CONTAINER(first, struct vgw__wait, link)->since_ms >= VGW__ADAPTER_FAIR_MS)
		vgw__lora_close_one(&site->lora);
}

/* Why this call does not even wait; OK: it does. */
static vgw_status check_locked(const struct vgw__site *site, const struct vgw__lora_slot *slot, vgw_error *err)
{
	int64_t now_ms = vgw_now_ms();

	if (slot && slot->state == VGW__LORA_FAILED && now_ms < slot->retry_ms) {
		*err = slot->why;
		err->retry_after = (uint32_t)((slot->retry_ms - now_ms + 999) / 1000);
		return err->status;
	}
	if (site->wait_count >= WAITS_MAX)
		return vgw_error_set(err, VGW_BUSY, 0, "too many requests wait for adapters on one replica");
	return VGW_OK;
}

/* True: pinned. False, and *err OK: the call waits. */
static bool claim(vgw_call *call, struct vgw__site *site, struct vgw__wait **spare, vgw_error *err)
{
	const struct vgw__place place = { call->seat->resident, call->targets, call->target };
	struct vgw__lora_slot *slot;
	bool is_known, is_due = false;

	(void)pthread_mutex_lock(&site->lora.lock);
	is_known = vgw__lora_is_known(&site->lora,
		atomic_load_explicit(&call->seat->resident->lives, memory_order_acquire));
	relieve_locked(site);
	slot = vgw__lora_find(&site->lora, call->seat->adapter->slot);
	if (is_known && vgw__lora_is_open(slot)) {
		vgw__lora_pin(&site->lora, slot);
		call->adapter.slot = slot;
	} else if (check_locked(site, slot, err) == VGW_OK && *spare) {
		call->adapter.wait = *spare;
		*spare = NULL;
		vgw__list_append(&site->waits, &call->adapter.wait->link);
		site->wait_count++;
		is_due = vgw__site_wake_locked(site, &place, call->seat->model->base);
	}
	vgw__site_unlock(site, is_due);
	return call->adapter.slot != NULL;
}

bool vgw__adapters_claim(vgw_call *call)
{
	struct vgw__site *site = vgw__site_get(&call->worker->gateway->adapters, call->target);
	struct vgw__wait *spare = NULL;
	vgw_error err = VGW_ERROR_INIT;

	call->sent_ns = vgw__now_ns(); /* of the wait's beginning */
	if (site && !claim(call, site, &spare, &err) && err.status == VGW_OK) {
		spare = new_wait(call); /* without the lock; then it is asked once more */
		(void)(spare && claim(call, site, &spare, &err));
		vgw__free(spare);
	}
	if (call->adapter.slot || call->adapter.wait)
		call->adapter.site = site;
	if (call->adapter.slot)
		return true;
	if (call->adapter.wait) {
		vgw__call_enter(call, VGW__CALL_ADAPTER);
		vgw__call_watch_deadline(call);
	} else if (err.status != VGW_OK) {
		go_on_without(call, &err);
	} else {
		vgw__call_fail(call, VGW_FAULT_OUT_OF_MEMORY, NULL);
	}
	return false;
}

uint64_t vgw__adapters_find(const vgw_call *call)
{
	uint64_t found = 0;

	for (uint32_t i = 0; i < call->targets->count; i++) {
		struct vgw__lora *lora = atomic_load_explicit(&call->targets->items[i]->lora, memory_order_acquire);

		if (vgw__lora_has(lora, call->seat->adapter->slot))
			found |= UINT64_C(1) << i;
	}
	return found;
}

void vgw__adapters_let_go(vgw_call *call)
{
	struct vgw__hold *hold = &call->adapter;
	struct vgw__site *site = hold->site;
	const struct vgw__place place = { call->seat->resident, call->targets, call->target };
	bool is_due = false;

	if (hold->wait)
		vgw__wait_cancel(site, hold->wait, &place);
	if (hold->slot) {
		(void)pthread_mutex_lock(&site->lora.lock);
		if (vgw__lora_unpin(&site->lora, hold->slot) && site->wait_count)
			is_due = vgw__site_wake_locked(site, &place, NULL);
		vgw__site_unlock(site, is_due);
	}
	*hold = (struct vgw__hold){ NULL, NULL, NULL };
}

bool vgw__adapters_retry(vgw_call *call)
{
	if (call->is_reloaded || !call->outgoing)
		return false;
	call->is_reloaded = true;
	vgw__lora_doubt(&call->adapter.site->lora);
	vgw__call_drop_upstream(call);
	call->tried = 0;
	call->is_sent = false;
	call->head_ns = 0;
	vgw__call_send(call, "the engine has lost the adapter");
	return true;
}

void vgw__adapters_explain(const vgw_call *call, char *text, size_t size)
{
	struct vgw__site *site = call->adapter.site;
	const struct vgw__lora_slot *slot;
	const char *name = call->seat->model->name;

	(void)pthread_mutex_lock(&site->lora.lock);
	slot = vgw__lora_find(&site->lora, call->seat->adapter->slot);
	if (slot || site->is_working)
		(void)snprintf(text, size, "adapter '%.60s' was still not loaded", name);
	else
		(void)snprintf(text, size, "adapter '%.60s' found no place: all %u on replica %.60s/%u are in use (max_loras)",
			name, site->lora.places, call->seat->model->base->name, call->target->number);
	(void)pthread_mutex_unlock(&site->lora.lock);
}
