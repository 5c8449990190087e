/* SPDX-License-Identifier: Apache-2.0 */
/* Slots: a short list in no order. There are as many as an engine has places, and perhaps some that failed. */
#include "backend/lora.h"

#include "util/alloc.h"
#include "util/error.h"

#include <jansson.h>
#include <string.h>

enum { BACKOFF_MS = 1000, BACKOFF_MAX_MS = 60000, FAILED_MAX = 256 };

static struct vgw__lora_slot *slot_of(struct vgw__list *link)
{
	return VGW__CONTAINER(link, struct vgw__lora_slot, link);
}

static void free_slot(struct vgw__lora_slot *slot)
{
	vgw__list_remove(&slot->link);
	vgw__free(slot->name);
	vgw__free(slot->adapter);
	vgw__free(slot);
}

void vgw__lora_init(struct vgw__lora *lora)
{
	vgw__list_init(&lora->slots);
	(void)pthread_mutex_init(&lora->lock, NULL); /* without attributes it cannot fail */
	lora->places = 1;
}

void vgw__lora_fini(struct vgw__lora *lora)
{
	struct vgw__list *first;

	while ((first = vgw__list_first(&lora->slots)) != NULL)
		free_slot(slot_of(first));
	(void)pthread_mutex_destroy(&lora->lock);
}

void vgw__lora_free(struct vgw__lora *lora)
{
	if (lora)
		lora->free(lora);
}

/* --- what is there ------------------------------------------------------------------------------------------------ */

bool vgw__lora_is_known(struct vgw__lora *lora, uint64_t life)
{
	if (atomic_exchange_explicit(&lora->is_doubted, false, memory_order_acq_rel) || life != lora->life) {
		lora->is_known = false;
		lora->doubts++;
	}
	lora->is_reborn = lora->is_reborn || life != lora->life;
	lora->life = life;
	return lora->is_known;
}

struct vgw__lora_slot *vgw__lora_find(struct vgw__lora *lora, const char *name)
{
	VGW__LIST_EACH(it, &lora->slots) {
		if (strcmp(slot_of(it)->name, name) == 0)
			return slot_of(it);
	}
	return NULL;
}

static struct vgw__lora_slot *add(struct vgw__lora *lora, const char *name, const char *adapter)
{
	struct vgw__lora_slot *slot = vgw__alloc(sizeof(*slot));

	if (!slot)
		return NULL;
	vgw__list_init(&slot->link);
	slot->name = vgw__strdup(name);
	slot->adapter = vgw__strdup(adapter);
	if (!slot->name || !slot->adapter) {
		free_slot(slot);
		return NULL;
	}
	vgw__list_append(&lora->slots, &slot->link);
	return slot;
}

/* The only writer of the state. */
static void enter(struct vgw__lora_slot *slot, enum vgw__lora_state state, int64_t now_ms)
{
	slot->state = state;
	slot->since_ms = now_ms;
}

/* --- pins --------------------------------------------------------------------------------------------------------- */

void vgw__lora_pin(struct vgw__lora *lora, struct vgw__lora_slot *slot)
{
	slot->pins++;
	slot->used = ++lora->clock;
}

bool vgw__lora_unpin(struct vgw__lora *lora, struct vgw__lora_slot *slot)
{
	slot->used = ++lora->clock;
	if (--slot->pins)
		return false;
	if (slot->is_lost)
		free_slot(slot);
	return true;
}

/* --- places ------------------------------------------------------------------------------------------------------- */

static uint32_t count_taken(const struct vgw__lora *lora)
{
	uint32_t taken = 0;

	VGW__LIST_EACH(it, &lora->slots)
		taken += slot_of(it)->state != VGW__LORA_FAILED;
	return taken;
}

enum vgw__lora_way vgw__lora_make_way(struct vgw__lora *lora, int64_t now_ms, struct vgw__lora_slot **victim)
{
	struct vgw__lora_slot *least = NULL;

	*victim = NULL;
	if (count_taken(lora) < lora->places)
		return VGW__LORA_FREE;
	VGW__LIST_EACH(it, &lora->slots) {
		struct vgw__lora_slot *slot = slot_of(it);

		if (slot->state == VGW__LORA_LOADED && !slot->pins && (!least || slot->used < least->used))
			least = slot;
	}
	if (!least)
		return VGW__LORA_FULL;
	enter(least, VGW__LORA_LEAVING, now_ms);
	*victim = least;
	return VGW__LORA_EVICT;
}

/* Adapters that failed are remembered, but not without end: names come and go with the configuration. */
static void forget_oldest_failure(struct vgw__lora *lora)
{
	struct vgw__lora_slot *oldest = NULL;
	uint32_t count = 0;

	VGW__LIST_EACH(it, &lora->slots) {
		struct vgw__lora_slot *slot = slot_of(it);

		if (slot->state != VGW__LORA_FAILED)
			continue;
		count++;
		if (!oldest || slot->since_ms < oldest->since_ms)
			oldest = slot;
	}
	if (count > FAILED_MAX)
		free_slot(oldest);
}

struct vgw__lora_slot *vgw__lora_begin(struct vgw__lora *lora, const char *name, const char *adapter, int64_t now_ms)
{
	struct vgw__lora_slot *slot = vgw__lora_find(lora, name);

	forget_oldest_failure(lora);
	slot = vgw__lora_find(lora, name);
	if (!slot)
		slot = add(lora, name, adapter);
	if (!slot)
		return NULL;
	enter(slot, VGW__LORA_LOADING, now_ms);
	slot->is_closed = false;
	slot->is_stale = false;
	return slot;
}

void vgw__lora_done(struct vgw__lora *lora, struct vgw__lora_slot *slot, int64_t now_ms)
{
	enter(slot, VGW__LORA_LOADED, now_ms);
	slot->failures = 0;
	slot->used = ++lora->clock;
}

void vgw__lora_failed(struct vgw__lora_slot *slot, const vgw_error *why, int64_t now_ms)
{
	int64_t wait_ms = BACKOFF_MS;

	for (uint32_t i = 0; i < slot->failures && wait_ms < BACKOFF_MAX_MS; i++)
		wait_ms *= 2;
	enter(slot, VGW__LORA_FAILED, now_ms);
	slot->failures++;
	slot->retry_ms = now_ms + (wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS);
	slot->why = *why;
}

vgw_status vgw__lora_leave(struct vgw__lora_slot *slot, int64_t now_ms)
{
	if (slot->pins || slot->state != VGW__LORA_LOADED)
		return VGW_BUSY;
	enter(slot, VGW__LORA_LEAVING, now_ms);
	return VGW_OK;
}

void vgw__lora_gone(struct vgw__lora *lora, struct vgw__lora_slot *slot)
{
	(void)lora;
	slot->is_lost = true;
	vgw__list_remove(&slot->link);
	if (!slot->pins)
		free_slot(slot);
}

void vgw__lora_close_one(struct vgw__lora *lora)
{
	struct vgw__lora_slot *oldest = NULL;

	VGW__LIST_EACH(it, &lora->slots) {
		struct vgw__lora_slot *slot = slot_of(it);

		if (slot->is_closed)
			return;
		if (slot->state == VGW__LORA_LOADED && (!oldest || slot->since_ms < oldest->since_ms))
			oldest = slot;
	}
	if (oldest)
		oldest->is_closed = true;
}

/* --- the engine's own list ---------------------------------------------------------------------------------------- */

static bool is_among(char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

bool vgw__lora_learn(struct vgw__lora *lora, char *const *names, size_t count, int64_t now_ms)
{
	struct vgw__list *it = lora->slots.next;

	while (it != &lora->slots) {
		struct vgw__lora_slot *slot = slot_of(it);

		it = it->next;
		if (slot->state != VGW__LORA_FAILED && !is_among(names, count, slot->name))
			vgw__lora_gone(lora, slot);
	}
	for (size_t i = 0; i < count; i++) {
		struct vgw__lora_slot *slot = vgw__lora_find(lora, names[i]);

		if (!slot && !(slot = add(lora, names[i], "")))
			return false;
		if (slot->state != VGW__LORA_LOADED)
			enter(slot, VGW__LORA_LOADED, now_ms);
		slot->is_stale = slot->is_stale || (lora->is_forgetful && lora->is_reborn);
	}
	lora->is_reborn = false;
	lora->is_known = true;
	return true;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

bool vgw__lora_has(struct vgw__lora *lora, const char *name)
{
	const struct vgw__lora_slot *slot;
	bool has;

	if (!lora)
		return false;
	(void)pthread_mutex_lock(&lora->lock);
	slot = vgw__lora_find(lora, name);
	has = slot && slot->state == VGW__LORA_LOADED && !slot->is_stale;
	(void)pthread_mutex_unlock(&lora->lock);
	return has;
}

bool vgw__lora_view(struct vgw__lora *lora, const char *adapter, struct vgw__lora_view *view)
{
	bool is_found = false;

	if (!lora)
		return false;
	(void)pthread_mutex_lock(&lora->lock);
	VGW__LIST_EACH(it, &lora->slots) {
		const struct vgw__lora_slot *slot = slot_of(it);

		if (strcmp(slot->adapter, adapter) != 0)
			continue;
		is_found = true;
		*view = (struct vgw__lora_view){ .state = slot->state, .pins = slot->pins };
		memcpy(view->why, slot->why.text, sizeof(view->why));
	}
	(void)pthread_mutex_unlock(&lora->lock);
	return is_found;
}

json_t *vgw__lora_pack(struct vgw__lora *lora)
{
	static const char *const states[] = {
#define XX(name, text) [VGW__LORA_##name] = text,
		VGW__LORA_STATE_MAP(XX)
#undef XX
	};
	json_t *list = json_array();

	if (!lora)
		return list;
	(void)pthread_mutex_lock(&lora->lock);
	VGW__LIST_EACH(it, &lora->slots) {
		const struct vgw__lora_slot *slot = slot_of(it);

		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i, s:o}", "name", slot->adapter, "slot",
			slot->name, "state", states[slot->state], "in_use", (int)slot->pins, "error",
			slot->state == VGW__LORA_FAILED ? json_string(slot->why.text) : json_null()));
	}
	(void)pthread_mutex_unlock(&lora->lock);
	return list;
}
