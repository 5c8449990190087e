/* SPDX-License-Identifier: Apache-2.0 */
/* Lines as the HTML standard has them in event streams; the interpreting is sse.c's. */
#include "json/event_end.h"

#include <string.h>

static const char *find_line_end(const char *p, const char *end)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));
	const char *cr;

	end = lf ? lf : end;
	cr = memchr(p, '\r', (size_t)(end - p));
	return cr ? cr : end;
}

const char *vgw__event_end_find(struct vgw__event_end *state, const char *p, const char *end)
{
	while (p < end) {
		bool is_end;

		if (state->after_cr && *p == '\n') {
			state->after_cr = false;
			p++;
			continue;
		}
		state->after_cr = false;
		if (state->in_line || (*p != '\n' && *p != '\r')) {
			p = find_line_end(p, end);
			state->in_line = true;
			if (p == end)
				return NULL;
		}
		is_end = !state->in_line;
		state->in_line = false;
		state->after_cr = *p++ == '\r';
		if (is_end && state->after_cr && p < end && *p == '\n') {
			state->after_cr = false;
			p++;
		}
		if (is_end)
			return p;
	}
	return NULL;
}

bool vgw__event_get_data(const char *p, const char *end, const char **data, size_t *len)
{
	const char *stop;

	if (end - p < 5 || memcmp(p, "data:", 5) != 0)
		return false;
	p += 5;
	for (stop = p; stop < end && *stop != '\n' && *stop != '\r'; stop++)
		continue;
	*data = p;
	*len = (size_t)(stop - p);
	for (; stop < end; stop++) {
		if (*stop != '\n' && *stop != '\r')
			return false;
	}
	return true;
}
