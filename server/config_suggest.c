/* SPDX-License-Identifier: Apache-2.0 */
/* Edit distance over at most LONGEST bytes; longer words get no suggestion. */
#include "config_suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 64 };

static bool is_same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b) || (a == '-' && b == '_') ||
	       (a == '_' && b == '-');
}

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Insertions, deletions, substitutions and swaps of neighbours: the mistakes fingers make. */
static size_t get_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][LONGEST + 1];
	size_t *before = rows[0];
	size_t *last = rows[1];
	size_t *now = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *oldest = before;

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t cost = is_same(a[i - 1], b[j - 1]) ? 0 : 1;

			now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + cost);
			if (i > 1 && j > 1 && is_same(a[i - 1], b[j - 2]) && is_same(a[i - 2], b[j - 1]) &&
				before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
		before = last;
		last = now;
		now = oldest;
	}
	return last[b_len];
}

void config_suggest_init(struct config_suggest *suggest, const char *wanted)
{
	suggest->wanted = wanted;
	suggest->best = NULL;
	suggest->distance = 0;
}

void config_suggest_offer(struct config_suggest *suggest, const char *candidate)
{
	size_t wanted_len = strlen(suggest->wanted);
	size_t len = strlen(candidate);
	size_t limit = (wanted_len > len ? wanted_len : len) / 3;
	size_t distance;

	limit = limit ? limit : 1;
	if (wanted_len > LONGEST || len > LONGEST || wanted_len == 0)
		return;
	distance = get_distance(suggest->wanted, wanted_len, candidate, len);
	if (wanted_len >= 3 && strncmp(candidate, suggest->wanted, wanted_len) == 0 && distance > limit)
		distance = limit; /* a beginning is as good as a slip of the finger */
	if (distance > limit || distance >= wanted_len)
		return;
	if (suggest->best && suggest->distance <= distance)
		return;
	suggest->best = candidate;
	suggest->distance = distance;
}

const char *config_suggest_print(const struct config_suggest *suggest, char *text, size_t size)
{
	text[0] = '\0';
	if (suggest->best)
		(void)snprintf(text, size, "; did you mean '%s'?", suggest->best);
	return text;
}
