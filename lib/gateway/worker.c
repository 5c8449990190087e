/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: the gateway on one loop. Views are renewed between requests, when the snapshot's generation moved. */
#include "gateway/worker.h"

#include "gateway/call.h"
#include "util/alloc.h"
#include "util/error.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { IDLE_CONNECTION_MS = 4000 }; /* uvicorn closes idle connections after 5 s: be first */

/* --- views ---------------------------------------------------------------------------------------------------- */

struct vgw__view *vgw__view_ref(struct vgw__view *view)
{
	view->refs++;
	return view;
}

void vgw__view_unref(struct vgw__view *view)
{
	if (!view || --view->refs)
		return;
	for (size_t i = 0; i < view->snapshot->count + view->snapshot->adapter_count; i++)
		vgw__targets_unref(view->seats[i].targets);
	vgw__snapshot_unref(view->snapshot);
	vgw__free(view);
}

static struct vgw__view *new_view(vgw_worker *worker, struct vgw__snapshot *snapshot, uint64_t generation)
{
	size_t count = snapshot->count + snapshot->adapter_count;
	struct vgw__view *view = vgw__alloc(sizeof(*view) + count * sizeof(view->seats[0]));

	if (!view)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (i >= snapshot->count)
			view->seats[i].adapter = &snapshot->adapters[i - snapshot->count];
		view->seats[i].model = view->seats[i].adapter ? view->seats[i].adapter->model
			: vgw_registry_get_model(snapshot->registry, i);
		view->seats[i].resident = snapshot->residents[i];
		view->seats[i].shard = vgw__stats_get_shard(snapshot->stats[i], worker->place);
		if (!view->seats[i].shard) {
			vgw__free(view);
			return NULL;
		}
	}
	view->refs = 1;
	view->generation = generation;
	view->snapshot = snapshot;
	return view;
}

struct vgw__view *vgw__worker_get_view(vgw_worker *worker)
{
	uint64_t generation = atomic_load_explicit(&worker->gateway->generation, memory_order_acquire);
	struct vgw__snapshot *snapshot;
	struct vgw__view *view;

	if (worker->view && worker->view->generation == generation)
		return worker->view;
	snapshot = vgw__gateway_ref_snapshot(worker->gateway);
	if (!snapshot)
		return NULL;
	view = new_view(worker, snapshot, generation);
	if (!view) {
		vgw__snapshot_unref(snapshot);
		return worker->view; /* the old set serves until there is memory for the new one */
	}
	vgw__view_unref(worker->view);
	worker->view = view;
	return view;
}

struct vgw__targets *vgw__seat_get_targets(struct vgw__seat *seat)
{
	uint64_t version = atomic_load_explicit(&seat->resident->version, memory_order_acquire);

	if (version != seat->targets_version) {
		vgw__targets_unref(seat->targets);
		seat->targets = vgw__resident_ref_targets(seat->resident, &seat->targets_version);
	}
	return seat->targets;
}

/* --- attaching ------------------------------------------------------------------------------------------------ */

/* Places are reused, so that counters' shards are bounded by the workers alive at one time. */
static bool take_place(vgw_gateway *gateway, uint32_t *place)
{
	uint64_t taken = atomic_load(&gateway->worker_places);

	for (uint32_t i = 0; i < gateway->options.max_workers; i++) {
		while (!((taken >> i) & 1)) {
			if (atomic_compare_exchange_weak(&gateway->worker_places, &taken, taken | UINT64_C(1) << i)) {
				*place = i;
				return true;
			}
		}
	}
	return false;
}

static void make_id_prefix(vgw_worker *worker)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[4];

	if (getrandom(random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random)) {
		/* Early at boot: unique within the process is enough for telling requests apart in one log. */
		uint32_t fallback = (uint32_t)vgw_now_ms() ^ (worker->place << 24);

		memcpy(random, &fallback, sizeof(random));
	}
	for (size_t i = 0; i < sizeof(random); i++) {
		worker->id_prefix[2 * i] = digits[random[i] >> 4];
		worker->id_prefix[2 * i + 1] = digits[random[i] & 15];
	}
}

/* Leases were cut: their calls end with an error the client can read. */
static void on_cut(void *user)
{
	vgw_worker *worker = user;

	VGW__LIST_EACH(it, &worker->calls) {
		vgw_call *call = vgw__call_of_link(it);

		if (call->has_lease && call->state != VGW__CALL_ANSWER &&
			call->cuts != vgw__resident_cuts(call->seat->resident))
			vgw__call_fail(call, VGW_FAULT_UPSTREAM_ABORTED, "the model was taken down while it answered");
	}
}

vgw_status vgw_worker_attach(vgw_worker **out, vgw_gateway *gateway, vgw_loop *loop, vgw_error *err)
{
	vgw_worker *worker;
	vgw_status status;

	*out = NULL;
	vgw__error_reset(err);
	worker = vgw__alloc(sizeof(*worker));
	if (!worker)
		return vgw_error_set(err, VGW_NOMEM, 0, "worker");
	worker->gateway = gateway;
	worker->loop = loop;
	vgw__list_init(&worker->calls);
	if (!take_place(gateway, &worker->place)) {
		vgw__free(worker);
		return vgw_error_set(err, VGW_BUSY, 0, "all %u workers of this gateway are in use",
			gateway->options.max_workers);
	}
	make_id_prefix(worker);
	worker->unrouted = vgw__stats_get_shard(gateway->unrouted, worker->place);
	status = worker->unrouted ? vgw__h1_new(&worker->h1, loop, IDLE_CONNECTION_MS, err) : VGW_NOMEM;
	if (status == VGW_OK && gateway->limits.store)
		status = vgw__mailbox_new(&worker->mailbox, &gateway->limits, loop, err);
	if (status == VGW_OK)
		status = vgw__port_new(&worker->port, gateway->residency, loop, on_cut, worker, err);
	if (status != VGW_OK) {
		vgw_worker_detach(worker);
		return vgw_error_set(err, status, 0, "worker");
	}
	*out = worker;
	return VGW_OK;
}

void vgw_worker_detach(vgw_worker *worker)
{
	if (!worker)
		return;
	while (!vgw__list_is_empty(&worker->calls))
		vgw_call_cancel(vgw__call_of_link(worker->calls.next));
	vgw__mailbox_free(worker->mailbox);
	vgw__ear_free(worker->ear);
	vgw__port_free(worker->port);
	if (worker->h1)
		worker->h1->ops->destroy(worker->h1);
	if (worker->curl)
		worker->curl->ops->destroy(worker->curl);
	vgw__view_unref(worker->view);
	vgw__free(worker->spare_head);
	atomic_fetch_and(&worker->gateway->worker_places, ~(UINT64_C(1) << worker->place));
	vgw__free(worker);
}

struct vgw__transport *vgw__worker_get_transport(vgw_worker *worker, const struct vgw__endpoint *endpoint,
	vgw_error *err)
{
	if (!endpoint->is_tls)
		return worker->h1;
	if (!worker->curl && vgw__curl_new(&worker->curl, worker->loop, err) != VGW_OK)
		return NULL;
	return worker->curl;
}
