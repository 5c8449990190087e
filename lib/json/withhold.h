/* SPDX-License-Identifier: Apache-2.0 */
/* Takes one event out of an event stream: the one with empty `choices` and a `usage`, which a client sees only if it
 * asked for it. All other bytes pass as they are, at once; only an event that has not yet shown which of the two it is
 * is held back, until it has, which is within its first bytes.
 *
 *   engine's bytes ── vgw__withhold_feed() ──┬─► emit: everything else
 *                                            └─► dropped: {"choices":[],"usage":{...}} */
#ifndef VGW_JSON_WITHHOLD_H
#define VGW_JSON_WITHHOLD_H

#include "json/event_end.h"
#include "util/buf.h"

#include <stdint.h>

struct vgw__withhold {
	struct vgw__buf held; /* the beginning of an event that is not decided */
	uint64_t dropped;     /* events taken out */
	bool passes;          /* the event under way was let through */
	bool was_dropped;     /* the last event that ended */
	struct vgw__event_end event_end;
};

typedef void (*vgw__emit_fn)(void *user, const void *data, size_t len);

void vgw__withhold_init(struct vgw__withhold *withhold);
void vgw__withhold_fini(struct vgw__withhold *withhold); /* also of a zeroed one */

/* `emit` is called for what passes, in order, for the whole of `data` at once where nothing is dropped or held. */
void vgw__withhold_feed(struct vgw__withhold *withhold, const char *data, size_t len, vgw__emit_fn emit, void *user);

/* The stream ended: what is held was no event, and passes. */
void vgw__withhold_end(struct vgw__withhold *withhold, vgw__emit_fn emit, void *user);

#endif
