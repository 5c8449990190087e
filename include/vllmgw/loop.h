/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/loop.h
 * One thread's event loop: descriptors, timers, work for the end of the turn, and an inbox for other threads.
 * Audience: callers who run workers, front ends and controllers.  Stability: stable since 0.1.
 *
 * Watches, timers, deferred work and messages are structs that live inside *your* objects, so that using the loop
 * never allocates and cannot fail for want of memory. Their fields are private. Zero them before first use.
 *
 *     epoll ──► watches ─┐
 *     heap  ──► timers  ─┼──► your callbacks ──► deferred work (flushes) ──► next turn
 *     inbox ──► messages ┘
 *
 * A program with a loop of its own adds vgw_loop_get_fd() to it and calls vgw_loop_run_once(loop, 0) when that
 * descriptor is readable or vgw_loop_get_timeout_ms() has passed.
 */
#ifndef VLLMGW_LOOP_H
#define VLLMGW_LOOP_H

#include <vllmgw/common.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

typedef struct vgw_loop vgw_loop;
typedef struct vgw_watch vgw_watch;
typedef struct vgw_timer vgw_timer;
typedef struct vgw_defer vgw_defer;
typedef struct vgw_message vgw_message;

/** What happened on a descriptor; the values are epoll's (EPOLLIN, EPOLLOUT, EPOLLRDHUP, ...). */
typedef void (*vgw_watch_fn)(vgw_watch *watch, uint32_t events);
typedef void (*vgw_timer_fn)(vgw_timer *timer);
typedef void (*vgw_defer_fn)(vgw_defer *defer);
typedef void (*vgw_message_fn)(vgw_message *message);

/** A descriptor the loop listens to. Find your object by its address (it is embedded) or by `user`. */
struct vgw_watch {
	void *user;
	vgw_watch_fn fn;   /* private from here */
	int32_t fd;
	uint32_t events;
	uint32_t slot;     /* 1 + place in the batch being delivered, 0: none */
	uint32_t is_added;
};

/** A point in time at which to be called, once. */
struct vgw_timer {
	void *user;
	vgw_timer_fn fn;   /* private from here */
	int64_t at_ms;
	size_t place;      /* 1 + place in the heap, 0: not armed */
};

/** Work for the end of the current turn, after every ready descriptor and timer has been served. */
struct vgw_defer {
	void *user;
	vgw_defer_fn fn;   /* private from here */
	vgw_defer *next;
	vgw_defer *prev;
};

/** Something another thread wants done on the loop's thread. */
struct vgw_message {
	void *user;
	vgw_message_fn fn; /* private from here */
	vgw_message *next;
};

/**
 * Make a loop.
 * Owns:    *out belongs to the caller: vgw_loop_free(). NULL on failure.
 * Threads: any.
 * Blocks:  never.
 * Errors:  NOMEM, INTERNAL (no descriptors left: sys_errno tells).
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_loop_new(vgw_loop **out, vgw_error *err);

/** Free a loop. Remove watches and timers first, and let no other thread be inside vgw_loop_post() or
 *  vgw_loop_stop() any more (join it); messages not yet delivered are dropped. NULL is allowed.
 *  Owns: taken.  Threads: owner, not inside a callback.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_loop_free(vgw_loop *loop);

/** Run turns until vgw_loop_stop().
 *  Threads: owner; its thread becomes the loop's thread.  Blocks: until stopped.  Errors: INTERNAL (epoll failed).
 *  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_loop_run(vgw_loop *loop, vgw_error *err);

/** Run one turn, waiting at most `timeout_ms` for something to do (0: do not wait, -1: as long as it takes).
 *  Threads: owner.  Blocks: up to timeout_ms.  Errors: INTERNAL (epoll failed).  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_loop_run_once(vgw_loop *loop, int timeout_ms, vgw_error *err);

/** Make vgw_loop_run() return after the current turn, for good; also before it has begun.
 *  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_loop_stop(vgw_loop *loop);

/** Descriptor that is readable when the loop has something to do (timers apart).
 *  Owns: borrowed until vgw_loop_free().  Threads: any.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API int vgw_loop_get_fd(const vgw_loop *loop);

/** Milliseconds until the next timer, 0 if one is due or deferred work waits, -1 without timers.
 *  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API int vgw_loop_get_timeout_ms(const vgw_loop *loop);

/** The time at which the current turn began, vgw_now_ms(): free of a system call.
 *  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API int64_t vgw_loop_now_ms(const vgw_loop *loop);

/**
 * Listen to a descriptor. `events` are epoll's, EPOLLET included if you want it.
 * Owns:    the watch and the descriptor stay the caller's; remove the watch before closing the descriptor.
 * Threads: owner.
 * Blocks:  never.
 * Errors:  INTERNAL (epoll_ctl failed: sys_errno), INVALID (already added).
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_watch_add(vgw_loop *loop, vgw_watch *watch, int fd, uint32_t events,
	vgw_watch_fn fn, vgw_error *err);

/** Listen to other events; cheap when they are the same as before.
 *  Owns: the watch stays the caller's.
 *  Threads: owner.  Blocks: never.  Errors: INTERNAL (epoll_ctl failed).  Since: 0.1 */
VGW_API vgw_status vgw_watch_set(vgw_loop *loop, vgw_watch *watch, uint32_t events);

/** Stop listening: the callback will not come again, not even for events already fetched. Idempotent.
 *  Owns: the watch and its descriptor are the caller's again.
 *  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_watch_remove(vgw_loop *loop, vgw_watch *watch);

/** Call `fn` at or after `at_ms` (vgw_now_ms() time); re-arms an armed timer. Logarithmic in the armed timers.
 *  Owns: the timer stays the caller's, valid until it fired or was cancelled.
 *  Threads: owner.  Blocks: never.  Errors: NOMEM: not armed.  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_timer_start(vgw_loop *loop, vgw_timer *timer, int64_t at_ms, vgw_timer_fn fn);

/** Disarm. Idempotent.
 *  Owns: the timer is the caller's again.
 *  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_timer_cancel(vgw_loop *loop, vgw_timer *timer);

/** True while the timer is armed.
 *  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API bool vgw_timer_is_armed(const vgw_timer *timer);

/** Call `fn` once at the end of this turn; asking twice is asking once.
 *  Owns: the struct stays the caller's, valid until called or cancelled.
 *  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_defer_call(vgw_loop *loop, vgw_defer *defer, vgw_defer_fn fn);

/** Take the request back. Idempotent.
 *  Owns: the struct is the caller's again.
 *  Threads: owner.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_defer_cancel(vgw_loop *loop, vgw_defer *defer);

/** Have `fn` called on the loop's thread, soon; messages of one thread arrive in their order.
 *  Owns: the message is the loop's until `fn` is called, then the caller's again.
 *  Threads: any; lock-free.  Blocks: never.  Errors: none.  Since: 0.1 */
VGW_API void vgw_loop_post(vgw_loop *loop, vgw_message *message, vgw_message_fn fn);

VGW_END_DECLS

#endif
