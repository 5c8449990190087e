/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/event.h
 * What happens to models, as it happens. Audience: callers.  Stability: stable since 0.1.
 *
 * Events come from one thread of the library, in their order, never under a lock: a handler may call any public
 * function, the blocking ones too. Meanwhile events queue up; what does not fit is counted, and arrives as one
 * event of kind LOST in its place.
 */
#ifndef VLLMGW_EVENT_H
#define VLLMGW_EVENT_H

#include <vllmgw/common.h>
#include <vllmgw/residency.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

/** XX(name, value, text) */
#define VGW_EVENT_MAP(XX)                                                                  \
	XX(TRANSITION, 0, "transition") /* from, to, cause, text: the failure, if it is one */ \
	XX(PROGRESS, 1, "progress")     /* percent (-1: unknown), text: what it is doing */    \
	XX(DECISION, 2, "decision")     /* cause: its kind, text: why */                       \
	XX(LOST, 3, "lost")             /* lost_count events did not fit */                    \
	XX(CIRCUIT, 4, "circuit")       /* replica, from, to, text: why it opened */

typedef enum vgw_event_kind {
#define XX(name, value, text) VGW_EVENT_##name = value,
	VGW_EVENT_MAP(XX)
#undef XX
	VGW_EVENT_FORCE_INT32 = 0x7fffffff
} vgw_event_kind;

/** One event, borrowed during the handler. Texts are never NULL. */
typedef struct vgw_event {
	size_t size;
	vgw_event_kind kind;
	int32_t percent;
	int64_t at_ms;         /* vgw_now_ms() time */
	const char *model;     /* "" when it concerns none */
	const char *replica;   /* "big/0" */
	const char *from;      /* absent starting ready draining leaving asleep waking backoff stuck;
	                        * closed open half_open */
	const char *to;
	const char *cause;
	const char *text;
	uint64_t lost_count;
	vgw_fault fault;       /* of a transition that tells a failure: what a client would be told; else NONE */
	uint32_t reserved;
} vgw_event;

typedef void (*vgw_event_fn)(void *user, const vgw_event *event);

/** Somebody who listens. */
typedef struct vgw_subscription vgw_subscription;

/**
 * Have `fn` called with every event from now on.
 * Owns:    *out belongs to the caller: vgw_subscription_end(), before vgw_residency_free(). NULL on failure.
 * Threads: any. `fn` is called on the library's event thread.
 * Blocks:  never.
 * Errors:  NOMEM.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_residency_subscribe(vgw_subscription **out, vgw_residency *residency,
	vgw_event_fn fn, void *user, vgw_error *err);

/** Listen no more: `fn` is not called after this returns. May be called from inside `fn`. NULL is allowed.
 *  Owns: taken.  Threads: any.  Blocks: until a call of `fn` under way has returned.  Errors: none.  Since: 0.1 */
VGW_API void vgw_subscription_end(vgw_subscription *subscription);

/** "transition", "progress", "decision", "lost", "circuit".
 *  Owns: borrowed for ever.  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API const char *vgw_event_kind_get_name(vgw_event_kind kind);

VGW_END_DECLS

#endif
