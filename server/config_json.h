/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration values as JSON text. Numbers keep the digits they were written with. */
#ifndef VGW_SERVER_CONFIG_JSON_H
#define VGW_SERVER_CONFIG_JSON_H

#include <stdio.h>

#include "config_decode.h"

/* A stream into memory whose text ends up in the arena. */
struct config_stream {
	FILE *file; /* NULL: exhausted */
	char *text;
	size_t len;
};

void config_stream_open(struct config_stream *stream, struct config_arena *arena);

/* Close it; the text, or NULL when something failed (the arena is exhausted then). */
const char *config_stream_close(struct config_stream *stream, struct config_arena *arena);

/* "text" with its quotes; the input is valid UTF-8. */
void config_json_print_text(FILE *out, const char *text);

/* ["a","b"] */
void config_json_print_list(FILE *out, const struct config_strings *strings);

/* `,"key":value` (without the comma when `is_first`); durations in milliseconds, sizes in bytes. */
void config_json_print_member(
	FILE *out, const struct config_key *key, const union config_value *value, bool is_first);

#endif
