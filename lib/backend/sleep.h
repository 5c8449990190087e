/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep over any kind of controller: a kind made of another one. It stands between the residency and the inner kind,
 * and needs nothing of it but where the engine listens, which the host remembers.
 *
 *   residency ── activate, deactivate ──► sleeper ── STOP, cold start ──────────► inner kind (process, docker, ...)
 *                                            └────── /sleep, /wake_up, ... ─────► engine
 *
 * Engines that are somebody else's (kind static) become ours for sleeping only: for them STOP is another sleep. */
#ifndef VGW_BACKEND_SLEEP_H
#define VGW_BACKEND_SLEEP_H

#include "backend/registry.h"
#include "backend/settle.h"

/* The decorated kind of one model; lives as long as its instances and never moves. Texts are borrowed. */
struct vgw__sleep_kind {
	struct vgw__controller_kind kind; /* the one to use */
	const struct vgw__controller_kind *inner;
	uint32_t level;      /* 1, 2 */
	const char *mode;    /* what becomes of requests that still run: "abort", "wait" */
	const char *canary;  /* a prompt whose answer must be the same after a level-2 wake; NULL: none */
	struct vgw__settle *settle; /* tells whether memory came back; NULL: nobody can */
};

/* Does a kind need the decorator to sleep? One that can sleep by itself does not. */
bool vgw__sleep_is_needed(const struct vgw__controller_kind *inner, uint32_t level);

/* Fill `kind` from the other fields. */
void vgw__sleep_wrap(struct vgw__sleep_kind *sleep);

#endif
