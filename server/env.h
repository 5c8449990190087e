/* SPDX-License-Identifier: Apache-2.0 */
/* Environment variables in the configuration: ${NAME} inside values, and VLLMGW_* instead of values. */
#ifndef VGW_SERVER_ENV_H
#define VGW_SERVER_ENV_H

#include "config_yaml.h"

struct env_use;

struct env {
	const char *const *variables; /* NAME=VALUE, NULL-terminated */
	struct env_use *uses;         /* names that ${} asked for */
};

/* The value, or NULL. */
const char *env_find(const struct env *env, const char *name);

/* Replace in a scalar ${NAME} and ${NAME:-default} by the variable and $$ by $, once. With `keeps_slots`
 * ${PORT}, ${MODEL} and ${DEVICES} stay. false: reported, or exhausted. */
bool env_expand(struct env *env, struct config_arena *arena, struct node *node, const char *path,
	bool keeps_slots, struct config_report *report);

/* Put the values of VLLMGW_* variables into the tree, over what the file says. */
void env_override(
	const struct env *env, struct config_arena *arena, struct node *root, struct config_report *report);

/* Warn of VLLMGW_* variables that nothing used. Call it when all values have been expanded. */
void env_warn_of_unknown(const struct env *env, struct config_report *report);

#endif
