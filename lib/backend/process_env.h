/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of an engine: built from an allow-list, not inherited. */
#ifndef VGW_BACKEND_PROCESS_ENV_H
#define VGW_BACKEND_PROCESS_ENV_H

#include "util/strings.h"

/* Put NAME=value into a list, over an earlier one. False: no memory. */
bool vgw__process_env_set(struct vgw__strings *env, const char *name, size_t name_len, const char *value);
/* Pass on what of `from` the patterns allow (empty: the default list). False: no memory. */
bool vgw__process_env_inherit(struct vgw__strings *env, char *const *from, const struct vgw__strings *patterns);

#endif
