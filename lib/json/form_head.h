/* SPDX-License-Identifier: Apache-2.0 */
/* Headers with parameters, as forms have them: of the body, and of each part. */
#ifndef VGW_JSON_FORM_HEAD_H
#define VGW_JSON_FORM_HEAD_H

#include <stdbool.h>
#include <stddef.h>

struct vgw__text {
	const char *at;
	size_t len;
};

/* The value in front of the first parameter; *rest is what follows. */
struct vgw__text vgw__param_begin(struct vgw__text value, struct vgw__text *rest);

/* The next `; name=value` of *rest. A quoted value is without its quotes, escapes as they are.
 * 1: there is one; 0: the end; -1: malformed. */
int vgw__param_next(struct vgw__text *rest, struct vgw__text *name, struct vgw__text *value);

bool vgw__text_is(struct vgw__text text, const char *word); /* in any case of letters */

/* What a part says of itself. */
struct vgw__part_head {
	struct vgw__text name;
	struct vgw__text type; /* Content-Type; len 0: absent */
	bool has_file_name;
};

/* The headers of a part, up to and with the empty line behind them: *len is how many bytes. NULL, or what is wrong. */
const char *vgw__part_head_read(struct vgw__part_head *head, const char *data, size_t size, size_t *len);

#endif
