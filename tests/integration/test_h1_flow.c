/* SPDX-License-Identifier: Apache-2.0 */
/* The h1 transport with much to carry: large bodies, pauses, cancels, many calls at once. */
#include "testing.h"

#include "h1_world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void serve_one(struct rawserver *server, void *user)
{
	int fd = rawserver_accept(server);

	(void)user;
	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, OK_HEAD "ok");
}

static void accept_nobody(struct rawserver *server, void *user)
{
	(void)server;
	(void)user;
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
	struct h1_world *world = *state;
	char *text = make_large(8 * LARGE);

	h1_world_serve(world, answer_before_the_body, NULL);
	world->body = (struct vgw__span){ text, (size_t)8 * LARGE };
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.status, 413);
	assert_int_equal(world->call.sent_count, 0);
	assert_string_equal(world->call.body, "long");
	assert_false(world->call.result.is_sent);
	h1_world_join(world);
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
	struct h1_world *world = *state;
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
	h1_world_serve(world, echo, NULL);
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_int_equal(world->call.sent_count, 1);
	assert_int_equal(world->call.body_len, LARGE);
	assert_memory_equal(world->call.body, text, LARGE);
	h1_world_join(world);
	free(text);
}

struct flood {
	char *text;
	size_t len;
	size_t sent_while_paused;
	atomic_bool is_full;
};

static void send_flood(struct rawserver *server, void *user)
{
	struct flood *flood = user;
	int fd = rawserver_accept(server);

	rawserver_expect_request(server, fd);
	rawserver_send(server, fd, "HTTP/1.1 200 OK\r\n\r\n");
	flood->sent_while_paused = rawserver_send_until_full(server, fd, flood->text, flood->len);
	atomic_store(&flood->is_full, true);
	rawserver_send(server, fd, "!"); /* waits until somebody reads again */
	rawserver_send_bytes(server, fd, flood->text, flood->len - flood->sent_while_paused);
}

static void a_paused_answer_waits_at_the_engine_and_arrives_whole(void **state)
{
	struct h1_world *world = *state;
	struct flood flood = { .len = 64 << 20 };
	size_t body_len;
	int64_t until_ms;

	flood.text = make_large(flood.len);
	h1_world_serve(world, send_flood, &flood);
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
	while (!atomic_load(&flood.is_full))
		assert_int_equal(vgw_loop_run_once(world->loop, 10, NULL), VGW_OK);
	assert_int_equal(world->call.body_len, body_len);
	world->call.full_at = 0;
	vgw__upstream_resume(world->call.handle);
	vgw__upstream_resume(world->call.handle);
	upcall_finish(world->loop, &world->call);
	h1_world_join(world);
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
	rawserver_send_alone(server, fd, "5\r\nthree\r\n0\r\n\r\n", 15);
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
	struct h1_world *world = *state;

	h1_world_serve(world, send_two_chunks_and_then_the_rest, NULL);
	world->call.full_at = 1;
	world->call.data_hook = resume_at_the_second_piece;
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	assert_string_equal(world->call.body, "onetwothree");
	h1_world_join(world);
}

static void full_at_the_last_byte_does_not_hold_up_the_end(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, serve_one, NULL);
	world->call.full_at = 2;
	h1_world_finish_first(world);
	assert_int_equal(world->call.result.outcome, VGW__OUTCOME_COMPLETE);
	h1_world_join(world);
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
	struct h1_world *world = *state;
	int64_t until_ms;

	h1_world_serve(world, reset_while_paused, NULL);
	world->call.full_at = 1;
	upcall_start(&world->call, world->transport, &world->request);
	/* the reset may overtake the bytes: then there is nothing to pause */
	while (!world->call.data_count && !world->call.end_count)
		assert_int_equal(vgw_loop_run_once(world->loop, 1000, NULL), VGW_OK);
	h1_world_join(world);
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
	struct h1_world *world = *state;

	h1_world_serve(world, stream_and_expect_close, NULL);
	world->call.data_hook = cancel_inside;
	world->call.full_at = 1;
	upcall_start(&world->call, world->transport, &world->request);
	upcall_run_until(world->loop, &world->call.data_count, 1);
	h1_world_join(world);
	assert_int_equal(world->call.data_count, 1);
	assert_int_equal(world->call.end_count, 0);
}

static void a_cancel_inside_on_head_is_seen_by_the_engine(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, stream_and_expect_close, NULL);
	world->call.head_hook = cancel_inside;
	upcall_start(&world->call, world->transport, &world->request);
	upcall_run_until(world->loop, &world->call.head_count, 1);
	h1_world_join(world);
	assert_int_equal(world->call.data_count + world->call.end_count, 0);
}

static void a_call_can_be_cancelled_in_every_early_state(void **state)
{
	struct h1_world *world = *state;

	h1_world_serve(world, accept_nobody, NULL);
	upcall_start(&world->call, world->transport, &world->request);
	upcall_cancel(&world->call); /* connecting */
	h1_world_join(world);
	upcall_start(&world->call, world->transport, &world->request);
	upcall_cancel(&world->call);
	h1_world_aim(world, "unix:/nonexistent/socket");
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
	struct h1_world *world = *state;
	struct upcall *calls = calloc(MANY, sizeof(*calls));

	assert_non_null(calls);
	world->request.connect_timeout_ms = 20000;
	h1_world_serve(world, answer_many_when_all_have_asked, NULL);
	for (int i = 0; i < MANY; i++)
		upcall_start(&calls[i], world->transport, &world->request);
	for (int i = 0; i < MANY; i++) {
		upcall_finish(world->loop, &calls[i]);
		assert_int_equal(calls[i].result.outcome, VGW__OUTCOME_COMPLETE);
		assert_string_equal(calls[i].body, "ok");
		upcall_fini(&calls[i]);
	}
	h1_world_renew(world, 4000); /* closes what is idle */
	h1_world_join(world);
	free(calls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_before_the_body_is_sent_ends_the_call,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_body_in_many_segments_goes_and_comes_back_unchanged,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_paused_answer_waits_at_the_engine_and_arrives_whole,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_resume_inside_a_later_piece_of_the_same_read_goes_on,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(full_at_the_last_byte_does_not_hold_up_the_end,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_reset_while_paused_is_told_after_the_resume_and_does_not_spin,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_inside_on_data_is_seen_by_the_engine,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_cancel_inside_on_head_is_seen_by_the_engine,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(a_call_can_be_cancelled_in_every_early_state,
			h1_world_set_up, h1_world_tear_down),
		cmocka_unit_test_setup_teardown(five_hundred_calls_run_side_by_side, h1_world_set_up, h1_world_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
