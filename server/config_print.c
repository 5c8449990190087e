/* SPDX-License-Identifier: Apache-2.0 */
/* The effective configuration as YAML that can be loaded again, in the table's order, each value with its
 *place:
 *
 *	limits:
 *	  body: 64MiB  # default
 *	  connections: 500  # vllmgw.yaml:7
 *
 * `defaults` is left out: what it gives stands with each model. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "config_decode.h"
#include "config_value.h"
#include "config_yaml.h"

struct printer {
	FILE *out;
	bool with_origins;
};

/* --- scalars --- */

static bool is_plain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       strchr("_./+%-", c);
}

/* Would it be read back as the same text, also inside [ ] and { }? A colon only between other characters. */
static bool is_plain(const char *text)
{
	if (!*text || *text == '%' || strcmp(text, "-") == 0)
		return false;
	for (const char *at = text; *at; at++) {
		if (*at == ':' && at != text && at[1] && at[1] != ':')
			continue;
		if (!is_plain_char(*at))
			return false;
	}
	return true;
}

/* Characters that YAML folds or refuses when they stand for themselves: C1 controls, line separators, byte
 * order marks, non-characters. Returns how many bytes it takes; 0: none of these. */
static size_t print_special(FILE *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	unsigned code = 0;

	if (at[0] == 0xc2 && at[1] < 0xa0)
		code = at[1];
	else if (at[0] >= 0xe0 && at[0] < 0xf0 && at[1] && at[2])
		code = (at[0] & 0xfu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
	if (code >= 0xa0 && code != 0x2028 && code != 0x2029 && code != 0xfeff && code < 0xfffe)
		return 0;
	if (!code)
		return 0;
	(void)fprintf(out, "\\u%04x", code);
	return code < 0x800 ? 2 : 3;
}

static void print_quoted(FILE *out, const char *text, bool doubles_dollars)
{
	(void)fputc('"', out);
	for (; *text; text++) {
		size_t len = print_special(out, text);

		if (len) {
			text += len - 1;
			continue;
		}
		if (*text == '"' || *text == '\\')
			(void)fprintf(out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20 || *text == 0x7f)
			(void)fprintf(out, "\\x%02x", (unsigned)*text);
		else if (*text == '$' && doubles_dollars)
			(void)fputs("$$", out);
		else
			(void)fputc(*text, out);
	}
	(void)fputc('"', out);
}

/* Text that would be taken for something else stays in quotes. */
static bool looks_like_null(const char *text)
{
	return strcmp(text, "null") == 0 || strcmp(text, "~") == 0;
}

static bool has_secret_name(const struct node *node)
{
	static const char *const parts[] = { "KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL" };

	for (size_t i = 0; node->key && i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcasestr(node->key, parts[i]))
			return true;
	}
	return false;
}

/* An engine's command and environment are shown as they were written: what variables put in may be secret. */
static void print_scalar(const struct printer *printer, const struct config_key *key, const struct node *node)
{
	bool is_source = (key->flags & CONFIG_SLOTS) && !node->is_literal;
	const char *text = is_source && node->source ? node->source : node->text;
	bool is_hidden = key->flags & CONFIG_SECRET;
	bool can_be_null = !node->source || (key->flags & CONFIG_NULLABLE) || key->type == CONFIG_OBJECT;

	if (key->type == CONFIG_VARIABLES && has_secret_name(node))
		is_hidden = true;
	if (node_is_null(node) && can_be_null)
		(void)fputs("null", printer->out);
	else if (is_hidden && *text)
		(void)fputs("\"***\"", printer->out);
	else if (node->is_quoted || looks_like_null(text) || !is_plain(text))
		print_quoted(printer->out, text, !is_source);
	else
		(void)fputs(text, printer->out);
}

static void print_name(FILE *out, const char *name)
{
	if (is_plain(name) && !looks_like_null(name))
		(void)fputs(name, out);
	else
		print_quoted(out, name, false);
}

/* What the members of a key's list are: each has its own type, and one is secret. */
static const struct config_key *get_member(const struct config_key *key, const struct node *node)
{
	const struct config_key *member = key->type == CONFIG_KEYS && node->key
		? config_keys_find(&config_auth_key_keys, node->key) : NULL;

	if (key->type == CONFIG_ADAPTERS && node->key && node->kind != NODE_MAP)
		member = config_keys_find(&config_adapter_keys, node->key);
	return member ? member : key;
}

static void print_flow(const struct printer *printer, const struct config_key *key, const struct node *node)
{
	if (node->kind == NODE_SCALAR) {
		print_scalar(printer, key, node);
		return;
	}
	(void)fputc(node->kind == NODE_MAP ? '{' : '[', printer->out);
	for (const struct node *child = node->first; child; child = child->next) {
		if (child != node->first)
			(void)fputs(", ", printer->out);
		if (node->kind == NODE_MAP) {
			print_name(printer->out, child->key);
			(void)fputs(": ", printer->out);
		}
		print_flow(printer, get_member(key, child), child);
	}
	(void)fputc(node->kind == NODE_MAP ? '}' : ']', printer->out);
}

/* --- where values come from --- */

static void print_origin(const struct printer *printer, const struct node *node)
{
	const struct config_place *place = &node->place;

	if (printer->with_origins && place->origin == CONFIG_FROM_DEFAULT)
		(void)fputs("  # default", printer->out);
	else if (printer->with_origins && place->origin == CONFIG_FROM_VARIABLE)
		(void)fprintf(printer->out, "  # $%s", place->name);
	else if (printer->with_origins)
		(void)fprintf(printer->out, "  # %s:%d%s", place->name, place->line,
			node->source ? ", from the environment" : "");
	(void)fputc('\n', printer->out);
}

static void print_indent(const struct printer *printer, int depth)
{
	(void)fprintf(printer->out, "%*s", 2 * depth, "");
}

/* --- objects --- */

/* "a.b.c" after "a.x": prints the headers the two do not share; returns the depth of the last part. */
static int print_sections(const struct printer *printer, const char *path, const char *last, int depth)
{
	const char *dot;
	bool is_shared = true;

	for (; (dot = strchr(path, '.')) != NULL; path = dot + 1, depth++) {
		size_t len = (size_t)(dot + 1 - path);

		is_shared = is_shared && strncmp(path, last, len) == 0;
		if (is_shared) {
			last += len;
			continue;
		}
		print_indent(printer, depth);
		(void)fprintf(printer->out, "%.*s:\n", (int)(len - 1), path);
	}
	return depth;
}

static void print_object(
	const struct printer *printer, const struct config_keys *keys, const struct node *map, int depth);

static void print_models(const struct printer *printer, const struct node *models, int depth)
{
	for (const struct node *model = models->first; model; model = model->next) {
		print_indent(printer, depth);
		print_name(printer->out, model->key);
		(void)fputs(":\n", printer->out);
		print_object(printer, &config_model_keys, model, depth + 1);
	}
}

static void print_key(
	const struct printer *printer, const struct config_key *key, const struct node *node, int depth)
{
	const struct node *kind = node_get(node, "kind");
	const struct config_backend *backend = kind ? config_backend_find(kind->text) : NULL;

	print_indent(printer, depth);
	(void)fprintf(printer->out, "%s:", strrchr(key->path, '.') ? strrchr(key->path, '.') + 1 : key->path);
	if (key->type == CONFIG_MODELS && node->count) {
		(void)fputc('\n', printer->out);
		print_models(printer, node, depth + 1);
	} else if (key->type == CONFIG_BACKEND && backend) {
		(void)fputc('\n', printer->out);
		print_object(printer, &backend->keys, node, depth + 1);
	} else {
		(void)fputc(' ', printer->out);
		print_flow(printer, key, node);
		print_origin(printer, node);
	}
}

static void print_object(
	const struct printer *printer, const struct config_keys *keys, const struct node *map, int depth)
{
	const char *last = "";

	for (size_t i = 0; i < keys->count; i++) {
		const struct config_key *key = &keys->items[i];
		const struct node *node = node_get_path(map, key->path);

		if (!node || key->type == CONFIG_DEFAULTS)
			continue;
		print_key(printer, key, node, print_sections(printer, key->path, last, depth));
		last = key->path;
	}
}

int config_print(const struct config *config, FILE *out, bool with_origins)
{
	struct printer printer = { out, with_origins };

	print_object(&printer, &config_server_keys, config->tree, 0);
	return ferror(out) ? -1 : 0;
}

/* --- redaction by value --- */

/* The longest secret that stands at `text`: one may begin with another. */
static size_t get_secret_len(const struct config *config, const char *text)
{
	size_t longest = 0;

	for (size_t i = 0; i < config->secrets.count; i++) {
		size_t len = strlen(config->secrets.items[i]);

		if (len > longest && strncmp(text, config->secrets.items[i], len) == 0)
			longest = len;
	}
	return longest;
}

const char *config_redact(const struct config *config, const char *text, char *out, size_t size)
{
	size_t used = 0;

	while (*text && used + 1 < size) {
		size_t len = get_secret_len(config, text);

		for (const char *star = len ? "***" : ""; *star && used + 1 < size; star++)
			out[used++] = *star;
		if (!len)
			out[used++] = *text;
		text += len ? len : 1;
	}
	if (size)
		out[used] = '\0';
	return out;
}
