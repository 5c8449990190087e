/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events to nodes. The event interface is used, not yaml_parser_load(): it builds nothing, so that
 * the bounds below hold for everything that is built, and an alias cannot multiply a document. */
#include "config_yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config_mask.h"

struct reader {
	struct config_arena *arena;
	struct config_report *report;
	const char *name;
	const char *text; /* as libyaml sees it */
	size_t len;
	bool is_masked; /* references in it are masked (config_mask.h) */
	struct node *root;
	struct node *open[YAML_MAX_DEPTH]; /* containers we are inside of, outermost first */
	struct node
		*key[YAML_MAX_DEPTH]; /* per container: the key whose value comes next; a scalar, or NULL */
	size_t depth;
	size_t nodes;
	size_t documents;
	bool is_stopped; /* nothing sensible can follow */
};

static struct config_place get_place(const struct reader *reader, const yaml_mark_t *mark)
{
	return (struct config_place){ .origin = CONFIG_FROM_FILE,
		.name = reader->name,
		.line = (int)mark->line + 1,
		.column = (int)mark->column + 1 };
}

static void stop(struct reader *reader, const struct config_place *place, const char *why)
{
	config_report_error(reader->report, place, NULL, "%s", why);
	reader->is_stopped = true;
}

/* --- what libyaml itself refuses --- */

/* For bytes that are no text libyaml knows an offset, not a mark. */
static struct config_place find_offset(const struct reader *reader, size_t offset)
{
	struct config_place place = { CONFIG_FROM_FILE, reader->name, 1, 1 };

	for (size_t i = 0; i < offset && i < reader->len; i++) {
		if (reader->text[i] == '\n') {
			place.line++;
			place.column = 1;
		} else if (((unsigned char)reader->text[i] & 0xc0) != 0x80) {
			place.column++;
		}
	}
	return place;
}

static void report_parser_error(struct reader *reader, const yaml_parser_t *parser)
{
	struct config_place place;
	const char *problem = parser->problem ? parser->problem : "cannot be read";

	reader->is_stopped = true;
	if (parser->error == YAML_MEMORY_ERROR) {
		reader->arena->is_exhausted = true;
		return;
	}
	if (parser->error == YAML_READER_ERROR) {
		place = find_offset(reader, parser->problem_offset);
		config_report_error(reader->report, &place, NULL, "not valid UTF-8 text: %s", problem);
		return;
	}
	place = get_place(reader, &parser->problem_mark);
	if (parser->context)
		config_report_error(reader->report, &place, NULL,
			"not valid YAML: %s (%s from line %d); text that "
			"begins with [ { * & ! or contains ': ' needs quotes",
			problem, parser->context, (int)parser->context_mark.line + 1);
	else
		config_report_error(reader->report, &place, NULL,
			"not valid YAML: %s; text that begins with "
			"[ { * & ! or contains ': ' needs quotes",
			problem);
}

/* --- putting nodes together --- */

static void put_value(struct reader *reader, struct node *node)
{
	struct node *parent;
	struct node *key;
	struct node *twin;

	if (reader->depth == 0) {
		reader->root = node;
		return;
	}
	parent = reader->open[reader->depth - 1];
	if (parent->kind == NODE_LIST) {
		node_append(parent, node);
		return;
	}
	key = reader->key[reader->depth - 1];
	reader->key[reader->depth - 1] = NULL;
	node->key = key->text;
	node->key_place = key->place;
	twin = node_get(parent, key->text);
	if (twin) {
		config_report_error(reader->report, &key->place, NULL,
			"duplicate key '%s'; it is already on line %d", key->text, twin->key_place.line);
		return;
	}
	node_append(parent, node);
}

static bool wants_key(const struct reader *reader)
{
	return reader->depth > 0 && reader->open[reader->depth - 1]->kind == NODE_MAP &&
	       !reader->key[reader->depth - 1];
}

static struct node *make(struct reader *reader, enum node_kind kind, const yaml_mark_t *mark)
{
	struct config_place place = get_place(reader, mark);
	struct node *node;

	if (++reader->nodes > YAML_MAX_NODES) {
		stop(reader, &place, "more than 10000 values; a configuration is smaller");
		return NULL;
	}
	node = node_new(reader->arena, kind, &place);
	if (!node)
		reader->is_stopped = true;
	return node;
}

static void refuse_anchor_and_tag(
	struct reader *reader, const yaml_mark_t *mark, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	struct config_place place = get_place(reader, mark);

	if (anchor)
		config_report_error(reader->report, &place, NULL,
			"anchors (&%s) are not supported; repeat the value, or put it under 'defaults'",
			anchor);
	if (tag)
		config_report_error(reader->report, &place, NULL,
			"tags (%s) are not supported; remove it, the key decides the type", tag);
}

static void on_scalar(struct reader *reader, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	struct node *node;
	char *copy;

	refuse_anchor_and_tag(reader, &event->start_mark, event->data.scalar.anchor, event->data.scalar.tag);
	node = make(reader, NODE_SCALAR, &event->start_mark);
	if (!node)
		return;
	node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	copy = config_arena_strndup(reader->arena, text, len);
	if (!copy) {
		reader->is_stopped = true;
		return;
	}
	node->text = copy;
	if (reader->is_masked)
		config_unmask(copy);
	if (memchr(text, '\0', len))
		stop(reader, &node->place, "text with a NUL character; remove the \\0");
	else if (!wants_key(reader))
		put_value(reader, node);
	else if (len == 0)
		stop(reader, &node->place, "empty key");
	else
		reader->key[reader->depth - 1] = node;
}

static void on_open(struct reader *reader, enum node_kind kind, const yaml_event_t *event)
{
	struct node *node;

	if (kind == NODE_MAP)
		refuse_anchor_and_tag(reader, &event->start_mark, event->data.mapping_start.anchor,
			event->data.mapping_start.tag);
	else
		refuse_anchor_and_tag(reader, &event->start_mark, event->data.sequence_start.anchor,
			event->data.sequence_start.tag);
	node = make(reader, kind, &event->start_mark);
	if (!node)
		return;
	if (wants_key(reader)) {
		stop(reader, &node->place, "a key must be plain text, not a list or a mapping");
		return;
	}
	if (reader->depth == YAML_MAX_DEPTH) {
		stop(reader, &node->place, "nested more than 16 deep");
		return;
	}
	put_value(reader, node);
	reader->open[reader->depth] = node;
	reader->key[reader->depth] = NULL;
	reader->depth++;
}

static void on_alias(struct reader *reader, const yaml_event_t *event)
{
	struct config_place place = get_place(reader, &event->start_mark);
	struct node *node;

	config_report_error(reader->report, &place, NULL,
		"aliases (*%s) are not supported; repeat the value, or put it under 'defaults'",
		event->data.alias.anchor);
	node = make(reader, NODE_SCALAR, &event->start_mark);
	if (!node)
		return;
	node->is_reported = true;
	if (wants_key(reader))
		reader->is_stopped = true;
	else
		put_value(reader, node);
}

static void on_document(struct reader *reader, const yaml_event_t *event)
{
	struct config_place place = get_place(reader, &event->start_mark);

	if (++reader->documents > 1)
		stop(reader, &place, "a second document (---) begins here; a configuration is one document");
}

/* false: the stream has ended. */
static bool on_event(struct reader *reader, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_STREAM_END_EVENT:
		return false;
	case YAML_DOCUMENT_START_EVENT:
		on_document(reader, event);
		break;
	case YAML_ALIAS_EVENT:
		on_alias(reader, event);
		break;
	case YAML_SCALAR_EVENT:
		on_scalar(reader, event);
		break;
	case YAML_SEQUENCE_START_EVENT:
		on_open(reader, NODE_LIST, event);
		break;
	case YAML_MAPPING_START_EVENT:
		on_open(reader, NODE_MAP, event);
		break;
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		reader->depth--;
		break;
	default:
		break;
	}
	return !reader->is_stopped;
}

static void read_events(struct reader *reader, yaml_parser_t *parser)
{
	yaml_event_t event;
	bool goes_on = true;

	yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(parser, (const unsigned char *)reader->text, reader->len);
	while (goes_on) {
		if (!yaml_parser_parse(parser, &event)) {
			report_parser_error(reader, parser);
			return;
		}
		goes_on = on_event(reader, &event);
		yaml_event_delete(&event);
	}
}

struct node *yaml_parse(struct config_arena *arena, const char *name, const char *text, size_t len,
	struct config_report *report)
{
	struct reader reader = { .arena = arena, .report = report, .name = name };
	struct config_mask mask;
	struct config_place top = { CONFIG_FROM_FILE, name, 1, 1 };
	yaml_parser_t parser;

	if (len > YAML_MAX_BYTES) {
		config_report_error(report, &top, NULL, "larger than 1 MiB; a configuration is smaller");
		return NULL;
	}
	if (!config_mask(&mask, text, len) || !yaml_parser_initialize(&parser)) {
		free(mask.text);
		arena->is_exhausted = true;
		return NULL;
	}
	reader.text = mask.text ? mask.text : text;
	reader.len = mask.text ? mask.len : len;
	reader.is_masked = mask.text != NULL;
	read_events(&reader, &parser);
	yaml_parser_delete(&parser);
	free(mask.text);
	if (reader.is_stopped)
		return NULL;
	if (!reader.root)
		return node_new(arena, NODE_MAP, &top);
	return reader.root;
}

const char *yaml_version(void)
{
	return yaml_get_version_string();
}
