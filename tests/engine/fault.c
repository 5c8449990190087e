/* SPDX-License-Identifier: Apache-2.0 */
/* Reading fault specifications, and telling people which there are. */
#include "fault.h"

#include <stdlib.h>
#include <string.h>

enum argument_kind { NONE, COUNT, TIME, BYTES, CODE };

struct fault_row {
	const char *name;
	const char *phase;
	enum argument_kind kind;
	int64_t value; /* of the argument when none is given */
	const char *help;
};

static const struct fault_row rows[FAULT_COUNT] = {
#define F(id, name_, phase_, kind_, value_, help_) \
	[FAULT_##id] = {.name = name_, .phase = #phase_, .kind = kind_, .value = value_, .help = help_},
	ENGINE_FAULTS(F)
#undef F
};

static bool parse_argument(enum argument_kind kind, const char *text, int64_t *value)
{
	char *end;

	switch (kind) {
	case TIME:
		return parse_duration(text, value);
	case BYTES:
		return parse_size(text, value);
	case COUNT:
	case CODE:
		*value = strtoll(text, &end, 10);
		return end != text && *end == '\0' && *value >= 0 && (kind == COUNT || *value <= 255);
	case NONE:
		break;
	}
	return false;
}

static bool parse_one(struct fault_set *set, const char *word, struct buf *why)
{
	const char *colon = strchr(word, ':');
	size_t len = colon ? (size_t)(colon - word) : strlen(word);
	int i;

	for (i = 0; i < FAULT_COUNT; i++) {
		if (strlen(rows[i].name) != len || memcmp(rows[i].name, word, len) != 0)
			continue;
		set->argument[i] = rows[i].value;
		if (colon && !parse_argument(rows[i].kind, colon + 1, &set->argument[i])) {
			buf_printf(why, "fault '%s': '%s' is no argument for it", rows[i].name, colon + 1);
			return false;
		}
		set->on |= UINT64_C(1) << i;
		return true;
	}
	buf_printf(why, "no fault is called '%.*s' (--help lists them)", (int)len, word);
	return false;
}

bool fault_parse(struct fault_set *set, const char *spec, struct buf *why)
{
	struct fault_set work = *set;

	while (*spec) {
		size_t len = strcspn(spec, ", \t");
		char *word = xstrndup(spec, len);
		bool ok = len == 0 || parse_one(&work, word, why);

		free(word);
		if (!ok)
			return false;
		spec += len;
		spec += strspn(spec, ", \t");
	}
	*set = work;
	return true;
}

void fault_join(struct fault_set *into, const struct fault_set *more)
{
	int i;

	for (i = 0; more->on >> i; i++) {
		if (fault_is_on(more, (enum fault)i))
			into->argument[i] = more->argument[i];
		if (i == FAULT_COUNT - 1)
			break;
	}
	into->on |= more->on;
}

void fault_help(struct buf *out, bool is_markdown)
{
	static const char *const arguments[] = {
		[NONE] = "", [COUNT] = "[:N]", [TIME] = "[:TIME]", [BYTES] = "[:BYTES]", [CODE] = "[:CODE]"};
	struct buf name = {0};
	int i;

	if (is_markdown)
		buf_text(out, "| fault | phase | what happens |\n| --- | --- | --- |\n");
	for (i = 0; i < FAULT_COUNT; i++) {
		name.len = 0;
		buf_printf(&name, "%s%s", rows[i].name, arguments[rows[i].kind]);
		if (is_markdown)
			buf_printf(out, "| `%s` | %s | %s |\n", name.data, rows[i].phase, rows[i].help);
		else
			buf_printf(out, "  %-28s %-8s %s\n", name.data, rows[i].phase, rows[i].help);
	}
	buf_free(&name);
}
