/* SPDX-License-Identifier: Apache-2.0 */
/* A server that says exactly what a test wants, byte for byte. The script is a C function that runs on the server's
 * own thread; its helpers block, but never longer than a deadline. A helper that fails notes why, and everything
 * after it does nothing: rawserver_join() tells the test, on the test's thread.
 *
 *   static void script(struct rawserver *server, void *user)
 *   {
 *           int fd = rawserver_accept(server);
 *
 *           rawserver_expect_request(server, fd);
 *           rawserver_send(server, fd, "HTTP/1.1 204 No Content\r\n\r\n");
 *           rawserver_expect_close(server, fd);
 *   }
 */
#ifndef VGW_TESTS_RAWSERVER_H
#define VGW_TESTS_RAWSERVER_H

#include <stdbool.h>
#include <stddef.h>

struct rawserver;

typedef void (*rawserver_fn)(struct rawserver *server, void *user);

/* Listens on 127.0.0.1, or on a unix socket when `unix_path` is given. NULL: it could not. */
struct rawserver *rawserver_start(rawserver_fn script, void *user, const char *unix_path);
const char *rawserver_get_url(const struct rawserver *server);
/* Waits for the script. NULL: all went as expected; otherwise what did not, in words to be printed. Frees. */
const char *rawserver_join(struct rawserver *server);

/* For scripts. A descriptor lives until rawserver_close() or the end of the script. */
int rawserver_accept(struct rawserver *server);
/* Reads a head and a body of Content-Length; both are kept until the next call. */
void rawserver_expect_request(struct rawserver *server, int fd);
const char *rawserver_get_head(const struct rawserver *server);
const char *rawserver_get_body(const struct rawserver *server, size_t *len);
/* Reads a head and leaves the body where it is. */
void rawserver_expect_head(struct rawserver *server, int fd);
void rawserver_send(struct rawserver *server, int fd, const char *text);
void rawserver_send_bytes(struct rawserver *server, int fd, const void *data, size_t len);
/* Sends when the client has taken everything sent before, so that it is read alone. Not for unix sockets. */
void rawserver_send_alone(struct rawserver *server, int fd, const void *data, size_t len);
/* Sends as much as fits without anybody reading, at most `len`: how much it was. */
size_t rawserver_send_until_full(struct rawserver *server, int fd, const void *data, size_t len);
/* Reads until the client's end; a reset counts as an end. */
void rawserver_expect_close(struct rawserver *server, int fd);
/* Nothing comes on the listening socket: no second attempt. Waits `ms`. */
void rawserver_expect_no_connection(struct rawserver *server, int ms);
void rawserver_close(struct rawserver *server, int fd);
void rawserver_reset(struct rawserver *server, int fd); /* RST instead of FIN */
void rawserver_fail(struct rawserver *server, const char *why);

#endif
