/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the command line. Arguments vLLM has and the simulator has not are ignored, so that a real
 * command line works with only the program's name changed. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, TIME, BYTES, COUNT, FLAG, LIST };

struct option_row {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *value;
	const char *argument;
	const char *help;
};

static const struct option_row rows[] = {
#define O(field_, name_, kind_, value_, argument_, help_) \
	{.name = name_, .kind = kind_, .offset = offsetof(struct options, field_), .value = value_, \
		.argument = argument_, .help = help_},
	ENGINE_OPTIONS(O)
#undef O
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

void words_add(struct words *words, const char *text)
{
	words->items = xrealloc(words->items, (words->count + 1) * sizeof(char *));
	words->items[words->count++] = xstrdup(text);
}

void words_free(struct words *words)
{
	size_t i;

	for (i = 0; i < words->count; i++)
		free(words->items[i]);
	free(words->items);
	*words = (struct words){0};
}

static void *field_of(struct options *options, const struct option_row *row)
{
	return (char *)options + row->offset;
}

static bool set_count(int64_t *field, const char *text)
{
	char *end;

	*field = strtoll(text, &end, 10);
	return end != text && *end == '\0' && *field >= 0;
}

static bool set_value(struct options *options, const struct option_row *row, const char *text)
{
	void *field = field_of(options, row);

	switch (row->kind) {
	case TEXT:
		free(*(char **)field);
		*(char **)field = xstrdup(text);
		return true;
	case TIME:
		return parse_duration(text, field);
	case BYTES:
		return parse_size(text, field);
	case COUNT:
		return set_count(field, text);
	case LIST:
		words_add(field, text);
		return true;
	case FLAG:
		*(bool *)field = true;
		return true;
	}
	return false;
}

static const struct option_row *find_row(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < ROW_COUNT; i++) {
		if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0)
			return &rows[i];
	}
	return NULL;
}

static void print_help(void)
{
	struct buf out = {0};
	struct buf name = {0};
	size_t i;

	buf_text(&out, "usage: vllmgw-engine [serve MODEL] [OPTIONS]\n"
		       "       vllmgw-engine --memory-used FILE | --fault-table | --version | --help\n\n"
		       "Speaks vLLM's HTTP surface without a GPU, with scripted times and faults.\n"
		       "Times: 250ms 15s 2m (a bare number is seconds). Arguments it does not know are "
		       "ignored.\n\n");
	for (i = 0; i < ROW_COUNT; i++) {
		name.len = 0;
		buf_printf(&name, "--%s %s", rows[i].name, rows[i].argument ? rows[i].argument : "");
		buf_printf(&out, "  %-32s %s", name.data, rows[i].help);
		if (rows[i].value)
			buf_printf(&out, " (default %s)", rows[i].value);
		buf_text(&out, "\n");
	}
	buf_text(&out,
		"\nFaults. For all requests: --fault SPEC; for one: the header x-fault: SPEC, the key "
		"\"x_fault\"\n"
		"of the body, or the model's name followed by !SPEC; from tests: POST /_engine/fault.\n\n");
	fault_help(&out, false);
	fputs(out.data, stdout);
	buf_free(&name);
	buf_free(&out);
}

static int print_fault_table(void)
{
	struct buf out = {0};

	fault_help(&out, true);
	fputs(out.data, stdout);
	buf_free(&out);
	return 0;
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && (arg[1] == '-' || (arg[1] >= 'A' && arg[1] <= 'z'));
}

/* Handles argv[i] which is one of ours; returns how many words it took, 0 for a mistake. */
static int take_option(struct options *options, const struct option_row *row, int count, char **args)
{
	const char *equals = strchr(args[0], '=');
	int used = 1;

	if (row->kind == FLAG)
		return set_value(options, row, "");
	if (equals)
		return set_value(options, row, equals + 1);
	while (used < count && (used == 1 || row->kind == LIST) && !is_option(args[used])) {
		if (!set_value(options, row, args[used]))
			return 0;
		used++;
	}
	return used > 1 ? used : 0;
}

static int parse_words(struct options *options, int argc, char **argv)
{
	int i = 1;

	while (i < argc) {
		const char *arg = argv[i];
		const struct option_row *row = NULL;
		int used;

		if (strncmp(arg, "--", 2) == 0)
			row = find_row(arg + 2, strcspn(arg + 2, "="));
		if (row) {
			used = take_option(options, row, argc - i, argv + i);
			if (!used) {
				fprintf(stderr, "vllmgw-engine: %s: wants %s\n", arg, row->argument);
				return 2;
			}
			i += used;
		} else if (strcmp(arg, "serve") == 0 && i + 1 < argc && !is_option(argv[i + 1])) {
			free(options->model);
			options->model = xstrdup(argv[i + 1]);
			i += 2;
		} else {
			words_add(&options->unknown, arg);
			i++;
			while (is_option(arg) && !strchr(arg, '=') && i < argc && !is_option(argv[i]))
				words_add(&options->unknown, argv[i++]);
		}
	}
	return -1;
}

static bool is_one_of(const char *text, const char *const *words)
{
	while (*words && strcmp(text, *words) != 0)
		words++;
	return *words != NULL;
}

static int check(struct options *options)
{
	struct buf why = {0};
	size_t i;

	for (i = 0; i < options->fault.count; i++) {
		if (!fault_parse(&options->faults, options->fault.items[i], &why)) {
			fprintf(stderr, "vllmgw-engine: --fault: %s\n", why.data);
			buf_free(&why);
			return 2;
		}
	}
	buf_free(&why);
	if (options->port > 65535) {
		fprintf(stderr, "vllmgw-engine: --port: at most 65535\n");
		return 2;
	}
	if (!is_one_of(
		    options->asleep_request, (const char *const[]){"hang", "wait", "error", "crash", NULL})) {
		fprintf(stderr, "vllmgw-engine: --asleep-request: hang, wait, error or crash\n");
		return 2;
	}
	if (!options->names.count)
		words_add(&options->names, options->model);
	if (options->unknown.count && fault_is_on(&options->faults, FAULT_UNKNOWN_ARG)) {
		fprintf(stderr, "vllmgw-engine: error: unrecognized arguments:");
		for (i = 0; i < options->unknown.count; i++)
			fprintf(stderr, " %s", options->unknown.items[i]);
		fprintf(stderr, "\n");
		return 2;
	}
	return -1;
}

int options_parse(struct options *options, int argc, char **argv)
{
	size_t i;
	int rc;

	for (i = 0; i < ROW_COUNT; i++) {
		if (rows[i].value)
			set_value(options, &rows[i], rows[i].value);
	}
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		print_help();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--fault-table") == 0)
		return print_fault_table();
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("vllmgw-engine " ENGINE_VERSION);
		return 0;
	}
	rc = parse_words(options, argc, argv);
	return rc >= 0 ? rc : check(options);
}

void options_free(struct options *options)
{
	size_t i;

	for (i = 0; i < ROW_COUNT; i++) {
		if (rows[i].kind == TEXT)
			free(*(char **)field_of(options, &rows[i]));
		if (rows[i].kind == LIST)
			words_free(field_of(options, &rows[i]));
	}
	words_free(&options->unknown);
}
