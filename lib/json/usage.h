/* SPDX-License-Identifier: Apache-2.0 */
/* How many tokens an answer says it cost, found in JSON that comes in pieces, without building anything.
 *
 * Looked at: `usage` at the top level, and in `response` (Responses API) and `message` (Anthropic) of the top
 * level; in it prompt_tokens or input_tokens, completion_tokens or output_tokens, total_tokens. A "usage" in
 * a string, in an array or at any other depth is none. Keys are compared as written; engines do not escape
 * them. */
#ifndef VGW_JSON_USAGE_H
#define VGW_JSON_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VGW__USAGE_UNKNOWN ((int64_t)-1)

/* XX(field, key): several keys may mean one number. */
#define VGW__USAGE_KEYS(XX)               \
	XX(PROMPT, "prompt_tokens")       \
	XX(PROMPT, "input_tokens")        \
	XX(COMPLETION, "completion_tokens") \
	XX(COMPLETION, "output_tokens")   \
	XX(TOTAL, "total_tokens")

enum vgw__usage_field { VGW__USAGE_PROMPT, VGW__USAGE_COMPLETION, VGW__USAGE_TOTAL, VGW__USAGE_FIELDS };

struct vgw__usage {
	int64_t tokens[VGW__USAGE_FIELDS]; /* VGW__USAGE_UNKNOWN: not said */
};

#define VGW__USAGE_INIT { { VGW__USAGE_UNKNOWN, VGW__USAGE_UNKNOWN, VGW__USAGE_UNKNOWN } }

/* Reads one JSON text. What it does not understand it ignores: answers are the engine's business. */
struct vgw__usage_finder {
	struct vgw__usage pending; /* of the usage object under way; counts when it ends */
	int64_t number;
	uint32_t inside;  /* brackets open within `place` that are of no interest */
	uint8_t place;    /* enum place in usage.c */
	uint8_t outer;    /* where the usage object under way lies */
	uint8_t key;      /* which key the value at hand belongs to */
	uint8_t key_len;  /* of the key being read; over sizeof(key_text): no key of interest */
	uint8_t digits;   /* state of the number at hand */
	bool in_string;
	bool after_backslash;
	bool is_key_next; /* the next string is a key */
	char key_text[17];
};

void vgw__usage_start(struct vgw__usage_finder *finder); /* a new JSON text begins */
/* Numbers found are merged into *usage whenever a usage object ends; a later one wins. */
void vgw__usage_feed(struct vgw__usage_finder *finder, const char *data, size_t len,
	struct vgw__usage *usage);

/* The same of a complete answer that is no stream, at the top level alone; false: it is no JSON object, or says
 * nothing. Of an answer that ends with its usage only the end is read, and need be JSON. */
bool vgw__usage_find(const char *data, size_t len, struct vgw__usage *usage);

/* total_tokens, or the sum of the other two where it was not said; UNKNOWN if nothing was. */
int64_t vgw__usage_total(const struct vgw__usage *usage);

#endif
