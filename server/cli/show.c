/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that look: ps, models, state, requests, explain. */
#include "cli/show.h"

#include "cli/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t number_of(const json_t *json, const char *key, int64_t otherwise)
{
	const json_t *value = json_object_get(json, key);

	return json_is_number(value) ? (int64_t)json_number_value(value) : otherwise;
}

static int none_expected(const struct cli *cli, int argc)
{
	return argc > 1 ? cli_wrong(cli, "this command takes no argument") : CLI_OK;
}

/* --- models --------------------------------------------------------------------------------------------------- */

static int64_t memory_of(const json_t *replica)
{
	json_t *bytes = json_object_get(replica, "memory_bytes"), *value;
	const char *device;
	int64_t sum = 0;

	json_object_foreach(bytes, device, value)
		sum += json_integer_value(value);
	return sum;
}

/* "gpu0,gpu1"; "-": none. */
static const char *names_of(const json_t *json, const char *key, char *out, size_t size)
{
	const json_t *names = json_object_get(json, key);
	size_t len = 0;

	(void)snprintf(out, size, "-");
	for (size_t i = 0; i < json_array_size(names) && len < size; i++) {
		const char *name = json_string_value(json_array_get(names, i));

		len += (size_t)snprintf(out + len, size - len, "%s%s", i ? "," : "", name ? name : "?");
	}
	return out;
}

void show_add_model(struct cli_table *table, const json_t *model)
{
	const json_t *replica = json_array_get(json_object_get(model, "replicas"), 0);
	char since[32], memory[32], eta[32], devices[128];

	cli_table_add(table, "%s\t%s\t%s\t%s\t%s\t%s\t%" PRId64 "\t%" PRId64 "\t%s\t%s", cli_text(model, "name"),
		cli_text(model, "state"), json_is_true(json_object_get(model, "pinned")) ? "yes" : "-",
		cli_bytes(memory_of(replica), memory, sizeof(memory)),
		names_of(replica, "devices", devices, sizeof(devices)), cli_text(replica, "endpoint"),
		number_of(replica, "in_flight", 0), number_of(model, "waiting", 0),
		cli_duration(number_of(replica, "since_ms", -1), since, sizeof(since)),
		cli_duration(number_of(model, "eta_ms", -1), eta, sizeof(eta)));
}

void show_add_model_heads(struct cli_table *table)
{
	cli_table_add(table, "MODEL\tSTATE\tPINNED\tMEMORY\tDEVICES\tENDPOINT\tIN FLIGHT\tWAITING\tSINCE\tETA");
}

static bool is_present(const json_t *model)
{
	const char *state = cli_text(model, "state");

	return strcmp(state, "absent") != 0;
}

static void tell_failures(const json_t *models)
{
	const json_t *model;
	size_t i;

	json_array_foreach(models, i, model) {
		const json_t *replica = json_array_get(json_object_get(model, "replicas"), 0);
		const char *error = cli_text(replica, "last_error");

		if (strcmp(error, "-") != 0)
			(void)printf("%s: %s\n", cli_text(model, "name"), error);
	}
}

static int list(const struct cli *cli, int argc, bool are_all)
{
	struct cli_table table = { NULL, 0 };
	json_t *state, *models, *kept;
	const json_t *model;
	int status = none_expected(cli, argc);
	size_t i;

	if (status != CLI_OK)
		return status;
	state = client_ask(cli, "GET", "/admin/state", NULL, &status);
	if (!state)
		return status;
	models = json_object_get(state, "models");
	(void)json_array_extend(models, json_object_get(state, "adapters")); /* models to whoever uses them */
	kept = json_array();
	show_add_model_heads(&table);
	json_array_foreach(models, i, model) {
		if (!are_all && !is_present(model))
			continue;
		show_add_model(&table, model);
		(void)json_array_append(kept, (json_t *)(uintptr_t)model);
	}
	if (cli->is_json) {
		cli_print_json(json_incref(kept));
		free(table.text);
	} else {
		cli_table_print(&table);
		tell_failures(kept);
	}
	json_decref(kept);
	json_decref(state);
	return CLI_OK;
}

int show_ps(const struct cli *cli, int argc, char **argv)
{
	(void)argv;
	return list(cli, argc, false);
}

int show_models(const struct cli *cli, int argc, char **argv)
{
	(void)argv;
	return list(cli, argc, true);
}

int show_state(const struct cli *cli, int argc, char **argv)
{
	int status = none_expected(cli, argc);
	json_t *state = status == CLI_OK ? client_ask(cli, "GET", "/admin/state", NULL, &status) : NULL;

	(void)argv;
	if (state && !cli->is_json && cli->is_terminal) {
		(void)json_dumpf(state, stdout, JSON_INDENT(2));
		(void)putchar('\n');
		json_decref(state);
	} else if (state) {
		cli_print_json(state);
	}
	return status;
}

/* --- requests ------------------------------------------------------------------------------------------------- */

void show_add_requests(struct cli_table *table, const json_t *requests)
{
	const json_t *request;
	char age[32];
	size_t i;

	cli_table_add(table, "REQUEST\tMODEL\tPHASE\tAGE\tBYTES\tPEER\tPATH");
	json_array_foreach(requests, i, request) {
		cli_table_add(table, "%s\t%s\t%s\t%s\t%" PRId64 "\t%s\t%s", cli_text(request, "id"),
			cli_text(request, "model"), cli_text(request, "phase"),
			cli_duration(number_of(request, "age_ms", -1), age, sizeof(age)),
			number_of(request, "bytes_out", 0), cli_text(request, "peer"), cli_text(request, "path"));
	}
}

int show_requests(const struct cli *cli, int argc, char **argv)
{
	struct cli_table table = { NULL, 0 };
	int status = none_expected(cli, argc);
	json_t *requests = status == CLI_OK ? client_ask(cli, "GET", "/admin/requests", NULL, &status) : NULL;

	(void)argv;
	if (requests && cli->is_json) {
		cli_print_json(requests);
	} else if (requests) {
		show_add_requests(&table, requests);
		cli_table_print(&table);
		json_decref(requests);
	}
	return status;
}

/* --- explain -------------------------------------------------------------------------------------------------- */

static void print_rows(const char *what, const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		(void)printf("  %s %s (%s): %s, cost %.3g\n", what, cli_text(row, "model"), cli_text(row, "depth"),
			cli_text(row, "why"), json_number_value(json_object_get(row, "cost")));
	}
}

static void print_decision(const json_t *decision)
{
	char eta[32], devices[128];
	int64_t eta_ms = number_of(decision, "eta_ms", -1);

	(void)printf("%s %s: %s", cli_text(decision, "kind"), cli_text(decision, "model"), cli_text(decision, "why"));
	if (eta_ms >= 0)
		(void)printf(", about %s", cli_duration(eta_ms, eta, sizeof(eta)));
	(void)putchar('\n');
	if (json_array_size(json_object_get(decision, "devices")))
		(void)printf("  on %s: %s\n", names_of(decision, "devices", devices, sizeof(devices)),
			cli_text(decision, "devices_why"));
	print_rows("takes down", json_object_get(decision, "chosen"));
	print_rows("keeps", json_object_get(decision, "rejected"));
}

static bool concerns(const json_t *decision, const char *model)
{
	const json_t *rows = json_object_get(decision, "chosen"), *row;
	size_t i;

	if (strcmp(cli_text(decision, "model"), model) == 0)
		return true;
	json_array_foreach(rows, i, row) {
		if (strcmp(cli_text(row, "model"), model) == 0)
			return true;
	}
	return false;
}

static void print_explanation(const json_t *now, const json_t *decisions)
{
	const char *model = cli_text(now, "model");
	const json_t *decision;
	size_t i, told = 0;

	(void)printf("%s is %s. Loading it now:\n", model, cli_text(now, "state"));
	print_decision(now);
	json_array_foreach(decisions, i, decision) {
		if (told == 5 || !concerns(decision, model))
			continue;
		if (!told++)
			(void)printf("\nThe last decisions about it, newest first:\n");
		print_decision(decision);
	}
}

int show_explain(const struct cli *cli, int argc, char **argv)
{
	json_t *body, *now, *decisions;
	char *text;
	int status;

	if (argc != 2)
		return cli_wrong(cli, "explain wants one model");
	body = json_pack("{s:s}", "model", argv[1]);
	text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (!text)
		return cli_fail("the model's name is not valid UTF-8");
	now = client_ask(cli, "POST", "/admin/explain", text, &status);
	decisions = now ? client_ask(cli, "GET", "/admin/decisions", NULL, &status) : NULL;
	if (now && decisions && cli->is_json)
		cli_print_json(json_pack("{s:O, s:O}", "now", now, "decisions", decisions));
	else if (now && decisions)
		print_explanation(now, decisions);
	json_decref(now);
	json_decref(decisions);
	free(text);
	return status;
}
