/* SPDX-License-Identifier: Apache-2.0 */
/* "did you mean": the candidate nearest to what was written, by edit distance with transpositions. */
#ifndef VGW_SERVER_CONFIG_SUGGEST_H
#define VGW_SERVER_CONFIG_SUGGEST_H

#include <stddef.h>

struct config_suggest {
	const char *wanted;
	const char *best; /* NULL: nothing near enough; borrowed from the candidates, which must live on */
	size_t distance;
};

void config_suggest_init(struct config_suggest *suggest, const char *wanted);
void config_suggest_offer(struct config_suggest *suggest, const char *candidate);

/* "; did you mean 'urls'?" or "" into `text`; returns text. */
const char *config_suggest_print(const struct config_suggest *suggest, char *text, size_t size);

#endif
