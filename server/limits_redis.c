/* SPDX-License-Identifier: Apache-2.0 */
/* The store's thread is one vgw_loop:
 *
 *   worker ── ask ──► message ──► EVAL ──► Redis ──► reply ──► vgw_limit_ticket_answer() ──► worker
 *          ── settle ─► message ─► EVAL (nobody waits)
 *
 * A question is answered within PATIENCE_MS, by Redis or by the policy for its absence. While an answer is overdue,
 * further questions are not kept waiting for it; when Redis is silent for SILENCE_MS, the connection is made anew.
 * Places under way are renewed, so those of a gateway that died come back after KEPT_MS. */
#include "limits_redis.h"

#include "front/link.h"
#include "redis_command.h"
#include "redis_link.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { PATIENCE_MS = 250, SILENCE_MS = 2000, TICK_MS = 50, KEPT_MS = 30000, RENEW_MS = 10000, NAME_BYTES = 65, CHAINS = 256 };

struct limits_redis {
	vgw_loop *loop;
	pthread_t thread;
	vgw_logger logger;
	bool is_open;
	bool is_told;   /* that it is down */
	bool is_stopping;
	bool is_overdue; /* an answer is: until any comes */
	char owner[17];
	uint64_t next_place;
	int64_t renewed_ms;
	int64_t silent_since_ms; /* while overdue */
	struct link waiting; /* questions sent, oldest first */
	struct link held[CHAINS]; /* places taken here, by their number */
	vgw_timer tick;
	vgw_message stop;
	struct redis_link redis;
};

/* A question, or a settlement; once granted with a place, what keeps the place. */
struct errand {
	struct link link; /* in waiting or held */
	vgw_message message;
	struct limits_redis *store;
	const vgw_limit_ask *ask; /* of a question that waits; NULL: answered without Redis */
	vgw_limit_ticket *ticket;
	int64_t sent_ms;
	uint64_t place;
	uint64_t requests_per_minute;
	uint64_t tokens_per_minute;
	uint64_t tokens;
	uint64_t used;
	uint32_t concurrency;
	char name[NAME_BYTES];
};

/* --- speaking to Redis ---------------------------------------------------------------------------------------- */

static bool say(struct limits_redis *store, struct redis_command *command, redisCallbackFn *fn, void *user)
{
	return store->redis.is_up &&
	       redisAsyncCommandArgv(store->redis.context, fn, user, command->count, command->texts, NULL) == REDIS_OK;
}

static void send_settlement(const struct errand *errand, uint64_t used)
{
	struct redis_command command;

	redis_command_begin(&command, REDIS_SETTLE, errand->name);
	redis_command_add_number(&command, errand->tokens_per_minute);
	redis_command_add_number(&command, errand->tokens);
	redis_command_add_number(&command, used);
	redis_command_add_who(&command, errand->store->owner, errand->place);
	(void)say(errand->store, &command, NULL, NULL); /* without Redis there is nothing to settle with */
}

/* --- answers -------------------------------------------------------------------------------------------------- */

static void free_errand(struct errand *errand)
{
	link_remove(&errand->link);
	free(errand);
}

static void answer_without(struct errand *errand)
{
	vgw_limit_answer answer = VGW_LIMIT_ANSWER_INIT;

	answer.is_allowed = errand->store->is_open;
	answer.reason = VGW_LIMIT_STORE;
	errand->ask = NULL;
	link_remove(&errand->link);
	vgw_limit_ticket_answer(errand->ticket, &answer);
}

static void on_reply(redisAsyncContext *context, void *reply, void *user)
{
	struct errand *errand = user;
	struct limits_redis *store = errand->store;
	vgw_limit_answer answer = VGW_LIMIT_ANSWER_INIT;
	bool is_good = redis_command_read_answer(reply, &answer);

	(void)context;
	if (reply)
		store->is_overdue = false;
	if (!errand->ask) { /* too late: what it granted is given back */
		if (is_good && answer.is_allowed)
			send_settlement(errand, 0);
		free_errand(errand);
		return;
	}
	if (!is_good) {
		answer_without(errand);
		free_errand(errand);
		return;
	}
	answer.place = errand->place;
	errand->ask = NULL;
	vgw_limit_ticket_answer(errand->ticket, &answer);
	link_remove(&errand->link);
	if (answer.is_allowed && errand->concurrency)
		link_append(&store->held[errand->place % CHAINS], &errand->link);
	else
		free_errand(errand);
}

/* --- questions ------------------------------------------------------------------------------------------------ */

static void on_ask(vgw_message *message)
{
	struct errand *errand = message->user;
	struct limits_redis *store = errand->store;
	struct redis_command command;

	errand->place = ++store->next_place;
	errand->sent_ms = vgw_loop_now_ms(store->loop);
	redis_command_begin(&command, REDIS_TAKE, errand->name);
	redis_command_add_number(&command, errand->requests_per_minute);
	redis_command_add_number(&command, errand->tokens_per_minute);
	redis_command_add_number(&command, errand->tokens);
	redis_command_add_number(&command, errand->concurrency);
	redis_command_add_who(&command, errand->store->owner, errand->place);
	redis_command_add_number(&command, KEPT_MS);
	if (!store->is_overdue && say(store, &command, on_reply, errand)) {
		link_append(&store->waiting, &errand->link);
		return;
	}
	answer_without(errand);
	free_errand(errand);
}

static struct errand *new_errand(struct limits_redis *store, const vgw_limit_ask *ask)
{
	struct errand *errand = calloc(1, sizeof(*errand));

	if (!errand)
		return NULL;
	link_init(&errand->link);
	errand->store = store;
	errand->message.user = errand;
	errand->requests_per_minute = ask->requests_per_minute;
	errand->tokens_per_minute = ask->tokens_per_minute;
	errand->tokens = ask->tokens;
	errand->concurrency = ask->concurrency;
	(void)snprintf(errand->name, sizeof(errand->name), "%s", ask->name);
	return errand;
}

/* A worker's thread. */
static void ask_store(void *user, const vgw_limit_ask *ask, vgw_limit_ticket *ticket)
{
	struct limits_redis *store = user;
	struct errand *errand = new_errand(store, ask);
	vgw_limit_answer answer = VGW_LIMIT_ANSWER_INIT;

	if (errand) {
		errand->ask = ask;
		errand->ticket = ticket;
		vgw_loop_post(store->loop, &errand->message, on_ask);
		return;
	}
	answer.is_allowed = store->is_open;
	answer.reason = VGW_LIMIT_STORE;
	vgw_limit_ticket_answer(ticket, &answer);
}

static void on_settle(vgw_message *message)
{
	struct errand *errand = message->user;
	struct link *chain = &errand->store->held[errand->place % CHAINS];

	for (struct link *at = chain->next; at != chain; at = at->next) {
		struct errand *held = LINK_OWNER(at, struct errand, link);

		if (held->place == errand->place) {
			free_errand(held);
			break;
		}
	}
	send_settlement(errand, errand->used);
	free_errand(errand);
}

/* A worker's thread. Without memory the reserve flows back by itself, and the place comes back unrenewed. */
static void settle(void *user, const vgw_limit_ask *ask, uint64_t place, uint64_t tokens)
{
	struct limits_redis *store = user;
	struct errand *errand = new_errand(store, ask);

	if (!errand)
		return;
	errand->place = place;
	errand->used = tokens;
	vgw_loop_post(store->loop, &errand->message, on_settle);
}

const vgw_limit_store limits_redis_ops = { .size = sizeof(vgw_limit_store), .ask = ask_store, .settle = settle };

/* --- time ----------------------------------------------------------------------------------------------------- */

static void renew(struct limits_redis *store)
{
	for (size_t i = 0; i < CHAINS; i++) {
		for (struct link *at = store->held[i].next; at != &store->held[i]; at = at->next) {
			struct errand *held = LINK_OWNER(at, struct errand, link);
			struct redis_command command;

			redis_command_begin(&command, REDIS_RENEW, held->name);
			redis_command_add_who(&command, store->owner, held->place);
			redis_command_add_number(&command, KEPT_MS);
			(void)say(store, &command, NULL, NULL);
		}
	}
}

static void on_tick(vgw_timer *timer)
{
	struct limits_redis *store = timer->user;
	int64_t now_ms = vgw_loop_now_ms(store->loop);

	while (!link_is_empty(&store->waiting)) {
		struct errand *oldest = LINK_OWNER(store->waiting.next, struct errand, link);

		if (now_ms - oldest->sent_ms < PATIENCE_MS)
			break;
		if (!store->is_overdue)
			store->silent_since_ms = oldest->sent_ms;
		store->is_overdue = true;
		answer_without(oldest); /* freed when its reply comes, or the connection ends */
	}
	if (store->is_overdue && now_ms - store->silent_since_ms > SILENCE_MS)
		redis_link_break(&store->redis, "no answer");
	if (now_ms - store->renewed_ms >= RENEW_MS) {
		store->renewed_ms = now_ms;
		renew(store);
	}
	(void)!vgw_timer_start(store->loop, timer, now_ms + TICK_MS, on_tick);
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void log_line(struct limits_redis *store, vgw_log_level level, const char *text)
{
	if (store->logger.fn)
		store->logger.fn(store->logger.user, level, "limits", NULL, text);
}

static void on_change(void *user, bool is_up, const char *why)
{
	struct limits_redis *store = user;
	char text[256];

	if (is_up && store->is_told)
		log_line(store, VGW_LOG_INFO, "Redis answers again: limits are shared");
	if (!is_up && !store->is_told) {
		(void)snprintf(text, sizeof(text), "Redis cannot be used (%s): requests of limited keys are %s", why,
			store->is_open ? "let through unchecked" : "refused");
		log_line(store, VGW_LOG_WARN, text);
	}
	store->is_told = !is_up;
	store->is_overdue = false;
}

/* Comes twice: what was granted last to requests that are gone is settled in between, by messages of our own. */
static void on_stop(vgw_message *message)
{
	struct limits_redis *store = message->user;

	if (!store->is_stopping) {
		store->is_stopping = true;
		redis_link_close(&store->redis);
		vgw_loop_post(store->loop, message, on_stop);
		return;
	}
	for (size_t i = 0; i < CHAINS; i++) {
		while (!link_is_empty(&store->held[i]))
			free_errand(LINK_OWNER(store->held[i].next, struct errand, link));
	}
	vgw_timer_cancel(store->loop, &store->tick);
	vgw_loop_stop(store->loop);
}

static void *run(void *user)
{
	struct limits_redis *store = user;
	vgw_error err = VGW_ERROR_INIT;

	redis_link_open(&store->redis);
	store->tick.user = store;
	if (vgw_timer_start(store->loop, &store->tick, vgw_now_ms() + TICK_MS, on_tick) != VGW_OK ||
		vgw_loop_run(store->loop, &err) != VGW_OK)
		log_line(store, VGW_LOG_ERROR, "the thread that speaks to Redis has failed");
	return NULL;
}

const char *limits_redis_check(const char *url)
{
	struct redis_address address;

	return redis_address_parse(&address, url);
}

static int begin_thread(struct limits_redis *store, char *why, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[8];
	vgw_error err = VGW_ERROR_INIT;
	int code;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
		(void)snprintf(why, size, "no random numbers for the limits' store");
		return -1;
	}
	for (size_t i = 0; i < 16; i++)
		store->owner[i] = digits[(random[i / 2] >> (i % 2 ? 0 : 4)) & 15];
	if (vgw_loop_new(&store->loop, &err) != VGW_OK) {
		(void)snprintf(why, size, "%s", err.text);
		return -1;
	}
	store->redis.loop = store->loop;
	code = pthread_create(&store->thread, NULL, run, store);
	if (code != 0)
		(void)snprintf(why, size, "cannot start a thread: %s", strerror(code));
	return code == 0 ? 0 : -1;
}

int limits_redis_new(struct limits_redis **out, const struct limits_redis_options *options, char *why, size_t size)
{
	struct limits_redis *store = calloc(1, sizeof(*store));
	const char *problem;

	*out = NULL;
	(void)snprintf(why, size, "out of memory");
	if (!store)
		return -1;
	store->logger = options->logger;
	store->is_open = options->is_open;
	link_init(&store->waiting);
	for (size_t i = 0; i < CHAINS; i++)
		link_init(&store->held[i]);
	problem = redis_address_parse(&store->redis.address, options->url);
	store->redis.address.password = options->password;
	store->redis.on_change = on_change;
	store->redis.user = store;
	if (problem)
		(void)snprintf(why, size, "%s %s", strchr(options->url, '@') ? "***" : options->url, problem);
	if (problem || begin_thread(store, why, size) != 0) {
		vgw_loop_free(store->loop);
		free(store);
		return -1;
	}
	*out = store;
	return 0;
}

void limits_redis_free(struct limits_redis *store)
{
	if (!store)
		return;
	store->stop.user = store;
	vgw_loop_post(store->loop, &store->stop, on_stop);
	(void)pthread_join(store->thread, NULL);
	vgw_loop_free(store->loop);
	free(store);
}
