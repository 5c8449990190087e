/* SPDX-License-Identifier: Apache-2.0 */
/* What the engines list, asked every ten seconds (every second while one does not answer) on a thread of its own, so
 * that workers only look.
 *
 *   thread ── GET /v1/models of every static model ──► snapshot (immutable, counted) ◄── catalogue_dup()
 *
 * A snapshot: {"sources": [{"source", "state": "ok|unavailable|unknown", "latency_ms", "ids": [...]}],
 *              "allowed": [...], "default_model": text or null, "default_source": text or null} */
#ifndef VGW_SERVER_CATALOGUE_H
#define VGW_SERVER_CATALOGUE_H

#include "config.h"

#include <jansson.h>

struct catalogue;

/* Starts the thread. NULL without memory or a thread. Before it: curl_global_init(), which the gateway does. */
struct catalogue *catalogue_new(void);
void catalogue_free(struct catalogue *catalogue); /* NULL is allowed */

/* From now on ask these. *config is read during the call. -1: no memory, all stays. */
int catalogue_configure(struct catalogue *catalogue, const struct config *config);
/* Until everybody has been asked once, which takes seconds at most. */
void catalogue_wait(struct catalogue *catalogue);

/* The newest snapshot: give it back with json_decref(). Never NULL once configured. Any thread. */
json_t *catalogue_dup(struct catalogue *catalogue);

#endif
