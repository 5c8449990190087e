/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's side of adapters: what engines call them, the threads that load them, where they stand, and the
 * operator's orders. */
#include "gateway/worker.h"

#include "util/alloc.h"
#include "util/error.h"
#include "util/hash.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LOADERS = 4, ORDERLIES = 2, POLL_MS = 60000, LOOK_MS = 50 };

/* --- who we are --------------------------------------------------------------------------------------------------- */

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash ^ (hash >> 32));
}

/* The same after a restart, so that what was loaded before is ours; another for any other gateway. Without a folder for
 * the state nothing tells two programs of one machine apart but their numbers. */
static void make_tag(struct vgw__adapters *adapters, const char *state_dir)
{
	char host[256] = "";
	char process[32];
	uint64_t hash = VGW__HASH_INIT;

	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(process, sizeof(process), "%ld", (long)getpid());
	hash = vgw__hash_text(hash, host);
	hash = vgw__hash_text(hash, state_dir ? state_dir : process);
	(void)snprintf(adapters->tag, sizeof(adapters->tag), "%08" PRIx32, fold(hash));
}

static char *make_slot(const struct vgw__adapters *adapters, const vgw_model *model)
{
	uint64_t hash = vgw__hash_text(VGW__HASH_INIT, model->base->name);

	hash = vgw__hash_text(hash, model->adapter_path);
	return vgw__printf("%s.%s%08" PRIx32, model->name, adapters->tag, fold(hash));
}

vgw_status vgw__adapters_prepare(vgw_gateway *gateway, struct vgw__snapshot *snapshot, vgw_error *err)
{
	struct vgw__adapters *adapters = &gateway->adapters;

	if (!snapshot->adapter_count)
		return VGW_OK;
	if (adapters->cancel_fd < 0) {
		make_tag(adapters, gateway->options.state_dir);
		adapters->logger = gateway->options.logger;
		adapters->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (adapters->cancel_fd < 0)
			return vgw_error_set(err, VGW_INTERNAL, errno, "cannot make an eventfd: %s", strerror(errno));
	}
	if (!adapters->executors && vgw__executors_new(&adapters->executors, LOADERS, err) != VGW_OK)
		return VGW_INTERNAL;
	if (!adapters->orders && vgw__executors_new(&adapters->orders, ORDERLIES, err) != VGW_OK)
		return VGW_INTERNAL;
	snapshot->adapters = vgw__calloc(snapshot->adapter_count, sizeof(*snapshot->adapters));
	for (size_t i = 0; snapshot->adapters && i < snapshot->adapter_count; i++) {
		struct vgw__adapter *adapter = &snapshot->adapters[i];

		adapter->model = vgw_registry_get_adapter(snapshot->registry, i);
		adapter->slot = make_slot(adapters, adapter->model);
		if (!adapter->slot)
			return vgw_error_set(err, VGW_NOMEM, 0, "the set of adapters");
	}
	return snapshot->adapters ? VGW_OK : vgw_error_set(err, VGW_NOMEM, 0, "the set of adapters");
}

void vgw__adapters_fini(vgw_gateway *gateway)
{
	struct vgw__adapters *adapters = &gateway->adapters;
	const uint64_t one = 1;

	if (adapters->cancel_fd >= 0)
		(void)!write(adapters->cancel_fd, &one, sizeof(one));
	vgw__executors_free(adapters->orders); /* the orders wait for what the others do */
	vgw__executors_free(adapters->executors);
	if (adapters->cancel_fd >= 0)
		(void)close(adapters->cancel_fd);
}

/* --- where it stands ---------------------------------------------------------------------------------------------- */

/* Up where its base is up and has it; otherwise its base's word, or that it is not loaded. */
const char *vgw__adapters_get_standing(const struct vgw__snapshot *snapshot, const struct vgw__adapter *adapter)
{
	struct vgw__resident *resident = snapshot->residents[adapter->model->base->place];
	uint64_t version;
	struct vgw__targets *targets = vgw__resident_ref_targets(resident, &version);
	const char *standing = vgw__resident_get_standing(resident);
	bool is_loaded = false;

	for (uint32_t i = 0; targets && i < targets->count; i++)
		is_loaded = is_loaded || vgw__lora_has(atomic_load(&targets->items[i]->lora), adapter->slot);
	vgw__targets_unref(targets);
	return is_loaded || strcmp(standing, "loaded") != 0 ? standing : "unloaded";
}

/* --- orders: on threads of their own, as they wait for the others' ------------------------------------------------- */

struct order {
	struct vgw__job job;
	vgw_gateway *gateway;
	struct vgw__snapshot *snapshot;
	const struct vgw__adapter *adapter;
	struct vgw__resident *resident; /* of its base; the snapshot's */
	struct vgw__ear *ear;
	bool is_unload;
	int64_t deadline_ms;
	vgw_adapter_fn fn; /* NULL: nobody wants to know */
	void *user;
	vgw_error error;
};

static void free_order(struct order *order)
{
	vgw__ear_free(order->ear);
	vgw__snapshot_unref(order->snapshot);
	vgw__free(order);
}

/* A while, or until the ear rings; false: the gateway ends, or the time is over. */
static bool pause_order(struct order *order, int64_t pause_ms)
{
	struct pollfd ends[2] = { { .fd = order->gateway->adapters.cancel_fd, .events = POLLIN },
		{ .fd = order->ear->fd, .events = POLLIN } };
	int64_t left_ms = order->deadline_ms - vgw_now_ms();
	uint64_t rings;

	if (left_ms > 0)
		(void)poll(ends, 2, (int)(left_ms < pause_ms ? left_ms : pause_ms));
	if (ends[0].revents & POLLIN)
		(void)vgw_error_set(&order->error, VGW_SHUTDOWN, 0, "the gateway is shutting down");
	else if (left_ms <= 0)
		(void)vgw_error_set(&order->error, VGW_TIMEOUT, 0, "adapter '%.60s': not done in time; it goes on",
			order->adapter->model->name);
	(void)!read(order->ear->fd, &rings, sizeof(rings)); /* EAGAIN: not yet */
	return order->error.status == VGW_OK;
}

/* Until it is answered. */
static void await(struct order *order, struct vgw__site *site, struct vgw__wait *wait, const struct vgw__place *place)
{
	bool is_answered;

	do {
		(void)pthread_mutex_lock(&site->lora.lock);
		is_answered = wait->is_answered;
		(void)pthread_mutex_unlock(&site->lora.lock);
	} while (!is_answered && pause_order(order, POLL_MS));
	if (is_answered && order->error.status == VGW_OK)
		order->error = wait->why;
	vgw__wait_cancel(site, wait, place);
}

static void carry_out(struct order *order, struct vgw__targets *targets, struct vgw__target *target)
{
	const struct vgw__place place = { order->resident, targets, target };
	struct vgw__site *site = vgw__site_get(&order->gateway->adapters, target);
	struct vgw__wait *wait = site ? vgw__alloc(sizeof(*wait)) : NULL;
	bool is_due;

	if (!wait) {
		(void)vgw_error_set(&order->error, VGW_NOMEM, 0, "no memory to wait for an adapter");
		return;
	}
	vgw__list_init(&wait->link);
	wait->adapter = order->adapter;
	wait->ear = order->ear;
	wait->is_unload = order->is_unload;
	wait->since_ms = vgw_now_ms();
	(void)pthread_mutex_lock(&site->lora.lock);
	(void)vgw__lora_is_known(&site->lora, atomic_load_explicit(&order->resident->lives, memory_order_acquire));
	vgw__list_append(&site->waits, &wait->link);
	site->wait_count++;
	is_due = vgw__site_wake_locked(site, &place, order->adapter->model->base);
	vgw__site_unlock(site, is_due);
	await(order, site, wait, &place);
}

/* Brought up if it is to be loaded. An engine that is not up has no adapters, and is not brought up to hear so. */
static vgw_lease *acquire(struct order *order)
{
	const char *base = order->adapter->model->base->name;
	vgw_residency *residency = order->gateway->residency;
	vgw_lease *lease = NULL;
	vgw_status status = vgw_residency_try_acquire(&lease, residency, base, NULL);

	if (status != VGW_BUSY || order->is_unload)
		return lease;
	status = vgw_residency_load(residency, base, 0, &order->error);
	while (status == VGW_OK && pause_order(order, LOOK_MS)) {
		if (strcmp(vgw__resident_get_standing(order->resident), "failed") == 0)
			status = vgw_residency_acquire(&lease, residency, base, vgw_now_ms() + LOOK_MS, &order->error);
		else if (vgw_residency_try_acquire(&lease, residency, base, NULL) == VGW_OK)
			break;
	}
	return lease;
}

/* On every replica, one after the other, until one fails. */
static void run_order(struct vgw__job *job)
{
	struct order *order = VGW__CONTAINER(job, struct order, job);
	vgw_lease *lease = acquire(order);
	struct vgw__targets *targets = NULL;
	uint64_t version;

	if (lease)
		targets = vgw__resident_ref_targets(order->resident, &version);
	if (lease && !targets && !order->is_unload)
		(void)vgw_error_set(&order->error, VGW_BACKEND, 0, "the model has no endpoint");
	for (uint32_t i = 0; targets && order->error.status == VGW_OK && i < targets->count; i++)
		carry_out(order, targets, targets->items[i]);
	vgw__targets_unref(targets);
	vgw_lease_release(lease);
	if (order->fn)
		order->fn(order->user, order->error.status, &order->error);
	free_order(order);
}

/* What failed before is not what an order that was just given came to. */
static void forgive(const struct order *order)
{
	uint64_t version;
	struct vgw__targets *targets = vgw__resident_ref_targets(order->resident, &version);

	for (uint32_t i = 0; targets && i < targets->count; i++) {
		struct vgw__lora *lora = atomic_load(&targets->items[i]->lora);
		struct vgw__lora_slot *slot;

		if (!lora)
			continue;
		(void)pthread_mutex_lock(&lora->lock);
		slot = vgw__lora_find(lora, order->adapter->slot);
		if (slot && slot->state == VGW__LORA_FAILED)
			vgw__lora_gone(lora, slot);
		(void)pthread_mutex_unlock(&lora->lock);
	}
	vgw__targets_unref(targets);
}

static vgw_status give(vgw_gateway *gateway, const char *name, struct order order, vgw_error *err)
{
	struct order *given = vgw__alloc(sizeof(*given));
	const vgw_model *model;

	vgw__error_reset(err);
	if (!given)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for an order");
	*given = order;
	given->gateway = gateway;
	given->job.run = run_order;
	given->snapshot = vgw__gateway_ref_snapshot(gateway);
	model = given->snapshot && name ? vgw_registry_find(given->snapshot->registry, name, strlen(name)) : NULL;
	if (!model || !model->base) {
		free_order(given);
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND, "there is no adapter '%.100s'",
			name ? name : "");
	}
	if (vgw__ear_new(&given->ear, NULL, err) != VGW_OK) {
		free_order(given);
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for an order");
	}
	given->adapter = &given->snapshot->adapters[model->place];
	given->resident = given->snapshot->residents[model->base->place];
	forgive(given);
	vgw__executors_post(gateway->adapters.orders, &given->job);
	return VGW_OK;
}

vgw_status vgw_gateway_load_adapter(vgw_gateway *gateway, const char *name, int64_t deadline_ms, vgw_adapter_fn fn,
	void *user, vgw_error *err)
{
	return give(gateway, name, (struct order){ .deadline_ms = deadline_ms, .fn = fn, .user = user }, err);
}

vgw_status vgw_gateway_unload_adapter(vgw_gateway *gateway, const char *name, int64_t deadline_ms, vgw_adapter_fn fn,
	void *user, vgw_error *err)
{
	return give(gateway, name,
		(struct order){ .deadline_ms = deadline_ms, .fn = fn, .user = user, .is_unload = true }, err);
}
