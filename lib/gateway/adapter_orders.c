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

enum { LOADERS = 4, POLL_MS = 60000 };

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
		return err->status;
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

/* --- orders ------------------------------------------------------------------------------------------------------- */

/* What an order needs of one adapter while it is carried out. */
struct order {
	struct vgw__snapshot *snapshot;
	const struct vgw__adapter *adapter;
	struct vgw__resident *resident; /* of its base; the snapshot's */
	struct vgw__ear *ear;
	bool is_unload;
};

/* Until it is answered or the time is over. */
static vgw_status await(struct order *order, struct vgw__site *site, struct vgw__wait *wait,
	struct vgw__targets *targets, struct vgw__target *target, int64_t deadline_ms, vgw_error *err)
{
	struct pollfd ring = { .fd = order->ear->fd, .events = POLLIN };
	bool is_answered = false;
	uint64_t rings;
	int64_t left_ms;

	while (!is_answered && (left_ms = deadline_ms - vgw_now_ms()) > 0) {
		(void)poll(&ring, 1, (int)(left_ms < POLL_MS ? left_ms : POLL_MS));
		(void)!read(order->ear->fd, &rings, sizeof(rings)); /* EAGAIN: not yet */
		(void)pthread_mutex_lock(&site->lora.lock);
		is_answered = wait->is_answered;
		(void)pthread_mutex_unlock(&site->lora.lock);
	}
	if (!is_answered)
		(void)vgw_error_set(err, VGW_TIMEOUT, 0, "adapter '%.60s': not done in time", order->adapter->model->name);
	else if (err && wait->why.status != VGW_OK && err->status == VGW_OK)
		*err = wait->why;
	vgw__wait_cancel(site, wait, targets, target);
	return is_answered ? VGW_OK : VGW_TIMEOUT;
}

static void carry_out(struct order *order, struct vgw__adapters *adapters, struct vgw__targets *targets,
	struct vgw__target *target, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__site *site = vgw__site_get(adapters, target);
	struct vgw__wait *wait = site ? vgw__alloc(sizeof(*wait)) : NULL;
	bool is_due;

	if (!wait) {
		(void)vgw_error_set(err, VGW_NOMEM, 0, "no memory to wait for an adapter");
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
	is_due = vgw__site_wake_locked(site, targets, target, order->adapter->model->base);
	vgw__site_unlock(site, is_due);
	(void)await(order, site, wait, targets, target, deadline_ms, err);
}

static const struct vgw__adapter *find_adapter(const struct vgw__snapshot *snapshot, const char *name)
{
	const vgw_model *model = snapshot && name ? vgw_registry_find(snapshot->registry, name, strlen(name)) : NULL;

	return model && model->base ? &snapshot->adapters[model->place] : NULL;
}

static vgw_status prepare(struct order *order, vgw_gateway *gateway, const char *name, vgw_error *err)
{
	order->snapshot = vgw__gateway_ref_snapshot(gateway);
	order->adapter = find_adapter(order->snapshot, name);
	if (!order->adapter)
		return vgw_error_set_fault(err, VGW_NOT_FOUND, VGW_FAULT_MODEL_NOT_FOUND, "there is no adapter '%.100s'",
			name ? name : "");
	order->resident = order->snapshot->residents[order->adapter->model->base->place];
	return vgw__ear_new(&order->ear, NULL, err);
}

/* On every replica, one after the other; the first failure is told, the others are tried all the same. */
static void with_each(struct order *order, vgw_gateway *gateway, int64_t deadline_ms, vgw_error *err)
{
	uint64_t version;
	struct vgw__targets *targets = vgw__resident_ref_targets(order->resident, &version);

	if (!order->is_unload && (!targets || !targets->count))
		(void)vgw_error_set(err, VGW_BACKEND, 0, "the model has no endpoint");
	for (uint32_t i = 0; targets && i < targets->count; i++)
		carry_out(order, &gateway->adapters, targets, targets->items[i], deadline_ms, err);
	vgw__targets_unref(targets);
}

static void finish(struct order *order)
{
	vgw__ear_free(order->ear);
	vgw__snapshot_unref(order->snapshot);
}

vgw_status vgw_gateway_load_adapter(vgw_gateway *gateway, const char *name, int64_t deadline_ms, vgw_error *err)
{
	struct order order = { .is_unload = false };
	vgw_error local = VGW_ERROR_INIT;
	vgw_lease *lease = NULL;

	vgw__error_reset(err);
	err = err ? err : &local;
	if (prepare(&order, gateway, name, err) == VGW_OK &&
		vgw_residency_acquire(&lease, gateway->residency, order.adapter->model->base->name, deadline_ms, err) == VGW_OK)
		with_each(&order, gateway, deadline_ms, err);
	vgw_lease_release(lease);
	finish(&order);
	return err->status;
}

vgw_status vgw_gateway_unload_adapter(vgw_gateway *gateway, const char *name, int64_t deadline_ms, vgw_error *err)
{
	struct order order = { .is_unload = true };
	vgw_error local = VGW_ERROR_INIT, why = VGW_ERROR_INIT;
	vgw_lease *lease = NULL;
	vgw_status status;

	vgw__error_reset(err);
	err = err ? err : &local;
	if (prepare(&order, gateway, name, err) == VGW_OK) {
		/* an engine that is not up has no adapters, and is not brought up to hear so */
		status = vgw_residency_try_acquire(&lease, gateway->residency, order.adapter->model->base->name, &why);
		if (status == VGW_OK)
			with_each(&order, gateway, deadline_ms, err);
		else if (status != VGW_BUSY)
			*err = why;
	}
	vgw_lease_release(lease);
	finish(&order);
	return err->status;
}
