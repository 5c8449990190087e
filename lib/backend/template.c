/* SPDX-License-Identifier: Apache-2.0 */
/* One pass; values are not looked at again, so that a value cannot name a variable. */
#include "backend/template.h"

#include "util/alloc.h"
#include "util/buf.h"

#include <string.h>

enum { EXPANDED_MAX = 128 * 1024 }; /* the kernel takes no longer argument */

/* The name in "${NAME}" at `text`, its length in *len; NULL when there is none. */
static const char *find_name(const char *text, size_t *len)
{
	const char *end;

	if (text[0] != '$' || text[1] != '{')
		return NULL;
	end = strchr(text + 2, '}');
	if (!end)
		return NULL;
	*len = (size_t)(end - text) - 2;
	return text + 2;
}

static vgw_status refuse(const char *name, size_t len, const struct vgw__template_variable *variables,
	vgw_error *err)
{
	struct vgw__buf known;

	vgw__buf_init(&known, 120);
	for (; variables->name; variables++)
		(void)vgw__buf_print(&known, "%s${%s}", known.len > 0 ? " " : "", variables->name);
	(void)vgw_error_set(err, VGW_INVALID, 0, "unknown variable ${%.*s}; known are %.*s, and $${ is a plain ${",
		len > 40 ? 40 : (int)len, name, (int)known.len, known.data ? known.data : "");
	vgw__buf_fini(&known);
	return VGW_INVALID;
}

static const struct vgw__template_variable *find_variable(const struct vgw__template_variable *variables,
	const char *name, size_t len)
{
	for (; variables->name; variables++)
		if (strlen(variables->name) == len && memcmp(variables->name, name, len) == 0)
			return variables;
	return NULL;
}

vgw_status vgw__template_expand(char **out, const char *text, const struct vgw__template_variable *variables,
	vgw_error *err)
{
	vgw_status status = VGW_OK;
	struct vgw__buf buf;
	bool fits = true;

	*out = NULL;
	vgw__buf_init(&buf, EXPANDED_MAX);
	while (status == VGW_OK && fits && *text != '\0') {
		size_t len = 0;
		const char *name = find_name(text, &len);
		const struct vgw__template_variable *found = name ? find_variable(variables, name, len) : NULL;

		if (strncmp(text, "$${", 3) == 0) {
			fits = vgw__buf_append(&buf, "${", 2);
			text += 3;
		} else if (found) {
			fits = vgw__buf_append(&buf, found->value, strlen(found->value));
			text = name + len + 1;
		} else if (name) {
			status = refuse(name, len, variables, err);
		} else {
			fits = vgw__buf_append(&buf, text++, 1);
		}
	}
	if (status == VGW_OK && fits)
		*out = vgw__strndup(buf.data ? buf.data : "", buf.len);
	vgw__buf_fini(&buf);
	if (status == VGW_OK && !*out)
		status = vgw_error_set(err, VGW_NOMEM, 0, "an argument is too long or there is no memory for it");
	return status;
}

bool vgw__template_uses(const char *text, const char *name)
{
	size_t len = 0;

	for (; *text != '\0'; text++) {
		const char *found;

		if (strncmp(text, "$${", 3) == 0) {
			text += 2;
			continue;
		}
		found = find_name(text, &len);
		if (found && strlen(name) == len && memcmp(found, name, len) == 0)
			return true;
	}
	return false;
}
