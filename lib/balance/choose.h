/* SPDX-License-Identifier: Apache-2.0 */
/* Which target gets the next request.
 *
 *   all ── not tried, not drained ──┬── well, circuit closed ──► the policy's choice among them
 *                                   ├── one whose circuit wants a trial ──► that one, if the trial is still to be had
 *                                   └── none of these ──► the policy's choice among all that are left: better a doubtful
 *                                                         replica than a certain refusal
 */
#ifndef VGW_BALANCE_CHOOSE_H
#define VGW_BALANCE_CHOOSE_H

#include "backend/targets.h"
#include "balance/prefix.h"

#include <vllmgw/model.h>

#include <stddef.h>

/* One question. Zeros are: least outstanding, nothing tried. */
struct vgw__choice {
	vgw_balance balance;
	bool has_key;           /* STICKY: `key` is a session's; without one it is least outstanding */
	uint64_t key;
	uint64_t tried;         /* bit per place: not again */
	uint64_t preferred;     /* bit per place: has at hand what the request needs; the others would have to fetch it */
	int64_t now_ms;
	struct vgw__prefix_table *table;    /* PREFIX; NULL: least outstanding */
	const struct vgw__prefix *prefix;
	/* the answer */
	uint32_t place;         /* in the set */
	bool is_trial;          /* it decides over the target's circuit: abandon it if it comes to nothing */
};

/* NULL: nothing is left that has not been tried. */
struct vgw__target *vgw__balance_choose(struct vgw__targets *targets, struct vgw__choice *choice);

#endif
