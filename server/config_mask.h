/* SPDX-License-Identifier: Apache-2.0 */
/* `{key: ${NAME}}` is no YAML: a brace ends plain text inside { } and [ ]. People write it all the same, so
 * the braces of references are hidden from libyaml as two private characters and come back in the scalars.
 * One character stands for one, so that columns stay true; values are put in after parsing, so that they
 * cannot become syntax. */
#ifndef VGW_SERVER_CONFIG_MASK_H
#define VGW_SERVER_CONFIG_MASK_H

#include <stdbool.h>
#include <stddef.h>

struct config_mask {
	char *text; /* malloc()ed; NULL: there was nothing to hide */
	size_t len;
};

bool config_mask(struct config_mask *mask, const char *text, size_t len); /* false: no memory */
void config_unmask(char *text);                                           /* in place */

#endif
