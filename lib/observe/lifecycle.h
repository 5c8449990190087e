/* SPDX-License-Identifier: Apache-2.0 */
/* What models' changes of state add up to: how often they came and went, how long they took to come. Fed by the
 * residency's events, so that it costs the residency nothing. */
#ifndef VGW_OBSERVE_LIFECYCLE_H
#define VGW_OBSERVE_LIFECYCLE_H

#include "observe/stats.h"

#include <vllmgw/event.h>

struct vgw__lifecycle;

/* An event; on the thread that delivers them. */
void vgw__lifecycle_hear(struct vgw__stats *stats, const vgw_event *event);

void vgw__lifecycle_free(struct vgw__lifecycle *lifecycle); /* NULL is allowed */

/* Used by metrics.c. */
struct vgw__buf;
bool vgw__lifecycle_print(struct vgw__stats *stats, struct vgw__buf *out);

#endif
