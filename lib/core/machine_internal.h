/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine's files share: the verbs that move a replica, and the cells of the table. */
#ifndef VGW_CORE_MACHINE_INTERNAL_H
#define VGW_CORE_MACHINE_INTERNAL_H

#include "core/planner_internal.h"

typedef void vgw__cell_fn(struct vgw__planner *p, struct vgw__replica *r, const struct vgw__feed *feed);

/* machine.c */
void vgw__machine_set_state(struct vgw__planner *p, struct vgw__replica *r, enum vgw__state to,
	enum vgw__cause cause, int64_t deadline_ms);
struct vgw__action *vgw__machine_begin_operation(struct vgw__planner *p, struct vgw__replica *r,
	enum vgw__action_kind kind, enum vgw__pending pending);

/* machine_leave.c */
void vgw__machine_note_failure(
	struct vgw__planner *p, struct vgw__replica *r, enum vgw__failure failure, uint32_t ref);
uint64_t vgw__machine_turn_of(struct vgw__planner *p, int32_t beneficiary);
void vgw__machine_queue_to_leave(struct vgw__planner *p, struct vgw__replica *r, enum vgw__cause cause);
void vgw__machine_deactivate(struct vgw__planner *p, struct vgw__replica *r);
void vgw__machine_become_stuck(struct vgw__planner *p, struct vgw__replica *r, enum vgw__cause cause);
void vgw__machine_sweep(struct vgw__planner *p, struct vgw__replica *r, enum vgw__cause cause);

/* the cells, machine_arrive.c and machine_leave.c */
vgw__cell_fn vgw__cell_activation_failed;
vgw__cell_fn vgw__cell_adopt;
vgw__cell_fn vgw__cell_adopt_asleep;
vgw__cell_fn vgw__cell_become_ready;
vgw__cell_fn vgw__cell_begin_drain;
vgw__cell_fn vgw__cell_begin_leaving;
vgw__cell_fn vgw__cell_begin_settle;
vgw__cell_fn vgw__cell_begin_start;
vgw__cell_fn vgw__cell_begin_wake;
vgw__cell_fn vgw__cell_cancel;
vgw__cell_fn vgw__cell_crash;
vgw__cell_fn vgw__cell_cut;
vgw__cell_fn vgw__cell_deepen;
vgw__cell_fn vgw__cell_died_leaving;
vgw__cell_fn vgw__cell_doom;
vgw__cell_fn vgw__cell_end_backoff;
vgw__cell_fn vgw__cell_forget;
vgw__cell_fn vgw__cell_forgive;
vgw__cell_fn vgw__cell_late_answer;
vgw__cell_fn vgw__cell_late_memory;
vgw__cell_fn vgw__cell_leave;
vgw__cell_fn vgw__cell_memory_is_back;
vgw__cell_fn vgw__cell_not_deactivated;
vgw__cell_fn vgw__cell_operation_hangs;
vgw__cell_fn vgw__cell_overdue;
vgw__cell_fn vgw__cell_reopen;
vgw__cell_fn vgw__cell_retry_stop;
vgw__cell_fn vgw__cell_still_unsettled;
vgw__cell_fn vgw__cell_stop_sleeper;
vgw__cell_fn vgw__cell_unload_activation;

#endif
