/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the member `usage` out of every event of a stream that has something to say besides: an engine was asked to
 * count as it goes, the client was not. What is left is what the engine would have sent otherwise. An event is let
 * through when it is whole.
 *
 *   data: {"id":"c","choices":[{...}],"usage":{"prompt_tokens":3,...}}     becomes
 *   data: {"id":"c","choices":[{...}]}
 *
 * The event without choices, which tells the whole at the end, stays: see withhold.h. */
#ifndef VGW_JSON_USAGE_CUT_H
#define VGW_JSON_USAGE_CUT_H

#include "json/event_end.h"
#include "json/withhold.h"
#include "util/buf.h"

struct vgw__usage_cut {
	struct vgw__buf held; /* an event that is not whole yet */
	struct vgw__buf out;  /* of one piece, so that it stays one */
	struct vgw__event_end event_end;
	bool passes; /* the event under way is too long to be held */
};

void vgw__usage_cut_init(struct vgw__usage_cut *cut);
void vgw__usage_cut_fini(struct vgw__usage_cut *cut); /* also of a zeroed one */

/* `emit` is called once for a piece, as far as memory allows. */
void vgw__usage_cut_feed(struct vgw__usage_cut *cut, const char *data, size_t len, vgw__emit_fn emit, void *user);

/* The stream ended: what is held was no event, and passes. */
void vgw__usage_cut_end(struct vgw__usage_cut *cut, vgw__emit_fn emit, void *user);

#endif
