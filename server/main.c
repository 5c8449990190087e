/* SPDX-License-Identifier: Apache-2.0 */
/* vllmgw-server: read the command line and the configuration, then do what was asked. */
#include "args.h"
#include "compat_env.h"
#include "config.h"
#include "process_metrics.h"
#include "routes/routes.h"
#include "serve.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print_messages(const char *kind, const struct config_messages *messages)
{
	size_t count = config_messages_count(messages);

	for (size_t i = 0; i < count; i++)
		(void)fprintf(stderr, "%s: %s\n", kind, messages->lines[i].text);
	if (messages->total > count)
		(void)fprintf(stderr, "%s: and %zu more\n", kind, messages->total - count);
}

/* A file that is there, or was named, is read; the variables are put over it. */
static bool is_all_in_variables(const struct args *args)
{
	char path[4096];

	return config_find(args->config, NULL, path, sizeof(path)) != 0 &&
	       compat_env_is_complete((const char *const *)environ);
}

struct config *load_config(const struct args *args, char *why, size_t size)
{
	struct config_source source = { 0 };
	struct config_report *report = calloc(1, sizeof(*report));
	struct config *config = NULL;
	char path[4096];

	(void)snprintf(why, size, "out of memory");
	if (!report) {
		(void)fputs("error: out of memory\n", stderr);
		return NULL;
	}
	if (!args->from_env && !is_all_in_variables(args)) {
		if (config_find(args->config, NULL, path, sizeof(path)) != 0) {
			(void)fprintf(stderr, "error: %s\n", path);
			(void)snprintf(why, size, "%s", path);
			free(report);
			return NULL;
		}
		source.path = path;
	}
	(void)config_load(&config, &source, report);
	print_messages("warning", &report->warnings);
	print_messages("error", &report->errors);
	if (config_messages_count(&report->errors) > 0)
		(void)snprintf(why, size, "%s", report->errors.lines[0].text);
	free(report);
	return config;
}

static int check(const struct config *config)
{
	vgw_error err = VGW_ERROR_INIT;

	if (serve_check(config, &err) != VGW_OK) {
		(void)fprintf(stderr, "error: %s\n", err.text);
		return EXIT_CONFIG;
	}
	(void)printf("%s: ok, %zu model%s\n", config->path ? config->path : "environment", config->models.count,
		config->models.count == 1 ? "" : "s");
	return EXIT_SUCCESS;
}

/* Routes that one feature hides are shown too. */
enum { ALL_FEATURES = ROUTES_SIMPLE | ROUTES_PASSTHROUGH | ROUTES_LLAMA_SWAP | ROUTES_OLLAMA };

static int print_routes(const struct args *args)
{
	static const char *const who[] = { [ROUTE_USER] = "user", [ROUTE_PUBLIC] = "everybody",
		[ROUTE_OPERATOR] = "operator", [ROUTE_ADMIN] = "admin" };
	struct routes *routes = routes_new(ALL_FEATURES | (args->is_aic ? ROUTES_AIC | ROUTES_ADHOC : 0));
	const struct route *route;

	if (!routes)
		return EXIT_FAILED;
	for (size_t i = 0; (route = routes_get(routes, i)) != NULL; i++)
		(void)printf("%-7s %-32s %s\n", route->method, route->path, who[route->auth]);
	routes_free(routes);
	return EXIT_SUCCESS;
}

static int run(const struct args *args)
{
	char why[512];
	struct config *config = load_config(args, why, sizeof(why));
	int status;

	if (!config)
		return EXIT_CONFIG;
	if (args->verb == ARGS_SERVE)
		return serve(config, args); /* takes the configuration */
	if (args->verb == ARGS_CHECK)
		status = check(config);
	else
		status = config_print(config, stdout, true) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
	config_free(config);
	return status;
}

int main(int argc, char **argv)
{
	struct args args;

	json_object_seed(0); /* before any thread */
	process_metrics_begin();
	args = args_parse(argc, argv);
	switch (args.verb) {
	case ARGS_HELP:
		args_print_help();
		return EXIT_SUCCESS;
	case ARGS_VERSION:
		args_print_version();
		return EXIT_SUCCESS;
	case ARGS_JSON_SCHEMA:
		return config_print_schema(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
	case ARGS_ROUTES:
		return print_routes(&args);
	case ARGS_REFERENCE:
		return config_print_reference(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILED;
	case ARGS_WRONG:
		(void)fprintf(stderr, "Try '%s --help'.\n", argv[0]);
		return EXIT_USAGE;
	default:
		return run(&args);
	}
}
