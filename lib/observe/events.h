/* SPDX-License-Identifier: Apache-2.0 */
/* The queue between those who make events and those who listen: one bounded ring, one thread that delivers.
 *
 *   residency ── post() ──► ring ──► dispatcher ──► each subscription's fn, no lock held
 *                             └ full: counted, told as LOST in its place
 */
#ifndef VGW_OBSERVE_EVENTS_H
#define VGW_OBSERVE_EVENTS_H

#include <vllmgw/event.h>

struct vgw__events;

enum { VGW__EVENTS_KEPT = 1024 };

vgw_status vgw__events_new(struct vgw__events **out, size_t capacity, vgw_error *err);
/* Delivers what is queued, then ends. Every subscription must have ended. NULL is allowed. */
void vgw__events_free(struct vgw__events *events);

/* Texts are copied; NULL is taken for "". Without subscribers it costs next to nothing. Any thread, never blocks. */
void vgw__events_post(struct vgw__events *events, const vgw_event *event);

vgw_status vgw__events_subscribe(struct vgw__events *events, vgw_subscription **out, vgw_event_fn fn, void *user,
	vgw_error *err);

#endif
