/* SPDX-License-Identifier: Apache-2.0 */
/* vllmgw, the command line: talks to a gateway's admin routes, and asks the library what-if questions.
 *
 *   main.c ── COMMANDS ──► show.c   look        ──► client.c ── HTTP ──► vllmgw-server
 *                          act.c    do          ──►
 *                          watch.c  follow      ──►
 *                          bench.c  load        ──►
 *                          simulate.c, trace.c  ──► vgw_simulate(), files */
#ifndef VGW_SERVER_CLI_H
#define VGW_SERVER_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CLI_OK = 0,
	CLI_FAILED = 1,      /* the gateway said no, or a file is wrong */
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3, /* no gateway there */
};

struct cli {
	const char *url;   /* http://host:port, or unix:/path */
	const char *key;   /* NULL: none */
	bool is_json;
	bool is_terminal;  /* standard output */
	const char *usage; /* of the command that runs, for complaints */
};

/* argv[0] is the command's name. Returns the exit status. */
typedef int (*cli_fn)(const struct cli *cli, int argc, char **argv);

/* Every command, once: dispatch and help are made of it. XX(name, arguments, function, what it does) */
#define CLI_COMMANDS(XX)                                                                                        \
	XX("ps", "", show_ps, "models that are in memory, asleep, or on their way")                             \
	XX("models", "", show_models, "all models")                                                             \
	XX("state", "", show_state, "everything the gateway knows of itself, as JSON")                          \
	XX("requests", "", show_requests, "requests under way")                                                 \
	XX("explain", "MODEL", show_explain, "what loading a model would do now; the last decisions about it")  \
	XX("load", "[--no-wait] MODEL...", act_load, "bring models into memory")                                \
	XX("unload", "[--no-wait] [--force] MODEL...", act_unload, "stop models; --force cuts their requests")  \
	XX("sleep", "[--no-wait] MODEL...", act_sleep, "put models to sleep")                                   \
	XX("wake", "[--no-wait] MODEL...", act_wake, "wake models")                                             \
	XX("pin", "MODEL...", act_pin, "never evict these models")                                              \
	XX("unpin", "MODEL...", act_unpin, "evict them again")                                                  \
	XX("reset", "[--force] MODEL...", act_reset, "forgive failures; --force: believe that a stuck one is gone") \
	XX("cancel", "ID...", act_cancel, "end requests under way")                                             \
	XX("reload", "", act_reload, "read the configuration again")                                            \
	XX("logs", "[-f] [-n LINES] MODEL", watch_logs, "an engine's log; -f follows it")                       \
	XX("events", "[-n COUNT]", watch_events, "what happens, as it happens")                                 \
	XX("top", "[-n COUNT]", watch_top, "models and requests, once a second")                                \
	XX("simulate", "--config FILE --trace FILE [--set KEY=VALUE]... [--times FILE|URL] [--time M=START,...]", simulate_run,      \
		"what each policy would have done with a trace")                                                \
	XX("trace", "export [--log FILE]", trace_export, "make a trace of the gateway's access log")            \
	XX("bench", "--model M [-c N] [-n N] [--stream] [--max-tokens N] [--prompt TEXT]", bench_run,           \
		"a closed loop of requests, and how long they took")

#define XX(name, arguments, fn, what) int fn(const struct cli *cli, int argc, char **argv);
CLI_COMMANDS(XX)
#undef XX

/* A complaint on standard error, and how it is called. Returns CLI_USAGE. */
int cli_wrong(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A complaint on standard error. Returns CLI_FAILED. */
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A number between min and max, or -1 with a complaint. */
int64_t cli_number(const struct cli *cli, const char *what, const char *text, int64_t min, int64_t max);

/* Lines of fields separated by tabs, as columns. Written by cli_table_print(), which frees it. */
struct cli_table {
	char *text;
	size_t len;
};

void cli_table_add(struct cli_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_table_print(struct cli_table *table);

/* Text of a member, "-" where there is none. */
const char *cli_text(const json_t *json, const char *key);
/* "1.5s", "3m20s", "2h05m", "-" below zero. Returns text. */
const char *cli_duration(int64_t ms, char *text, size_t size);
/* "18.0GiB", "-" for zero. Returns text. */
const char *cli_bytes(int64_t bytes, char *text, size_t size);
/* Print JSON as it is, one line. Takes the reference. */
void cli_print_json(json_t *json);

#endif
