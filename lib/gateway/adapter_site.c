/* SPDX-License-Identifier: Apache-2.0 */
/* Sites: the queue of those who wait for adapters on one replica, and the job that serves it. There is one job a replica
 * at a time, so an engine is never asked for two things at once, and slots that are LOADING or LEAVING are the job's
 * alone: their pointers hold while the lock is given back.
 *
 * First come, first served, but for places: who finds every slot in use waits until one is free, and those behind him
 * whose adapters are there go on. So that he does not wait for ever, after a second the slot loaded first is closed. */
#include "gateway/adapters.h"

#include "backend/lora_calls.h"
#include "util/alloc.h"
#include "util/error.h"
#include "util/log.h"

#include <string.h>
#include <unistd.h>

enum { HASH_DIGITS = 8 };

/* --- sites -------------------------------------------------------------------------------------------------------- */

struct vgw__site *vgw__site_of(struct vgw__lora *lora)
{
	return VGW__CONTAINER(lora, struct vgw__site, lora);
}

static void free_site(struct vgw__lora *lora)
{
	struct vgw__site *site = vgw__site_of(lora);

	vgw__lora_fini(lora);
	vgw__free(site->model);
	vgw__free(site->api_key);
	vgw__free(site);
}

static void run(struct vgw__job *job);

struct vgw__site *vgw__site_get(struct vgw__adapters *adapters, struct vgw__target *target)
{
	struct vgw__lora *lora = atomic_load_explicit(&target->lora, memory_order_acquire);
	struct vgw__site *site;

	if (lora)
		return vgw__site_of(lora);
	site = vgw__alloc(sizeof(*site));
	if (!site)
		return NULL;
	vgw__lora_init(&site->lora);
	site->lora.free = free_site;
	site->adapters = adapters;
	site->job.run = run;
	vgw__list_init(&site->waits);
	if (atomic_compare_exchange_strong(&target->lora, &lora, &site->lora))
		return site;
	free_site(&site->lora); /* another worker was first */
	return vgw__site_of(lora);
}

/* Without memory the old text stays. */
static void keep(char **text, const char *now)
{
	char *copy;

	if (*text && now && strcmp(*text, now) == 0)
		return;
	copy = now ? vgw__strdup(now) : NULL;
	if (now && !copy)
		return;
	vgw__free(*text);
	*text = copy;
}

bool vgw__site_wake_locked(struct vgw__site *site, const struct vgw__place *place, const vgw_model *base)
{
	if (site->is_working)
		return false;
	if (base) {
		site->lora.places = base->max_loras;
		site->lora.is_forgetful = base->sleep_level == 2;
		site->timeout_ms = base->lora_timeout_ms;
		keep(&site->model, base->name);
		keep(&site->api_key, base->upstream_auth ? base->upstream_auth + strlen("Bearer ") : NULL);
	}
	site->is_working = true;
	site->place = (struct vgw__place){ vgw__resident_ref(place->resident), vgw__targets_ref(place->targets),
		place->target };
	site->has_lease = vgw__gate_enter(place->resident);
	return true;
}

void vgw__site_unlock(struct vgw__site *site, bool is_due)
{
	struct vgw__executors *executors = site->adapters->executors;

	(void)pthread_mutex_unlock(&site->lora.lock);
	if (is_due)
		vgw__executors_post(executors, &site->job);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static struct vgw__wait *wait_of(struct vgw__list *link)
{
	return VGW__CONTAINER(link, struct vgw__wait, link);
}

static void answer_locked(struct vgw__site *site, struct vgw__wait *wait)
{
	struct vgw__ear *ear = wait->ear;
	const uint64_t one = 1;

	vgw__list_remove(&wait->link);
	site->wait_count--;
	wait->is_answered = true;
	(void)pthread_mutex_lock(&ear->lock);
	vgw__list_append(&ear->answered, &wait->link);
	(void)!write(ear->fd, &one, sizeof(one)); /* cannot fail before 2^64 rings */
	(void)pthread_mutex_unlock(&ear->lock);
}

static void grant_locked(struct vgw__site *site, struct vgw__wait *wait, struct vgw__lora_slot *slot)
{
	vgw__lora_pin(&site->lora, slot);
	wait->slot = slot;
	answer_locked(site, wait);
}

static void refuse_locked(struct vgw__site *site, struct vgw__wait *wait, const vgw_error *why)
{
	wait->why = *why;
	answer_locked(site, wait);
}

/* Those who wait for this slot, or for any: NULL. */
static void refuse_all_locked(struct vgw__site *site, const char *slot, const vgw_error *why)
{
	struct vgw__list *it = site->waits.next;

	while (it != &site->waits) {
		struct vgw__wait *wait = wait_of(it);

		it = it->next;
		if (!slot || strcmp(wait->adapter->slot, slot) == 0)
			refuse_locked(site, wait, why);
	}
}

void vgw__wait_cancel(struct vgw__site *site, struct vgw__wait *wait, const struct vgw__place *place)
{
	bool is_due = false;

	(void)pthread_mutex_lock(&site->lora.lock);
	if (wait->is_answered) {
		(void)pthread_mutex_lock(&wait->ear->lock);
		vgw__list_remove(&wait->link);
		(void)pthread_mutex_unlock(&wait->ear->lock);
	} else {
		vgw__list_remove(&wait->link);
		site->wait_count--;
	}
	if (wait->slot && vgw__lora_unpin(&site->lora, wait->slot) && site->wait_count)
		is_due = vgw__site_wake_locked(site, place, NULL);
	vgw__site_unlock(site, is_due);
	vgw__free(wait);
}

/* --- the engine: the lock is given back meanwhile ----------------------------------------------------------------- */

static struct vgw__lora_engine engine_of(const struct vgw__site *site)
{
	return (struct vgw__lora_engine){ .endpoint = site->place.target->endpoint, .api_key = site->api_key,
		.cancel_fd = site->adapters->cancel_fd };
}

static void tell(const struct vgw__site *site, vgw_log_level level, const char *adapter, const char *what,
	int64_t took_ms)
{
	vgw__log(&site->adapters->logger, level, "adapter", adapter, "replica %s/%u: %s, after %lld ms",
		site->model ? site->model : "", site->place.target->number, what, (long long)took_ms);
}

/* "NAME.", our tag, and eight digits more. */
static bool is_ours(void *user, const char *name)
{
	const struct vgw__site *site = user;
	const char *dot = strrchr(name, '.');

	return dot && strlen(dot + 1) == VGW__ADAPTER_TAG_SIZE - 1 + HASH_DIGITS &&
		memcmp(dot + 1, site->adapters->tag, VGW__ADAPTER_TAG_SIZE - 1) == 0;
}

static bool look_locked(struct vgw__site *site)
{
	struct vgw__lora_engine engine = engine_of(site);
	int64_t deadline_ms = vgw_now_ms() + site->timeout_ms;
	struct vgw__strings names = { NULL, 0, 0 };
	vgw_error err = VGW_ERROR_INIT;
	uint64_t doubts = site->lora.doubts;

	(void)pthread_mutex_unlock(&site->lora.lock);
	(void)vgw__lora_list(&engine, is_ours, site, &names, deadline_ms, &err);
	(void)pthread_mutex_lock(&site->lora.lock);
	if (err.status == VGW_OK && doubts == site->lora.doubts &&
		!vgw__lora_learn(&site->lora, names.items, names.count, vgw_now_ms()))
		(void)vgw_error_set(&err, VGW_NOMEM, 0, "no memory for the table of adapters");
	vgw__strings_fini(&names);
	if (err.status != VGW_OK)
		refuse_all_locked(site, NULL, &err);
	return err.status == VGW_OK;
}

/* On failure those who wanted its place are told: what cannot be unloaded is not tried again for them. */
static void evict_locked(struct vgw__site *site, struct vgw__lora_slot *victim, const char *wanted)
{
	struct vgw__lora_engine engine = engine_of(site);
	int64_t begun_ms = vgw_now_ms(), deadline_ms = begun_ms + site->timeout_ms;
	vgw_error err = VGW_ERROR_INIT;
	char *name = vgw__strdup(wanted);

	(void)pthread_mutex_unlock(&site->lora.lock);
	(void)vgw__lora_unload(&engine, victim->name, deadline_ms, &err);
	(void)pthread_mutex_lock(&site->lora.lock);
	if (err.status == VGW_OK) {
		tell(site, VGW_LOG_INFO, victim->adapter[0] ? victim->adapter : victim->name, "unloaded",
			vgw_now_ms() - begun_ms);
		atomic_fetch_add(&site->lora.unloads, 1);
		vgw__lora_gone(&site->lora, victim);
	} else {
		tell(site, VGW_LOG_WARN, victim->adapter, err.text, vgw_now_ms() - begun_ms);
		vgw__lora_done(&site->lora, victim, vgw_now_ms());
		vgw__lora_doubt(&site->lora);
		refuse_all_locked(site, name, &err);
	}
	vgw__free(name);
}

/* Whoever waits for it is answered by the next round. */
static void load_locked(struct vgw__site *site, const struct vgw__adapter *adapter)
{
	struct vgw__lora_engine engine = engine_of(site);
	int64_t begun_ms = vgw_now_ms(), deadline_ms = begun_ms + site->timeout_ms;
	struct vgw__lora_slot *slot = vgw__lora_begin(&site->lora, adapter->slot, adapter->model->name, begun_ms);
	char *path = vgw__strdup(adapter->model->adapter_path);
	vgw_error err = VGW_ERROR_INIT, told = VGW_ERROR_INIT;

	if (!slot || !path) {
		(void)vgw_error_set(&err, VGW_NOMEM, 0, "no memory for an adapter");
		if (slot)
			vgw__lora_gone(&site->lora, slot);
		refuse_all_locked(site, adapter->slot, &err);
		vgw__free(path);
		return;
	}
	(void)pthread_mutex_unlock(&site->lora.lock);
	(void)vgw__lora_load(&engine, slot->name, path, deadline_ms, &err);
	(void)pthread_mutex_lock(&site->lora.lock);
	vgw__free(path);
	if (err.status == VGW_OK) {
		tell(site, VGW_LOG_INFO, slot->adapter, "loaded", vgw_now_ms() - begun_ms);
		atomic_fetch_add(&site->lora.loads, 1);
		vgw__lora_done(&site->lora, slot, vgw_now_ms());
		return;
	}
	atomic_fetch_add(&site->lora.failures, 1);
	(void)vgw_error_set_fault(&told, err.status, vgw_error_get_fault(&err), "adapter '%.60s': %.170s", slot->adapter,
		err.text);
	tell(site, VGW_LOG_WARN, slot->adapter, err.text, vgw_now_ms() - begun_ms);
	if (err.status == VGW_BACKEND && told.fault == VGW_FAULT_MODEL_START_FAILED) {
		vgw__lora_failed(slot, &told, vgw_now_ms());
		return;
	}
	vgw__lora_doubt(&site->lora); /* it may be there all the same, or all of it gone */
	refuse_all_locked(site, slot->name, &told);
	vgw__lora_gone(&site->lora, slot);
}

/* --- the job ------------------------------------------------------------------------------------------------------ */

/* An operator's order. True: the engine was asked. */
static bool unload_locked(struct vgw__site *site, struct vgw__wait *wait, struct vgw__lora_slot *slot)
{
	const vgw_error none = VGW_ERROR_INIT;
	vgw_error err = VGW_ERROR_INIT;

	if (slot && slot->state == VGW__LORA_LOADED && vgw__lora_leave(slot, vgw_now_ms()) == VGW_OK) {
		evict_locked(site, slot, wait->adapter->slot);
		return true; /* it is answered by the next round, if it is still there */
	}
	if (slot && slot->state == VGW__LORA_FAILED)
		vgw__lora_gone(&site->lora, slot); /* forgiven */
	else if (slot)
		(void)vgw_error_set_fault(&err, VGW_BUSY, VGW_FAULT_MODEL_BUSY, "adapter '%.60s' is in use",
			wait->adapter->model->name);
	refuse_locked(site, wait, err.status == VGW_OK ? &none : &err);
	return false;
}

/* And it is not tried again for this one. An operator is not kept waiting for the time to try: once, for him. */
static bool has_failed(const struct vgw__wait *wait, const struct vgw__lora_slot *slot, int64_t now_ms)
{
	return slot && slot->state == VGW__LORA_FAILED && now_ms < slot->retry_ms &&
		(wait->call || slot->since_ms >= wait->since_ms);
}

/* What can be said of this wait at once is said. True: the engine was asked, everything may have changed. */
static bool serve_locked(struct vgw__site *site, struct vgw__wait *wait, bool *is_full)
{
	struct vgw__lora_slot *slot = vgw__lora_find(&site->lora, wait->adapter->slot), *victim;
	int64_t now_ms = vgw_now_ms();
	vgw_error err = VGW_ERROR_INIT;

	if (wait->is_unload)
		return unload_locked(site, wait, slot);
	if (slot && slot->is_stale) {
		if (*is_full || vgw__lora_leave(slot, now_ms) != VGW_OK)
			return false; /* it ends with the requests that were cut */
		evict_locked(site, slot, wait->adapter->slot);
		return true;
	}
	if (slot && slot->state == VGW__LORA_LOADED) {
		if (slot->is_closed && *is_full)
			return false; /* somebody before has been promised its place */
		slot->is_closed = false;
		grant_locked(site, wait, slot);
		return false;
	}
	if (has_failed(wait, slot, now_ms)) {
		slot->why.retry_after = (uint32_t)((slot->retry_ms - now_ms + 999) / 1000);
		refuse_locked(site, wait, &slot->why);
		return false;
	}
	if (wait->may_not_load) {
		(void)vgw_error_set_fault(&err, VGW_NO_CAPACITY, VGW_FAULT_NO_CAPACITY,
			"adapter '%.60s' is not loaded, and this key may not cause a load", wait->adapter->model->name);
		refuse_locked(site, wait, &err);
		return false;
	}
	if (*is_full)
		return false;
	switch (vgw__lora_make_way(&site->lora, now_ms, &victim)) {
	case VGW__LORA_FREE:
		load_locked(site, wait->adapter);
		return true;
	case VGW__LORA_EVICT:
		evict_locked(site, victim, wait->adapter->slot);
		return true;
	case VGW__LORA_FULL:
		break;
	}
	*is_full = true;
	if (now_ms - wait->since_ms >= VGW__ADAPTER_FAIR_MS)
		vgw__lora_close_one(&site->lora);
	return false;
}

/* True: once more. */
static bool round_locked(struct vgw__site *site)
{
	struct vgw__list *it;
	bool is_full = false;

	if (vgw__list_is_empty(&site->waits))
		return false;
	if (!vgw__lora_is_known(&site->lora, site->lora.life))
		return look_locked(site);
	for (it = site->waits.next; it != &site->waits;) {
		struct vgw__wait *wait = wait_of(it);

		it = it->next;
		if (serve_locked(site, wait, &is_full))
			return true;
	}
	return false;
}

static void run(struct vgw__job *job)
{
	struct vgw__site *site = VGW__CONTAINER(job, struct vgw__site, job);
	struct vgw__place place;
	bool has_lease;

	(void)pthread_mutex_lock(&site->lora.lock);
	while (round_locked(site))
		;
	site->is_working = false;
	place = site->place;
	has_lease = site->has_lease;
	(void)pthread_mutex_unlock(&site->lora.lock);
	if (has_lease)
		vgw__gate_leave(place.resident);
	vgw__targets_unref(place.targets); /* perhaps the last, and the site goes with it */
	vgw__resident_unref(place.resident);
}
