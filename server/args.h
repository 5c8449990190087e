/* SPDX-License-Identifier: Apache-2.0 */
/* The server's command line. */
#ifndef VGW_SERVER_ARGS_H
#define VGW_SERVER_ARGS_H

#include <stdbool.h>

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 };

enum args_verb {
	ARGS_SERVE,
	ARGS_CHECK,
	ARGS_PRINT_CONFIG,
	ARGS_JSON_SCHEMA,
	ARGS_REFERENCE,
	ARGS_ROUTES,
	ARGS_VERSION,
	ARGS_HELP,
	ARGS_WRONG
};

struct args {
	enum args_verb verb;
	const char *config; /* -c, or NULL */
	bool is_aic;        /* as AIC vLLM Proxy */
	const char *host;   /* where to listen, or NULL */
	const char *port;
	bool from_env;      /* no file: variables and defaults only */
};

/* Prints what is wrong with them to standard error. */
struct args args_parse(int argc, char **argv);
void args_print_help(void);
void args_print_version(void);

#endif
