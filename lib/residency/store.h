/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: what the next life of the gateway needs to know of this one. Written whole, atomically, by an
 * executor; read once, at the beginning. */
#ifndef VGW_RESIDENCY_STORE_H
#define VGW_RESIDENCY_STORE_H

#include "residency/internal.h"

#include <jansson.h>

/* Reads STATE_DIR/residency.json. A missing file is an empty one; a broken or foreign one is told and ignored. */
vgw_status vgw__store_new(struct vgw__store **out, vgw_residency *residency, vgw_error *err);
void vgw__store_free(struct vgw__store *store); /* NULL is allowed */
/* EXISTS: the directory is another residency's, so that no engine may be run from here. Any thread. */
vgw_status vgw__store_check(const struct vgw__store *store, vgw_error *err);

/* What the file said of a model (borrowed, NULL: nothing), and all of it. Until vgw__store_forget(). */
const json_t *vgw__store_find(const struct vgw__store *store, const char *model);
json_t *vgw__store_get_records(const struct vgw__store *store); /* by model; NULL: none */
/* How long ago its model was used last. */
int64_t vgw__store_get_age_ms(const json_t *record);
void vgw__store_forget(struct vgw__store *store); /* what was read: its engines are adopted, stopped or foreign */

/* The residency's thread: something changed that the file should say. */
void vgw__store_touch(vgw_residency *residency);
void vgw__store_stop(vgw_residency *residency); /* its thread: write no more on your own */
/* Write now, on the caller's thread, when the residency's thread and the executors have ended. */
void vgw__store_write_last(vgw_residency *residency);

#endif
