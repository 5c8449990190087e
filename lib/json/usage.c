/* SPDX-License-Identifier: Apache-2.0 */
/* A byte machine over JSON that knows four places and skips everything else.
 *
 *   OUTSIDE --{--> ROOT --"usage":{-----------------------> USAGE --}--> where it came from
 *                   |                                         ^
 *                   `--"response":{ or "message":{--> WRAP --"'
 *
 * In each place `inside` counts the brackets of values that are of no interest. */
#include "json/usage.h"

#include "json/lex.h"
#include "json/scan.h"

#include <string.h>

enum place { OUTSIDE, ROOT, WRAP, USAGE, OVER };
enum digits { NO_DIGITS, SOME_DIGITS, ENDED_DIGITS, BAD_DIGITS };
/* Keys of interest. Those of the fields come first. */
enum key { KEY_USAGE = VGW__USAGE_FIELDS, KEY_WRAP, KEY_OTHER };

static const struct {
	const char *text;
	uint8_t len;
	uint8_t key;
} keys[] = {
#define XX(field, text) { text, sizeof(text) - 1, VGW__USAGE_##field },
	VGW__USAGE_KEYS(XX)
#undef XX
	{ "usage", 5, KEY_USAGE },
	{ "response", 8, KEY_WRAP },
	{ "message", 7, KEY_WRAP },
};

#define XX(field, text)                                                                                      \
	_Static_assert(                                                                                      \
		sizeof(text) - 1 <= sizeof(((struct vgw__usage_finder *)0)->key_text), "room for each key");
VGW__USAGE_KEYS(XX)
#undef XX

static const struct vgw__usage nothing = VGW__USAGE_INIT;

void vgw__usage_start(struct vgw__usage_finder *finder)
{
	*finder = (struct vgw__usage_finder){ .pending = nothing, .place = OUTSIDE, .key = KEY_OTHER };
}

static void merge(struct vgw__usage *usage, const struct vgw__usage *news)
{
	for (size_t i = 0; i < VGW__USAGE_FIELDS; i++)
		if (news->tokens[i] != VGW__USAGE_UNKNOWN)
			usage->tokens[i] = news->tokens[i];
}

/* --- strings --- */

static void end_string(struct vgw__usage_finder *finder)
{
	finder->in_string = false;
	if (finder->inside)
		return;
	finder->digits = BAD_DIGITS; /* as a value, a string is no number; a key is reset by its colon */
	if (!finder->is_key_next)
		return;
	finder->key = KEY_OTHER;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (finder->key_len == keys[i].len &&
			memcmp(finder->key_text, keys[i].text, keys[i].len) == 0)
			finder->key = keys[i].key;
}

/* Inside a string at p: returns where it goes on, at the latest behind the closing quote. */
static const char *feed_string(struct vgw__usage_finder *finder, const char *p, const char *end)
{
	const unsigned char *stop;
	size_t room;

	if (finder->after_backslash) {
		finder->after_backslash = false;
		return p + 1;
	}
	stop = vgw__lex_find_special((const unsigned char *)p, (const unsigned char *)end);
	room = (size_t)((const char *)stop - p);
	if (room + finder->key_len > sizeof(finder->key_text)) {
		finder->key_len = sizeof(finder->key_text) + 1;
	} else if (room) {
		memcpy(finder->key_text + finder->key_len, p, room);
		finder->key_len = (uint8_t)(finder->key_len + room);
	}
	if ((const char *)stop == end)
		return end;
	if (*stop == '"') {
		end_string(finder);
	} else {
		finder->after_backslash = *stop == '\\';
		finder->key_len = sizeof(finder->key_text) + 1;
	}
	return (const char *)stop + 1;
}

/* --- structure --- */

static void open_bracket(struct vgw__usage_finder *finder, bool is_object)
{
	/* only right behind the colon: after anything else it is no JSON, and whoever looks at the text alone
	 * (the fast way through an event) would not see a usage object either */
	bool is_wanted = is_object && !finder->inside && !finder->is_key_next && finder->digits == NO_DIGITS;

	if (finder->place == OUTSIDE) {
		finder->place = is_object ? ROOT : OVER;
	} else if (is_wanted && finder->key == KEY_USAGE && finder->place != USAGE) {
		finder->outer = finder->place;
		finder->place = USAGE;
		finder->pending = nothing;
	} else if (is_wanted && finder->key == KEY_WRAP && finder->place == ROOT) {
		finder->place = WRAP;
	} else {
		finder->inside++;
		if (finder->is_key_next)
			finder->key = KEY_OTHER;
		return;
	}
	finder->is_key_next = true;
	finder->key = KEY_OTHER;
}

static void end_value(struct vgw__usage_finder *finder)
{
	if (finder->inside)
		return;
	if (finder->place == USAGE && finder->key < VGW__USAGE_FIELDS &&
		(finder->digits == SOME_DIGITS || finder->digits == ENDED_DIGITS))
		finder->pending.tokens[finder->key] = finder->number;
	finder->key = KEY_OTHER;
	finder->is_key_next = true;
}

static void close_bracket(struct vgw__usage_finder *finder, struct vgw__usage *usage)
{
	if (finder->inside) {
		finder->inside--;
		finder->digits = BAD_DIGITS;
		return;
	}
	end_value(finder);
	finder->is_key_next = false; /* a comma comes first */
	if (finder->place == USAGE) {
		merge(usage, &finder->pending);
		finder->place = finder->outer;
	} else {
		finder->place = finder->place == WRAP ? ROOT : OVER;
	}
}

static void feed_digit(struct vgw__usage_finder *finder, char c)
{
	if (finder->digits == NO_DIGITS || finder->digits == SOME_DIGITS) {
		finder->digits = SOME_DIGITS;
		if (__builtin_mul_overflow(finder->number, 10, &finder->number) ||
			__builtin_add_overflow(finder->number, c - '0', &finder->number))
			finder->digits = BAD_DIGITS;
	} else {
		finder->digits = BAD_DIGITS;
	}
	if (finder->is_key_next)
		finder->key = KEY_OTHER;
}

/* Something that is no part of a number: the value is none, and what should be a key is none either. */
static void spoil(struct vgw__usage_finder *finder)
{
	finder->digits = BAD_DIGITS;
	if (finder->is_key_next)
		finder->key = KEY_OTHER;
}

static void feed_other(struct vgw__usage_finder *finder, char c)
{
	if (finder->inside)
		return;
	if (c >= '0' && c <= '9')
		feed_digit(finder, c);
	else if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
		spoil(finder);
	else if (finder->digits == SOME_DIGITS)
		finder->digits = ENDED_DIGITS;
}

static void feed_byte(struct vgw__usage_finder *finder, char c, struct vgw__usage *usage)
{
	switch (c) {
	case '"':
		finder->in_string = true;
		finder->key_len = finder->is_key_next && !finder->inside ? 0 : sizeof(finder->key_text) + 1;
		break;
	case '{':
	case '[':
		open_bracket(finder, c == '{');
		break;
	case '}':
	case ']':
		close_bracket(finder, usage);
		break;
	case ',':
		end_value(finder);
		break;
	case ':':
		if (finder->inside)
			break;
		finder->is_key_next = false;
		finder->digits = NO_DIGITS;
		finder->number = 0;
		break;
	default:
		feed_other(finder, c);
		break;
	}
}

void vgw__usage_feed(struct vgw__usage_finder *finder, const char *data, size_t len, struct vgw__usage *usage)
{
	const char *end = data + len;
	const char *p = data;

	while (p < end && finder->place != OVER) {
		if (finder->in_string)
			p = feed_string(finder, p, end);
		else
			feed_byte(finder, *p++, usage);
	}
}

/* --- a complete answer --- */

enum { TAIL_BYTES = 1024 }; /* the usage of nearly every answer is among its last bytes */

/* The numbers of one usage object, which is well-formed. */
static bool read_numbers(const char *object, size_t len, struct vgw__usage *usage)
{
	static const char before[] = "{\"usage\":";
	struct vgw__usage_finder finder;
	bool has_any = false;

	vgw__usage_start(&finder);
	vgw__usage_feed(&finder, before, sizeof(before) - 1, usage);
	vgw__usage_feed(&finder, object, len, usage);
	for (size_t i = 0; i < VGW__USAGE_FIELDS; i++)
		has_any |= usage->tokens[i] != VGW__USAGE_UNKNOWN;
	return has_any;
}

/* The last key of that name near the end. It is a key, wherever it lies: inside a string its quotes would have
 * backslashes. */
static const char *find_last_key(const char *data, size_t len)
{
	static const char quoted[] = "\"usage\"";
	const char *end = data + len;
	const char *at = len > TAIL_BYTES ? end - TAIL_BYTES : data;
	const char *last = NULL;

	while ((at = memmem(at, (size_t)(end - at), quoted, sizeof(quoted) - 1)))
		last = at++;
	return last && last > data && strchr("{, \n", last[-1]) ? last : NULL;
}

/* From a key on, is the text the rest of an object that nothing encloses? Then the key was at the top level, and
 * *value is what belongs to it. */
static bool read_tail(struct vgw__lex *lex, const unsigned char **value, size_t *value_len)
{
	const unsigned char *start;

	for (*value = NULL; lex->at < lex->end && *lex->at == '"'; lex->at++, vgw__lex_space(lex)) {
		if (!vgw__lex_string(lex) || !vgw__lex_colon(lex))
			return false;
		start = lex->at;
		if (vgw__lex_value(lex) == VGW__JSON_ABSENT)
			return false;
		if (!*value) {
			*value = start;
			*value_len = (size_t)(lex->at - start);
		}
		vgw__lex_space(lex);
		if (lex->at < lex->end && *lex->at == '}') {
			lex->at++;
			vgw__lex_space(lex);
			return lex->at == lex->end;
		}
		if (lex->at == lex->end || *lex->at != ',')
			return false;
	}
	return false;
}

static bool find_in_tail(const char *data, size_t len, struct vgw__usage *usage)
{
	const char *key = find_last_key(data, len);
	struct vgw__lex lex = { .begin = (const unsigned char *)data,
		.at = (const unsigned char *)key,
		.end = (const unsigned char *)data + len,
		.nesting = 1,
		.depth = 1,
		.max_depth = VGW__JSON_MAX_DEPTH,
		.values_left = TAIL_BYTES };
	const unsigned char *value;
	size_t value_len;

	return key && read_tail(&lex, &value, &value_len) && *value == '{' &&
		read_numbers((const char *)value, value_len, usage);
}

bool vgw__usage_find(const char *data, size_t len, struct vgw__usage *usage)
{
	static const struct vgw__json_name name = { "usage", 5 };
	struct vgw__json_span outer;
	struct vgw__scan_options options = {
		.max_values = UINT32_MAX, .extra_count = 1, .extra_names = &name, .extra = &outer
	};
	struct vgw__scan scan;

	*usage = nothing;
	if (len && find_in_tail(data, len, usage))
		return true;
	/* most answers that are no chat say nothing of tokens: those are not read to find that out */
	return len && memmem(data, len, "_tokens\"", sizeof("_tokens\"") - 1) &&
		vgw__scan_body(&scan, data, len, &options, NULL) == VGW_OK && outer.kind == VGW__JSON_OBJECT &&
		read_numbers(data + outer.start, outer.end - outer.start, usage);
}

int64_t vgw__usage_total(const struct vgw__usage *usage)
{
	int64_t prompt = usage->tokens[VGW__USAGE_PROMPT];
	int64_t completion = usage->tokens[VGW__USAGE_COMPLETION];
	int64_t sum;

	if (usage->tokens[VGW__USAGE_TOTAL] != VGW__USAGE_UNKNOWN)
		return usage->tokens[VGW__USAGE_TOTAL];
	if (prompt == VGW__USAGE_UNKNOWN && completion == VGW__USAGE_UNKNOWN)
		return VGW__USAGE_UNKNOWN;
	if (__builtin_add_overflow(prompt == VGW__USAGE_UNKNOWN ? 0 : prompt,
		    completion == VGW__USAGE_UNKNOWN ? 0 : completion, &sum))
		return INT64_MAX;
	return sum;
}
