/* SPDX-License-Identifier: Apache-2.0 */
/* Talking to a gateway: the command line's only user of libcurl. */
#ifndef VGW_SERVER_CLI_CLIENT_H
#define VGW_SERVER_CLI_CLIENT_H

#include "cli/cli.h"

struct client;

struct client_answer {
	long status; /* 0: it was not reached, and that was told */
	char *body;  /* ends with a NUL; free() */
	size_t len;
};

/* NULL: no memory, and that was told. */
struct client *client_new(const struct cli *cli);
void client_free(struct client *client); /* NULL is allowed */

/* `path` is encoded; body NULL: none, else JSON. */
void client_request(struct client *client, const char *method, const char *path, const char *body,
	struct client_answer *answer);

/* Pieces of a body as they come; false: enough. */
typedef bool (*client_piece_fn)(void *user, const char *data, size_t len);

/* GET. Returns the status; 0: it was not reached, or broke off, and that was told. What is not 200 is told too. */
long client_stream(struct client *client, const char *path, client_piece_fn fn, void *user);

/* GET or another method, and JSON back: NULL when it was not reached or refused, and that was told. *exit_status then. */
json_t *client_ask(const struct cli *cli, const char *method, const char *path, const char *body, int *exit_status);

/* Tell what the gateway said when it was no 2xx. Returns CLI_FAILED. */
int client_complain(const struct client_answer *answer);

/* "/admin/models/" + the name, encoded + "/load", in malloc()ed memory; NULL: no memory. */
char *client_path(const char *before, const char *name, const char *behind);

/* --- many at a time, for bench -------------------------------------------------------------------------------- */

struct client_sample {
	long status; /* 0: failed */
	int64_t first_us; /* to the first byte of the body, -1: none came */
	int64_t total_us;
	size_t bytes;
};

/* `total` POSTs of one body, `width` at a time on connections that are kept. 0, or -1 and it was told. */
int client_flood(const struct cli *cli, const char *path, const char *body, size_t width, size_t total,
	struct client_sample *samples);

#endif
