/* SPDX-License-Identifier: Apache-2.0 */
/* The curl transport keeps the rules of the interface: one attempt, strict heads, pause, cancel at once; and TLS with
 * a certificate that is checked. The server of the TLS tests is openssl's. */
#include "testing.h"

#include "h1_world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int set_up(void **state)
{
	struct h1_world *world;

	assert_int_equal(h1_world_set_up(state), 0);
	world = *state;
	world->transport->ops->destroy(world->transport);
	assert_int_equal(vgw__curl_new(&world->transport, world->loop, NULL), VGW_OK);
	return 0;
}

/* --- the way it should go ---------------------------------------------------------------------------------------- */

static void serve_two_on_one_connection(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);
	const char *body;
	size_t len;

	(void)user;
	for (int i = 0; i < 2; i++) {
		rawserver_expect_request(server, fd);
		body = rawserver_get_body(server, &len);
		if (strncmp(rawserver_get_head(server), "POST /v1/chat/completions HTTP/1.1\r\n", 36) != 0 || len != 13 ||
			memcmp(body, "{\"model\":\"m\"}", 13) != 0 ||
			!strstr(rawserver_get_head(server), "\r\nx-empty:\r\n") ||
			strcasestr(rawserver_get_head(server), "expect:") ||
			strcasestr(rawserver_get_head(server), "transfer-encoding:"))
			rawserver_fail(server, "not the expected request");
		rawserver_send(server, fd, "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"
			"HTTP/1.1 200 OK\r\nC: d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nTrailer: x\r\n\r\n");
	}
	rawserver_expect_close(server, fd);
}

static void a_post_goes_out_as_it_should_and_the_connection_is_used_again(void **state)
{
	const struct vgw__header empty = { { "x-empty", 7 }, { "", 0 } };
	struct h1_world *world = *state;

	world->request.headers = &empty;
	world->request.header_count = 1;
	h1_world_serve(world, serve_two_on_one_connection, NULL);
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_true(world->call.result.is_sent);
	assert_false(world->call.result.is_reused);
	assert_int_equal(world->call.head_count, 1);
	assert_int_equal(world->call.sent_count, 1);
	assert_string_equal(world->call.header, "c=d;transfer-encoding=chunked;");
	assert_string_equal(world->call.body, "ok");
	h1_world_finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_true(world->second.result.is_reused);
	world->transport->ops->destroy(world->transport);
	h1_world_join(world);
	assert_int_equal(vgw__curl_new(&world->transport, world->loop, NULL), VGW_OK);
}

struct exchange {
	const char *answer;
	enum vgw__outcome outcome;
	const char *body;
	int head_count;
};

static const struct exchange exchanges[] = {
	{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", VGW__OUTCOME_COMPLETE, "ok", 1 },
	{ "HTTP/1.1 307 X\r\nLocation: /x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", VGW__OUTCOME_COMPLETE, "", 1 },
	{ "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", VGW__OUTCOME_COMPLETE, "to the end", 1 },
	{ "", VGW__OUTCOME_LOST, "", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Le", VGW__OUTCOME_TRUNCATED, "", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", VGW__OUTCOME_TRUNCATED, "four", 1 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n", VGW__OUTCOME_TRUNCATED, "one", 1 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 200 OK\nA: b\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ "no http at all\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", VGW__OUTCOME_BAD, "", 0 },
};

static void serve_exchanges(struct rawserver *server, void *user)
{
	(void)user;
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		int fd = rawserver_accept(server);

		rawserver_expect_request(server, fd);
		rawserver_send(server, fd, exchanges[i].answer);
		rawserver_close(server, fd);
	}
}

static void every_kind_of_answer_has_its_outcome_and_no_request_is_sent_twice(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, serve_exchanges, NULL);
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		const struct exchange *want = &exchanges[i];

		upcall_fini(&world->call);
		h1_world_finish_first(world);
		if (world->call.result.outcome != want->outcome || world->call.head_count != want->head_count ||
			strcmp(world->call.body ? world->call.body : "", want->body) != 0)
			fail_msg("exchange %zu: outcome %d (%s), body '%s'", i, (int)world->call.result.outcome,
				world->call.result.why, world->call.body);
	}
	h1_world_join(world);
}

static void answer_once_then_close_without_answer(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "ok");
	rawserver_expect_request(server, fd);
	rawserver_close(server, fd);
	/* a second connection may be opened before the second attempt is refused: no request may come on it */
	fd = rawserver_accept(server);
	rawserver_expect_close(server, fd);
}

static void a_request_lost_on_a_reused_connection_is_not_sent_again(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, answer_once_then_close_without_answer, NULL);
	h1_world_finish_first(world);
	h1_world_finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_LOST);
	assert_true(world->second.result.is_reused);
	world->transport->ops->destroy(world->transport);
	h1_world_join(world);
	assert_int_equal(vgw__curl_new(&world->transport, world->loop, NULL), VGW_OK);
}

static void accept_nobody(struct rawserver *server, void *user)
{
	(void)server;
	(void)user;
}

static void a_refused_connection_and_a_missing_address_are_reported_from_the_loop(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, accept_nobody, NULL);
	h1_world_join(world);
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_CONNECT);
	assert_int_equal(world->call.result.sys_errno, ECONNREFUSED);
	assert_false(world->call.result.is_sent);
	world->endpoint->address_count = 0;
	h1_world_finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_CONNECT);
}

/* --- flow -------------------------------------------------------------------------------------------------------- */

enum { LARGE = 8 << 20 };

static void echo(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);
	const char *body;
	char head[96];
	size_t len;

	(void)user;
	rawserver_expect_request(server, fd);
	body = rawserver_get_body(server, &len);
	(void)snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
	rawserver_send(server, fd, head);
	rawserver_send_bytes(server, fd, body, len);
}

static void pause_sometimes(struct upcall *call)
{
	call->full_at = call->data_count % 8 == 0 ? 1 : 0;
}

static void a_large_body_goes_and_comes_back_unchanged_through_pauses(void **state)
{
	struct h1_world *world = *state;
	char *text = malloc(LARGE);
	struct vgw__span spans[3];
	int64_t until_ms = vgw_now_ms() + 20000;

	assert_non_null(text);
	for (size_t i = 0; i < LARGE; i++)
		text[i] = (char)('a' + i * 7 % 23);
	spans[0] = (struct vgw__span){ text, 100000 };
	spans[1] = (struct vgw__span){ text, 0 };
	spans[2] = (struct vgw__span){ text + 100000, LARGE - 100000 };
	world->request.body = spans;
	world->request.body_count = 3;
	h1_world_serve(world, echo, NULL);
	world->call.data_hook = pause_sometimes;
	upcall_start(&world->call, world->transport, &world->request);
	while (!world->call.end_count) {
		assert_true(vgw_now_ms() < until_ms);
		assert_int_equal(vgw_loop_run_once(world->loop, 10, NULL), VGW_OK);
		if (world->call.handle)
			vgw__upstream_resume(world->call.handle);
	}
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.body_len, LARGE);
	assert_memory_equal(world->call.body, text, LARGE);
	h1_world_join(world);
	free(text);
}

static void stream_and_expect_close(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n");
	rawserver_expect_close(server, fd);
}

static void cancel_inside(struct upcall *call)
{
	upcall_cancel(call);
}

static void a_cancel_inside_on_data_is_seen_by_the_engine(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, stream_and_expect_close, NULL);
	world->call.data_hook = cancel_inside;
	upcall_start(&world->call, world->transport, &world->request);
	upcall_run_until(world->loop, &world->call.data_count, 1);
	h1_world_join(world);
	assert_int_equal(world->call.data_count, 1);
	assert_int_equal(world->call.end_count, 0);
}

static void a_cancel_between_turns_is_seen_by_the_engine(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, stream_and_expect_close, NULL);
	upcall_start(&world->call, world->transport, &world->request);
	upcall_run_until(world->loop, &world->call.data_count, 1);
	upcall_cancel(&world->call);
	h1_world_join(world);
	upcall_start(&world->call, world->transport, &world->request);
	upcall_cancel(&world->call); /* not even begun */
	assert_int_equal(world->call.end_count, 0);
}

/* --- TLS --------------------------------------------------------------------------------------------------------- */

struct tls {
	char folder[64];
	char cert[96];
	char key[96];
	char url[64];
	pid_t pid;
	int out;
};

static pid_t spawn(const char *const *argv, const char *folder, int out)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0), 0);
	assert_int_equal(posix_spawn_file_actions_addchdir_np(&actions, folder), 0);
	if (out >= 0)
		assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO), 0);
	if (posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ) != 0)
		pid = -1;
	(void)posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static void read_port(struct tls *tls)
{
	char text[512];
	size_t len = 0;
	unsigned port = 0;

	while (!port && len < sizeof(text) - 1) {
		struct pollfd poll_fd = { .fd = tls->out, .events = POLLIN };
		const char *colon;
		ssize_t got;

		assert_int_equal(poll(&poll_fd, 1, 20000), 1);
		got = read(tls->out, text + len, sizeof(text) - 1 - len);
		assert_true(got > 0);
		len += (size_t)got;
		text[len] = '\0';
		colon = strstr(text, "ACCEPT 127.0.0.1:");
		if (colon && strchr(colon, '\n'))
			port = (unsigned)strtoul(colon + strlen("ACCEPT 127.0.0.1:"), NULL, 10);
	}
	assert_int_not_equal(port, 0);
	(void)snprintf(tls->url, sizeof(tls->url), "https://127.0.0.1:%u", port);
}

/* A self-signed certificate and a server that answers with the files of its folder. False: no openssl here. */
static bool start_tls(struct tls *tls)
{
	const char *make[] = { "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
		"cert.pem", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", NULL };
	const char *serve[] = { "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem",
		"-WWW", NULL };
	int pipes[2], status = 1;
	char path[96];
	FILE *file;

	(void)snprintf(tls->folder, sizeof(tls->folder), "/tmp/vgw-test-curl-XXXXXX");
	assert_non_null(mkdtemp(tls->folder));
	(void)snprintf(tls->cert, sizeof(tls->cert), "%s/cert.pem", tls->folder);
	(void)snprintf(tls->key, sizeof(tls->key), "%s/key.pem", tls->folder);
	(void)snprintf(path, sizeof(path), "%s/models", tls->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs("three models", file) >= 0);
	assert_int_equal(fclose(file), 0);
	tls->pid = spawn(make, tls->folder, -1);
	if (tls->pid < 0)
		return false;
	assert_int_equal(waitpid(tls->pid, &status, 0), tls->pid);
	assert_int_equal(status, 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	tls->pid = spawn(serve, tls->folder, pipes[1]);
	assert_true(tls->pid > 0);
	(void)close(pipes[1]);
	tls->out = pipes[0];
	read_port(tls);
	return true;
}

static void stop_tls(struct tls *tls)
{
	char path[96];

	if (tls->pid > 0) {
		(void)kill(tls->pid, SIGKILL);
		(void)waitpid(tls->pid, NULL, 0);
		(void)close(tls->out);
	}
	(void)snprintf(path, sizeof(path), "%s/models", tls->folder);
	(void)unlink(path);
	(void)unlink(tls->cert);
	(void)unlink(tls->key);
	(void)rmdir(tls->folder);
}

static void an_https_engine_is_reached_when_its_certificate_is_trusted_and_not_otherwise(void **state)
{
	struct h1_world *world = *state;
	struct tls tls;

	if (!start_tls(&tls)) {
		stop_tls(&tls);
		skip();
	}
	world->request.method = "GET";
	world->request.path = "/models";
	world->request.has_body = false;
	h1_world_aim(world, tls.url);
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_CONNECT);
	assert_string_equal(world->call.result.why, "the engine's certificate is not trusted");
	h1_world_aim(world, tls.url);
	assert_int_equal(vgw__endpoint_set_ca(world->endpoint, tls.cert, NULL), VGW_OK);
	h1_world_finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->second.status, 200);
	assert_string_equal(world->second.body, "three models");
	stop_tls(&tls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_post_goes_out_as_it_should_and_the_connection_is_used_again,
			set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(every_kind_of_answer_has_its_outcome_and_no_request_is_sent_twice,
			set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_request_lost_on_a_reused_connection_is_not_sent_again,
			set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_refused_connection_and_a_missing_address_are_reported_from_the_loop,
			set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_large_body_goes_and_comes_back_unchanged_through_pauses,
			set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_inside_on_data_is_seen_by_the_engine,
			set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_between_turns_is_seen_by_the_engine,
			set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(an_https_engine_is_reached_when_its_certificate_is_trusted_and_not_otherwise,
			set_up, h1_world_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
