/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's shared part, and what each worker keeps for itself so that a request meets no lock.
 *
 *   vgw_gateway ── snapshot (registry + residents, counted, swapped by apply) ──┐ generation says: changed
 *     worker ── view (its own reference to a snapshot + a seat per model) ◄─────┘
 *        seat: targets copied under version, counters' shard
 *
 * A call keeps the view it began with; the view lives until its last call ended. */
#ifndef VGW_GATEWAY_WORKER_H
#define VGW_GATEWAY_WORKER_H

#include "balance/health.h"
#include "balance/prefix.h"
#include "core/model.h"
#include "gateway/adapters.h"
#include "gateway/limits.h"
#include "net/transport.h"
#include "observe/stats.h"
#include "residency/residency.h"
#include "util/buf.h"
#include "util/list.h"

#include <vllmgw/event.h>
#include <vllmgw/gateway.h>

#include <pthread.h>

/* Registry and residents, aligned by place. */
struct vgw__snapshot {
	atomic_uint refs;
	vgw_registry *registry;
	struct vgw__resident **residents;
	struct vgw__model_stats **stats;
	size_t count;
	struct vgw__adapter *adapters; /* behind the models among residents and stats: a resident is its base's */
	size_t adapter_count;
};

struct vgw_gateway {
	vgw_gateway_options options; /* defaults filled in; const after new */
	char *state_dir;
	vgw_residency *residency;
	struct vgw__stats *stats;
	vgw_subscription *listening; /* to the residency, for the metrics */
	struct vgw__limits limits;
	struct vgw__adapters adapters;
	struct vgw__model_stats *unrouted;  /* requests that name no model of ours */
	atomic_uint_fast64_t generation;    /* of the snapshot */
	atomic_uint worker_count;
	atomic_uint_fast64_t worker_places; /* bit i: place i is taken */
	pthread_mutex_t lock;
	struct vgw__snapshot *snapshot;     /* guarded by lock; NULL before the first apply */
	_Atomic(struct vgw__prefix_table *) prefixes; /* NULL until a model balances by PREFIX */
	struct vgw__health *health;         /* apply's; NULL: no model may have several replicas */
};

/* One model as one worker sees it. */
struct vgw__seat {
	const vgw_model *model;
	struct vgw__resident *resident; /* borrowed of the snapshot */
	struct vgw__shard *shard;
	struct vgw__targets *targets;   /* own reference, NULL: none yet */
	const struct vgw__adapter *adapter; /* NULL: a model of its own */
	uint64_t targets_version;
	int64_t repeated; /* requests under way that were sent a second time and wait for their answer */
};

struct vgw__view {
	unsigned refs; /* one thread */
	uint64_t generation;
	struct vgw__snapshot *snapshot;
	struct vgw__seat seats[]; /* of the models, then of the adapters */
};

static inline struct vgw__seat *vgw__view_get_seat(struct vgw__view *view, const vgw_model *model)
{
	return &view->seats[model->base ? view->snapshot->count + model->place : model->place];
}

struct vgw_worker {
	vgw_gateway *gateway;
	vgw_loop *loop;
	uint32_t place;
	struct vgw__view *view; /* newest; NULL before the first call */
	struct vgw__shard *unrouted;
	struct vgw__transport *h1;
	struct vgw__transport *curl; /* made with the first https endpoint */
	struct vgw__port *port; /* where leases arrive, and the news that some were cut */
	struct vgw__ear *ear; /* where adapters arrive; NULL until a call waits for one */
	struct vgw__mailbox *mailbox; /* where the limits' store answers; NULL without a store */
	struct vgw__list calls;
	struct vgw__held_head *spare_head;
	char id_prefix[9];
	uint64_t id_next;
};

/* The worker's newest view; renews it when a new snapshot was published, which may free the one given before: a request
 * asks once. NULL: no models yet, or no memory. */
struct vgw__view *vgw__worker_get_view(vgw_worker *worker);
struct vgw__view *vgw__view_ref(struct vgw__view *view);
void vgw__view_unref(struct vgw__view *view);

/* The seat's present targets, renewed when they changed; borrowed until the next call. NULL: none. */
struct vgw__targets *vgw__seat_get_targets(struct vgw__seat *seat);

/* Which transport serves an endpoint. NULL: *err tells. */
struct vgw__transport *vgw__worker_get_transport(vgw_worker *worker, const struct vgw__endpoint *endpoint,
	vgw_error *err);

/* The snapshot published last, with a reference; NULL before the first apply. */
struct vgw__snapshot *vgw__gateway_ref_snapshot(vgw_gateway *gateway);
/* --- metrics.c --- */

/* Count what the residency does, until the subscription is ended. */
vgw_status vgw__metrics_listen(vgw_gateway *gateway, vgw_error *err);

/* --- replicas.c --- */

/* Before a snapshot is published: what its models' ways to balance need. */
vgw_status vgw__replicas_prepare(vgw_gateway *gateway, const struct vgw__snapshot *snapshot, vgw_error *err);
void vgw__replicas_fini(vgw_gateway *gateway);
/* Prometheus text about every replica that is there now; false: no memory. */
bool vgw__replicas_print(vgw_gateway *gateway, struct vgw__buf *out);

void vgw__snapshot_unref(struct vgw__snapshot *snapshot);

#endif
