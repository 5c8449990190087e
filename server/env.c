/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from a variable is taken literally: a $ in its value is a $. */
#include "env.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_keys.h"
#include "config_suggest.h"

#define PREFIX "VLLMGW_"

enum { NAME_BYTES = 96 };

struct env_use {
	struct env_use *next;
	const char *name;
};

static const char *find_n(const struct env *env, const char *name, size_t len)
{
	for (size_t i = 0; env->variables[i]; i++) {
		if (strncmp(env->variables[i], name, len) == 0 && env->variables[i][len] == '=')
			return env->variables[i] + len + 1;
	}
	return NULL;
}

const char *env_find(const struct env *env, const char *name)
{
	return find_n(env, name, strlen(name));
}

/* The file is known to be UTF-8, a variable is not. */
static bool is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		size_t more = *at < 0x80 ? 0 : *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
		uint32_t code = more ? *at & (0x3fu >> more) : *at;
		static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

		if ((*at >= 0x80 && *at < 0xc2) || *at > 0xf4)
			return false;
		for (size_t i = 1; i <= more; i++) {
			if ((at[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (at[i] & 0x3fu);
		}
		if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
			return false;
		at += more + 1;
	}
	return true;
}

/* --- ${NAME} inside values --- */

static size_t get_name_len(const char *text)
{
	size_t len = 0;

	while (isalpha((unsigned char)text[len]) || text[len] == '_' ||
		(len > 0 && isdigit((unsigned char)text[len])))
		len++;
	return len;
}

static bool is_slot(const char *name, size_t len)
{
	static const char *const names[] = { "PORT", "MODEL", "DEVICES", "DEVICE",
		"GPU_MEMORY_UTILIZATION" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	}
	return false;
}

static void remember(struct env *env, struct config_arena *arena, const char *name, size_t len)
{
	struct env_use *use = config_arena_alloc(arena, sizeof(*use));

	if (!use)
		return;
	use->name = config_arena_strndup(arena, name, len);
	use->next = env->uses;
	if (use->name)
		env->uses = use;
}

/* One reference at `text`, which begins with "${": writes its value, returns what follows it, or NULL. */
static const char *expand_reference(struct env *env, struct config_arena *arena, const struct node *node,
	const char *path, const char *text, bool keeps_slots, FILE *out, struct config_report *report)
{
	const char *name = text + 2;
	size_t len = get_name_len(name);
	const char *end = strchr(name, '}');
	const char *value;

	if (!end || len == 0 || (name[len] != '}' && strncmp(name + len, ":-", 2) != 0)) {
		config_report_error(report, &node->place, path,
			"a '${' here does not begin ${NAME} or ${NAME:-default}; write $${ for the "
			"characters themselves");
		return NULL;
	}
	if (keeps_slots && name[len] == '}' && is_slot(name, len)) {
		(void)fwrite(text, 1, (size_t)(end + 1 - text), out);
		return end + 1;
	}
	remember(env, arena, name, len);
	value = find_n(env, name, len);
	if (value && !is_utf8(value)) {
		config_report_error(report, &node->place, path,
			"the value of variable %.*s is not valid UTF-8", (int)len, name);
		return NULL;
	}
	if (name[len] == ':' && (!value || !*value)) {
		(void)fwrite(name + len + 2, 1, (size_t)(end - name) - len - 2, out);
	} else if (value) {
		(void)fputs(value, out);
	} else {
		config_report_error(report, &node->place, path,
			"variable %.*s is not set; set it, or write ${%.*s:-default}", (int)len, name,
			(int)len, name);
		return NULL;
	}
	return end + 1;
}

static bool expand_into(struct env *env, struct config_arena *arena, const struct node *node,
	const char *path, bool keeps_slots, FILE *out, struct config_report *report)
{
	const char *at = node->text;

	while (*at) {
		size_t plain = strcspn(at, "$");

		(void)fwrite(at, 1, plain, out);
		at += plain;
		if (at[0] == '$' && at[1] == '{') {
			at = expand_reference(env, arena, node, path, at, keeps_slots, out, report);
			if (!at)
				return false;
		} else if (at[0] == '$') {
			(void)fputc('$', out);
			at += at[1] == '$' ? 2 : 1;
		}
	}
	return true;
}

bool env_expand(struct env *env, struct config_arena *arena, struct node *node, const char *path,
	bool keeps_slots, struct config_report *report)
{
	char *text = NULL;
	size_t len = 0;
	bool is_good;
	FILE *out;

	if (node->is_expanded || node->is_literal || !strchr(node->text, '$'))
		return true;
	out = open_memstream(&text, &len);
	if (!out) {
		arena->is_exhausted = true;
		return false;
	}
	is_good = expand_into(env, arena, node, path, keeps_slots, out, report);
	if (ferror(out))
		arena->is_exhausted = true;
	if (fclose(out) != 0)
		arena->is_exhausted = true;
	node->is_expanded = true;
	node->is_reported = !is_good;
	if (is_good && !arena->is_exhausted) {
		node->source = node->text;
		node->text = config_arena_strndup(arena, text, len);
	}
	free(text);
	if (arena->is_exhausted) {
		node->text = "";
		return false;
	}
	return is_good;
}

/* --- VLLMGW_* instead of values --- */

static bool can_override(const struct config_key *key)
{
	switch (key->type) {
	case CONFIG_TEXT:
	case CONFIG_FLAG:
	case CONFIG_NUMBER:
	case CONFIG_DURATION:
	case CONFIG_SIZE:
	case CONFIG_WORD:
	case CONFIG_TEXTS:
	case CONFIG_LISTENS:
		return true;
	default:
		return false;
	}
}

/* "limits.header_timeout" is VLLMGW_LIMITS_HEADER_TIMEOUT. */
static void print_name(const struct config_key *key, char *name, size_t size)
{
	(void)snprintf(name, size, PREFIX "%s", key->path);
	for (; *name; name++)
		*name = *name == '.' ? '_' : (char)toupper((unsigned char)*name);
}

static struct node *make_scalar(
	struct config_arena *arena, const struct config_place *place, const char *text, size_t len)
{
	struct node *node = node_new(arena, NODE_SCALAR, place);

	if (!node)
		return NULL;
	node->is_literal = true;
	node->text = config_arena_strndup(arena, text, len);
	return node->text ? node : NULL;
}

/* "a, b" */
static struct node *make_list(struct config_arena *arena, const struct config_place *place, const char *text)
{
	struct node *list = node_new(arena, NODE_LIST, place);

	while (list && *text) {
		size_t len = strcspn(text, ",");
		size_t skip = strspn(text, " ");
		size_t end = len;
		struct node *item;

		while (end > skip && text[end - 1] == ' ')
			end--;
		if (end > skip) {
			item = make_scalar(arena, place, text + skip, end - skip);
			if (!item)
				return NULL;
			node_append(list, item);
		}
		text += text[len] ? len + 1 : len;
	}
	return list;
}

static void override(const struct env *env, struct config_arena *arena, struct node *root,
	const struct config_key *key, struct config_report *report)
{
	struct config_place place = { CONFIG_FROM_VARIABLE, NULL, 0, 0 };
	char name[NAME_BYTES];
	const char *value;
	struct node *node;

	print_name(key, name, sizeof(name));
	value = env_find(env, name);
	if (!value)
		return;
	place.name = config_arena_strdup(arena, name);
	if (!place.name)
		return;
	if (!is_utf8(value)) {
		config_report_error(report, &place, key->path, "the value is not valid UTF-8");
		return;
	}
	if (key->type == CONFIG_TEXTS ||
		(key->type == CONFIG_LISTENS && *value && strcmp(value, "null") != 0))
		node = make_list(arena, &place, value);
	else
		node = make_scalar(arena, &place, value, strlen(value));
	if (node)
		(void)node_put_path(arena, root, key->path, node);
}

void env_override(
	const struct env *env, struct config_arena *arena, struct node *root, struct config_report *report)
{
	for (size_t i = 0; i < config_server_keys.count; i++) {
		if (can_override(&config_server_keys.items[i]))
			override(env, arena, root, &config_server_keys.items[i], report);
	}
}

static bool is_known(const struct env *env, const char *name)
{
	char known[NAME_BYTES];

	if (strcmp(name, PREFIX "CONFIG") == 0 || strcmp(name, PREFIX "MODELS") == 0 ||
		strcmp(name, PREFIX "NVML") == 0) /* the library's: another file of the driver's */
		return true;
	for (const struct env_use *use = env->uses; use; use = use->next) {
		if (strcmp(use->name, name) == 0)
			return true;
	}
	for (size_t i = 0; i < config_server_keys.count; i++) {
		print_name(&config_server_keys.items[i], known, sizeof(known));
		if (can_override(&config_server_keys.items[i]) && strcmp(known, name) == 0)
			return true;
	}
	return false;
}

/* Compared without the prefix, which all have in common. */
static void warn(const char *name, struct config_report *report)
{
	struct config_place place = { CONFIG_FROM_VARIABLE, name, 0, 0 };
	char hint[NAME_BYTES + 32];
	char best[NAME_BYTES];
	char known[NAME_BYTES];
	struct config_suggest suggest;

	config_suggest_init(&suggest, name + strlen(PREFIX));
	for (size_t i = 0; i < config_server_keys.count; i++) {
		if (!can_override(&config_server_keys.items[i]))
			continue;
		print_name(&config_server_keys.items[i], known, sizeof(known));
		config_suggest_offer(&suggest, known + strlen(PREFIX));
		if (suggest.best == known + strlen(PREFIX)) {
			memcpy(best, known, sizeof(best));
			suggest.best = best;
		}
	}
	config_report_warning(report, &place, NULL, "no key has this variable, it is ignored%s",
		config_suggest_print(&suggest, hint, sizeof(hint)));
}

void env_warn_of_unknown(const struct env *env, struct config_report *report)
{
	char name[NAME_BYTES];

	for (size_t i = 0; env->variables[i]; i++) {
		size_t len = strcspn(env->variables[i], "=");

		if (strncmp(env->variables[i], PREFIX, strlen(PREFIX)) != 0 || len >= sizeof(name))
			continue;
		memcpy(name, env->variables[i], len);
		name[len] = '\0';
		if (!is_known(env, name))
			warn(name, report);
	}
}
