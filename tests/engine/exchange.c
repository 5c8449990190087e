/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its answer: from the complete request over faults, readiness, keys, route and body to the
 * handler, and the ways a handler answers: at once, later, as JSON, as an error in vLLM's shape. */
#include "engine.h"

#include "stream.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the end --- */

void exchange_count_running(struct conn *conn, bool is_running)
{
	struct counters *counters = &conn->engine->counters;

	if (conn->x.is_running == is_running)
		return;
	conn->x.is_running = is_running;
	counters->running += is_running ? 1 : -1;
	if (counters->running > counters->peak_running)
		counters->peak_running = counters->running;
}

static void count_outcome(struct counters *counters, const char *outcome)
{
	if (strcmp(outcome, "answered") == 0)
		counters->answered++;
	else if (strcmp(outcome, "faulted") == 0)
		counters->faulted++;
	else if (strcmp(outcome, "aborted") == 0)
		counters->aborted++;
	else if (strcmp(outcome, "bad_request") == 0)
		counters->bad_requests++;
}

void exchange_finish(struct conn *conn, const char *outcome)
{
	struct exchange *x = &conn->x;

	conn->is_busy = false;
	exchange_count_running(conn, false);
	timer_cancel(&conn->engine->loop, &x->timer);
	x->outcome = outcome;
	if (!x->record)
		return;
	count_outcome(&conn->engine->counters, outcome);
	record_end(conn);
}

void exchange_clear(struct conn *conn)
{
	struct exchange *x = &conn->x;
	struct timer timer = x->timer;

	timer_cancel(&conn->engine->loop, &x->timer);
	timer.place = 0;
	http_free(&x->request);
	json_decref(x->json);
	conn->engine->generating -= x->stream != NULL;
	stream_free(x->stream);
	buf_free(&x->later.headers);
	buf_free(&x->later.body);
	*x = (struct exchange){.timer = timer};
}

/* --- answering --- */

void exchange_after(struct conn *conn, int64_t delay_us, void (*resume)(struct conn *conn))
{
	conn->x.resume = resume;
	if (delay_us <= 0)
		resume(conn);
	else
		timer_arm(&conn->engine->loop, &conn->x.timer, now_us() + delay_us);
}

static void send_later(struct conn *conn)
{
	conn->x.resume = NULL;
	wire_reply(conn, &conn->x.later);
}

void exchange_reply_after(struct conn *conn, int64_t delay_us, int status, const char *type, struct buf *body)
{
	struct reply *later = &conn->x.later;

	buf_free(&later->body);
	later->status = status;
	later->type = type;
	later->body = *body;
	*body = (struct buf){0};
	exchange_after(conn, delay_us, send_later);
}

void exchange_reply(struct conn *conn, int status, const char *type, struct buf *body)
{
	exchange_reply_after(conn, 0, status, type, body);
}

void exchange_json(struct conn *conn, int status, json_t *json)
{
	struct buf body = {0};
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);

	buf_text(&body, text ? text : "null");
	free(text);
	json_decref(json);
	exchange_reply(conn, status, "application/json", &body);
}

void exchange_error(
	struct conn *conn, int status, const char *type, const char *param, const char *format, ...)
{
	struct buf message = {0};
	struct buf body = {0};
	va_list args;
	char *text = NULL;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	buf_json(&message, text ? text : "", text ? strlen(text) : 0);
	free(text);
	buf_printf(&body, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":", message.data, type);
	buf_printf(&body, param ? "\"%s\"" : "null%s", param ? param : "");
	buf_printf(&body, ",\"code\":%d}}", status);
	buf_free(&message);
	exchange_reply(conn, status, "application/json", &body);
}

/* --- the beginning --- */

void exchange_bad_request(struct conn *conn)
{
	struct buf body = {0};

	conn->x.began_us = now_us();
	conn->x.request.keep_alive = false;
	if (!conn->x.request.head.len)
		buf_add(&conn->x.request.head, conn->in.data, conn->in.len);
	conn->in.len = 0;
	record_request(conn);
	buf_text(&body, "Invalid HTTP request received.");
	exchange_reply(conn, 400, "text/plain; charset=utf-8", &body);
	conn->x.outcome = "bad_request";
}

static bool has_key(struct conn *conn)
{
	const struct words *keys = &conn->engine->options.api_keys;
	const char *given = http_header(&conn->x.request, "authorization");
	size_t i;

	if (!keys->count || (conn->x.route && conn->x.route->flags & ROUTE_OPEN) || conn->is_control)
		return true;
	for (i = 0; given && i < keys->count; i++) {
		if (strncmp(given, "Bearer ", 7) == 0 && strcmp(given + 7, keys->items[i]) == 0)
			return true;
	}
	return false;
}

/* Before it is ready the engine answers only when told to listen early; then 503, or lies about its health.
 */
static bool is_loading_answer(struct conn *conn)
{
	struct engine *engine = conn->engine;
	struct buf empty = {0};

	if (engine->is_ready || (conn->x.route && strncmp(conn->x.route->path, "/_engine/", 9) == 0))
		return false;
	if (engine_has_fault(engine, FAULT_HEALTH_LIES) && strcmp(conn->x.request.path, "/health") == 0)
		exchange_reply(conn, 200, NULL, &empty);
	else
		exchange_error(conn, 503, "unavailable_error", NULL, "Loading model");
	return true;
}

static bool parse_json(struct conn *conn)
{
	struct request *request = &conn->x.request;
	const char *type = http_header(request, "content-type");
	json_error_t error;

	if (type && strncmp(type, "application/json", 16) != 0) {
		exchange_error(conn, 415, "Unsupported Media Type", NULL,
			"Unsupported Media Type: Only 'application/json' is allowed");
		return false;
	}
	conn->x.json = json_loadb(
		request->body.len ? request->body.data : "", request->body.len, JSON_ALLOW_NUL, &error);
	if (json_is_object(conn->x.json))
		return true;
	exchange_error(conn, 400, "Bad Request", NULL,
		"[{'type': 'json_invalid', 'loc': ('body', %d), 'msg': "
		"'JSON decode error', 'ctx': {'error': '%s'}}]",
		error.position > 0 ? error.position : 0, error.text);
	return false;
}

/* The faults that take the whole process along. true: they did. */
static bool strikes_process(struct conn *conn)
{
	const struct fault_set *faults = &conn->x.faults;

	if (fault_is_on(faults, FAULT_EXIT_ON_REQUEST)) {
		lifecycle_exit_now(conn->engine, (int)faults->argument[FAULT_EXIT_ON_REQUEST]);
		return true;
	}
	if (fault_is_on(faults, FAULT_HANG)) {
		loop_set_hung(&conn->engine->loop, true);
		return true;
	}
	return false;
}

/* Faults named in the body: the key x_fault, or behind the '!' of the model's name. The name loses them.
 * false: there is no such fault; answered. */
static bool add_body_faults(struct conn *conn)
{
	const char *spec = json_string_value(json_object_get(conn->x.json, "x_fault"));
	const char *model = json_string_value(json_object_get(conn->x.json, "model"));
	const char *bang = model ? strchr(model, '!') : NULL;

	if (spec && !engine_add_spec(conn, spec))
		return false;
	if (!bang)
		return true;
	if (!engine_add_spec(conn, bang + 1))
		return false;
	json_object_set_new(conn->x.json, "model", json_stringn(model, (size_t)(bang - model)));
	return true;
}

static void count_request(struct conn *conn)
{
	struct counters *counters = &conn->engine->counters;
	bool is_admin = conn->x.route && strncmp(conn->x.route->path, "/_engine/", 9) == 0;

	if (conn->is_control)
		return;
	if (is_admin && conn->requests == 1 && !conn->is_admin) {
		conn->is_admin = true; /* a test's own question is no traffic */
		counters->connections--;
		counters->open--;
	}
	if (is_admin)
		return;
	if (conn->is_admin) {
		conn->is_admin = false;
		counters->connections++;
		counters->open++;
	}
	record_request(conn);
	if (conn->x.route && conn->x.route->flags & ROUTE_INFERENCE) {
		counters->inference_requests++;
		exchange_count_running(conn, true);
	}
}

void exchange_begin(struct conn *conn)
{
	struct exchange *x = &conn->x;
	struct buf body = {0};
	int status = 200;

	x->began_us = now_us();
	x->phase = PHASE_WAITING;
	x->route = route_find(conn->engine, x->request.method, x->request.path, &status);
	count_request(conn);
	if (is_loading_answer(conn) || !engine_resolve_faults(conn))
		return;
	if (!x->route) {
		buf_printf(&body, "{\"detail\":\"%s\"}", status == 404 ? "Not Found" : "Method Not Allowed");
		exchange_reply(conn, status, "application/json", &body);
		return;
	}
	if (!has_key(conn)) {
		buf_text(&body, "{\"error\":\"Unauthorized\"}");
		exchange_reply(conn, 401, "application/json", &body);
		return;
	}
	if (x->route->flags & ROUTE_JSON && !parse_json(conn))
		return;
	if (!add_body_faults(conn) || strikes_process(conn) || wire_instead(conn))
		return;
	x->route->handle(conn);
}
