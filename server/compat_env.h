/* SPDX-License-Identifier: Apache-2.0 */
/* The environment variables of systems that this one replaces, as configuration. */
#ifndef VGW_SERVER_COMPAT_ENV_H
#define VGW_SERVER_COMPAT_ENV_H

#include "env.h"

/* Do the variables name models, so that no file is needed? */
bool compat_env_is_complete(const char *const *environment);

/* Put what the variables of one such system say into the tree, over what the file says; its own defaults where the
 * file says nothing. Mistakes name the variable. */
void compat_env_apply(const struct env *env, struct config_arena *arena, struct node *root,
	struct config_report *report);

#endif
