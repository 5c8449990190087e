/* SPDX-License-Identifier: Apache-2.0 */
/* Backends and request defaults leave the configuration as JSON text, because a controller or the request
 * splicer reads them, not the server. */
#include "config_json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config_value.h"

void config_stream_open(struct config_stream *stream, struct config_arena *arena)
{
	stream->text = NULL;
	stream->len = 0;
	stream->file = open_memstream(&stream->text, &stream->len);
	if (!stream->file)
		arena->is_exhausted = true;
}

const char *config_stream_close(struct config_stream *stream, struct config_arena *arena)
{
	const char *text = NULL;
	bool has_failed;

	if (!stream->file)
		return NULL;
	has_failed = ferror(stream->file) != 0;
	if (fclose(stream->file) != 0)
		has_failed = true;
	if (has_failed)
		arena->is_exhausted = true;
	else
		text = config_arena_strndup(arena, stream->text, stream->len);
	free(stream->text);
	return text;
}

void config_json_print_text(FILE *out, const char *text)
{
	(void)fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			(void)fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			(void)fprintf(out, "\\u%04x", (unsigned)*text);
		else
			(void)fputc(*text, out);
	}
	(void)fputc('"', out);
}

void config_json_print_list(FILE *out, const struct config_strings *strings)
{
	(void)fputc('[', out);
	for (size_t i = 0; i < strings->count; i++) {
		if (i)
			(void)fputc(',', out);
		config_json_print_text(out, strings->items[i]);
	}
	(void)fputc(']', out);
}

static void print_variables(FILE *out, const struct config_strings *pairs)
{
	(void)fputc('{', out);
	for (size_t i = 0; i + 1 < pairs->count; i += 2) {
		if (i)
			(void)fputc(',', out);
		config_json_print_text(out, pairs->items[i]);
		(void)fputc(':', out);
		config_json_print_text(out, pairs->items[i + 1]);
	}
	(void)fputc('}', out);
}

void config_json_print_member(
	FILE *out, const struct config_key *key, const union config_value *value, bool is_first)
{
	char word[32] = "";

	(void)fprintf(out, "%s\"%s\":", is_first ? "" : ",", key->path);
	switch (key->type) {
	case CONFIG_FLAG:
		(void)fputs(value->flag ? "true" : "false", out);
		break;
	case CONFIG_NUMBER:
	case CONFIG_DURATION:
	case CONFIG_SIZE:
		(void)fprintf(out, "%lld", (long long)value->number);
		break;
	case CONFIG_TEXTS:
	case CONFIG_URLS:
		config_json_print_list(out, &value->strings);
		break;
	case CONFIG_VARIABLES:
		print_variables(out, &value->strings);
		break;
	case CONFIG_GPUS:
		(void)fputs(value->text, out);
		break;
	case CONFIG_WORD:
		(void)config_words_get(key->words, (size_t)value->word, word, sizeof(word));
		config_json_print_text(out, word);
		break;
	default:
		config_json_print_text(out, value->text);
		break;
	}
}

/* --- free values --- */

/* Plain text that YAML 1.1 readers take for a boolean or number and JSON does not: it would be text here, and
 * that is never what was meant. */
static bool is_ambiguous(const char *text)
{
	static const char *const words[] = { "yes", "no", "on", "off", "true", "false", "null", ".inf",
		"-.inf", ".nan" };
	char *end;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0)
			return true;
	}
	if (!strpbrk(text, "0123456789") || !strchr("+-.0123456789", text[0]))
		return false;
	(void)strtod(text, &end);
	return *end == '\0';
}

/* jansson reads what is written here, and its numbers are int64_t and double. */
static bool is_in_range(const char *number)
{
	errno = 0;
	if (strpbrk(number, ".eE"))
		return isfinite(strtod(number, NULL));
	(void)strtoll(number, NULL, 10);
	return errno == 0;
}

static bool print_scalar(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, FILE *out)
{
	const struct config_key text_key = { .path = key->path, .type = CONFIG_TEXT };
	const char *text = config_get_text(decoder, &text_key, node, path);

	if (!text)
		return false;
	if (node->is_quoted)
		config_json_print_text(out, text);
	else if (node_is_null(node))
		(void)fputs("null", out);
	else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		(void)fputs(text, out);
	else if (config_value_is_json_number(text) && !is_in_range(text))
		return config_refuse(decoder, key, node, path, "is too large a number");
	else if (config_value_is_json_number(text))
		(void)fputs(text, out);
	else if (is_ambiguous(text))
		return config_refuse(decoder, key, node, path,
			"is ambiguous; write true, false, null or a decimal number, or put text in quotes");
	else
		config_json_print_text(out, text);
	return true;
}

/* The reader has bounded the depth. */
static bool print_node(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, FILE *out)
{
	bool is_map = node->kind == NODE_MAP;
	bool is_good = true;

	if (node->kind == NODE_SCALAR)
		return print_scalar(decoder, key, node, path, out);
	(void)fputc(is_map ? '{' : '[', out);
	for (struct node *child = node->first; child; child = child->next) {
		if (child != node->first)
			(void)fputc(',', out);
		if (is_map) {
			config_json_print_text(out, child->key);
			(void)fputc(':', out);
		}
		if (!print_node(
			    decoder, key, child, is_map ? config_join(decoder, path, child->key) : path, out))
			is_good = false;
	}
	(void)fputc(is_map ? '}' : ']', out);
	return is_good;
}

bool config_decode_object(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	struct config_stream stream;
	bool is_good;

	out->text = "{}";
	if (node->kind != NODE_MAP)
		return config_refuse(decoder, key, node, path, "is not a mapping such as {temperature: 0.2}");
	config_stream_open(&stream, decoder->arena);
	if (!stream.file)
		return false;
	is_good = print_node(decoder, key, node, path, stream.file);
	out->text = config_stream_close(&stream, decoder->arena);
	return is_good && out->text;
}
