/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys for editors (JSON Schema) and for people (Markdown). */
#include "config_keys.h"

#include <jansson.h>
#include <string.h>

#define DURATION_PATTERN "^(0|[0-9]+(\\.[0-9]+)?(ms|s|m|h))$"
#define SIZE_PATTERN "^(0|[0-9]+(\\.[0-9]+)?(B|[kK]B|MB|GB|TB|KiB|MiB|GiB|TiB))$"
#define URL_PATTERN "^(https?://|unix:/|.*\\$\\{)"

/* jansson's _new functions take their argument also when they fail, and fail when it is NULL: one flag is
 * enough. */
static void put(json_t *object, const char *name, json_t *value, bool *has_failed)
{
	if (json_object_set_new(object, name, value) != 0)
		*has_failed = true;
}

/* What a type is, as a schema. `${NAME}` may stand for any scalar. */
static json_t *make_type(const struct config_key *key)
{
	switch (key->type) {
	case CONFIG_FLAG:
		return json_pack("{s:[{s:s},{s:s}]}", "anyOf", "type", "boolean", "$ref", "#/$defs/variable");
	case CONFIG_NUMBER:
		return json_pack("{s:[{s:s,s:I,s:I},{s:s}]}", "anyOf", "type", "integer", "minimum",
			(json_int_t)key->min, "maximum", (json_int_t)key->max, "$ref", "#/$defs/variable");
	case CONFIG_DURATION:
		return json_pack("{s:s}", "$ref", "#/$defs/duration");
	case CONFIG_SIZE:
		return json_pack("{s:s}", "$ref", "#/$defs/size");
	case CONFIG_TEXTS:
		return json_pack("{s:s,s:{s:s}}", "type", "array", "items", "$ref", "#/$defs/text");
	case CONFIG_URLS:
		return json_pack("{s:[{s:s,s:s},{s:s,s:i,s:{s:s,s:s}}]}", "anyOf", "type", "string",
			"pattern", URL_PATTERN, "type", "array", "minItems", 1, "items", "type", "string",
			"pattern", URL_PATTERN);
	case CONFIG_LISTENS:
		return json_pack("{s:[{s:s},{s:s,s:i,s:{s:s}}]}", "anyOf", "type", "string", "type", "array",
			"minItems", 1, "items", "type", "string");
	case CONFIG_SIZES:
		return json_pack(
			"{s:s,s:{s:s}}", "type", "object", "additionalProperties", "$ref", "#/$defs/size");
	case CONFIG_VARIABLES:
		return json_pack(
			"{s:s,s:{s:s}}", "type", "object", "additionalProperties", "$ref", "#/$defs/text");
	case CONFIG_GPUS:
		return json_pack("{s:[{s:[s,s,s]},{s:s,s:i,s:i},{s:s,s:{s:s}},{s:s}]}", "anyOf", "enum", "auto", "all", "none",
			"type", "integer", "minimum", 0, "maximum", 1024, "type", "array", "items", "$ref",
			"#/$defs/text", "$ref", "#/$defs/variable");
	case CONFIG_OBJECT:
		return json_pack("{s:s}", "type", "object");
	case CONFIG_KEYS:
		return json_pack("{s:s,s:{s:s}}", "type", "array", "items", "$ref", "#/$defs/auth_key");
	case CONFIG_DEVICES:
		return json_pack(
			"{s:s,s:{s:s}}", "type", "object", "additionalProperties", "$ref", "#/$defs/device");
	case CONFIG_ADAPTERS:
		return json_pack(
			"{s:s,s:{s:s}}", "type", "object", "additionalProperties", "$ref", "#/$defs/adapter");
	case CONFIG_BACKEND:
		return json_pack("{s:s}", "$ref", "#/$defs/backend");
	case CONFIG_DEFAULTS:
		return json_pack("{s:s}", "$ref", "#/$defs/defaults");
	case CONFIG_MODELS:
		return json_pack(
			"{s:s,s:{s:s}}", "type", "object", "additionalProperties", "$ref", "#/$defs/model");
	default:
		return json_pack("{s:s}", "$ref", "#/$defs/text");
	}
}

static json_t *make_words(const struct config_key *key, bool *has_failed)
{
	json_t *words = json_array();
	char word[32];

	for (size_t i = 0; config_words_get(key->words, i, word, sizeof(word)); i++) {
		if (json_array_append_new(words, json_string(word)) != 0)
			*has_failed = true;
	}
	return json_pack("{s:o}", "enum", words);
}

/* The default as it would be written, in JSON. */
static json_t *make_default(const struct config_key *key)
{
	json_t *value = json_loads(key->text, JSON_DECODE_ANY, NULL);

	return value ? value : json_string(key->text);
}

/* The schema allows `choice` too. */
static json_t *add_choice(json_t *schema, json_t *choice, bool *has_failed)
{
	json_t *choices = json_object_get(schema, "anyOf");

	if (!choices)
		return json_pack("{s:[o,o]}", "anyOf", schema, choice);
	if (json_array_append_new(choices, choice) != 0)
		*has_failed = true;
	return schema;
}

static json_t *make_key(const struct config_key *key, const char *constant, bool *has_failed)
{
	json_t *schema = key->type == CONFIG_WORD ? make_words(key, has_failed) : make_type(key);

	if (key->type == CONFIG_NUMBER && key->words)
		schema = add_choice(schema, make_words(key, has_failed), has_failed);
	if (key->flags & CONFIG_NULLABLE)
		schema = add_choice(schema, json_pack("{s:s}", "type", "null"), has_failed);
	if (key->type == CONFIG_WORD)
		schema = add_choice(schema, json_pack("{s:s}", "$ref", "#/$defs/variable"), has_failed);
	if (constant) {
		json_decref(schema);
		schema = json_pack("{s:s}", "const", constant);
	}
	put(schema, "description", json_string(constant ? "Kind of the backend" : key->help), has_failed);
	if (key->text)
		put(schema, "default", make_default(key), has_failed);
	if ((key->flags & CONFIG_NOT_EMPTY) && key->type == CONFIG_TEXTS)
		put(schema, "minItems", json_integer(1), has_failed);
	return schema;
}

/* The `properties` of the section a path is in, made on the way. */
static json_t *open_section(json_t *properties, const char *path, bool *has_failed)
{
	const char *dot;

	for (; (dot = strchr(path, '.')) != NULL; path = dot + 1) {
		char name[64];
		json_t *section;

		(void)snprintf(name, sizeof(name), "%.*s", (int)(dot - path), path);
		section = json_object_get(properties, name);
		if (!section) {
			section = json_pack("{s:[s,s],s:b,s:{}}", "type", "object", "null",
				"additionalProperties", 0, "properties");
			put(properties, name, section, has_failed);
		}
		properties = json_object_get(section, "properties");
	}
	return properties;
}

static json_t *make_object(
	const struct config_keys *keys, unsigned without, const char *kind, bool *has_failed)
{
	json_t *object = json_pack(
		"{s:s,s:b,s:{},s:[]}", "type", "object", "additionalProperties", 0, "properties", "required");

	for (size_t i = 0; i < keys->count && object; i++) {
		const struct config_key *key = &keys->items[i];
		const char *name = strrchr(key->path, '.') ? strrchr(key->path, '.') + 1 : key->path;
		const char *constant = kind && strcmp(key->path, "kind") == 0 ? kind : NULL;

		if (key->flags & without)
			continue;
		put(open_section(json_object_get(object, "properties"), key->path, has_failed), name,
			make_key(key, constant, has_failed), has_failed);
		if (!key->text && json_array_append_new(
					  json_object_get(object, "required"), json_string(key->path)) != 0)
			*has_failed = true;
	}
	return object;
}

static json_t *make_definitions(bool *has_failed)
{
	json_t *backends = json_array();
	json_t *definitions = json_object();

	put(definitions, "variable", json_pack("{s:s,s:s}", "type", "string", "pattern", "\\$\\{"),
		has_failed);
	put(definitions, "text", json_pack("{s:[s,s,s]}", "type", "string", "number", "boolean"), has_failed);
	put(definitions, "duration",
		json_pack("{s:[{s:s,s:s},{s:i},{s:s}]}", "anyOf", "type", "string", "pattern",
			DURATION_PATTERN, "const", 0, "$ref", "#/$defs/variable"),
		has_failed);
	put(definitions, "size",
		json_pack("{s:[{s:s,s:s},{s:i},{s:s}]}", "anyOf", "type", "string", "pattern", SIZE_PATTERN,
			"const", 0, "$ref", "#/$defs/variable"),
		has_failed);
	for (size_t i = 0; i < config_backend_count; i++) {
		json_t *backend =
			make_object(&config_backends[i].keys, 0, config_backends[i].kind, has_failed);

		put(backend, "description", json_string(config_backends[i].help), has_failed);
		if (json_array_append_new(backends, backend) != 0)
			*has_failed = true;
	}
	put(definitions, "backend", json_pack("{s:o}", "oneOf", backends), has_failed);
	put(definitions, "auth_key", make_object(&config_auth_key_keys, 0, NULL, has_failed), has_failed);
	put(definitions, "adapter", make_object(&config_adapter_keys, 0, NULL, has_failed), has_failed);
	put(definitions, "device", make_object(&config_device_keys, 0, NULL, has_failed), has_failed);
	put(definitions, "defaults", make_object(&config_model_keys, CONFIG_OWN, NULL, has_failed),
		has_failed);
	put(definitions, "model", make_object(&config_model_keys, 0, NULL, has_failed), has_failed);
	return definitions;
}

int config_print_schema(FILE *out)
{
	bool has_failed = false;
	json_t *schema = make_object(&config_server_keys, 0, NULL, &has_failed);

	put(schema, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"), &has_failed);
	put(schema, "title", json_string("vllmgw.yaml"), &has_failed);
	put(schema, "$defs", make_definitions(&has_failed), &has_failed);
	if (!has_failed && json_dumpf(schema, out, JSON_INDENT(2)) != 0)
		has_failed = true;
	json_decref(schema);
	(void)fputc('\n', out);
	return has_failed || ferror(out) ? -1 : 0;
}

/* --- for people --- */

static void print_rows(FILE *out, const struct config_keys *keys, const char *prefix)
{
	for (size_t i = 0; i < keys->count; i++) {
		const struct config_key *key = &keys->items[i];
		char word[32];

		(void)fprintf(out, "| `%s%s` | ", prefix, key->path);
		if (key->type == CONFIG_WORD) {
			for (size_t j = 0; config_words_get(key->words, j, word, sizeof(word)); j++)
				(void)fprintf(out, "%s`%s`", j ? ", " : "", word);
		} else {
			(void)fputs(config_type_get_text(key->type), out);
		}
		if (key->text)
			(void)fprintf(out, " | `%s` | %s |\n", key->text, key->help);
		else
			(void)fprintf(out, " | required | %s |\n", key->help);
	}
}

int config_print_reference(FILE *out)
{
	char prefix[96];

	(void)fputs("| key | value | default | meaning |\n| --- | --- | --- | --- |\n", out);
	print_rows(out, &config_server_keys, "");
	print_rows(out, &config_auth_key_keys, "auth.keys[].");
	print_rows(out, &config_device_keys, "devices.NAME.");
	print_rows(out, &config_model_keys, "models.NAME.");
	print_rows(out, &config_adapter_keys, "models.NAME.adapters.NAME.");
	for (size_t i = 0; i < config_backend_count; i++) {
		(void)snprintf(prefix, sizeof(prefix), "models.NAME.backend(%s).", config_backends[i].kind);
		print_rows(out, &config_backends[i].keys, prefix);
	}
	return ferror(out) ? -1 : 0;
}
