/* SPDX-License-Identifier: Apache-2.0 */
/* The one model that is in no configuration: an engine with the arguments of POST /switch.
 *
 *   POST /switch ── adhoc_parse() ──► words ── adhoc_swap(), publish ──► adhoc_add() ──► registry, its default
 *   SIGHUP ─────────────────────────────────── publish ───────────────► adhoc_add()
 *   start ── adhoc_recall() ── publish ── is its engine still there? ── no ──► adhoc_swap(NULL), publish
 *
 * It is remembered in a file, so that an engine that survives the gateway is found again. Any thread. */
#ifndef VGW_SERVER_ADHOC_H
#define VGW_SERVER_ADHOC_H

#include "config.h"

#include <vllmgw/model.h>

struct adhoc;
struct adhoc_spec; /* a model and its options, as one would type them */

/* Words as a shell would split them, without its expansions. NULL: `why` tells. */
struct adhoc_spec *adhoc_parse(const char *text, char *why, size_t size);
void adhoc_spec_free(struct adhoc_spec *spec); /* NULL is allowed */
size_t adhoc_spec_get_count(const struct adhoc_spec *spec);
const char *adhoc_spec_get_word(const struct adhoc_spec *spec, size_t place);
/* What its engine calls the model, where that can be a name here, else "adhoc". */
const char *adhoc_spec_get_name(const struct adhoc_spec *spec);

struct adhoc *adhoc_new(const char *state_dir); /* NULL without memory */
void adhoc_free(struct adhoc *adhoc);           /* NULL is allowed */

/* Takes the new one, gives the old one to the caller; NULL: none. It counts from the next publication on. */
struct adhoc_spec *adhoc_swap(struct adhoc *adhoc, struct adhoc_spec *spec);
/* Into a set of models that is about to be published, as its default unless it has one of its own. Does nothing
 * without one. */
vgw_status adhoc_add(struct adhoc *adhoc, const struct config *config, vgw_registry *registry, vgw_error *err);

/* What it is now. The texts are the caller's: adhoc_view_fini(). */
struct adhoc_view {
	bool is_allowed;     /* by the configuration published last */
	char *name;          /* of the published model; NULL: there is none */
	char *text;          /* its spec as it was given */
	uint64_t generation; /* another one after each swap */
	int64_t patience_ms; /* until it has started, and once more, and what is stopped before */
};

bool adhoc_get(struct adhoc *adhoc, struct adhoc_view *view); /* false without memory: nothing to free */
void adhoc_view_fini(struct adhoc_view *view);
bool adhoc_is(struct adhoc *adhoc, const struct adhoc_spec *spec); /* the same words? */

/* Where the engine's output is, or was when there is none now. From malloc(), or NULL. */
char *adhoc_dup_log_path(struct adhoc *adhoc);
void adhoc_note_log_path(struct adhoc *adhoc, const char *path);

/* Write the file, or remove it if there is none; -1: errno tells. */
int adhoc_keep(struct adhoc *adhoc);
/* What the file says becomes the model. False: there is no usable one. */
bool adhoc_recall(struct adhoc *adhoc);
void adhoc_forget(struct adhoc *adhoc); /* the file */

#endif
