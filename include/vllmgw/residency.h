/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file vllmgw/residency.h
 * Who is in memory. Audience: callers.  Stability: stable since 0.1.
 *
 * A residency brings models up when they are asked for and takes others down to make room. It never takes a model
 * down while somebody holds a lease on it. The gateway uses one; a program without HTTP may use one alone.
 */
#ifndef VLLMGW_RESIDENCY_H
#define VLLMGW_RESIDENCY_H

#include <vllmgw/common.h>
#include <vllmgw/controller.h>
#include <vllmgw/log.h>
#include <vllmgw/model.h>
#include <vllmgw/status.h>

VGW_BEGIN_DECLS

typedef struct vgw_residency vgw_residency;

/** A counted right to use one model. While you hold it the model stays up. */
typedef struct vgw_lease vgw_lease;

/** Knobs. Zero is the default of every field. */
typedef struct vgw_residency_options {
	size_t size;           /* set by VGW_RESIDENCY_OPTIONS_INIT */
	vgw_logger logger;     /* all zero: silent */
	const char *state_dir; /* for engine logs and the state file; NULL: nothing is written */
} vgw_residency_options;

#define VGW_RESIDENCY_OPTIONS_INIT { .size = sizeof(vgw_residency_options) }

/**
 * Make a residency with the built-in controllers and no models.
 * Owns:    *out belongs to the caller: vgw_residency_free(). NULL on failure. *options is read during the call.
 * Threads: any.
 * Blocks:  never.
 * Errors:  INVALID, NOMEM, INTERNAL.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_residency_new(vgw_residency **out, const vgw_residency_options *options,
	vgw_error *err);

/** Stop what is to be stopped and free. Leases must have been released. NULL is allowed.
 *  Owns: taken.  Threads: owner.  Blocks: until engines that are ours have stopped.  Errors: none.  Since: 0.1 */
VGW_API void vgw_residency_free(vgw_residency *residency);

/** Make a kind of controller known, before models of that kind are applied.
 *  Owns: ops and user are borrowed until vgw_residency_free().  Threads: init.  Blocks: never.
 *  Errors: INVALID, EXISTS, NOMEM.  Since: 0.1 */
VGW_API VGW_CHECKED vgw_status vgw_residency_add_controller(vgw_residency *residency, const vgw_controller_ops *ops,
	void *user, vgw_error *err);

/**
 * Publish a set of models; unchanged ones keep running. On failure nothing changes.
 * Owns:    the residency takes its own reference.
 * Threads: any, one at a time.
 * Blocks:  on DNS, for backends given by name.
 * Errors:  INVALID (the text names the model), NOMEM, SHUTDOWN.
 * Since:   0.1
 */
VGW_API VGW_CHECKED vgw_status vgw_residency_apply(vgw_residency *residency, vgw_registry *registry, vgw_error *err);

VGW_END_DECLS

#endif
