/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that do something. What takes time is ordered first and then looked at until it is done: one live line on
 * a terminal, a line at each change in a pipe. */
#include "cli/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_EVERY_MS = 100 };

/* What a command leads to. `goals` and `failures` are states. */
struct action {
	const char *name;
	const char *doing;
	const char *goals[3];
	const char *failures[4];
	bool takes_time;
};

static const struct action load = { "load", "loading", { "ready" }, { "backoff", "stuck" }, true };
static const struct action unload = { "unload", "unloading", { "absent", "backoff" }, { "stuck" }, true };
static const struct action doze = { "sleep", "falling asleep", { "asleep" }, { "absent", "backoff", "stuck" }, true };
static const struct action wake = { "wake", "waking", { "ready" }, { "backoff", "stuck", "absent" }, true };
static const struct action pin = { .name = "pin", .doing = "pinned" };
static const struct action unpin = { .name = "unpin", .doing = "unpinned" };
static const struct action reset = { .name = "reset", .doing = "reset" };

struct options {
	bool is_forced;
	bool is_impatient;
};

/* --- looking -------------------------------------------------------------------------------------------------- */

static bool is_one_of(const char *const *words, size_t count, const char *word)
{
	for (size_t i = 0; i < count && words[i]; i++) {
		if (strcmp(words[i], word) == 0)
			return true;
	}
	return false;
}

static json_t *find_among(const json_t *models, const char *name)
{
	const json_t *alias;
	json_t *model;
	size_t i, k;

	json_array_foreach(models, i, model) {
		if (strcmp(cli_text(model, "name"), name) == 0)
			return model;
		json_array_foreach(json_object_get(model, "aliases"), k, alias) {
			if (json_is_string(alias) && strcmp(json_string_value(alias), name) == 0)
				return model;
		}
	}
	return NULL;
}

static json_t *find_model(const json_t *state, const char *name)
{
	json_t *model = find_among(json_object_get(state, "models"), name);

	return model ? model : find_among(json_object_get(state, "adapters"), name);
}

/* "loading 40 %: capturing graphs, about 12.0s left" */
static void describe(const json_t *model, char *text, size_t size)
{
	const json_t *progress = json_object_get(model, "progress"), *percent = json_object_get(progress, "percent");
	const json_t *eta = json_object_get(model, "eta_ms");
	const char *doing = cli_text(progress, "text");
	char left[32];
	int at = snprintf(text, size, "%s", cli_text(model, "state"));

	if (json_is_integer(percent))
		at += snprintf(text + at, size - (size_t)at, " %" PRId64 " %%", (int64_t)json_integer_value(percent));
	if (strcmp(doing, "-") != 0)
		at += snprintf(text + at, size - (size_t)at, ": %.80s", doing);
	if (json_is_integer(eta) && json_integer_value(eta) > 0)
		(void)snprintf(text + at, size - (size_t)at, ", about %s left",
			cli_duration(json_integer_value(eta), left, sizeof(left)));
}

static void tell(const struct cli *cli, const char *name, const char *text, bool is_last)
{
	if (cli->is_json)
		return;
	if (cli->is_terminal)
		(void)printf("\r\033[K%s: %s%s", name, text, is_last ? "\n" : "");
	else
		(void)printf("%s: %s\n", name, text);
	(void)fflush(stdout);
}

/* In a pipe a line tells a new state, not every second of an estimate. */
static bool is_news(const struct cli *cli, const json_t *model, char *last, size_t size)
{
	char now[160];

	(void)snprintf(now, sizeof(now), "%s %s", cli_text(model, "state"),
		cli_text(json_object_get(model, "progress"), "text"));
	if (strcmp(now, last) == 0)
		return cli->is_terminal;
	(void)snprintf(last, size, "%s", now);
	return true;
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void end(const struct cli *cli, const char *name, json_t *model, bool is_good, int64_t took_ms)
{
	const json_t *replica = json_array_get(json_object_get(model, "replicas"), 0);
	char text[512], took[32];

	if (is_good)
		(void)snprintf(text, sizeof(text), "%s after %s", cli_text(model, "state"),
			cli_duration(took_ms, took, sizeof(took)));
	else
		(void)snprintf(text, sizeof(text), "failed: it is %s: %.300s", cli_text(model, "state"),
			cli_text(replica, "last_error"));
	tell(cli, name, text, true);
	if (cli->is_json)
		cli_print_json(json_incref(model));
}

static int wait_for(const struct cli *cli, const struct action *action, const char *name)
{
	struct timespec pause = { .tv_nsec = (long)LOOK_EVERY_MS * 1000000 };
	int64_t begun_ms = now_ms();
	char last[160] = "", text[256];
	bool was_coming = false;
	int status;

	for (;;) {
		json_t *state = client_ask(cli, "GET", "/admin/state", NULL, &status);
		json_t *model = find_model(state, name);
		const char *at = model ? cli_text(model, "state") : "gone";
		bool is_coming = strcmp(at, "starting") == 0 || strcmp(at, "waking") == 0;
		bool is_good = is_one_of(action->goals, 3, at);
		bool is_going = strcmp(at, "leaving") == 0; /* one that failed: what comes of it is seen next */
		bool is_bad = !model || is_one_of(action->failures, 4, at) || (was_coming && !is_coming && !is_going);

		was_coming = is_coming || (was_coming && is_going);
		if (model && (is_good || is_bad)) {
			end(cli, name, model, is_good, now_ms() - begun_ms);
		} else if (model && is_news(cli, model, last, sizeof(last))) {
			describe(model, text, sizeof(text));
			tell(cli, name, text, false);
		}
		json_decref(state);
		if (status != CLI_OK || is_good)
			return status;
		if (is_bad)
			return CLI_FAILED;
		(void)nanosleep(&pause, NULL);
	}
}

/* --- ordering ------------------------------------------------------------------------------------------------- */

static int order(const struct cli *cli, const struct action *action, const struct options *options, const char *name)
{
	char behind[64], *path;
	json_t *model;
	int status = CLI_FAILED;

	(void)snprintf(behind, sizeof(behind), "/%s%s", action->name, options->is_forced ? "?force=1" : "");
	path = client_path("/admin/models/", name, behind);
	if (!path)
		return cli_fail("out of memory");
	model = client_ask(cli, "POST", path, NULL, &status);
	free(path);
	if (!model)
		return status;
	if (action->takes_time && !options->is_impatient) {
		json_decref(model);
		return wait_for(cli, action, name);
	}
	if (cli->is_json)
		cli_print_json(json_incref(model));
	else
		(void)printf("%s: %s\n", name, action->takes_time ? cli_text(model, "state") : action->doing);
	json_decref(model);
	return CLI_OK;
}

static int act(const struct cli *cli, const struct action *action, int argc, char **argv)
{
	struct options options = { false, false };
	int first = 1, worst = CLI_OK;

	for (; first < argc && argv[first][0] == '-'; first++) {
		if (strcmp(argv[first], "--force") == 0 && strstr(cli->usage, "--force"))
			options.is_forced = true;
		else if (strcmp(argv[first], "--no-wait") == 0 && action->takes_time)
			options.is_impatient = true;
		else if (strcmp(argv[first], "--") != 0)
			return cli_wrong(cli, "unknown option '%s'", argv[first]);
	}
	if (first == argc)
		return cli_wrong(cli, "which model?");
	for (int i = first; i < argc; i++) {
		int status = order(cli, action, &options, argv[i]);

		worst = status > worst ? status : worst;
	}
	return worst;
}

int act_load(const struct cli *cli, int argc, char **argv)
{
	return act(cli, &load, argc, argv);
}

int act_unload(const struct cli *cli, int argc, char **argv)
{
	return act(cli, &unload, argc, argv);
}

int act_sleep(const struct cli *cli, int argc, char **argv)
{
	return act(cli, &doze, argc, argv);
}

int act_wake(const struct cli *cli, int argc, char **argv)
{
	return act(cli, &wake, argc, argv);
}

int act_pin(const struct cli *cli, int argc, char **argv)
{
	return act(cli, &pin, argc, argv);
}

int act_unpin(const struct cli *cli, int argc, char **argv)
{
	return act(cli, &unpin, argc, argv);
}

int act_reset(const struct cli *cli, int argc, char **argv)
{
	return act(cli, &reset, argc, argv);
}

/* --- requests, configuration ---------------------------------------------------------------------------------- */

static int done(const struct cli *cli, json_t *answer, const char *text)
{
	if (cli->is_json)
		cli_print_json(json_incref(answer));
	else
		(void)puts(text);
	json_decref(answer);
	return CLI_OK;
}

int act_cancel(const struct cli *cli, int argc, char **argv)
{
	int worst = CLI_OK;

	if (argc < 2)
		return cli_wrong(cli, "which request? 'vllmgw requests' lists them");
	for (int i = 1; i < argc; i++) {
		char *path = client_path("/admin/requests/", argv[i], "");
		int status = CLI_FAILED;
		json_t *answer = path ? client_ask(cli, "DELETE", path, NULL, &status) : NULL;

		if (answer)
			(void)done(cli, answer, "cancelled");
		worst = status > worst ? status : worst;
		free(path);
	}
	return worst;
}

int act_reload(const struct cli *cli, int argc, char **argv)
{
	json_t *answer;
	int status;

	(void)argv;
	if (argc > 1)
		return cli_wrong(cli, "this command takes no argument");
	answer = client_ask(cli, "POST", "/admin/reload", NULL, &status);
	return answer ? done(cli, answer, "the configuration was read again") : status;
}
