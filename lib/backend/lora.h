/* SPDX-License-Identifier: Apache-2.0 */
/* The adapters loaded on one replica: a table of slots, pure but for its lock. Who waits, and the calls to the engine,
 * are the floors' above and lora_calls's.
 *
 *   (absent) ── begin ──► LOADING ── done ──► LOADED ── evict ──► LEAVING ── gone ──► (absent)
 *                            └── failed ──► FAILED: holds no place, remembers why and until when
 *
 * A slot is pinned by each request that uses it, and a pinned one is never evicted. What the table says holds for one
 * life of the engine: after a restart or a wake, or when something let us doubt, it is compared with the engine's own
 * list before it is believed again. */
#ifndef VGW_BACKEND_LORA_H
#define VGW_BACKEND_LORA_H

#include "util/list.h"

#include <vllmgw/status.h>

#include <pthread.h>
#include <stdatomic.h>

/* XX(NAME, text) */
#define VGW__LORA_STATE_MAP(XX) \
	XX(LOADING, "loading")  \
	XX(LOADED, "loaded")    \
	XX(LEAVING, "leaving")  \
	XX(FAILED, "failed")

enum vgw__lora_state {
#define XX(name, text) VGW__LORA_##name,
	VGW__LORA_STATE_MAP(XX)
#undef XX
};

struct vgw__lora_slot {
	struct vgw__list link;
	enum vgw__lora_state state;
	char *name;       /* what the engine calls it */
	char *adapter;    /* its configured name; "": found there, left by an earlier life of ours */
	uint32_t pins;
	bool is_closed;   /* gets no more pins: somebody has waited long enough for its place */
	bool is_stale;    /* its weights did not survive a sleep: it is unloaded and loaded anew before it is used */
	bool is_lost;     /* the engine has it no more; out of the table, until its last pin is gone */
	uint64_t used;    /* by the table's clock: who is least recently used */
	int64_t since_ms; /* of its state */
	uint32_t failures; /* in a row */
	int64_t retry_ms; /* FAILED: not before */
	vgw_error why;    /* FAILED */
};

struct vgw__lora {
	pthread_mutex_t lock;   /* guards all but the atomics; held for moments, never while an engine is asked */
	void (*free)(struct vgw__lora *lora); /* the one who has this inside something larger */
	struct vgw__list slots;
	uint32_t places;        /* slots that may be on the engine at a time */
	uint64_t clock;
	uint64_t life;          /* of the engine, that the table is about */
	bool is_forgetful;      /* the engine lists adapters after it slept whose weights it has discarded (level 2) */
	bool is_reborn;         /* a life began since the engine's list was read */
	bool is_known;          /* the table is what the engine has */
	uint64_t doubts;        /* how often that was taken back: a list asked for before is too old */
	atomic_uint_fast64_t loads;    /* ever, as the two below */
	atomic_uint_fast64_t unloads;
	atomic_uint_fast64_t failures; /* of loads */
	atomic_bool is_doubted; /* any thread: it may not be any more */
};

void vgw__lora_init(struct vgw__lora *lora);
void vgw__lora_fini(struct vgw__lora *lora);
void vgw__lora_free(struct vgw__lora *lora); /* by its own `free`; NULL is allowed */

/* The engine may have lost what it had. Any thread, without the lock; NULL is allowed. */
static inline void vgw__lora_doubt(struct vgw__lora *lora)
{
	if (lora)
		atomic_store_explicit(&lora->is_doubted, true, memory_order_release);
}

/* --- with the lock held, all of it -------------------------------------------------------------------------------- */

/* Before the table is used, in the present life of the engine: may it be believed? */
bool vgw__lora_is_known(struct vgw__lora *lora, uint64_t life);

struct vgw__lora_slot *vgw__lora_find(struct vgw__lora *lora, const char *name);

/* May it be pinned at once? */
static inline bool vgw__lora_is_open(const struct vgw__lora_slot *slot)
{
	return slot && slot->state == VGW__LORA_LOADED && !slot->is_closed && !slot->is_stale;
}

void vgw__lora_pin(struct vgw__lora *lora, struct vgw__lora_slot *slot);
/* True: it was the last pin, so its place may be had. */
bool vgw__lora_unpin(struct vgw__lora *lora, struct vgw__lora_slot *slot);

/* What stands between an adapter and its load. */
enum vgw__lora_way {
	VGW__LORA_FREE, /* nothing: there is a place */
	VGW__LORA_EVICT, /* a victim, claimed in the same step: LEAVING */
	VGW__LORA_FULL, /* every slot is in use */
};

enum vgw__lora_way vgw__lora_make_way(struct vgw__lora *lora, int64_t now_ms, struct vgw__lora_slot **victim);

/* A slot, LOADING, after FREE. NULL: no memory. */
struct vgw__lora_slot *vgw__lora_begin(struct vgw__lora *lora, const char *name, const char *adapter, int64_t now_ms);
void vgw__lora_done(struct vgw__lora *lora, struct vgw__lora_slot *slot, int64_t now_ms);
void vgw__lora_failed(struct vgw__lora_slot *slot, const vgw_error *why, int64_t now_ms);
/* Evict this one, because somebody says so: LEAVING. BUSY: it is in use. */
vgw_status vgw__lora_leave(struct vgw__lora_slot *slot, int64_t now_ms);
/* The engine has it no more. The slot is freed, now or with its last pin. */
void vgw__lora_gone(struct vgw__lora *lora, struct vgw__lora_slot *slot);

/* Somebody has waited too long for a place: the slot that was loaded first gets no more pins, so that it becomes free
 * when the requests that use it are done. One at a time. */
void vgw__lora_close_one(struct vgw__lora *lora);

/* What the engine says that it has: `names` of ours. Others in the table are gone; ones that are new are strays, the
 * first to leave. False: no memory, the table is as unknown as before. */
bool vgw__lora_learn(struct vgw__lora *lora, char *const *names, size_t count, int64_t now_ms);

/* --- without the lock --------------------------------------------------------------------------------------------- */

/* Is this adapter loaded there now? */
bool vgw__lora_has(struct vgw__lora *lora, const char *name);

/* The slot of an adapter by its configured name, for people: false, there is none. */
struct vgw__lora_view {
	enum vgw__lora_state state;
	uint32_t pins;
	char why[240]; /* FAILED */
};

bool vgw__lora_view(struct vgw__lora *lora, const char *adapter, struct vgw__lora_view *view);

struct json_t;
/* A JSON array of what is there; NULL lora: an empty one. */
struct json_t *vgw__lora_pack(struct vgw__lora *lora);

#endif
