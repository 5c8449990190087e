/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the replicas of models that have several for GET /health, every few seconds, all at once, on one thread with a
 * loop of its own. Workers only read what it concludes.
 *
 *   200 (or no such route): good     two in a row bring one that was down back, with a slow start
 *   503:                    loading  it gets nothing while others are there, and is back with the first 200
 *   anything else, nothing: bad      three in a row: down
 */
#ifndef VGW_BALANCE_HEALTH_H
#define VGW_BALANCE_HEALTH_H

#include "backend/targets.h"

#include <vllmgw/log.h>

struct vgw__health;

/* On the thread, once a round: call vgw__health_ask() for each set. */
typedef void (*vgw__health_fn)(void *user, struct vgw__health *health);

vgw_status vgw__health_new(struct vgw__health **out, int64_t interval_ms, const vgw_logger *logger, vgw__health_fn fill,
	void *user, vgw_error *err);
void vgw__health_free(struct vgw__health *health); /* NULL is allowed */

/* Begins to ask every target of the set; takes its own reference, copies the texts. `authorization` may be NULL. */
void vgw__health_ask(struct vgw__health *health, struct vgw__targets *targets, const char *model,
	const char *authorization);

/* What one answer means to a target; 0: no answer. True: its state has changed. The checking thread. */
bool vgw__health_take(struct vgw__target *target, uint32_t status, int64_t now_ms);

#endif
