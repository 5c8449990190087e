/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of others: lines of engines, messages of controllers. What is cut to fit a buffer may be cut within a
 * character, and JSON knows no half of one: whoever prints it would lose the whole answer. */
#ifndef VGW_UTIL_TEXT_H
#define VGW_UTIL_TEXT_H

#include <stddef.h>

/* Bytes of the well-formed UTF-8 character at `text`, 0: none begins here. Control characters are none. */
size_t vgw__text_measure(const char *text, size_t len);

/* Each byte that belongs to no character becomes a question mark; ASCII stays as it is. */
void vgw__text_mend(char *text);

#endif
