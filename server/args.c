/* SPDX-License-Identifier: Apache-2.0 */
/* Command line by getopt; --version names every library, because their bugs are ours too. */
#include "args.h"

#include "config_yaml.h"
#include "front/mhd_version.h"

#include <vllmgw/common.h>

#include <getopt.h>
#include <hiredis/hiredis.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { OPT_CHECK = 256, OPT_PRINT_CONFIG, OPT_JSON_SCHEMA, OPT_REFERENCE, OPT_FROM_ENV, OPT_ROUTES,
	OPT_AIC, OPT_HOST, OPT_PORT, OPT_VERSION, OPT_HELP };

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "print-config", no_argument, NULL, OPT_PRINT_CONFIG },
	{ "json-schema", no_argument, NULL, OPT_JSON_SCHEMA },
	{ "reference", no_argument, NULL, OPT_REFERENCE },
	{ "from-env", no_argument, NULL, OPT_FROM_ENV },
	{ "aic-vllm-proxy", no_argument, NULL, OPT_AIC },
	{ "host", required_argument, NULL, OPT_HOST },
	{ "port", required_argument, NULL, OPT_PORT },
	{ "routes", no_argument, NULL, OPT_ROUTES },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static bool is_called(const char *program, const char *name)
{
	const char *slash = program ? strrchr(program, '/') : NULL;

	return program && strcmp(slash ? slash + 1 : program, name) == 0;
}

/* Options that stand for keys are handed on as the keys' variables, which count at every reload too. */
static int set_variables(const struct args *args)
{
	const char *host = args->host ? args->host : "127.0.0.1";
	bool is_bare_v6 = host[0] != '[' && strchr(host, ':');
	char listen[300];
	int result = 0;

	if (args->is_aic)
		result |= setenv("VLLMGW_COMPAT_AIC_VLLM_PROXY", "true", 1);
	(void)snprintf(listen, sizeof(listen), "%s%.250s%s:%.10s", is_bare_v6 ? "[" : "", host, is_bare_v6 ? "]" : "",
		args->port ? args->port : args->is_aic ? "8224" : "8080");
	if (args->host || args->port)
		result |= setenv("VLLMGW_LISTEN", listen, 1);
	return result;
}

struct args args_parse(int argc, char **argv)
{
	struct args args = { .verb = ARGS_SERVE, .is_aic = is_called(argv[0], "aic-vllm-proxy") };
	int c;

	while ((c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			args.config = optarg;
			break;
		case OPT_CHECK:
			args.verb = ARGS_CHECK;
			break;
		case OPT_PRINT_CONFIG:
			args.verb = ARGS_PRINT_CONFIG;
			break;
		case OPT_JSON_SCHEMA:
			args.verb = ARGS_JSON_SCHEMA;
			break;
		case OPT_REFERENCE:
			args.verb = ARGS_REFERENCE;
			break;
		case OPT_ROUTES:
			args.verb = ARGS_ROUTES;
			break;
		case OPT_AIC:
			args.is_aic = true;
			break;
		case OPT_HOST:
			args.host = optarg;
			break;
		case OPT_PORT:
			args.port = optarg;
			break;
		case OPT_FROM_ENV:
			args.from_env = true;
			break;
		case 'V':
		case OPT_VERSION:
			args.verb = ARGS_VERSION;
			return args;
		case 'h':
		case OPT_HELP:
			args.verb = ARGS_HELP;
			return args;
		default:
			args.verb = ARGS_WRONG;
			return args;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "%s: unexpected argument '%s'; a configuration file is given with -c\n", argv[0],
			argv[optind]);
		args.verb = ARGS_WRONG;
	}
	if (args.verb != ARGS_WRONG && set_variables(&args) != 0)
		args.verb = ARGS_WRONG;
	return args;
}

void args_print_help(void)
{
	(void)puts("Usage: vllmgw-server [-c FILE] [OPTION]\n"
		   "\n"
		   "One HTTP endpoint in front of many models: requests are routed by their \"model\".\n"
		   "\n"
		   "  -c, --config FILE  configuration; else $VLLMGW_CONFIG, ./vllmgw.yaml, /etc/vllmgw/vllmgw.yaml\n"
		   "      --from-env     no file: environment variables (VLLMGW_*) and defaults only\n"
		   "      --check        check the configuration, say what is wrong with it, and exit\n"
		   "      --print-config print what is in effect and where each value comes from; secrets as ***\n"
		   "      --json-schema  print a JSON Schema of the configuration, for editors\n"
		   "      --reference    print a table of all configuration keys (Markdown)\n"
		   "      --routes       print all routes and who may use them\n"
		   "      --host HOST, --port PORT  listen there, whatever the configuration says\n"
		   "      --aic-vllm-proxy  as AIC vLLM Proxy: no model until POST /switch, which runs `vllm serve`;\n"
		   "                     also when called by the name aic-vllm-proxy\n"
		   "  -V, --version      print the versions of the server and of its libraries\n"
		   "  -h, --help         print this\n"
		   "\n"
		   "Signals: SIGTERM and SIGINT let requests under way finish, then exit; SIGHUP reads the\n"
		   "configuration again, and keeps the old one if the new one is wrong.\n"
		   "Exit status: 0 ok, 1 failure at run time, 2 wrong usage, 78 wrong configuration.");
}

void args_print_version(void)
{
	const char *weakness = mhd_get_weakness();

	(void)printf("vllmgw-server %s\n", vgw_version());
	(void)printf("libmicrohttpd %s%s%s\n", mhd_get_version(), weakness ? ": " : "", weakness ? weakness : "");
	(void)printf("hiredis %d.%d.%d\nlibcrypto %s\n", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH,
		OpenSSL_version(OPENSSL_VERSION_STRING));
	(void)printf("zlib %s (request bodies in gzip)\nlibzstd %s (request bodies in zstd)\n", zlibVersion(),
		ZSTD_versionString());
	(void)printf("libyaml %s\njansson %s\n", yaml_version(), jansson_version_str());
}
