/* SPDX-License-Identifier: Apache-2.0 */
/* vllmgw: options that every command has, and the way to the command. */
#include "cli/cli.h"

#include <vllmgw/common.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_URL "http://127.0.0.1:8080"

struct command {
	const char *name;
	const char *arguments;
	cli_fn fn;
	const char *what;
};

static const struct command commands[] = {
#define XX(name_, arguments_, fn_, what_) { name_, arguments_, fn_, what_ },
	CLI_COMMANDS(XX)
#undef XX
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *out)
{
	(void)fputs("Usage: vllmgw [--url URL] [--key KEY] [--json] COMMAND [ARGUMENT...]\n"
		   "\n"
		   "Looks at a running vllmgw-server and tells it what to do.\n\n", out);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		(void)fprintf(out, "  %-9s %s%s%s\n", commands[i].name, commands[i].arguments,
			commands[i].arguments[0] ? "\n            " : "", commands[i].what);
	(void)fputs("\n"
		   "      --url URL  http://HOST:PORT or unix:/PATH; else $VLLMGW_URL, else " DEFAULT_URL "\n"
		   "      --key KEY  the admin key; else $VLLMGW_KEY\n"
		   "      --json     JSON instead of text\n"
		   "  -V, --version  print the version\n"
		   "  -h, --help     print this\n"
		   "\n"
		   "Exit status: 0 ok, 1 refused or failed, 2 wrong usage, 3 the gateway cannot be reached.\n", out);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* Takes an option every command has out of argv: 1. Not one: 0. Wrong: -1. */
static int take_option(struct cli *cli, int argc, char **argv, int *at)
{
	static const char *const names[] = { "--url", "--key" };
	const char **values[] = { &cli->url, &cli->key };

	if (strcmp(argv[*at], "--json") == 0) {
		cli->is_json = true;
		return 1;
	}
	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(names[i]);

		if (strncmp(argv[*at], names[i], len) != 0 || (argv[*at][len] && argv[*at][len] != '='))
			continue;
		if (argv[*at][len] == '=') {
			*values[i] = argv[*at] + len + 1;
			return 1;
		}
		if (*at + 1 == argc) {
			(void)fprintf(stderr, "vllmgw: %s wants a value\n", names[i]);
			return -1;
		}
		*values[i] = argv[++*at];
		return 1;
	}
	return 0;
}

/* Options may stand before and behind the command; what is left moves together. Returns how much is left, or -1. */
static int take_options(struct cli *cli, int argc, char **argv)
{
	int left = 1;

	for (int i = 1; i < argc; i++) {
		int taken;

		if (strcmp(argv[i], "--") == 0) {
			while (i < argc)
				argv[left++] = argv[i++];
			break;
		}
		taken = take_option(cli, argc, argv, &i);
		if (taken < 0)
			return -1;
		if (!taken)
			argv[left++] = argv[i];
	}
	argv[left] = NULL;
	return left;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct command *command = find_command(argv[1]);
	char usage[256];

	if (!command) {
		(void)fprintf(stderr, "vllmgw: there is no command '%s'; 'vllmgw --help' lists them\n", argv[1]);
		return CLI_USAGE;
	}
	(void)snprintf(usage, sizeof(usage), "%s %s", command->name, command->arguments);
	cli->usage = usage;
	if (argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
		(void)printf("usage: vllmgw %s\n%s\n", usage, command->what);
		return CLI_OK;
	}
	return command->fn(cli, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	struct cli cli = { .url = getenv("VLLMGW_URL"), .key = getenv("VLLMGW_KEY"),
		.is_terminal = isatty(STDOUT_FILENO) };

	(void)signal(SIGPIPE, SIG_DFL); /* `vllmgw events | head` ends like every filter */
	argc = take_options(&cli, argc, argv);
	if (argc < 0)
		return CLI_USAGE;
	if (!cli.url || !*cli.url)
		cli.url = DEFAULT_URL;
	if (cli.key && !*cli.key)
		cli.key = NULL;
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(argc < 2 ? stderr : stdout);
		return argc < 2 ? CLI_USAGE : CLI_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		(void)printf("vllmgw %s\n", vgw_version());
		return CLI_OK;
	}
	return run(&cli, argc, argv);
}
