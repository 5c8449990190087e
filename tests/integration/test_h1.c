/* SPDX-License-Identifier: Apache-2.0 */
/* The h1 transport against servers that do what engines should not. */
#include "testing.h"

#include "net/transport.h"
#include "rawserver.h"
#include "upcall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n"

struct world {
	vgw_loop *loop;
	struct vgw__transport *transport;
	struct rawserver *server;
	struct vgw__endpoint *endpoint;
	struct vgw__span body;
	struct vgw__upstream_request request;
	struct upcall call;
	struct upcall second;
};

static void aim(struct world *world, const char *url)
{
	vgw__endpoint_unref(world->endpoint);
	assert_int_equal(vgw__endpoint_new(&world->endpoint, url, NULL), VGW_OK);
	world->request.endpoint = world->endpoint;
}

static void serve(struct world *world, rawserver_fn script, void *user)
{
	world->server = rawserver_start(script, user, NULL);
	assert_non_null(world->server);
	aim(world, rawserver_get_url(world->server));
}

static void join(struct world *world)
{
	const char *why = rawserver_join(world->server);

	world->server = NULL;
	if (why)
		fail_msg("%s", why);
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	assert_int_equal(vgw_loop_new(&world->loop, NULL), VGW_OK);
	assert_int_equal(vgw__h1_new(&world->transport, world->loop, 4000, NULL), VGW_OK);
	world->body = (struct vgw__span){ "{\"model\":\"m\"}", 13 };
	world->request = (struct vgw__upstream_request){
		.method = "POST",
		.path = "/v1/chat/completions",
		.body = &world->body,
		.body_count = 1,
		.has_body = true,
		.connect_timeout_ms = 2000,
	};
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;

	upcall_fini(&world->call);
	upcall_fini(&world->second);
	world->transport->ops->destroy(world->transport);
	vgw_loop_free(world->loop);
	vgw__endpoint_unref(world->endpoint);
	free(world);
	return 0;
}

static void finish_first(struct world *world)
{
	upcall_start(&world->call, world->transport, &world->request);
	upcall_finish(world->loop, &world->call);
}

static void finish_second(struct world *world)
{
	upcall_start(&world->second, world->transport, &world->request);
	upcall_finish(world->loop, &world->second);
}

/* --- the way it should go ---------------------------------------------------------------------------------------- */

static void serve_two_on_one_connection(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	if (strncmp(rawserver_get_head(server), "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:", 52) != 0 ||
		!strstr(rawserver_get_head(server), "\r\nContent-Length: 13\r\n\r\n"))
		rawserver_fail(server, "not the expected head");
	rawserver_send(server, fd, OK_HEAD "ok");
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
	rawserver_expect_close(server, fd);
}

static void a_connection_is_used_again(void **state)
{
	struct world *world = *state;

	serve(world, serve_two_on_one_connection, NULL);
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_true(world->call.result.is_sent);
	assert_false(world->call.result.is_reused);
	assert_int_equal(world->call.status, 200);
	assert_int_equal(world->call.content_length, 2);
	assert_string_equal(world->call.header, "content-type=text/plain;content-length=2;");
	assert_string_equal(world->call.body, "ok");
	finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_true(world->second.result.is_reused);
	assert_int_equal(world->second.content_length, -1);
	assert_string_equal(world->second.body, "onetwo");
	assert_int_equal(world->second.data_count, 2);
	world->transport->ops->destroy(world->transport);
	join(world);
	assert_int_equal(vgw__h1_new(&world->transport, world->loop, 4000, NULL), VGW_OK);
}

static void start_second_on_end(struct upcall *call)
{
	struct world *world = call->user;

	upcall_start(&world->second, world->transport, &world->request);
}

static void a_call_started_inside_on_end_uses_the_connection_that_became_free(void **state)
{
	struct world *world = *state;

	serve(world, serve_two_on_one_connection, NULL);
	world->call.end_hook = start_second_on_end;
	world->call.user = world;
	finish_first(world);
	upcall_finish(world->loop, &world->second);
	assert_true(world->second.result.is_reused);
	world->transport->ops->destroy(world->transport);
	join(world);
	assert_int_equal(vgw__h1_new(&world->transport, world->loop, 4000, NULL), VGW_OK);
}

static void serve_on_a_unix_socket(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	if (!strstr(rawserver_get_head(server), "\r\nHost: localhost\r\nx-request-id: 7\r\n"))
		rawserver_fail(server, "not the expected head");
	rawserver_send(server, fd, OK_HEAD "ok");
}

static void an_engine_on_a_unix_socket_is_reached(void **state)
{
	struct world *world = *state;
	const struct vgw__header header = { { "x-request-id", 12 }, { "7", 1 } };
	char path[64];

	(void)snprintf(path, sizeof(path), "/tmp/vgw-test-h1-%d.sock", (int)getpid());
	world->server = rawserver_start(serve_on_a_unix_socket, NULL, path);
	assert_non_null(world->server);
	aim(world, rawserver_get_url(world->server));
	world->request.headers = &header;
	world->request.header_count = 1;
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_string_equal(world->call.body, "ok");
	join(world);
	(void)unlink(path);
}

static void serve_pieces(struct rawserver *server, void *user)
{
	const char *answer = user;
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	for (; *answer; answer++) {
		rawserver_send_bytes(server, fd, answer, 1);
		(void)usleep(200); /* so that most bytes are read alone */
	}
	rawserver_close(server, fd);
}

static void an_answer_that_comes_byte_by_byte_is_understood(void **state)
{
	struct world *world = *state;

	serve(world, serve_pieces, (char *)"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
		"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n");
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.head_count, 1);
	assert_string_equal(world->call.header, "a=b;transfer-encoding=Chunked;");
	assert_string_equal(world->call.body, "hello!");
	join(world);
}

/* --- one exchange each: what the engine sends, and how the call ends --------------------------------------------- */

struct exchange {
	const char *answer;
	enum vgw__outcome outcome;
	const char *body;
	int head_count;
};

static const struct exchange exchanges[] = {
	{ OK_HEAD "ok", VGW__OUTCOME_COMPLETE, "ok", 1 },
	{ "HTTP/1.1 200 OK\r\n\r\nto the end", VGW__OUTCOME_COMPLETE, "to the end", 1 },
	{ "HTTP/1.0 200 OK\r\n\r\nto the end", VGW__OUTCOME_COMPLETE, "to the end", 1 },
	{ "HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", VGW__OUTCOME_COMPLETE, "", 1 },
	{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", VGW__OUTCOME_COMPLETE, "", 1 },
	{ "", VGW__OUTCOME_LOST, "", 0 },
	{ "HTTP/1.1 20", VGW__OUTCOME_TRUNCATED, "", 0 },
	{ "HTTP/1.1 100 Continue\r\n\r\n", VGW__OUTCOME_TRUNCATED, "", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", VGW__OUTCOME_TRUNCATED, "four", 1 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n", VGW__OUTCOME_TRUNCATED, "one", 1 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n", VGW__OUTCOME_TRUNCATED, "one", 1 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\noneX", VGW__OUTCOME_BAD, "one", 1 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", VGW__OUTCOME_BAD, "", 0 },
	{ "\x15\x03\x01 not http at all", VGW__OUTCOME_BAD, "", 0 },
	{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", VGW__OUTCOME_BAD, "", 0 },
	{ OK_HEAD "okHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", VGW__OUTCOME_COMPLETE, "ok", 1 },
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
	struct world *world = *state;

	serve(world, serve_exchanges, NULL);
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		const struct exchange *want = &exchanges[i];

		upcall_fini(&world->call);
		finish_first(world);
		if (world->call.result.outcome != want->outcome || world->call.head_count != want->head_count ||
			strcmp(world->call.body ? world->call.body : "", want->body) != 0)
			fail_msg("exchange %zu: outcome %d (%s), body '%s'", i, (int)world->call.result.outcome,
				world->call.result.why, world->call.body);
		assert_false(world->call.result.is_reused);
	}
	join(world);
}

static void serve_two_answers_and_then_one(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "okHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
	rawserver_expect_close(server, fd);
	fd = rawserver_accept(server);
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "ok");
}

static void a_second_answer_to_one_request_is_never_given_to_the_next(void **state)
{
	struct world *world = *state;

	serve(world, serve_two_answers_and_then_one, NULL);
	finish_first(world);
	finish_second(world);
	assert_false(world->second.result.is_reused);
	assert_string_equal(world->second.body, "ok");
	join(world);
}

static void serve_unasked_bytes(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "ok");
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
	rawserver_expect_close(server, fd);
}

static void an_idle_connection_that_talks_is_closed(void **state)
{
	struct world *world = *state;

	serve(world, serve_unasked_bytes, NULL);
	finish_first(world);
	assert_string_equal(world->call.body, "ok");
	/* the script ends when the connection is closed, and that is up to the loop */
	assert_int_equal(vgw_loop_run_once(world->loop, 2000, NULL), VGW_OK);
	join(world);
}

/* --- connections that end ---------------------------------------------------------------------------------------- */

static void accept_nobody(struct rawserver *server, void *user)
{
	(void)server;
	(void)user;
}

static void a_refused_connection_is_reported_from_the_loop(void **state)
{
	struct world *world = *state;

	serve(world, accept_nobody, NULL);
	join(world); /* nobody listens there any more */
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_CONNECT);
	assert_int_equal(world->call.result.sys_errno, ECONNREFUSED);
	assert_false(world->call.result.is_sent);
}

static void a_missing_unix_socket_is_reported_from_the_loop(void **state)
{
	struct world *world = *state;

	aim(world, "unix:/nonexistent/socket");
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_CONNECT);
	assert_int_equal(world->call.result.sys_errno, ENOENT);
}

static void serve_one(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "ok");
}

static void the_next_address_is_tried_when_one_refuses(void **state)
{
	struct world *world = *state;
	struct sockaddr_in *refusing;

	serve(world, serve_one, NULL);
	world->endpoint->addresses[1] = world->endpoint->addresses[0];
	world->endpoint->address_count = 2;
	refusing = (struct sockaddr_in *)(void *)&world->endpoint->addresses[0].addr;
	refusing->sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1); /* the server listens on 127.0.0.1 alone */
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	join(world);
}

static void a_name_without_addresses_is_reported_from_the_loop(void **state)
{
	struct world *world = *state;

	aim(world, "http://127.0.0.1:9");
	world->endpoint->address_count = 0;
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_CONNECT);
}

static void an_https_engine_is_refused_at_once(void **state)
{
	struct world *world = *state;
	vgw_error err = VGW_ERROR_INIT;

	aim(world, "https://127.0.0.1:9");
	assert_int_equal(vgw__upstream_start(world->transport, &world->call.handle, &world->request, &upcall_events,
		&world->call, &err), VGW_INVALID);
	assert_null(world->call.handle);
	assert_non_null(strstr(err.text, "https"));
}

static void reset_before_the_head(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_reset(server, fd);
	rawserver_expect_no_connection(server, 100);
}

static void a_reset_before_the_head_is_lost_and_the_request_was_sent_once(void **state)
{
	struct world *world = *state;

	serve(world, reset_before_the_head, NULL);
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_LOST);
	assert_int_equal(world->call.result.sys_errno, ECONNRESET);
	assert_true(world->call.result.is_sent);
	join(world);
}

static void answer_once_then_close_without_answer(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "ok");
	rawserver_expect_request(server, fd);
	rawserver_close(server, fd);
	rawserver_expect_no_connection(server, 100);
}

static void a_reused_connection_that_closes_is_lost_and_said_to_be_reused(void **state)
{
	struct world *world = *state;

	serve(world, answer_once_then_close_without_answer, NULL);
	finish_first(world);
	finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_LOST);
	assert_true(world->second.result.is_reused);
	assert_true(world->second.result.is_sent);
	join(world);
}

static void answer_and_close_twice(struct rawserver *server, void *user)
{
	(void)user;
	for (int i = 0; i < 2; i++) {
		int fd = rawserver_accept(server);

		rawserver_expect_request(server, fd);
		rawserver_send(server, fd, OK_HEAD "ok");
		rawserver_close(server, fd);
	}
}

static void the_close_of_an_idle_connection_is_noticed(void **state)
{
	struct world *world = *state;

	serve(world, answer_and_close_twice, NULL);
	finish_first(world);
	/* either the close came with the answer, or it is the next event */
	assert_int_equal(vgw_loop_run_once(world->loop, 100, NULL), VGW_OK);
	finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_false(world->second.result.is_reused);
	join(world);
}

static void serve_one_on_each_of_two_connections(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "ok");
	rawserver_expect_close(server, fd);
	serve_one(server, user);
}

static void a_connection_that_was_idle_for_too_long_is_closed(void **state)
{
	struct world *world = *state;

	world->transport->ops->destroy(world->transport);
	assert_int_equal(vgw__h1_new(&world->transport, world->loop, 20, NULL), VGW_OK);
	serve(world, serve_one_on_each_of_two_connections, NULL);
	finish_first(world);
	assert_int_not_equal(vgw_loop_get_timeout_ms(world->loop), -1);
	while (vgw_loop_get_timeout_ms(world->loop) >= 0) /* the pool's timer is armed while something is idle */
		assert_int_equal(vgw_loop_run_once(world->loop, 1000, NULL), VGW_OK);
	finish_second(world);
	assert_false(world->second.result.is_reused);
	join(world);
}

/* --- early answers and large bodies ------------------------------------------------------------------------------ */

enum { LARGE = 8 << 20 };

static void answer_before_the_body(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_head(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nlong");
	rawserver_expect_close(server, fd);
}

static char *make_large(size_t len)
{
	char *text = malloc(len);

	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + i * 7 % 23);
	return text;
}

static void an_answer_before_the_body_is_sent_ends_the_call(void **state)
{
	struct world *world = *state;
	char *text = make_large(8 * LARGE);

	serve(world, answer_before_the_body, NULL);
	world->body = (struct vgw__span){ text, (size_t)8 * LARGE };
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.status, 413);
	assert_string_equal(world->call.body, "long");
	assert_false(world->call.result.is_sent);
	join(world);
	free(text);
}

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

static void a_body_in_many_segments_goes_and_comes_back_unchanged(void **state)
{
	struct world *world = *state;
	char *text = make_large(LARGE);
	struct vgw__span spans[100];
	size_t at = 0;

	for (size_t i = 0; i < 100; i++) {
		size_t len = i == 99 ? LARGE - at : i % 9 == 0 ? 0 : i * 1009;

		spans[i] = (struct vgw__span){ text + at, len };
		at += len;
	}
	world->request.body = spans;
	world->request.body_count = 100;
	serve(world, echo, NULL);
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.body_len, LARGE);
	assert_memory_equal(world->call.body, text, LARGE);
	join(world);
	free(text);
}

struct flood {
	char *text;
	size_t len;
	size_t sent_while_paused;
};

static void send_flood(struct rawserver *server, void *user)
{
	struct flood *flood = user;
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\n\r\n");
	flood->sent_while_paused = rawserver_send_until_full(server, fd, flood->text, flood->len);
	rawserver_send(server, fd, "!"); /* waits until somebody reads again */
	rawserver_send_bytes(server, fd, flood->text, flood->len - flood->sent_while_paused);
}

static void a_paused_answer_waits_at_the_engine_and_arrives_whole(void **state)
{
	struct world *world = *state;
	struct flood flood = { .len = 64 << 20 };
	size_t body_len;
	int64_t until_ms;

	flood.text = make_large(flood.len);
	serve(world, send_flood, &flood);
	world->call.full_at = 1;
	world->call.is_body_dropped = true;
	upcall_start(&world->call, world->transport, &world->request);
	upcall_run_until(world->loop, &world->call.data_count, 1);
	body_len = world->call.body_len;
	/* no event comes while it is paused: the loop sleeps, it does not spin */
	until_ms = vgw_now_ms() + 50;
	assert_int_equal(vgw_loop_run_once(world->loop, 50, NULL), VGW_OK);
	assert_true(vgw_now_ms() >= until_ms);
	assert_int_equal(world->call.body_len, body_len);
	assert_true(body_len <= 64 * 1024);
	(void)usleep(500000); /* the engine's turn to find the socket full */
	world->call.full_at = 0;
	vgw__upstream_resume(world->call.handle);
	vgw__upstream_resume(world->call.handle);
	upcall_finish(world->loop, &world->call);
	join(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.body_len, flood.len + 1);
	assert_true(flood.sent_while_paused < flood.len / 2);
	free(flood.text);
}

static void send_two_chunks_and_then_the_rest(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n");
	(void)usleep(50000);
	rawserver_send(server, fd, "5\r\nthree\r\n0\r\n\r\n");
}

static void resume_at_the_second_piece(struct upcall *call)
{
	if (call->data_count != 2)
		return;
	call->full_at = 0;
	vgw__upstream_resume(call->handle);
}

static void a_resume_inside_a_later_piece_of_the_same_read_goes_on(void **state)
{
	struct world *world = *state;

	serve(world, send_two_chunks_and_then_the_rest, NULL);
	world->call.full_at = 1;
	world->call.data_hook = resume_at_the_second_piece;
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_string_equal(world->call.body, "onetwothree");
	join(world);
}

static void full_at_the_last_byte_does_not_hold_up_the_end(void **state)
{
	struct world *world = *state;

	serve(world, serve_one, NULL);
	world->call.full_at = 2;
	finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	join(world);
}

static void reset_while_paused(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
	rawserver_reset(server, fd);
}

static void a_reset_while_paused_is_told_after_the_resume_and_does_not_spin(void **state)
{
	struct world *world = *state;
	int64_t until_ms;

	serve(world, reset_while_paused, NULL);
	world->call.full_at = 1;
	upcall_start(&world->call, world->transport, &world->request);
	/* the reset may overtake the bytes: then there is nothing to pause */
	while (!world->call.data_count && !world->call.end_count)
		assert_int_equal(vgw_loop_run_once(world->loop, 1000, NULL), VGW_OK);
	join(world);
	if (!world->call.end_count) {
		assert_int_equal(vgw_loop_run_once(world->loop, 20, NULL), VGW_OK);
		until_ms = vgw_now_ms() + 50;
		assert_int_equal(vgw_loop_run_once(world->loop, 50, NULL), VGW_OK);
		assert_true(vgw_now_ms() >= until_ms);
		vgw__upstream_resume(world->call.handle);
		upcall_finish(world->loop, &world->call);
	}
	assert_true(world->call.result.outcome == VGW__OUTCOME_TRUNCATED ||
		world->call.result.outcome == VGW__OUTCOME_LOST);
}

/* --- cancelling -------------------------------------------------------------------------------------------------- */

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
	struct world *world = *state;

	serve(world, stream_and_expect_close, NULL);
	world->call.data_hook = cancel_inside;
	world->call.full_at = 1;
	upcall_start(&world->call, world->transport, &world->request);
	upcall_run_until(world->loop, &world->call.data_count, 1);
	join(world);
	assert_int_equal(world->call.data_count, 1);
	assert_int_equal(world->call.end_count, 0);
}

static void a_cancel_inside_on_head_is_seen_by_the_engine(void **state)
{
	struct world *world = *state;

	serve(world, stream_and_expect_close, NULL);
	world->call.head_hook = cancel_inside;
	upcall_start(&world->call, world->transport, &world->request);
	upcall_run_until(world->loop, &world->call.head_count, 1);
	join(world);
	assert_int_equal(world->call.data_count + world->call.end_count, 0);
}

static void a_call_can_be_cancelled_in_every_early_state(void **state)
{
	struct world *world = *state;

	serve(world, accept_nobody, NULL);
	upcall_start(&world->call, world->transport, &world->request);
	upcall_cancel(&world->call); /* connecting */
	join(world);
	upcall_start(&world->call, world->transport, &world->request);
	upcall_cancel(&world->call);
	aim(world, "unix:/nonexistent/socket");
	upcall_start(&world->call, world->transport, &world->request);
	upcall_cancel(&world->call); /* failed, on_end is due */
	assert_int_equal(vgw_loop_run_once(world->loop, 0, NULL), VGW_OK);
	assert_int_equal(world->call.end_count, 0);
}

/* --- many -------------------------------------------------------------------------------------------------------- */

enum { MANY = 500 };

static void answer_many_when_all_have_asked(struct rawserver *server, void *user)
{
	int fds[MANY];

	(void)user;
	for (int i = 0; i < MANY; i++)
		fds[i] = rawserver_accept(server);
	for (int i = 0; i < MANY; i++)
		rawserver_expect_request(server, fds[i]);
	for (int i = 0; i < MANY; i++)
		rawserver_send(server, fds[i], OK_HEAD "ok");
	for (int i = 0; i < MANY; i++)
		rawserver_expect_close(server, fds[i]);
}

static void five_hundred_calls_run_side_by_side(void **state)
{
	struct world *world = *state;
	struct upcall *calls = calloc(MANY, sizeof(*calls));

	assert_non_null(calls);
	world->request.connect_timeout_ms = 20000;
	serve(world, answer_many_when_all_have_asked, NULL);
	for (int i = 0; i < MANY; i++)
		upcall_start(&calls[i], world->transport, &world->request);
	for (int i = 0; i < MANY; i++) {
		upcall_finish(world->loop, &calls[i]);
		assert_int_equal(calls[i].result.outcome, VGW__OUTCOME_COMPLETE);
		assert_string_equal(calls[i].body, "ok");
		upcall_fini(&calls[i]);
	}
	world->transport->ops->destroy(world->transport);
	join(world);
	assert_int_equal(vgw__h1_new(&world->transport, world->loop, 4000, NULL), VGW_OK);
	free(calls);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_connection_is_used_again),
		TEST(a_call_started_inside_on_end_uses_the_connection_that_became_free),
		TEST(an_engine_on_a_unix_socket_is_reached),
		TEST(an_answer_that_comes_byte_by_byte_is_understood),
		TEST(every_kind_of_answer_has_its_outcome_and_no_request_is_sent_twice),
		TEST(a_second_answer_to_one_request_is_never_given_to_the_next),
		TEST(an_idle_connection_that_talks_is_closed),
		TEST(a_refused_connection_is_reported_from_the_loop),
		TEST(a_missing_unix_socket_is_reported_from_the_loop),
		TEST(the_next_address_is_tried_when_one_refuses),
		TEST(a_name_without_addresses_is_reported_from_the_loop),
		TEST(an_https_engine_is_refused_at_once),
		TEST(a_reset_before_the_head_is_lost_and_the_request_was_sent_once),
		TEST(a_reused_connection_that_closes_is_lost_and_said_to_be_reused),
		TEST(the_close_of_an_idle_connection_is_noticed),
		TEST(a_connection_that_was_idle_for_too_long_is_closed),
		TEST(an_answer_before_the_body_is_sent_ends_the_call),
		TEST(a_body_in_many_segments_goes_and_comes_back_unchanged),
		TEST(a_paused_answer_waits_at_the_engine_and_arrives_whole),
		TEST(a_resume_inside_a_later_piece_of_the_same_read_goes_on),
		TEST(full_at_the_last_byte_does_not_hold_up_the_end),
		TEST(a_reset_while_paused_is_told_after_the_resume_and_does_not_spin),
		TEST(a_cancel_inside_on_data_is_seen_by_the_engine),
		TEST(a_cancel_inside_on_head_is_seen_by_the_engine),
		TEST(a_call_can_be_cancelled_in_every_early_state),
		TEST(five_hundred_calls_run_side_by_side),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
