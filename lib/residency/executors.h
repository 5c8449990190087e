/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for work that blocks: one queue, threads made when all are busy, up to a limit. */
#ifndef VGW_RESIDENCY_EXECUTORS_H
#define VGW_RESIDENCY_EXECUTORS_H

#include "util/list.h"

#include <vllmgw/status.h>

struct vgw__job {
	struct vgw__list link;
	void (*run)(struct vgw__job *job); /* on an executor; the job may be gone when it returns */
};

struct vgw__executors;

vgw_status vgw__executors_new(struct vgw__executors **out, uint32_t max_threads, vgw_error *err);
void vgw__executors_free(struct vgw__executors *executors); /* runs what is queued, then joins; NULL is allowed */
void vgw__executors_post(struct vgw__executors *executors, struct vgw__job *job); /* any thread; never blocks */

#endif
