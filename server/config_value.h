/* SPDX-License-Identifier: Apache-2.0 */
/* What a scalar's text means for each type. Functions that return text return NULL when all is well, else
 * what is wrong in words that follow "'TEXT' ". */
#ifndef VGW_SERVER_CONFIG_VALUE_H
#define VGW_SERVER_CONFIG_VALUE_H

#include "config_arena.h"
#include "config_keys.h"

const char *config_value_parse_number(const char *text, int64_t *out);
const char *config_value_parse_duration(const char *text, int64_t *out); /* milliseconds */
const char *config_value_parse_size(const char *text, int64_t *out);     /* bytes */

/* "20m", "64MiB" or "12": the shortest spelling in whole units. Returns text. */
const char *config_value_print(enum config_type type, int64_t value, char *text, size_t size);

const char *config_value_check_url(const char *text);
const char *config_value_parse_listen(
	const char *text, struct config_listen *out, struct config_arena *arena);

/* Does the text of a plain scalar stand for a JSON number? */
bool config_value_is_json_number(const char *text);

#endif
