/* SPDX-License-Identifier: Apache-2.0 */
/* Moving bytes between TLS and a socket, each way until one side can take no more. Nothing is kept but what did not fit:
 * an idle client has no buffers. */
#include "front/tls_pipe.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
	PIECE_BYTES = 16384, /* a record of TLS */
	PIECES_MAX = 16,     /* in one step: where nobody reads them, nothing else would end it */
};

static bool keep_rest(struct tls_rest *rest, const char *data, size_t len)
{
	rest->data = malloc(len);
	if (!rest->data)
		return false;
	memcpy(rest->data, data, len);
	rest->len = len;
	rest->sent = 0;
	return true;
}

static void drop_rest(struct tls_rest *rest)
{
	free(rest->data);
	*rest = (struct tls_rest){ 0 };
}

enum tls_outcome tls_pipe_judge(struct tls_pipe *pipe, int result)
{
	switch (SSL_get_error(pipe->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return TLS_BLOCKED;
	case SSL_ERROR_WANT_WRITE:
		pipe->wants_write = true;
		return TLS_BLOCKED;
	default:
		return TLS_GONE;
	}
}

/* How much inner took; what nobody reads any more counts as taken. */
static size_t give_inner(struct tls_pipe *pipe, const char *data, size_t len)
{
	size_t given = 0;

	while (given < len && !pipe->is_inner_deaf) {
		ssize_t sent = send(pipe->inner, data + given, len - given, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent >= 0) {
			given += (size_t)sent;
			pipe->given_bytes += (size_t)sent;
		} else if (errno == EAGAIN) {
			return given;
		} else if (errno != EINTR) {
			pipe->is_inner_deaf = true;
		}
	}
	return len;
}

enum tls_outcome tls_pipe_pull(struct tls_pipe *pipe)
{
	char piece[PIECE_BYTES];

	for (int i = 0; i < PIECES_MAX; i++) {
		struct tls_rest *rest = &pipe->in;
		size_t given;
		int count;

		if (rest->len) {
			rest->sent += give_inner(pipe, rest->data + rest->sent, rest->len - rest->sent);
			if (rest->sent < rest->len)
				return TLS_BLOCKED;
			drop_rest(rest);
		}
		ERR_clear_error();
		count = SSL_read(pipe->ssl, piece, sizeof(piece));
		if (count <= 0)
			return tls_pipe_judge(pipe, count);
		pipe->has_heard = true;
		given = give_inner(pipe, piece, (size_t)count);
		if (given < (size_t)count && !keep_rest(rest, piece + given, (size_t)count - given))
			return TLS_GONE;
	}
	return TLS_BLOCKED; /* what is left is still in the socket, which is told of again */
}

/* All or nothing of it is taken: tls.c allows no partial writes. */
static enum tls_outcome encrypt(struct tls_pipe *pipe, const char *data, size_t len)
{
	int count;

	ERR_clear_error();
	count = SSL_write(pipe->ssl, data, (int)len);
	pipe->has_progress = pipe->has_progress || count > 0;
	return count > 0 ? TLS_DONE : tls_pipe_judge(pipe, count);
}

enum tls_outcome tls_pipe_push(struct tls_pipe *pipe)
{
	char piece[PIECE_BYTES];

	if (pipe->out.len) {
		enum tls_outcome outcome = encrypt(pipe, pipe->out.data, pipe->out.len);

		if (outcome != TLS_DONE)
			return outcome;
		drop_rest(&pipe->out);
	}
	while (!pipe->has_inner_ended) {
		ssize_t count = recv(pipe->inner, piece, sizeof(piece), MSG_DONTWAIT);
		enum tls_outcome outcome;

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno == EAGAIN)
			return TLS_DONE;
		if (count <= 0) {
			pipe->has_inner_ended = true;
			return TLS_DONE;
		}
		outcome = encrypt(pipe, piece, (size_t)count);
		if (outcome == TLS_BLOCKED && !keep_rest(&pipe->out, piece, (size_t)count))
			return TLS_GONE;
		if (outcome != TLS_DONE)
			return outcome;
	}
	return TLS_DONE;
}

void tls_pipe_fini(struct tls_pipe *pipe)
{
	SSL_free(pipe->ssl);
	free(pipe->in.data);
	free(pipe->out.data);
}
