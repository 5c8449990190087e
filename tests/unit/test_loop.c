/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: timers, watches, deferred work, the inbox, and a life inside another loop. */
#include "testing.h"

#include <vllmgw/loop.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static vgw_loop *make_loop(void)
{
	vgw_loop *loop = NULL;

	assert_int_equal(vgw_loop_new(&loop, NULL), VGW_OK);
	return loop;
}

static void turn(vgw_loop *loop, int timeout_ms)
{
	assert_int_equal(vgw_loop_run_once(loop, timeout_ms, NULL), VGW_OK);
}

static int ready_fd(void)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

/* --- timers ------------------------------------------------------------------------------------------------------ */

enum { MANY = 10000 };

struct clockwork {
	vgw_loop *loop;
	int fired;
	int64_t last_at_ms;
	bool is_in_order;
};

static void note_order(vgw_timer *timer)
{
	struct clockwork *clockwork = timer->user;

	clockwork->fired++;
	if (timer->at_ms < clockwork->last_at_ms)
		clockwork->is_in_order = false;
	clockwork->last_at_ms = timer->at_ms;
}

static void ten_thousand_timers_fire_in_the_order_of_their_times(void **state)
{
	struct clockwork clockwork = { .loop = make_loop(), .is_in_order = true };
	vgw_timer *timers = calloc(MANY, sizeof(*timers));
	int64_t base_ms = vgw_now_ms() - 2 * MANY;
	uint32_t random = 12345;
	int cancelled = 0;

	(void)state;
	assert_non_null(timers);
	for (int i = 0; i < MANY; i++) {
		random = random * 1103515245u + 12345u;
		timers[i].user = &clockwork;
		assert_int_equal(vgw_timer_start(clockwork.loop, &timers[i], base_ms + random % MANY, note_order), VGW_OK);
	}
	for (int i = 0; i < MANY; i += 3) { /* moved: the heap must sink and rise them */
		random = random * 1103515245u + 12345u;
		assert_int_equal(vgw_timer_start(clockwork.loop, &timers[i], base_ms + random % MANY, note_order), VGW_OK);
	}
	for (int i = 0; i < MANY; i += 5, cancelled++)
		vgw_timer_cancel(clockwork.loop, &timers[i]);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(vgw_timer_is_armed(&timers[i]), i % 5 != 0);
	turn(clockwork.loop, 0);
	assert_int_equal(clockwork.fired, MANY - cancelled);
	assert_true(clockwork.is_in_order);
	assert_int_equal(vgw_loop_get_timeout_ms(clockwork.loop), -1);
	vgw_loop_free(clockwork.loop);
	free(timers);
}

static void a_timer_does_not_fire_before_its_time(void **state)
{
	struct clockwork clockwork = { .loop = make_loop() };
	vgw_timer timer = { .user = &clockwork };
	int64_t at_ms = vgw_now_ms() + 20;

	(void)state;
	assert_int_equal(vgw_timer_start(clockwork.loop, &timer, at_ms, note_order), VGW_OK);
	turn(clockwork.loop, 0);
	assert_int_equal(clockwork.fired, 0);
	assert_in_range(vgw_loop_get_timeout_ms(clockwork.loop), 0, 20);
	while (!clockwork.fired)
		turn(clockwork.loop, -1);
	assert_true(vgw_now_ms() >= at_ms);
	vgw_loop_free(clockwork.loop);
}

static void fire_again_at_once(vgw_timer *timer)
{
	struct clockwork *clockwork = timer->user;

	clockwork->fired++;
	assert_int_equal(vgw_timer_start(clockwork->loop, timer, 0, fire_again_at_once), VGW_OK);
}

static void a_timer_that_rearms_itself_for_now_does_not_starve_the_rest(void **state)
{
	struct clockwork clockwork = { .loop = make_loop() };
	vgw_timer timer = { .user = &clockwork };

	(void)state;
	assert_int_equal(vgw_timer_start(clockwork.loop, &timer, 0, fire_again_at_once), VGW_OK);
	turn(clockwork.loop, 0);
	assert_int_equal(clockwork.fired, 1);
	vgw_timer_cancel(clockwork.loop, &timer);
	vgw_timer_cancel(clockwork.loop, &timer);
	turn(clockwork.loop, 0);
	assert_int_equal(clockwork.fired, 1);
	vgw_loop_free(clockwork.loop);
}

/* --- watches ----------------------------------------------------------------------------------------------------- */

struct pair {
	vgw_loop *loop;
	vgw_watch watches[2];
	int fds[2];
	int called;
	void (*act)(struct pair *pair, vgw_watch *other);
};

static void on_pair(vgw_watch *watch, uint32_t events)
{
	struct pair *pair = watch->user;

	assert_true(events & EPOLLIN);
	pair->called++;
	pair->act(pair, watch == &pair->watches[0] ? &pair->watches[1] : &pair->watches[0]);
}

static void make_pair(struct pair *pair, void (*act)(struct pair *pair, vgw_watch *other))
{
	*pair = (struct pair){ .loop = make_loop(), .act = act };
	for (int i = 0; i < 2; i++) {
		pair->fds[i] = ready_fd();
		pair->watches[i].user = pair;
		assert_int_equal(vgw_watch_add(pair->loop, &pair->watches[i], pair->fds[i], EPOLLIN, on_pair, NULL), VGW_OK);
	}
}

static void drop_pair(struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		vgw_watch_remove(pair->loop, &pair->watches[i]);
		(void)close(pair->fds[i]);
	}
	vgw_loop_free(pair->loop);
}

static void remove_other(struct pair *pair, vgw_watch *other)
{
	vgw_watch_remove(pair->loop, other);
	memset(other, 0xa5, sizeof(*other)); /* as good as freed */
}

static void a_watch_removed_while_its_event_waits_is_not_called(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair, remove_other);
	turn(pair.loop, 0);
	assert_int_equal(pair.called, 1);
	for (int i = 0; i < 2; i++)
		if (pair.watches[i].user != &pair)
			memset(&pair.watches[i], 0, sizeof(pair.watches[i]));
	drop_pair(&pair);
}

static void lose_interest_in_other(struct pair *pair, vgw_watch *other)
{
	assert_int_equal(vgw_watch_set(pair->loop, other, 0), VGW_OK);
}

static void an_event_that_nobody_wants_any_more_is_not_delivered(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair, lose_interest_in_other);
	turn(pair.loop, 0);
	assert_int_equal(pair.called, 1);
	for (int i = 0; i < 2; i++) /* interest again: the event is still there */
		assert_int_equal(vgw_watch_set(pair.loop, &pair.watches[i], EPOLLIN), VGW_OK);
	turn(pair.loop, 0);
	assert_int_equal(pair.called, 2);
	drop_pair(&pair);
}

static void add_other_again(struct pair *pair, vgw_watch *other)
{
	vgw_watch_remove(pair->loop, other);
	assert_int_equal(vgw_watch_add(pair->loop, other, pair->fds[other - pair->watches], EPOLLIN, on_pair, NULL),
		VGW_OK);
}

static void a_watch_removed_and_added_again_is_called_in_the_next_turn(void **state)
{
	struct pair pair;

	(void)state;
	make_pair(&pair, add_other_again);
	turn(pair.loop, 0);
	assert_int_equal(pair.called, 1);
	turn(pair.loop, 0);
	assert_int_equal(pair.called, 2);
	drop_pair(&pair);
}

static void a_watch_in_use_and_a_closed_descriptor_are_refused(void **state)
{
	struct pair pair;
	vgw_watch watch = { 0 };
	vgw_error err = VGW_ERROR_INIT;

	(void)state;
	make_pair(&pair, remove_other);
	assert_int_equal(vgw_watch_add(pair.loop, &pair.watches[0], pair.fds[0], EPOLLIN, on_pair, &err), VGW_INVALID);
	assert_int_equal(vgw_watch_add(pair.loop, &watch, -1, EPOLLIN, on_pair, &err), VGW_INTERNAL);
	assert_int_not_equal(err.sys_errno, 0);
	assert_int_equal(vgw_watch_set(pair.loop, &watch, EPOLLIN), VGW_INVALID);
	drop_pair(&pair);
}

/* --- deferred work ----------------------------------------------------------------------------------------------- */

struct chores {
	vgw_loop *loop;
	vgw_defer defers[3];
	char order[8];
	size_t count;
};

static void note_chore(vgw_defer *defer)
{
	struct chores *chores = defer->user;

	chores->order[chores->count++] = (char)('a' + (defer - chores->defers));
	if (defer == &chores->defers[0] && chores->count == 1)
		vgw_defer_call(chores->loop, &chores->defers[2], note_chore);
}

static void deferred_work_runs_once_in_order_and_may_ask_for_more(void **state)
{
	struct chores chores = { .loop = make_loop() };

	(void)state;
	for (int i = 0; i < 3; i++)
		chores.defers[i].user = &chores;
	vgw_defer_call(chores.loop, &chores.defers[0], note_chore);
	vgw_defer_call(chores.loop, &chores.defers[1], note_chore);
	vgw_defer_call(chores.loop, &chores.defers[0], note_chore);
	assert_int_equal(vgw_loop_get_timeout_ms(chores.loop), 0);
	turn(chores.loop, -1); /* does not sleep on work that waits */
	assert_string_equal(chores.order, "abc");
	vgw_defer_call(chores.loop, &chores.defers[1], note_chore);
	vgw_defer_cancel(chores.loop, &chores.defers[1]);
	vgw_defer_cancel(chores.loop, &chores.defers[1]);
	assert_int_equal(vgw_loop_get_timeout_ms(chores.loop), -1);
	turn(chores.loop, 0);
	assert_string_equal(chores.order, "abc");
	vgw_loop_free(chores.loop);
}

/* --- inbox ------------------------------------------------------------------------------------------------------- */

enum { SENDERS = 4, LETTERS = 5000 };

struct letter {
	vgw_message message;
	int sender;
	int number;
};

struct post {
	vgw_loop *loop;
	pthread_barrier_t barrier;
	struct letter letters[SENDERS][LETTERS];
	int next[SENDERS];
	int received;
	bool is_in_order;
};

struct sender {
	pthread_t thread;
	struct post *post;
	int number;
};

static void on_letter(vgw_message *message)
{
	struct letter *letter = (struct letter *)(void *)message;
	struct post *post = message->user;

	if (post->next[letter->sender]++ != letter->number)
		post->is_in_order = false;
	if (++post->received == SENDERS * LETTERS)
		vgw_loop_stop(post->loop);
}

static void *send_letters(void *argument)
{
	struct sender *sender = argument;
	struct post *post = sender->post;

	(void)pthread_barrier_wait(&post->barrier);
	for (int i = 0; i < LETTERS; i++) {
		struct letter *letter = &post->letters[sender->number][i];

		letter->sender = sender->number;
		letter->number = i;
		letter->message.user = post;
		vgw_loop_post(post->loop, &letter->message, on_letter);
	}
	return NULL;
}

static void messages_of_four_threads_all_arrive_each_threads_in_its_order(void **state)
{
	struct post *post = calloc(1, sizeof(*post));
	struct sender senders[SENDERS];

	(void)state;
	assert_non_null(post);
	post->loop = make_loop();
	post->is_in_order = true;
	assert_int_equal(pthread_barrier_init(&post->barrier, NULL, SENDERS), 0);
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ .post = post, .number = i };
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_letters, &senders[i]), 0);
	}
	assert_int_equal(vgw_loop_run(post->loop, NULL), VGW_OK);
	for (int i = 0; i < SENDERS; i++)
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
	assert_int_equal(post->received, SENDERS * LETTERS);
	assert_true(post->is_in_order);
	(void)pthread_barrier_destroy(&post->barrier);
	vgw_loop_free(post->loop);
	free(post);
}

/* --- inside another loop ----------------------------------------------------------------------------------------- */

static void nothing_to_do(struct pair *pair, vgw_watch *other)
{
	(void)pair;
	(void)other;
}

static void the_loops_descriptor_is_readable_when_there_is_something_to_do(void **state)
{
	struct pair pair;
	struct pollfd poll_fd;
	uint64_t count;

	(void)state;
	make_pair(&pair, nothing_to_do);
	poll_fd = (struct pollfd){ .fd = vgw_loop_get_fd(pair.loop), .events = POLLIN };
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	turn(pair.loop, 0);
	assert_int_equal(pair.called, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(read(pair.fds[i], &count, sizeof(count)), sizeof(count));
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_int_equal(vgw_loop_get_timeout_ms(pair.loop), -1);
	drop_pair(&pair);
}

static void a_stop_before_the_run_is_not_lost(void **state)
{
	vgw_loop *loop = make_loop();

	(void)state;
	vgw_loop_stop(loop);
	assert_int_equal(vgw_loop_run(loop, NULL), VGW_OK);
	vgw_loop_free(loop);
	vgw_loop_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_thousand_timers_fire_in_the_order_of_their_times),
		cmocka_unit_test(a_timer_does_not_fire_before_its_time),
		cmocka_unit_test(a_timer_that_rearms_itself_for_now_does_not_starve_the_rest),
		cmocka_unit_test(a_watch_removed_while_its_event_waits_is_not_called),
		cmocka_unit_test(an_event_that_nobody_wants_any_more_is_not_delivered),
		cmocka_unit_test(a_watch_removed_and_added_again_is_called_in_the_next_turn),
		cmocka_unit_test(a_watch_in_use_and_a_closed_descriptor_are_refused),
		cmocka_unit_test(deferred_work_runs_once_in_order_and_may_ask_for_more),
		cmocka_unit_test(messages_of_four_threads_all_arrive_each_threads_in_its_order),
		cmocka_unit_test(the_loops_descriptor_is_readable_when_there_is_something_to_do),
		cmocka_unit_test(a_stop_before_the_run_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
