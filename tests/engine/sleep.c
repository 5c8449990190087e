/* SPDX-License-Identifier: Apache-2.0 */
/* Sleep mode. What a wake-up restores is tracked by part, so that a level-2 wake without the reload of the
 * weights gives what it gives with vLLM: garbage, with status 200. */
#include "model.h"
#include "stream.h"

#include <stdlib.h>
#include <string.h>

enum { WAIT_TICK_US = 2000 };

static bool has(const struct conn *conn, enum fault fault)
{
	return fault_is_on(&conn->x.faults, fault) || engine_has_fault(conn->engine, fault);
}

static void reply_empty(struct conn *conn)
{
	struct buf empty = {0};

	exchange_reply(conn, 200, NULL, &empty);
}

void sleep_init(struct engine *engine)
{
	engine->sleeper = (struct sleeper){.has_weights = true, .has_cache = true};
}

const char *sleep_state_name(const struct engine *engine)
{
	if (engine->sleeper.level == 0)
		return "awake";
	return engine->sleeper.level == 1 ? "weights_offloaded" : "discard_all";
}

/* --- requests to a sleeper --- */

bool sleep_admits(struct conn *conn, void (*again)(struct conn *conn))
{
	struct engine *engine = conn->engine;
	const char *policy = engine->options.asleep_request;

	if (!engine->sleeper.is_paused)
		return true;
	if (strcmp(policy, "error") == 0) {
		exchange_error(conn, 500, "InternalServerError", NULL,
			"CUDA error: an illegal memory access was encountered");
	} else if (strcmp(policy, "crash") == 0) {
		lifecycle_exit_now(engine, -1);
	} else if (strcmp(policy, "wait") == 0 || engine->sleeper.level == 0) {
		conn->x.is_held = true;
		conn->x.resume = again;
	}
	return false;
}

static void release_held(struct engine *engine)
{
	struct conn *conn;
	struct conn *next;

	for (conn = engine->conns; conn; conn = next) {
		next = conn->next;
		if (!conn->x.is_held)
			continue;
		conn->x.is_held = false;
		if (conn->x.stream) /* what was frozen goes on at its pace, without catching up */
			conn->x.stream->due_us = now_us();
		timer_arm(&engine->loop, &conn->x.timer, now_us());
	}
}

/* --- going to sleep --- */

static void abort_running(struct engine *engine)
{
	struct conn *conn;
	struct conn *next;

	for (conn = engine->conns; conn; conn = next) {
		next = conn->next;
		if (conn->is_busy && conn->x.stream && !conn->x.is_complete && !conn->x.is_cut)
			stream_abort(conn, "abort");
	}
}

/* mode=keep: what runs stops where it is, and goes on after the wake-up. */
static void freeze_running(struct engine *engine)
{
	struct conn *conn;

	for (conn = engine->conns; conn; conn = conn->next) {
		if (!conn->is_busy || !conn->x.stream || conn->x.is_complete || conn->x.is_cut)
			continue;
		timer_cancel(&engine->loop, &conn->x.timer);
		if (conn->x.refill) {
			conn->x.resume = conn->x.refill;
			conn->x.refill = NULL;
		}
		conn->x.is_held = true;
	}
}

static int level_of(const struct conn *conn)
{
	char *text = http_query(&conn->x.request, "level", 0);
	int level = text ? (int)strtol(text, NULL, 10) : 1;

	free(text);
	return level;
}

static void asleep(struct conn *conn)
{
	struct engine *engine = conn->engine;
	struct sleeper *sleeper = &engine->sleeper;
	int level = level_of(conn);

	engine->counters.sleeps++;
	if (level > 0) {
		sleeper->level = level;
		sleeper->has_weights = false;
		sleeper->has_cache = false;
		sleeper->is_garbage |= level == 2;
		if (level == 2)
			lora_discard(engine);
		if (!has(conn, FAULT_SLEEP_LIES))
			memory_hold(engine, engine->options.residue);
	}
	conn->x.resume = NULL;
	reply_empty(conn);
}

static void wait_for_running(struct conn *conn)
{
	struct engine *engine = conn->engine;

	if (engine->generating > 0)
		exchange_after(conn, WAIT_TICK_US, wait_for_running);
	else
		exchange_after(conn, engine->options.sleep_time, asleep);
}

void sleep_begin(struct conn *conn)
{
	struct engine *engine = conn->engine;
	char *mode = http_query(&conn->x.request, "mode", 0);
	int level = level_of(conn);

	if (level < 0 || level > 2 ||
		(mode && strcmp(mode, "abort") && strcmp(mode, "wait") && strcmp(mode, "keep"))) {
		exchange_error(conn, 400, "BadRequestError", NULL,
			"level is 0, 1 or 2; mode is abort, wait or keep");
	} else if (has(conn, FAULT_SLEEP_HANGS)) {
		conn->x.is_cut = true;
	} else if (engine->sleeper.level > 0) {
		reply_empty(conn);
	} else {
		engine->sleeper.is_paused = true;
		if (!mode || strcmp(mode, "abort") == 0)
			abort_running(engine);
		else if (strcmp(mode, "keep") == 0)
			freeze_running(engine);
		if (mode && strcmp(mode, "wait") == 0)
			wait_for_running(conn);
		else
			exchange_after(conn, engine->options.sleep_time, asleep);
	}
	free(mode);
}

/* --- waking --- */

static void awake(struct conn *conn)
{
	struct engine *engine = conn->engine;
	struct sleeper *sleeper = &engine->sleeper;
	bool has_tags = false;
	char *tag;
	size_t i;

	for (i = 0; (tag = http_query(&conn->x.request, "tags", i)); i++) {
		has_tags = true;
		sleeper->has_weights |= strcmp(tag, "weights") == 0;
		sleeper->has_cache |= strcmp(tag, "kv_cache") == 0;
		free(tag);
	}
	if (!has_tags)
		sleeper->has_weights = sleeper->has_cache = true;
	memory_hold(engine, engine->options.memory);
	if (sleeper->has_weights && sleeper->has_cache) {
		sleeper->level = 0;
		sleeper->is_paused = false;
		engine->counters.wakes++;
		release_held(engine);
	}
	conn->x.resume = NULL;
	reply_empty(conn);
}

void sleep_wake(struct conn *conn)
{
	if (has(conn, FAULT_WAKE_HANGS))
		conn->x.is_cut = true;
	else if (!conn->engine->sleeper.is_paused)
		reply_empty(conn);
	else
		exchange_after(conn, conn->engine->options.wake_time, awake);
}

void sleep_is_sleeping(struct conn *conn)
{
	exchange_json(conn, 200, json_pack("{s:b}", "is_sleeping", (int)conn->engine->sleeper.is_paused));
}

void sleep_rpc(struct conn *conn)
{
	struct sleeper *sleeper = &conn->engine->sleeper;
	const char *method = json_string_value(json_object_get(conn->x.json, "method"));

	if (!method) {
		exchange_error(conn, 400, "BadRequestError", NULL, "Missing 'method' in request body");
		return;
	}
	if (strcmp(method, "reload_weights") == 0) {
		if (!sleeper->has_weights) {
			exchange_error(conn, 500, "InternalServerError", NULL,
				"the weights have no memory: wake them first");
			return;
		}
		sleeper->is_garbage = false;
	}
	exchange_json(conn, 200, json_pack("{s:[n]}", "results"));
}

void sleep_reset_cache(struct conn *conn)
{
	reply_empty(conn);
}

void sleep_pause(struct conn *conn)
{
	conn->engine->sleeper.is_paused = true;
	freeze_running(conn->engine);
	exchange_json(conn, 200, json_pack("{s:s}", "status", "paused"));
}

void sleep_resume(struct conn *conn)
{
	if (conn->engine->sleeper.level == 0) {
		conn->engine->sleeper.is_paused = false;
		release_held(conn->engine);
	}
	exchange_json(conn, 200, json_pack("{s:s}", "status", "resumed"));
}
