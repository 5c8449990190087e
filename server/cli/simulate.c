/* SPDX-License-Identifier: Apache-2.0 */
/* What each policy would have done with a trace.
 *
 *   --config ─► models, limits ─┐   (--set KEY=VALUE over it, as VLLMGW_* variables do)
 *   --trace ──► arrivals ───────┼──► vgw_simulate(), once for each contender ──► table
 *   --times ──► what loads take ┘   (the gateway's own measurements; --time by hand; else 60 s, 5 s, 5 s, 3 s) */
#include "cli/client.h"
#include "cli/trace.h"

#include "apply.h"
#include "config.h"
#include "config_keys.h"
#include "config_value.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETS_MAX = 64, TIMES_MAX = 512 };

extern char **environ;

struct question {
	const char *config_path;
	const char *trace_path;
	const char *times; /* file or URL, NULL: none */
	const char *sets[SETS_MAX];
	size_t set_count;
	const char *hands[SETS_MAX]; /* --time MODEL=... */
	size_t hand_count;

	struct config *config;
	json_t *learned; /* names of times point into it */
	vgw_engine_times known[TIMES_MAX];
	size_t known_count;
	char hand_names[SETS_MAX][128];
	struct trace trace;
	size_t left_out; /* arrivals of models that somebody else runs */
	vgw_registry *registry;
	struct apply_room room;
	vgw_gateway_options options;
};

/* --- the command line ----------------------------------------------------------------------------------------- */

static int read_arguments(const struct cli *cli, struct question *question, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (i + 1 == argc)
			return cli_wrong(cli, "unexpected argument '%s'", argv[i]);
		if (strcmp(argv[i], "--config") == 0 || strcmp(argv[i], "-c") == 0)
			question->config_path = argv[++i];
		else if (strcmp(argv[i], "--trace") == 0)
			question->trace_path = argv[++i];
		else if (strcmp(argv[i], "--times") == 0)
			question->times = argv[++i];
		else if (strcmp(argv[i], "--set") == 0 && question->set_count < SETS_MAX)
			question->sets[question->set_count++] = argv[++i];
		else if (strcmp(argv[i], "--time") == 0 && question->hand_count < SETS_MAX)
			question->hands[question->hand_count++] = argv[++i];
		else
			return cli_wrong(cli, "unexpected argument '%s'", argv[i]);
	}
	if (!question->config_path || !question->trace_path)
		return cli_wrong(cli, "%s is missing", question->config_path ? "--trace" : "--config");
	return CLI_OK;
}

/* --- the configuration ---------------------------------------------------------------------------------------- */

/* "residency.max_resident=3" -> "VLLMGW_RESIDENCY_MAX_RESIDENT=3", in malloc()ed memory; NULL: no such key. */
static char *make_variable(const char *set)
{
	size_t key_len = strcspn(set, "=");
	char key[128], *variable = NULL;

	if (key_len >= sizeof(key) || set[key_len] != '=')
		return NULL;
	memcpy(key, set, key_len);
	key[key_len] = '\0';
	if (!config_keys_find(&config_server_keys, key))
		return NULL;
	for (size_t i = 0; i < key_len; i++)
		key[i] = (char)(key[i] == '.' ? '_' : toupper((unsigned char)key[i]));
	return asprintf(&variable, "VLLMGW_%s%s", key, set + key_len) < 0 ? NULL : variable;
}

static int load(struct question *question, const char *const *environment)
{
	struct config_source source = { .path = question->config_path, .environment = environment };
	struct config_report *report = calloc(1, sizeof(*report));
	int status;

	if (!report)
		return cli_fail("out of memory");
	status = config_load(&question->config, &source, report) == 0 ? CLI_OK : CLI_FAILED;
	for (size_t i = 0; i < config_messages_count(&report->errors); i++)
		(void)cli_fail("%s", report->errors.lines[i].text);
	free(report);
	return status;
}

static int read_config(struct question *question)
{
	size_t inherited = 0, count = 0;
	const char **environment;
	int status = CLI_OK;

	while (environ[inherited])
		inherited++;
	environment = calloc(inherited + question->set_count + 1, sizeof(*environment));
	if (!environment)
		return cli_fail("out of memory");
	for (; count < question->set_count && status == CLI_OK; count++) {
		environment[count] = make_variable(question->sets[count]);
		if (!environment[count])
			status = cli_fail("--set %s: it must be KEY=VALUE with a key of the configuration such as "
					  "residency.max_resident", question->sets[count]);
	}
	/* the first of two variables of one name counts */
	memcpy(environment + count, environ, inherited * sizeof(*environment));
	if (status == CLI_OK)
		status = load(question, environment);
	for (size_t i = 0; i < count; i++)
		free((char *)(uintptr_t)environment[i]);
	free(environment);
	return status;
}

/* --- models and arrivals -------------------------------------------------------------------------------------- */

/* Somebody else's engines are always up: they take no part. */
static int make_registry(struct question *question)
{
	const struct config *config = question->config;
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status = vgw_registry_new(&question->registry, &err);

	for (size_t i = 0; status == VGW_OK && i < config->models.count; i++) {
		if (config->models.items[i].is_managed)
			status = apply_model(question->registry, &config->models.items[i], &err);
	}
	if (status == VGW_OK)
		status = apply_gateway_options(&question->options, &question->room, config, (vgw_logger){ 0 }, &err);
	if (status != VGW_OK)
		return cli_fail("%s: %s", question->config_path, err.text);
	if (!vgw_registry_get_count(question->registry))
		return cli_fail("%s: there is no model in it that the gateway starts and stops", question->config_path);
	return CLI_OK;
}

static bool is_somebody_elses(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->models.count; i++) {
		const struct config_model *model = &config->models.items[i];

		if (model->is_managed)
			continue;
		if (strcmp(model->name, name) == 0)
			return true;
		for (size_t k = 0; k < model->aliases.count; k++) {
			if (strcmp(model->aliases.items[k], name) == 0)
				return true;
		}
	}
	return false;
}

static void leave_out(struct question *question)
{
	size_t kept = 0;

	for (size_t i = 0; i < question->trace.count; i++) {
		vgw_arrival arrival = question->trace.arrivals[i];

		if (is_somebody_elses(question->config, arrival.model)) {
			free((char *)(uintptr_t)arrival.model);
			question->left_out++;
		} else {
			question->trace.arrivals[kept++] = arrival;
		}
	}
	question->trace.count = kept;
}

/* --- what loads take ------------------------------------------------------------------------------------------ */

static vgw_engine_times *times_of(struct question *question, const char *model)
{
	for (size_t i = 0; i < question->known_count; i++) {
		if (strcmp(question->known[i].model, model) == 0)
			return &question->known[i];
	}
	if (question->known_count == TIMES_MAX)
		return NULL;
	question->known[question->known_count] = (vgw_engine_times){ .model = model };
	return &question->known[question->known_count++];
}

static int64_t median_of(const json_t *times, const char *what)
{
	return json_integer_value(json_object_get(json_object_get(times, what), "p50"));
}

/* What GET /admin/state says, from a file or a gateway. */
static int learn_times(const struct cli *cli, struct question *question)
{
	struct cli other = *cli;
	const json_t *models, *model;
	json_error_t error;
	int status = CLI_OK;
	size_t i;

	other.url = question->times;
	if (strstr(question->times, "://") || strncmp(question->times, "unix:", 5) == 0)
		question->learned = client_ask(&other, "GET", "/admin/state", NULL, &status);
	else if (!(question->learned = json_load_file(question->times, 0, &error)))
		status = cli_fail("%s:%d: %s", question->times, error.line, error.text);
	models = json_object_get(question->learned, "models");
	if (status == CLI_OK && !json_is_array(models))
		status = cli_fail("%s: there are no models in it; 'vllmgw state' writes what is wanted", question->times);
	json_array_foreach(models, i, model) {
		const json_t *times = json_object_get(model, "times");
		const char *name = json_string_value(json_object_get(model, "name"));
		vgw_engine_times *known = name ? times_of(question, name) : NULL;

		if (known)
			*known = (vgw_engine_times){ known->model, median_of(times, "start_ms"),
				median_of(times, "stop_ms"), median_of(times, "sleep_ms"), median_of(times, "wake_ms") };
	}
	return status;
}

/* "90s,4s": as many of the four as are given. False: one is no duration. */
static bool read_durations(const char *text, vgw_engine_times *times)
{
	int64_t *const fields[] = { &times->start_ms, &times->stop_ms, &times->sleep_ms, &times->wake_ms };
	char one[32];

	for (size_t i = 0; i < 4; i++) {
		size_t len = strcspn(text, ",");

		(void)snprintf(one, sizeof(one), "%.*s", (int)len, text);
		if (len >= sizeof(one) || config_value_parse_duration(one, fields[i]))
			return false;
		if (!text[len])
			return true;
		text += len + 1;
	}
	return false;
}

/* MODEL=START[,STOP[,SLEEP[,WAKE]]] */
static int take_hand(const struct cli *cli, struct question *question, size_t place)
{
	const char *given = question->hands[place], *at = strrchr(given, '=');
	char *name = question->hand_names[place];
	vgw_engine_times *known = NULL;

	if (at && at > given && (size_t)(at - given) < sizeof(question->hand_names[0])) {
		memcpy(name, given, (size_t)(at - given));
		known = times_of(question, name);
	}
	if (known && read_durations(at + 1, known))
		return CLI_OK;
	return cli_wrong(cli, "--time %s: it must be MODEL=START[,STOP[,SLEEP[,WAKE]]] such as big=90s,4s", given);
}

/* --- the answer ----------------------------------------------------------------------------------------------- */

static json_t *pack(const vgw_simulated *run, vgw_contender contender, const vgw_simulated *bound)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:o}", "policy",
		vgw_contender_get_name(contender), "swaps", (json_int_t)run->cold_starts, "wakes",
		(json_int_t)run->wakes, "served", (json_int_t)run->served, "refused", (json_int_t)run->refused,
		"wait_p50_ms", (json_int_t)run->wait_p50_ms, "wait_p95_ms", (json_int_t)run->wait_p95_ms, "wait_p99_ms",
		(json_int_t)run->wait_p99_ms, "wait_max_ms", (json_int_t)run->wait_max_ms, "wait_mean_ms",
		run->wait_mean_ms, "goodput", run->goodput, "device_hours", run->device_hours, "p95_to_bound",
		bound->wait_p95_ms ? json_real((double)run->wait_p95_ms / (double)bound->wait_p95_ms) : json_null());
}

static void add_row(struct cli_table *table, const vgw_simulated *run, vgw_contender contender,
	const vgw_simulated *bound)
{
	char p50[32], p95[32], p99[32], ratio[32] = "-";

	if (bound->wait_p95_ms)
		(void)snprintf(ratio, sizeof(ratio), "%.2fx", (double)run->wait_p95_ms / (double)bound->wait_p95_ms);
	cli_table_add(table, "%s\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%.2f\t%.1f %%\t%" PRIu64,
		vgw_contender_get_name(contender), run->cold_starts, run->wakes,
		cli_duration(run->wait_p50_ms, p50, sizeof(p50)), cli_duration(run->wait_p95_ms, p95, sizeof(p95)),
		cli_duration(run->wait_p99_ms, p99, sizeof(p99)), ratio, run->device_hours, 100 * run->goodput,
		run->refused);
}

static void print_answer(const struct cli *cli, const struct question *question, const vgw_simulated *runs)
{
	const vgw_simulated *bound = &runs[VGW_CONTENDER_CLAIRVOYANT];
	struct cli_table table = { NULL, 0 };
	json_t *list = json_array();
	char span[32];

	cli_table_add(&table, "POLICY\tSTARTS\tWAKES\tWAIT P50\tP95\tP99\tP95 TO BOUND\tDEVICE HOURS\tGOODPUT\tREFUSED");
	for (int i = 0; i < VGW_CONTENDER_COUNT; i++) {
		(void)json_array_append_new(list, pack(&runs[i], (vgw_contender)i, bound));
		add_row(&table, &runs[i], (vgw_contender)i, bound);
	}
	if (cli->is_json) {
		cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:o}", "arrivals", (json_int_t)question->trace.count,
			"left_out", (json_int_t)question->left_out, "span_ms", (json_int_t)bound->span_ms,
			"max_resident", (json_int_t)question->config->residency.max_resident, "policies", list));
		free(table.text);
		return;
	}
	json_decref(list);
	(void)printf("%zu requests over %s, max_resident %" PRId64 "\n", question->trace.count,
		cli_duration(bound->span_ms, span, sizeof(span)), question->config->residency.max_resident);
	if (question->left_out)
		(void)printf("%zu more are for models that somebody else runs\n", question->left_out);
	cli_table_print(&table);
}

static int answer(const struct cli *cli, struct question *question)
{
	vgw_simulation simulation = VGW_SIMULATION_INIT;
	vgw_simulated runs[VGW_CONTENDER_COUNT];
	vgw_error err = VGW_ERROR_INIT;

	simulation.registry = question->registry;
	simulation.options = question->options.residency;
	simulation.times = question->known;
	simulation.time_count = question->known_count;
	simulation.arrivals = question->trace.arrivals;
	simulation.arrival_count = question->trace.count;
	for (int i = 0; i < VGW_CONTENDER_COUNT; i++) {
		if (vgw_simulate(&runs[i], &simulation, (vgw_contender)i, &err) != VGW_OK)
			return cli_fail("%s: %s", question->trace_path, err.text);
	}
	print_answer(cli, question, runs);
	return CLI_OK;
}

int simulate_run(const struct cli *cli, int argc, char **argv)
{
	struct question *question = calloc(1, sizeof(*question));
	char why[512];
	int status = question ? read_arguments(cli, question, argc, argv) : cli_fail("out of memory");

	if (!question)
		return status;
	if (status == CLI_OK)
		status = read_config(question);
	if (status == CLI_OK && trace_read(&question->trace, question->trace_path, why, sizeof(why)) != 0)
		status = cli_fail("%s", why);
	if (status == CLI_OK)
		status = make_registry(question);
	if (status == CLI_OK && question->times)
		status = learn_times(cli, question);
	for (size_t i = 0; status == CLI_OK && i < question->hand_count; i++)
		status = take_hand(cli, question, i);
	if (status == CLI_OK) {
		leave_out(question);
		status = answer(cli, question);
	}
	trace_free(&question->trace);
	vgw_registry_unref(question->registry);
	apply_room_free(&question->room);
	json_decref(question->learned);
	config_free(question->config);
	free(question);
	return status;
}
