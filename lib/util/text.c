/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "util/text.h"

#include <stdbool.h>
#include <string.h>

size_t vgw__text_measure(const char *text, size_t len)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t need = c[0] < 0x80 ? 1 : c[0] >= 0xC2 && c[0] < 0xE0 ? 2 : (c[0] & 0xF0) == 0xE0 ? 3 :
		c[0] >= 0xF0 && c[0] < 0xF5 ? 4 : 0;

	if (need == 0 || need > len || (need == 1 && (c[0] < 0x20 || c[0] == 0x7F)))
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((c[i] & 0xC0) != 0x80)
			return 0;
	if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] >= 0xA0) || (c[0] == 0xF0 && c[1] < 0x90) ||
		(c[0] == 0xF4 && c[1] >= 0x90) || (c[0] == 0xC2 && c[1] < 0xA0))
		return 0;
	return need;
}

void vgw__text_mend(char *text)
{
	size_t left = strlen(text);

	while (left) {
		bool is_ascii = (unsigned char)*text < 0x80;
		size_t len = is_ascii ? 1 : vgw__text_measure(text, left);

		if (!len) {
			*text = '?';
			len = 1;
		}
		text += len;
		left -= len;
	}
}
