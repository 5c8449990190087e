/* SPDX-License-Identifier: Apache-2.0 */
/* Durations as people write them: "250ms", "15s", "20m", "1h", "1h30m", "1.5s". */
#ifndef VGW_UTIL_DURATION_H
#define VGW_UTIL_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool vgw__parse_duration(const char *text, int64_t *out_ms); /* false: not a duration, or more than a century */

enum { VGW__DURATION_TEXT = 32 };

/* "90 ms", "12 s", "20 min": for messages; rounds. Returns `text`. */
const char *vgw__format_duration(char text[VGW__DURATION_TEXT], int64_t ms);

#endif
