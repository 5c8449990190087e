/* SPDX-License-Identifier: Apache-2.0 */
/* U+E000 for { and U+E001 for }, both three bytes. A text that has them already is left alone. */
#include "config_mask.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define OPEN "\xee\x80\x80"
#define CLOSE "\xee\x80\x81"
#define PRIVATE "\xee\x80"

enum { MASK_BYTES = 3 };

/* The length of ${NAME} or ${NAME:-default} at `at`, on one line; 0: there is none. */
static size_t get_reference_len(const char *at, const char *end)
{
	const char *name = at + 2;
	const char *next = name;

	if (end - at < 4 || at[0] != '$' || at[1] != '{')
		return 0;
	while (next < end && (isalnum((unsigned char)*next) || *next == '_'))
		next++;
	if (next == name || isdigit((unsigned char)*name))
		return 0;
	if (end - next >= 2 && next[0] == ':' && next[1] == '-') {
		while (next < end && *next != '}' && *next != '\n')
			next++;
	}
	return next < end && *next == '}' ? (size_t)(next + 1 - at) : 0;
}

bool config_mask(struct config_mask *mask, const char *text, size_t len)
{
	const char *end = text + len;
	char *out;

	mask->text = NULL;
	mask->len = 0;
	if (len == 0 || !memmem(text, len, "${", 2) || memmem(text, len, PRIVATE, 2))
		return true;
	out = malloc(2 * len); /* the shortest reference has four bytes and grows by four */
	if (!out)
		return false;
	mask->text = out;
	while (text < end) {
		size_t reference = get_reference_len(text, end);

		if (reference == 0) {
			*out++ = *text++;
			continue;
		}
		*out++ = '$';
		memcpy(out, OPEN, MASK_BYTES);
		memcpy(out + MASK_BYTES, text + 2, reference - 3);
		out += reference;
		memcpy(out, CLOSE, MASK_BYTES);
		out += MASK_BYTES;
		text += reference;
	}
	mask->len = (size_t)(out - mask->text);
	return true;
}

void config_unmask(char *text)
{
	char *out = text;

	while (*text) {
		bool is_open = strncmp(text, OPEN, MASK_BYTES) == 0;
		bool is_close = strncmp(text, CLOSE, MASK_BYTES) == 0;

		*out++ = is_open ? '{' : is_close ? '}' : *text;
		text += is_open || is_close ? MASK_BYTES : 1;
	}
	*out = '\0';
}
