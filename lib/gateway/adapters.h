/* SPDX-License-Identifier: Apache-2.0 */
/* How a request for an adapter finds it loaded on the replica that will serve it.
 *
 *   worker: the call has its target ──► claim ──┬── loaded: pinned, the call goes on
 *                                               └── not: a wait in the site's queue
 *   executor: one job a replica ──► list, evict, load, try ──► answers the waits it serves: pinned, or why not
 *   worker ◄── ear: an eventfd, and the list of the answered
 *
 * A site is what a target has of this: the table of slots (backend/lora.h), who waits, and the job. It is freed with its
 * target; a call holds its targets, and so does a running job. A site's lock, the table's, guards its waits as well, is
 * held for moments and never while an engine is asked; an ear's lock is taken under it. */
#ifndef VGW_GATEWAY_ADAPTERS_H
#define VGW_GATEWAY_ADAPTERS_H

#include "backend/lora.h"
#include "backend/targets.h"
#include "core/model.h"
#include "residency/executors.h"
#include "residency/resident.h"
#include "util/list.h"

#include <vllmgw/gateway.h>

enum {
	VGW__ADAPTER_TAG_SIZE = 9,
	VGW__ADAPTER_FAIR_MS = 1000, /* who waits so long for a place has one closed for him */
};

/* Where a job works. Whoever wakes it has a lease there, or had one until it was cut. */
struct vgw__place {
	struct vgw__resident *resident;
	struct vgw__targets *targets;
	struct vgw__target *target;
};

struct vgw__snapshot;

/* An adapter of a snapshot. */
struct vgw__adapter {
	const vgw_model *model;
	char *slot; /* what engines call it: "NAME." and 16 digits; no other gateway and no other path has the same */
};

/* The gateway's. */
struct vgw__adapters {
	struct vgw__executors *executors; /* NULL until there are adapters; before their snapshot is published */
	struct vgw__executors *orders;    /* the operator's; with the others */
	int cancel_fd;                    /* readable: give up */
	char tag[VGW__ADAPTER_TAG_SIZE];  /* eight digits that stand for this gateway */
	vgw_logger logger;
};

/* Where the answers of one thread arrive. */
struct vgw__ear {
	pthread_mutex_t lock;
	struct vgw__list answered; /* guarded by lock */
	int fd;
	vgw_loop *loop;            /* NULL: somebody polls `fd` */
	vgw_watch watch;
};

/* A request, or an operator, that waits for an adapter on a replica. */
struct vgw__wait {
	struct vgw__list link; /* in site->waits, then in ear->answered */
	const struct vgw__adapter *adapter; /* borrowed of a snapshot that the waiting one holds */
	struct vgw__ear *ear;
	vgw_call *call;        /* NULL: an operator */
	bool is_unload;
	bool may_not_load;     /* it is for a key that may not cause a load */
	bool is_answered;      /* guarded by the site's lock */
	int64_t since_ms;
	struct vgw__lora_slot *slot; /* the answer: pinned; or NULL, and */
	vgw_error why;               /* why not; OK: it was unloaded */
};

struct vgw__site {
	struct vgw__lora lora;
	struct vgw__adapters *adapters;
	struct vgw__job job;
	bool is_working;              /* the job is queued or runs; guarded by lora.lock, as all below */
	struct vgw__place place;      /* of the job, its own references: the target stays */
	bool has_lease;               /* of the job: the engine is not put to sleep while it loads */
	struct vgw__list waits;       /* first come, first served */
	uint32_t wait_count;
	char *model;                  /* name of the base; as told by the last who began a job, as the two below */
	char *api_key;                /* NULL: none */
	int64_t timeout_ms;
};

/* What a call has of a site: a wait, or a pinned slot, or nothing. */
struct vgw__hold {
	struct vgw__site *site;
	struct vgw__wait *wait;
	struct vgw__lora_slot *slot;
};

/* --- adapters.c: the call's side, on its worker --- */

/* The call has its target: true, its adapter is there and pinned. False: the call waits, or has failed. */
bool vgw__adapters_claim(vgw_call *call);
/* Which of its targets have its adapter: a bit per place. */
uint64_t vgw__adapters_find(const vgw_call *call);
void vgw__adapters_let_go(vgw_call *call); /* whatever it has */
/* The engine does not know the adapter: once, the call goes back and has it loaded. */
bool vgw__adapters_retry(vgw_call *call);
/* What it waits for, in words. */
void vgw__adapters_explain(const vgw_call *call, char *text, size_t size);

vgw_status vgw__ear_new(struct vgw__ear **out, vgw_loop *loop, vgw_error *err);
void vgw__ear_free(struct vgw__ear *ear); /* nobody waits any more; NULL is allowed */

/* --- adapter_site.c: sites and their jobs --- */

/* The target's site, made with its first adapter. NULL: no memory. */
struct vgw__site *vgw__site_get(struct vgw__adapters *adapters, struct vgw__target *target);
struct vgw__site *vgw__site_of(struct vgw__lora *lora);
/* With the lock held: there is something to do. True: the caller posts site->job when it has given back the lock. */
bool vgw__site_wake_locked(struct vgw__site *site, const struct vgw__place *place, const vgw_model *base);
/* Give the lock back and do so. */
void vgw__site_unlock(struct vgw__site *site, bool is_due);
/* Nobody waits for the answer any more: what it got is given back. */
void vgw__wait_cancel(struct vgw__site *site, struct vgw__wait *wait, const struct vgw__place *place);

/* --- adapter_orders.c: the gateway's side --- */

void vgw__adapters_fini(vgw_gateway *gateway);
/* Before a snapshot is published: its adapters' slots, and threads to load them. */
vgw_status vgw__adapters_prepare(vgw_gateway *gateway, struct vgw__snapshot *snapshot, vgw_error *err);
/* Where an adapter stands, in the words of GET /v1/models. */
const char *vgw__adapters_get_standing(const struct vgw__snapshot *snapshot, const struct vgw__adapter *adapter);

#endif
