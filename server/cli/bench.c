/* SPDX-License-Identifier: Apache-2.0 */
/* A closed loop: C connections, each sends its next request when the last one was answered. Enough to see what a
 * gateway and its engines do under some load; not a load generator for capacity planning. */
#include "cli/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONNECTIONS_MAX = 10000, REQUESTS_MAX = 10000000 };

struct plan {
	const char *model;
	const char *prompt;
	int64_t connections;
	int64_t requests;
	int64_t tokens;
	bool is_stream;
};

struct figures {
	size_t good;
	size_t bytes;
	int64_t *firsts; /* microseconds, of good ones, sorted */
	int64_t *totals;
	double seconds;
};

/* --- the plan ------------------------------------------------------------------------------------------------- */

static bool read_plan(const struct cli *cli, struct plan *plan, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		bool has_value = i + 1 < argc;

		if (strcmp(argv[i], "--stream") == 0)
			plan->is_stream = true;
		else if (has_value && strcmp(argv[i], "--model") == 0)
			plan->model = argv[++i];
		else if (has_value && strcmp(argv[i], "--prompt") == 0)
			plan->prompt = argv[++i];
		else if (has_value && strcmp(argv[i], "-c") == 0)
			plan->connections = cli_number(cli, "-c", argv[++i], 1, CONNECTIONS_MAX);
		else if (has_value && strcmp(argv[i], "-n") == 0)
			plan->requests = cli_number(cli, "-n", argv[++i], 1, REQUESTS_MAX);
		else if (has_value && strcmp(argv[i], "--max-tokens") == 0)
			plan->tokens = cli_number(cli, "--max-tokens", argv[++i], 1, REQUESTS_MAX);
		else
			return cli_wrong(cli, "unexpected argument '%s'", argv[i]), false;
		if (plan->connections < 0 || plan->requests < 0 || plan->tokens < 0)
			return false;
	}
	if (!plan->model)
		return cli_wrong(cli, "--model is missing"), false;
	return true;
}

static char *make_body(const struct plan *plan)
{
	json_t *json = json_pack("{s:s, s:[{s:s, s:s}], s:b, s:I}", "model", plan->model, "messages", "role", "user",
		"content", plan->prompt, "stream", (int)plan->is_stream, "max_tokens", (json_int_t)plan->tokens);
	char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	return body;
}

/* --- figures -------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile_ms(const int64_t *sorted, size_t count, unsigned percent)
{
	size_t rank = (count * percent + 99) / 100;

	return count ? (double)sorted[rank ? rank - 1 : 0] / 1000 : 0;
}

static bool count_figures(struct figures *figures, const struct client_sample *samples, size_t count)
{
	figures->firsts = calloc(count, sizeof(int64_t));
	figures->totals = calloc(count, sizeof(int64_t));
	if (!figures->firsts || !figures->totals)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (samples[i].status != 200)
			continue;
		figures->firsts[figures->good] = samples[i].first_us < 0 ? samples[i].total_us : samples[i].first_us;
		figures->totals[figures->good++] = samples[i].total_us;
		figures->bytes += samples[i].bytes;
	}
	qsort(figures->firsts, figures->good, sizeof(int64_t), compare);
	qsort(figures->totals, figures->good, sizeof(int64_t), compare);
	return true;
}

static json_t *pack_percentiles(const int64_t *sorted, size_t count)
{
	return json_pack("{s:f, s:f, s:f, s:f}", "p50", percentile_ms(sorted, count, 50), "p95",
		percentile_ms(sorted, count, 95), "p99", percentile_ms(sorted, count, 99), "max",
		percentile_ms(sorted, count, 100));
}

static void print_row(struct cli_table *table, const char *what, const int64_t *sorted, size_t count)
{
	cli_table_add(table, "%s\t%.1f\t%.1f\t%.1f\t%.1f", what, percentile_ms(sorted, count, 50),
		percentile_ms(sorted, count, 95), percentile_ms(sorted, count, 99), percentile_ms(sorted, count, 100));
}

static void print_statuses(const struct client_sample *samples, size_t count)
{
	size_t statuses[600] = { 0 };

	for (size_t i = 0; i < count; i++)
		statuses[samples[i].status >= 0 && samples[i].status < 600 ? samples[i].status : 0]++;
	for (int i = 0; i < 600; i++) {
		if (statuses[i] && i != 200)
			(void)printf("%s %d: %zu\n", i ? "status" : "connection failed", i, statuses[i]);
	}
}

static void print_figures(const struct cli *cli, const struct figures *figures, const struct plan *plan,
	const struct client_sample *samples)
{
	struct cli_table table = { NULL, 0 };
	size_t count = (size_t)plan->requests;
	double rate = figures->seconds > 0 ? (double)figures->good / figures->seconds : 0;

	if (cli->is_json) {
		cli_print_json(json_pack("{s:I, s:I, s:I, s:b, s:f, s:f, s:o, s:o}", "requests", (json_int_t)count, "ok",
			(json_int_t)figures->good, "connections", (json_int_t)plan->connections, "stream",
			(int)plan->is_stream, "seconds", figures->seconds, "requests_per_s", rate, "first_byte_ms",
			pack_percentiles(figures->firsts, figures->good), "total_ms",
			pack_percentiles(figures->totals, figures->good)));
		return;
	}
	(void)printf("%zu of %zu requests answered in %.2f s: %.1f/s, %.1f KiB/s\n", figures->good, count,
		figures->seconds, rate, figures->seconds > 0 ? (double)figures->bytes / 1024 / figures->seconds : 0);
	print_statuses(samples, count);
	cli_table_add(&table, "ms\tp50\tp95\tp99\tmax");
	print_row(&table, "first byte", figures->firsts, figures->good);
	print_row(&table, "total", figures->totals, figures->good);
	cli_table_print(&table);
}

/* --- the command ---------------------------------------------------------------------------------------------- */

static double now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int bench_run(const struct cli *cli, int argc, char **argv)
{
	struct plan plan = { .prompt = "Say something.", .connections = 1, .requests = 100, .tokens = 64 };
	struct figures figures = { 0 };
	struct client_sample *samples;
	char *body;
	int status = CLI_FAILED;

	if (!read_plan(cli, &plan, argc, argv))
		return CLI_USAGE;
	body = make_body(&plan);
	samples = calloc((size_t)plan.requests, sizeof(*samples));
	figures.seconds = -now_s();
	if (body && samples && client_flood(cli, "/v1/chat/completions", body, (size_t)plan.connections,
				       (size_t)plan.requests, samples) == 0) {
		figures.seconds += now_s();
		if (count_figures(&figures, samples, (size_t)plan.requests))
			print_figures(cli, &figures, &plan, samples);
		status = figures.good == (size_t)plan.requests ? CLI_OK : CLI_FAILED;
		if (!figures.good && samples[0].status == 0)
			status = CLI_UNREACHABLE;
	} else if (!body || !samples) {
		(void)cli_fail("out of memory, or a text that is not UTF-8");
	}
	free(figures.firsts);
	free(figures.totals);
	free(samples);
	free(body);
	return status;
}
