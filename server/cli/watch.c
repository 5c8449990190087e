/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that follow: logs, events, top. */
#include "cli/client.h"
#include "cli/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINES = 200, LOG_LINES_MAX = 100000 };

/* -f, -n N and what is left. False: complained. */
static bool read_options(const struct cli *cli, int argc, char **argv, bool *follows, int64_t *count, const char **rest)
{
	for (int i = 1; i < argc; i++) {
		if (follows && (strcmp(argv[i], "-f") == 0 || strcmp(argv[i], "--follow") == 0)) {
			*follows = true;
		} else if (strcmp(argv[i], "-n") == 0 && i + 1 < argc) {
			*count = cli_number(cli, "-n", argv[++i], 1, LOG_LINES_MAX);
			if (*count < 0)
				return false;
		} else if (rest && !*rest && argv[i][0] != '-') {
			*rest = argv[i];
		} else {
			(void)cli_wrong(cli, "unexpected argument '%s'", argv[i]);
			return false;
		}
	}
	return true;
}

/* --- logs ----------------------------------------------------------------------------------------------------- */

static bool print_piece(void *user, const char *data, size_t len)
{
	(void)user;
	(void)fwrite(data, 1, len, stdout);
	return fflush(stdout) == 0;
}

int watch_logs(const struct cli *cli, int argc, char **argv)
{
	bool follows = false;
	int64_t lines = LOG_LINES;
	const char *model = NULL;
	char behind[64], *path;
	struct client *client;
	long status = 0;

	if (!read_options(cli, argc, argv, &follows, &lines, &model))
		return CLI_USAGE;
	if (!model)
		return cli_wrong(cli, "which model?");
	(void)snprintf(behind, sizeof(behind), "/logs?lines=%" PRId64 "%s", lines, follows ? "&follow=1" : "");
	path = client_path("/admin/models/", model, behind);
	client = client_new(cli);
	if (client && path)
		status = client_stream(client, path, print_piece, NULL);
	client_free(client);
	free(path);
	return status == 200 ? CLI_OK : status ? CLI_FAILED : CLI_UNREACHABLE;
}

/* --- events --------------------------------------------------------------------------------------------------- */

struct listener {
	const struct cli *cli;
	char *line;
	size_t len;
	size_t capacity;
	int64_t left; /* events; below zero: no end */
};

static void print_event(const json_t *event)
{
	const char *kind = cli_text(event, "kind"), *model = cli_text(event, "model");
	struct tm day;
	time_t now = time(NULL);
	char clock[16];

	(void)strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &day));
	(void)printf("%s  ", clock);
	if (strcmp(kind, "transition") == 0 || strcmp(kind, "circuit") == 0)
		(void)printf("%s: %s -> %s (%s)", model, cli_text(event, "from"), cli_text(event, "to"),
			cli_text(event, "cause"));
	else if (strcmp(kind, "lost") == 0)
		(void)printf("%" PRId64 " events were lost", (int64_t)json_integer_value(json_object_get(event, "lost")));
	else
		(void)printf("%s: %s", model, strcmp(kind, "decision") == 0 ? cli_text(event, "cause") : kind);
	if (json_is_integer(json_object_get(event, "percent")))
		(void)printf(" %" PRId64 " %%", (int64_t)json_integer_value(json_object_get(event, "percent")));
	if (strcmp(cli_text(event, "text"), "-") != 0)
		(void)printf(": %s", cli_text(event, "text"));
	(void)putchar('\n');
}

static void take_line(struct listener *listener, const char *line)
{
	json_t *event;

	if (strncmp(line, "data: ", 6) != 0)
		return;
	event = json_loads(line + 6, 0, NULL);
	if (listener->cli->is_json)
		(void)puts(line + 6);
	else if (event)
		print_event(event);
	json_decref(event);
	(void)fflush(stdout);
	if (listener->left > 0)
		listener->left--;
}

static bool take_piece(void *user, const char *data, size_t len)
{
	struct listener *listener = user;

	for (size_t i = 0; i < len && listener->left; i++) {
		if (listener->len + 1 >= listener->capacity) {
			size_t want = listener->capacity ? 2 * listener->capacity : 1024;
			char *bigger = realloc(listener->line, want);

			if (!bigger)
				return false;
			listener->line = bigger;
			listener->capacity = want;
		}
		if (data[i] != '\n') {
			listener->line[listener->len++] = data[i];
			continue;
		}
		listener->line[listener->len] = '\0';
		listener->len = 0;
		take_line(listener, listener->line);
	}
	return listener->left != 0;
}

int watch_events(const struct cli *cli, int argc, char **argv)
{
	struct listener listener = { .cli = cli, .left = -1 };
	struct client *client;
	long status = 0;

	if (!read_options(cli, argc, argv, NULL, &listener.left, NULL))
		return CLI_USAGE;
	client = client_new(cli);
	if (client)
		status = client_stream(client, "/admin/events", take_piece, &listener);
	client_free(client);
	free(listener.line);
	return status == 200 ? CLI_OK : status ? CLI_FAILED : CLI_UNREACHABLE;
}

/* --- top ------------------------------------------------------------------------------------------------------ */

static void print_devices(const json_t *devices)
{
	const json_t *device;
	char used[32], budget[32];
	size_t i;

	json_array_foreach(devices, i, device) {
		(void)printf("%s %s of %s   ", cli_text(device, "name"),
			cli_bytes(json_integer_value(json_object_get(device, "used_bytes")), used, sizeof(used)),
			cli_bytes(json_integer_value(json_object_get(device, "budget_bytes")), budget, sizeof(budget)));
	}
	if (json_array_size(devices))
		(void)putchar('\n');
}

static void print_top(const struct cli *cli, json_t *state, json_t *requests)
{
	const json_t *models = json_object_get(state, "models"), *counts = json_object_get(state, "requests"), *model;
	struct cli_table table = { NULL, 0 };
	char uptime[32];
	size_t i;

	if (cli->is_json) {
		cli_print_json(json_pack("{s:O, s:O}", "state", state, "requests", requests));
		return;
	}
	if (cli->is_terminal)
		(void)fputs("\033[H\033[2J", stdout);
	(void)printf("vllmgw-server %s, up %s, %" PRId64 " in flight, %" PRId64 " waiting\n", cli_text(state, "version"),
		cli_duration((int64_t)(json_number_value(json_object_get(state, "uptime_s")) * 1000), uptime, sizeof(uptime)),
		(int64_t)json_integer_value(json_object_get(counts, "in_flight")),
		(int64_t)json_integer_value(json_object_get(counts, "queued")));
	print_devices(json_object_get(state, "devices"));
	(void)putchar('\n');
	show_add_model_heads(&table);
	json_array_foreach(models, i, model)
		show_add_model(&table, model);
	cli_table_print(&table);
	(void)putchar('\n');
	show_add_requests(&table, requests);
	cli_table_print(&table);
	(void)fflush(stdout);
}

/* Once in a pipe, for ever on a terminal, unless -n says how often. */
int watch_top(const struct cli *cli, int argc, char **argv)
{
	struct timespec pause = { .tv_sec = 1 };
	int64_t left = cli->is_terminal ? INT64_MAX : 1;
	int status = CLI_OK;

	if (!read_options(cli, argc, argv, NULL, &left, NULL))
		return CLI_USAGE;
	for (; left > 0 && status == CLI_OK; left--) {
		json_t *state = client_ask(cli, "GET", "/admin/state", NULL, &status);
		json_t *requests = state ? client_ask(cli, "GET", "/admin/requests", NULL, &status) : NULL;

		if (requests)
			print_top(cli, state, requests);
		json_decref(state);
		json_decref(requests);
		if (left > 1 && status == CLI_OK)
			(void)nanosleep(&pause, NULL);
	}
	return status;
}
