/* SPDX-License-Identifier: Apache-2.0 */
/* Splitting a command line into words: blanks and line ends between them, '...' literally, "..." with \" and \\, and
 * a backslash for one character elsewhere (before a line's end it joins the lines). Nothing is expanded: what looks
 * like a variable, a pattern or a second command is text. */
#include "adhoc_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPEC_MAX_BYTES = 16 * 1024, WORDS_MAX = 256, NAME_MAX_BYTES = 190 };

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct splitter {
	const char *at;
	char *out; /* the word under way; never overtakes the text's own length */
	bool is_word;
	const char *problem;
};

static void put(struct splitter *s, char c)
{
	*s->out++ = c;
	s->is_word = true;
}

/* Behind an opening quote, up to the closing one. */
static void take_quoted(struct splitter *s, char quote)
{
	s->is_word = true;
	for (; *s->at && *s->at != quote; s->at++) {
		if (quote == '"' && s->at[0] == '\\' && (s->at[1] == '"' || s->at[1] == '\\'))
			s->at++;
		put(s, *s->at);
	}
	if (*s->at)
		s->at++;
	else
		s->problem = quote == '"' ? "a \" is not closed" : "a ' is not closed";
}

static void take_escaped(struct splitter *s)
{
	if (!*s->at)
		s->problem = "it ends with a backslash";
	else if (*s->at != '\n')
		put(s, *s->at);
	s->at += *s->at != '\0';
}

/* One word, closed by a NUL; false at the end or at a problem. */
static bool take_word(struct splitter *s)
{
	s->is_word = false;
	while (*s->at && !s->problem) {
		char c = *s->at++;

		if (is_blank(c) && s->is_word)
			break;
		if (c == '\'' || c == '"')
			take_quoted(s, c);
		else if (c == '\\')
			take_escaped(s);
		else if (!is_blank(c))
			put(s, c);
	}
	if (!s->is_word || s->problem)
		return false;
	*s->out++ = '\0';
	return true;
}

static const char *split(struct adhoc_spec *spec)
{
	struct splitter splitter = { .at = spec->text, .out = spec->room };

	for (;;) {
		char *word = splitter.out;

		if (!take_word(&splitter))
			break;
		if (spec->count == WORDS_MAX)
			return "it has more than 256 words";
		spec->words[spec->count++] = word;
	}
	if (splitter.problem)
		return splitter.problem;
	if (!spec->count || !*spec->words[0])
		return "it is empty; send a model and its options";
	return NULL;
}

/* --- its name --------------------------------------------------------------------------------------------------- */

/* The value of "--name value" or "--name=value", or NULL. */
static const char *find_option(const struct adhoc_spec *spec, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < spec->count; i++) {
		const char *word = spec->words[i];

		if (strncmp(word, name, len) != 0)
			continue;
		if (word[len] == '=')
			return word + len + 1;
		if (word[len] == '\0' && i + 1 < spec->count)
			return spec->words[i + 1];
	}
	return NULL;
}

static const char *find_model(const struct adhoc_spec *spec)
{
	const char *served = find_option(spec, "--served-model-name"), *model = find_option(spec, "--model");

	if (served)
		return served;
	if (spec->words[0][0] != '-')
		return spec->words[0];
	return model ? model : "";
}

/* Names are parts of URLs' paths. */
static bool can_be_name(const char *name, size_t len)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:@+-";

	if (!len || len > NAME_MAX_BYTES || strspn(name, letters) < len)
		return false;
	for (size_t from = 0; from <= len;) {
		size_t size = strcspn(name + from, "/");

		if (size > len - from)
			size = len - from;
		if (size == 0 || (size <= 2 && strspn(name + from, ".") >= size))
			return false;
		from += size + 1;
	}
	return true;
}

static char *make_name(const struct adhoc_spec *spec)
{
	const char *model = find_model(spec);
	size_t len;

	model += strspn(model, "/");
	len = strlen(model);
	while (len && model[len - 1] == '/')
		len--;
	return can_be_name(model, len) ? strndup(model, len) : strdup("adhoc");
}

/* --- life ------------------------------------------------------------------------------------------------------- */

struct adhoc_spec *adhoc_parse(const char *text, char *why, size_t size)
{
	struct adhoc_spec *spec = calloc(1, sizeof(*spec));
	const char *problem = strlen(text) > SPEC_MAX_BYTES ? "it is longer than 16 KiB" : NULL;

	if (spec && !problem) {
		spec->text = strdup(text);
		spec->room = malloc(strlen(text) + 1);
		spec->words = calloc(WORDS_MAX, sizeof(*spec->words));
		problem = spec->text && spec->room && spec->words ? split(spec) : "out of memory";
	}
	if (spec && !problem)
		spec->name = make_name(spec);
	if (spec && !problem && spec->name)
		return spec;
	(void)snprintf(why, size, "model_spec: %s", problem ? problem : "out of memory");
	adhoc_spec_free(spec);
	return NULL;
}

void adhoc_spec_free(struct adhoc_spec *spec)
{
	if (!spec)
		return;
	free(spec->text);
	free(spec->room);
	free(spec->words);
	free(spec->name);
	free(spec);
}

size_t adhoc_spec_get_count(const struct adhoc_spec *spec)
{
	return spec->count;
}

const char *adhoc_spec_get_word(const struct adhoc_spec *spec, size_t place)
{
	return place < spec->count ? spec->words[place] : NULL;
}

const char *adhoc_spec_get_name(const struct adhoc_spec *spec)
{
	return spec->name;
}
