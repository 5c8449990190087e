/* SPDX-License-Identifier: Apache-2.0 */
/* Where an event of a stream ends, for filters that take whole events: behind a blank line, whose line ends may be LF,
 * CR or CR LF, and may be cut anywhere. */
#ifndef VGW_JSON_EVENT_END_H
#define VGW_JSON_EVENT_END_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed at the beginning of a stream. */
struct vgw__event_end {
	bool in_line;  /* not at the beginning of a line */
	bool after_cr; /* the last byte was a CR: a LF now belongs to it */
};

/* Behind the blank line that ends the event; NULL: it is not here yet. */
const char *vgw__event_end_find(struct vgw__event_end *state, const char *p, const char *end);

/* The only data line of a whole event; false: it has another shape. */
bool vgw__event_get_data(const char *p, const char *end, const char **data, size_t *len);

#endif
