/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of one TLS client, in both directions.
 *
 *   SSL_read ──► in ──► inner      full: nothing more is read from the client
 *   SSL_write ◄── out ◄── inner    full: nothing more is read from inner */
#ifndef VGW_SERVER_FRONT_TLS_PIPE_H
#define VGW_SERVER_FRONT_TLS_PIPE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tls_outcome { TLS_DONE, TLS_BLOCKED, TLS_GONE };

/* What did not fit. */
struct tls_rest {
	char *data;
	size_t len;
	size_t sent;
};

struct tls_pipe {
	SSL *ssl;
	int inner;
	struct tls_rest in;
	struct tls_rest out;
	uint64_t given_bytes; /* to inner, in all */
	bool wants_write;     /* TLS has to write before it can go on reading */
	bool has_heard;       /* in this step bytes came from the client */
	bool has_progress;    /* in this step some went out to it */
	bool has_inner_ended; /* all that inner said was read */
	bool is_inner_deaf;   /* nobody reads it */
};

/* What came of a call of TLS that did not succeed: BLOCKED or GONE. */
enum tls_outcome tls_pipe_judge(struct tls_pipe *pipe, int result);
/* From the client. BLOCKED, or GONE: it has left, or there is no memory. */
enum tls_outcome tls_pipe_pull(struct tls_pipe *pipe);
/* To the client. DONE: everything that was there is on its way. */
enum tls_outcome tls_pipe_push(struct tls_pipe *pipe);
void tls_pipe_fini(struct tls_pipe *pipe);

#endif
