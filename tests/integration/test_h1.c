/* SPDX-License-Identifier: Apache-2.0 */
/* The h1 transport against engines that do what they should not: each kind of answer, each way to end. */
#include "testing.h"

#include "h1_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	struct h1_world *world = *state;

	h1_world_serve(world, serve_two_on_one_connection, NULL);
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_true(world->call.result.is_sent);
	assert_false(world->call.result.is_reused);
	assert_int_equal(world->call.status, 200);
	assert_int_equal(world->call.content_length, 2);
	assert_string_equal(world->call.header, "content-type=text/plain;content-length=2;");
	assert_string_equal(world->call.body, "ok");
	h1_world_finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_true(world->second.result.is_reused);
	assert_int_equal(world->second.content_length, -1);
	assert_string_equal(world->second.body, "onetwo");
	assert_int_equal(world->second.data_count, 2);
	h1_world_renew(world, 4000); /* closes what is idle */
	h1_world_join(world);
}

static void start_second_on_end(struct upcall *call)
{
	struct h1_world *world = call->user;

	upcall_start(&world->second, world->transport, &world->request);
}

static void a_call_started_inside_on_end_uses_the_connection_that_became_free(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, serve_two_on_one_connection, NULL);
	world->call.end_hook = start_second_on_end;
	world->call.user = world;
	h1_world_finish_first(world);
	upcall_finish(world->loop, &world->second);
	assert_true(world->second.result.is_reused);
	h1_world_renew(world, 4000); /* closes what is idle */
	h1_world_join(world);
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
	struct h1_world *world = *state;
	const struct vgw__header header = { { "x-request-id", 12 }, { "7", 1 } };
	char path[64];

	(void)snprintf(path, sizeof(path), "/tmp/vgw-test-h1-%d.sock", (int)getpid());
	world->server = rawserver_start(serve_on_a_unix_socket, NULL, path);
	assert_non_null(world->server);
	h1_world_aim(world, rawserver_get_url(world->server));
	world->request.headers = &header;
	world->request.header_count = 1;
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_string_equal(world->call.body, "ok");
	h1_world_join(world);
	(void)unlink(path);
}

static void serve_pieces(struct rawserver *server, void *user)
{
	const char *answer = user;
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	for (; *answer; answer++)
		rawserver_send_alone(server, fd, answer, 1);
	rawserver_close(server, fd);
}

static void an_answer_that_comes_byte_by_byte_is_understood(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, serve_pieces, (char *)"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
		"HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n");
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.head_count, 1);
	assert_string_equal(world->call.header, "a=b;transfer-encoding=Chunked;");
	assert_string_equal(world->call.body, "hello!");
	h1_world_join(world);
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
		assert_false(world->call.result.is_reused);
		while (vgw_loop_get_timeout_ms(world->loop) >= 0) /* until the close of the idle connection is noticed */
			assert_int_equal(vgw_loop_run_once(world->loop, 1000, NULL), VGW_OK);
	}
	h1_world_join(world);
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
	struct h1_world *world = *state;

	h1_world_serve(world, serve_two_answers_and_then_one, NULL);
	h1_world_finish_first(world);
	h1_world_finish_second(world);
	assert_false(world->second.result.is_reused);
	assert_string_equal(world->second.body, "ok");
	h1_world_join(world);
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
	struct h1_world *world = *state;

	h1_world_serve(world, serve_unasked_bytes, NULL);
	h1_world_finish_first(world);
	assert_string_equal(world->call.body, "ok");
	/* the script ends when the connection is closed, and that is up to the loop */
	assert_int_equal(vgw_loop_run_once(world->loop, 2000, NULL), VGW_OK);
	h1_world_join(world);
}

/* --- connections that end ---------------------------------------------------------------------------------------- */

static void accept_nobody(struct rawserver *server, void *user)
{
	(void)server;
	(void)user;
}

static void a_refused_connection_is_reported_from_the_loop(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, accept_nobody, NULL);
	h1_world_join(world); /* nobody listens there any more */
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_CONNECT);
	assert_int_equal(world->call.result.sys_errno, ECONNREFUSED);
	assert_false(world->call.result.is_sent);
}

static void a_missing_unix_socket_is_reported_from_the_loop(void **state)
{
	struct h1_world *world = *state;

	h1_world_aim(world, "unix:/nonexistent/socket");
	h1_world_finish_first(world);
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
	struct h1_world *world = *state;
	struct sockaddr_in *refusing;

	h1_world_serve(world, serve_one, NULL);
	world->endpoint->addresses[1] = world->endpoint->addresses[0];
	world->endpoint->address_count = 2;
	refusing = (struct sockaddr_in *)(void *)&world->endpoint->addresses[0].addr;
	refusing->sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1); /* the server listens on 127.0.0.1 alone */
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	h1_world_join(world);
}

static void a_name_without_addresses_is_reported_from_the_loop(void **state)
{
	struct h1_world *world = *state;

	h1_world_aim(world, "http://127.0.0.1:9");
	world->endpoint->address_count = 0;
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_CONNECT);
}

static void an_https_engine_is_refused_at_once(void **state)
{
	struct h1_world *world = *state;
	vgw_error err = VGW_ERROR_INIT;

	h1_world_aim(world, "https://127.0.0.1:9");
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
	struct h1_world *world = *state;

	h1_world_serve(world, reset_before_the_head, NULL);
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_LOST);
	assert_int_equal(world->call.result.sys_errno, ECONNRESET);
	assert_true(world->call.result.is_sent);
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
	rawserver_expect_no_connection(server, 100);
}

static void a_reused_connection_that_closes_is_lost_and_said_to_be_reused(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, answer_once_then_close_without_answer, NULL);
	h1_world_finish_first(world);
	h1_world_finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_LOST);
	assert_true(world->second.result.is_reused);
	assert_true(world->second.result.is_sent);
	h1_world_join(world);
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
	struct h1_world *world = *state;

	h1_world_serve(world, answer_and_close_twice, NULL);
	h1_world_finish_first(world);
	/* either the close came with the answer, or it is the next event */
	assert_int_equal(vgw_loop_run_once(world->loop, 100, NULL), VGW_OK);
	h1_world_finish_second(world);
	assert_int_equal(world->second.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_false(world->second.result.is_reused);
	h1_world_join(world);
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
	struct h1_world *world = *state;

	h1_world_renew(world, 20);
	h1_world_serve(world, serve_one_on_each_of_two_connections, NULL);
	h1_world_finish_first(world);
	assert_int_not_equal(vgw_loop_get_timeout_ms(world->loop), -1);
	while (vgw_loop_get_timeout_ms(world->loop) >= 0) /* the pool's timer is armed while something is idle */
		assert_int_equal(vgw_loop_run_once(world->loop, 1000, NULL), VGW_OK);
	h1_world_finish_second(world);
	assert_false(world->second.result.is_reused);
	h1_world_join(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_connection_is_used_again, h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_call_started_inside_on_end_uses_the_connection_that_became_free,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(an_engine_on_a_unix_socket_is_reached, h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(an_answer_that_comes_byte_by_byte_is_understood,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(every_kind_of_answer_has_its_outcome_and_no_request_is_sent_twice,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_second_answer_to_one_request_is_never_given_to_the_next,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(an_idle_connection_that_talks_is_closed, h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_refused_connection_is_reported_from_the_loop,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_missing_unix_socket_is_reported_from_the_loop,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(the_next_address_is_tried_when_one_refuses,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_name_without_addresses_is_reported_from_the_loop,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(an_https_engine_is_refused_at_once, h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_reset_before_the_head_is_lost_and_the_request_was_sent_once,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_reused_connection_that_closes_is_lost_and_said_to_be_reused,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(the_close_of_an_idle_connection_is_noticed,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_connection_that_was_idle_for_too_long_is_closed,
			h1_world_set_up, h1_world_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
