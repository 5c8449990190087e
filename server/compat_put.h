/* SPDX-License-Identifier: Apache-2.0 */
/* From the variables of another system to nodes of the configuration. Without memory the arena is exhausted and
 * nothing more happens: texts and nodes that are NULL are left out everywhere. */
#ifndef VGW_SERVER_COMPAT_PUT_H
#define VGW_SERVER_COMPAT_PUT_H

#include "env.h"

struct compat {
	const struct env *env;
	struct config_arena *arena;
	struct node *root;
	struct config_report *report;
};

struct config_place compat_place_of(const char *variable);

/* The variable's value; NULL: not set, or empty. */
const char *compat_get(const struct compat *compat, const char *variable);
/* As Python programs read them; what is neither is reported. */
bool compat_get_flag(struct compat *compat, const char *variable, bool otherwise);

struct node *compat_scalar(struct compat *compat, const char *variable, const char *text);
struct node *compat_list(struct compat *compat, const char *variable, const char *const *items);

/* At a dotted path below `map`, over what is there. */
void compat_put_node(struct compat *compat, struct node *map, const char *path, struct node *node);
void compat_put(struct compat *compat, struct node *map, const char *path, const char *variable, const char *text);
/* What a system does when nobody says otherwise: not over what is there. */
void compat_put_default(struct compat *compat, struct node *map, const char *path, const char *variable,
	const char *text);
void compat_put_seconds(struct compat *compat, const char *path, const char *variable);
/* "a, b" */
void compat_put_list(struct compat *compat, const char *path, const char *variable);
/* `listen`, on every address: the first variable that is set counts. */
void compat_put_port(struct compat *compat, const char *const *variables, const char *otherwise,
	const char *signature);

struct node *compat_get_models(struct compat *compat, const char *variable);
/* The file's of that name, or a new one. */
struct node *compat_get_model(struct compat *compat, const char *variable, const char *name);

void compat_wrong(struct compat *compat, const char *variable, const char *expected);
/* Only if the variable is set. */
void compat_warn(struct compat *compat, const char *variable, const char *text);

#endif
