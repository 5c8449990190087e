/* SPDX-License-Identifier: Apache-2.0 */
/* ${NAME} in the command and environment of an engine, filled at each start. "$${" stands for "${". */
#ifndef VGW_BACKEND_TEMPLATE_H
#define VGW_BACKEND_TEMPLATE_H

#include <vllmgw/status.h>

struct vgw__template_variable {
	const char *name;
	const char *value;
};

/* The text with its variables put in, in memory from util/alloc. INVALID names an unknown variable and lists the
 * known ones; NOMEM. `variables` ends with a NULL name. */
vgw_status vgw__template_expand(char **out, const char *text, const struct vgw__template_variable *variables,
	vgw_error *err);
bool vgw__template_uses(const char *text, const char *name);

#endif
