/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's shared part: options, residency, counters, and the snapshot that apply() swaps. */
#include "gateway/worker.h"

#include "util/alloc.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/log.h"
#include "util/opts.h"

#include <string.h>

enum { MAX_WORKERS = 64 };

static void fill_defaults(vgw_gateway_options *options)
{
	static const vgw_gateway_options defaults = {
		.connect_timeout_ms = 3000,
		.first_byte_timeout_ms = 1200000,
		.idle_timeout_ms = 300000,
		.total_timeout_ms = 3600000,
		.max_body_bytes = UINT64_C(64) << 20,
		.max_event_bytes = UINT64_C(16) << 20,
		.max_workers = MAX_WORKERS,
		.max_json_tokens = 1000000,
		.health_interval_ms = 5000,
	};

#define FILL(field)                                        \
	if (!options->field)                               \
		options->field = defaults.field
	FILL(connect_timeout_ms);
	FILL(first_byte_timeout_ms);
	FILL(idle_timeout_ms);
	FILL(total_timeout_ms);
	FILL(max_body_bytes);
	FILL(max_event_bytes);
	FILL(max_workers);
	FILL(max_json_tokens);
	FILL(health_interval_ms);
#undef FILL
}

static vgw_status check_options(const vgw_gateway_options *options, vgw_error *err)
{
	if (options->max_workers > MAX_WORKERS)
		return vgw_error_set(err, VGW_INVALID, 0, "max_workers is %u, the most is %d", options->max_workers,
			MAX_WORKERS);
	if (options->connect_timeout_ms < 0 || options->first_byte_timeout_ms < 0 || options->idle_timeout_ms < 0 ||
		options->total_timeout_ms < 0)
		return vgw_error_set(err, VGW_INVALID, 0, "a timeout is negative");
	if ((unsigned)options->metrics_naming >= VGW_METRICS_COUNT)
		return vgw_error_set(err, VGW_INVALID, 0, "metrics_naming is %u, which is no way to name metrics",
			(unsigned)options->metrics_naming);
	return VGW_OK;
}

/* The gateway's logger and state_dir serve the residency too, unless its own options name others. */
static vgw_status choose_residency(const vgw_gateway_options *options, vgw_residency_options *residency, vgw_error *err)
{
	static const vgw_residency_options none = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_status status = vgw__opts_copy(residency, sizeof(*residency), options->residency ? options->residency : &none,
		"vgw_residency_options", err);

	residency->size = sizeof(*residency);
	if (!residency->logger.fn)
		residency->logger = options->logger;
	if (!residency->state_dir)
		residency->state_dir = options->state_dir;
	return status;
}

vgw_status vgw_gateway_new(vgw_gateway **out, const vgw_gateway_options *given, vgw_error *err)
{
	static const vgw_gateway_options zero = VGW_GATEWAY_OPTIONS_INIT;
	vgw_residency_options residency;
	vgw_gateway *gateway;
	vgw_status status;

	*out = NULL;
	vgw__error_reset(err);
	gateway = vgw__alloc(sizeof(*gateway));
	if (!gateway || pthread_mutex_init(&gateway->lock, NULL) != 0) {
		vgw__free(gateway);
		return vgw_error_set(err, VGW_NOMEM, 0, "gateway");
	}
	(void)pthread_mutex_init(&gateway->limits.lock, NULL); /* cannot fail where the one above did not */
	gateway->adapters.cancel_fd = -1;
	status = vgw__opts_copy(&gateway->options, sizeof(gateway->options), given ? given : &zero,
		"vgw_gateway_options", err);
	fill_defaults(&gateway->options);
	if (status == VGW_OK)
		status = check_options(&gateway->options, err);
	if (status == VGW_OK)
		status = vgw__stats_new(&gateway->stats, gateway->options.max_workers, err);
	if (status == VGW_OK)
		status = vgw__limits_init(&gateway->limits, gateway->stats, &gateway->options, err);
	if (status == VGW_OK) {
		gateway->unrouted = vgw__stats_get_model(gateway->stats, "other");
		status = gateway->unrouted ? VGW_OK : VGW_NOMEM;
	}
	if (status == VGW_OK)
		status = choose_residency(&gateway->options, &residency, err);
	if (status == VGW_OK)
		status = vgw_residency_new(&gateway->residency, &residency, err);
	if (status == VGW_OK)
		status = vgw__metrics_listen(gateway, err);
	gateway->options.residency = NULL; /* it was read */
	if (status != VGW_OK) {
		vgw_gateway_free(gateway);
		return vgw_error_set(err, status, 0, "gateway");
	}
	*out = gateway;
	return VGW_OK;
}

void vgw_gateway_free(vgw_gateway *gateway)
{
	if (!gateway)
		return;
	vgw__replicas_fini(gateway);
	vgw__adapters_fini(gateway);
	vgw__snapshot_unref(gateway->snapshot);
	vgw_subscription_end(gateway->listening);
	vgw_residency_free(gateway->residency);
	vgw__limits_fini(&gateway->limits);
	vgw__stats_free(gateway->stats);
	(void)pthread_mutex_destroy(&gateway->limits.lock);
	(void)pthread_mutex_destroy(&gateway->lock);
	vgw__free(gateway);
}

vgw_residency *vgw_gateway_get_residency(vgw_gateway *gateway)
{
	return gateway->residency;
}

vgw_status vgw_gateway_add_controller(vgw_gateway *gateway, const vgw_controller_ops *ops, void *user, vgw_error *err)
{
	return vgw_residency_add_controller(gateway->residency, ops, user, err);
}

/* --- snapshots ------------------------------------------------------------------------------------------------ */

void vgw__snapshot_unref(struct vgw__snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; snapshot->residents && i < snapshot->count + snapshot->adapter_count; i++)
		vgw__resident_unref(snapshot->residents[i]);
	for (size_t i = 0; snapshot->adapters && i < snapshot->adapter_count; i++)
		vgw__free(snapshot->adapters[i].slot);
	vgw__free(snapshot->adapters);
	vgw__free(snapshot->residents);
	vgw__free(snapshot->stats);
	vgw_registry_unref(snapshot->registry);
	vgw__free(snapshot);
}

/* What a place among residents and stats is about: the models, then the adapters. */
static const vgw_model *model_at(const struct vgw__snapshot *snapshot, size_t place)
{
	if (place < snapshot->count)
		return vgw_registry_get_model(snapshot->registry, place);
	return vgw_registry_get_adapter(snapshot->registry, place - snapshot->count);
}

static bool fill_snapshot(vgw_gateway *gateway, struct vgw__snapshot *snapshot)
{
	const vgw_model *model;

	for (size_t i = 0; (model = model_at(snapshot, i)) != NULL; i++) {
		snapshot->stats[i] = vgw__stats_get_model(gateway->stats, model->name);
		snapshot->residents[i] = vgw__residency_find(gateway->residency, vgw__model_get_host(model)->name);
		if (!snapshot->stats[i] || !snapshot->residents[i])
			return false;
	}
	return true;
}

static struct vgw__snapshot *new_snapshot(vgw_gateway *gateway, vgw_registry *registry)
{
	struct vgw__snapshot *snapshot = vgw__alloc(sizeof(*snapshot));
	size_t count;

	if (!snapshot)
		return NULL;
	atomic_init(&snapshot->refs, 1);
	snapshot->registry = vgw_registry_ref(registry);
	snapshot->count = vgw_registry_get_count(registry);
	while (vgw_registry_get_adapter(registry, snapshot->adapter_count))
		snapshot->adapter_count++;
	count = snapshot->count + snapshot->adapter_count + 1;
	snapshot->residents = vgw__calloc(count, sizeof(*snapshot->residents));
	snapshot->stats = vgw__calloc(count, sizeof(*snapshot->stats));
	if (snapshot->residents && snapshot->stats && fill_snapshot(gateway, snapshot))
		return snapshot;
	vgw__snapshot_unref(snapshot);
	return NULL;
}

vgw_status vgw_gateway_apply(vgw_gateway *gateway, vgw_registry *registry, vgw_error *err)
{
	struct vgw__snapshot *snapshot, *old;
	vgw_status status;

	vgw__error_reset(err);
	status = vgw__registry_check_fallbacks(registry, err);
	if (status == VGW_OK)
		status = vgw_residency_apply(gateway->residency, registry, err);
	if (status != VGW_OK)
		return status;
	snapshot = new_snapshot(gateway, registry);
	if (!snapshot)
		return vgw_error_set(err, VGW_NOMEM, 0, "the set of models");
	status = vgw__replicas_prepare(gateway, snapshot, err);
	if (status == VGW_OK)
		status = vgw__adapters_prepare(gateway, snapshot, err);
	if (status != VGW_OK) {
		vgw__snapshot_unref(snapshot);
		return status;
	}
	(void)pthread_mutex_lock(&gateway->lock);
	old = gateway->snapshot;
	gateway->snapshot = snapshot;
	atomic_fetch_add_explicit(&gateway->generation, 1, memory_order_release);
	(void)pthread_mutex_unlock(&gateway->lock);
	vgw__snapshot_unref(old);
	return VGW_OK;
}

struct vgw__snapshot *vgw__gateway_ref_snapshot(vgw_gateway *gateway)
{
	struct vgw__snapshot *snapshot;

	(void)pthread_mutex_lock(&gateway->lock);
	snapshot = gateway->snapshot;
	if (snapshot)
		atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
	(void)pthread_mutex_unlock(&gateway->lock);
	return snapshot;
}

vgw_registry *vgw_gateway_dup_registry(vgw_gateway *gateway)
{
	struct vgw__snapshot *snapshot = vgw__gateway_ref_snapshot(gateway);
	vgw_registry *registry = snapshot ? vgw_registry_ref(snapshot->registry) : NULL;

	vgw__snapshot_unref(snapshot);
	return registry;
}

int64_t vgw_gateway_take_address(vgw_gateway *gateway, const char *address)
{
	struct vgw__limits *limits = &gateway->limits;
	int64_t wait_ns = limits->addresses && address
		? vgw__addresses_take(limits->addresses, address, vgw__now_ns()) : 0;

	if (wait_ns)
		vgw__stats_count_limited(limits->stats, NULL, VGW_LIMIT_ADDRESS);
	return (wait_ns + 999999) / 1000000;
}

uint64_t vgw_gateway_count_calls(const vgw_gateway *gateway)
{
	return vgw__stats_in_flight(gateway->stats);
}
