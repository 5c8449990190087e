/* SPDX-License-Identifier: Apache-2.0 */
/* Values of one scalar. */
#include "config_decode.h"

#include <string.h>

#include "config_suggest.h"
#include "config_value.h"

/* What may be a secret in the wrong place is not shown: keys, variables of engines, credentials in a URL. */
static bool may_be_secret(const struct config_key *key, const char *text)
{
	return key->type == CONFIG_KEYS || key->type == CONFIG_VARIABLES || key->type == CONFIG_BACKEND ||
	       (strchr(text, '@') && strstr(text, "://"));
}

bool config_refuse(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, const char *why)
{
	const char *what = config_type_get_text(key->type);

	if (node->is_reported || decoder->arena->is_exhausted)
		return false;
	node->is_reported = true;
	if (node->kind == NODE_LIST)
		config_report_error(decoder->report, &node->place, path, "expected %s, found a list", what);
	else if (node->kind == NODE_MAP)
		config_report_error(
			decoder->report, &node->place, path, "expected %s, found a mapping", what);
	else if (node_is_null(node))
		config_report_error(decoder->report, &node->place, path, "expected %s, found nothing%s", what,
			key->type == CONFIG_TEXT ? "; write \"\" for an empty text" : "");
	else if (key->flags & CONFIG_SECRET)
		config_report_error(decoder->report, &node->place, path, "this key %s", why);
	else if (may_be_secret(key, node->text))
		config_report_error(decoder->report, &node->place, path, "this value %s", why);
	else
		config_report_error(decoder->report, &node->place, path, "'%s' %s", node->text, why);
	return false;
}

const char *config_get_text(
	struct config_decoder *decoder, const struct config_key *key, struct node *node, const char *path)
{
	if (node->is_reported)
		return NULL;
	if (node->kind != NODE_SCALAR) {
		(void)config_refuse(decoder, key, node, path, "");
		return NULL;
	}
	if (!env_expand(decoder->env, decoder->arena, node, path, key->flags & CONFIG_SLOTS, decoder->report))
		return NULL;
	return node->text;
}

static bool is_fit_for_a_header(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text <= 0x20 || (unsigned char)*text >= 0x7f)
			return false;
	}
	return true;
}

static bool keep_secret(
	struct config_decoder *decoder, const struct config_key *key, struct node *node, const char *path)
{
	struct config_secret *secret;

	if (!is_fit_for_a_header(node->text))
		return config_refuse(decoder, key, node, path, "must be printable ASCII without spaces");
	secret = config_arena_alloc(decoder->arena, sizeof(*secret));
	if (!secret)
		return false;
	secret->text = node->text;
	secret->next = decoder->secrets;
	decoder->secrets = secret;
	if (node->place.origin == CONFIG_FROM_FILE && !node->source && decoder->literal_secret.line == 0)
		decoder->literal_secret = node->place;
	return true;
}

bool config_decode_text(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	out->text = NULL;
	if (!config_get_text(decoder, key, node, path))
		return false;
	if ((key->flags & CONFIG_NULLABLE) && (node_is_null(node) || !node->text[0]))
		return true;
	if (node_is_null(node) && !node->source) /* an empty variable is an empty text */
		return config_refuse(decoder, key, node, path, "");
	out->text = node->text;
	return key->flags & CONFIG_SECRET ? keep_secret(decoder, key, node, path) : true;
}

bool config_decode_flag(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	const char *text = config_get_text(decoder, key, node, path);

	if (!text)
		return false;
	out->flag = strcmp(text, "true") == 0;
	if (!out->flag && strcmp(text, "false") != 0)
		return config_refuse(decoder, key, node, path, "is not a boolean; write true or false");
	return true;
}

static bool is_allowed_word(const struct config_key *key, const char *text)
{
	return key->type == CONFIG_NUMBER && key->words && strcmp(key->words + 1, text) == 0;
}

/* NUMBER, DURATION and SIZE */
bool config_decode_number(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	const char *text = config_get_text(decoder, key, node, path);
	const char *problem;
	char least[32];
	char most[32];
	char why[160];

	out->number = 0;
	if (!text)
		return false;
	if (is_allowed_word(key, text))
		return true;
	if (node_is_null(node)) {
		out->number = -1;
		return key->flags & CONFIG_NULLABLE ? true : config_refuse(decoder, key, node, path, "");
	}
	problem = key->type == CONFIG_NUMBER ? config_value_parse_number(text, &out->number)
		  : key->type == CONFIG_SIZE ? config_value_parse_size(text, &out->number)
					     : config_value_parse_duration(text, &out->number);
	if (problem) {
		(void)snprintf(why, sizeof(why), "%s; write %s%s%s", problem, config_type_get_text(key->type),
			key->words ? " or " : "", key->words ? key->words + 1 : "");
		return config_refuse(decoder, key, node, path, why);
	}
	if (out->number >= key->min && out->number <= key->max)
		return true;
	(void)snprintf(why, sizeof(why), "is out of range: from %s to %s",
		config_value_print(key->type, key->min, least, sizeof(least)),
		config_value_print(key->type, key->max, most, sizeof(most)));
	return config_refuse(decoder, key, node, path, why);
}

/* "is none of debug, info; did you mean 'info'?" */
static bool refuse_word(
	struct config_decoder *decoder, const struct config_key *key, struct node *node, const char *path)
{
	struct config_suggest suggest;
	char words[16][32];
	char why[256] = "is none of ";
	char hint[64];
	size_t len = strlen(why);

	config_suggest_init(&suggest, node->text);
	for (size_t i = 0; i < 16 && config_words_get(key->words, i, words[i], sizeof(words[i])); i++) {
		config_suggest_offer(&suggest, words[i]);
		(void)snprintf(why + len, sizeof(why) - len, "%s%s", i ? ", " : "", words[i]);
		len = strlen(why);
	}
	(void)snprintf(
		why + len, sizeof(why) - len, "%s", config_suggest_print(&suggest, hint, sizeof(hint)));
	return config_refuse(decoder, key, node, path, why);
}

bool config_decode_word(struct config_decoder *decoder, const struct config_key *key, struct node *node,
	const char *path, union config_value *out)
{
	const char *text = config_get_text(decoder, key, node, path);
	char word[32];

	if (!text)
		return false;
	for (out->word = 0; config_words_get(key->words, (size_t)out->word, word, sizeof(word));
		out->word++) {
		if (strcmp(word, text) == 0)
			return true;
	}
	return refuse_word(decoder, key, node, path);
}
