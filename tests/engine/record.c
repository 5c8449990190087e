/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulator saw, exactly: for the file of --record one line per event, for GET /_engine/requests a
 * list in memory (bounded by --keep-bytes, the oldest go first; the counters stay exact). */
#include "record.h"

#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BODY_SHOWN_BYTES = 1 << 20 };

static const char *const phase_names[] = {[PHASE_READING] = "reading", [PHASE_WAITING] = "waiting",
	[PHASE_HEADERS] = "headers", [PHASE_STREAMING] = "streaming", [PHASE_SENDING] = "sending",
	[PHASE_DONE] = "done"};

void record_open(struct engine *engine)
{
	const char *path = engine->options.record;

	engine->record_fd = -1;
	if (!path)
		return;
	engine->record_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (engine->record_fd < 0) {
		fprintf(stderr, "vllmgw-engine: --record %s: %s\n", path, strerror(errno));
		exit(1);
	}
}

/* Takes `line`. One write per line, so that several engines can share a file. */
static void write_line(struct engine *engine, json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);
	struct buf out = {0};

	json_decref(line);
	buf_text(&out, text ? text : "{}");
	buf_text(&out, "\n");
	free(text);
	if (write(engine->record_fd, out.data, out.len) < 0)
		perror("vllmgw-engine: --record");
	buf_free(&out);
}

/* Text where it is text, base64 where not; large bodies by their hash. */
static void set_bytes(json_t *into, const char *name, const struct buf *bytes)
{
	const char *data = bytes->data ? bytes->data : "";
	struct buf key = {0};
	struct buf coded = {0};
	char hex[65];

	buf_printf(&key, "%s_bytes", name);
	json_object_set_new(into, key.data, json_integer((json_int_t)bytes->len));
	key.len = 0;
	if (bytes->len > BODY_SHOWN_BYTES) {
		sha256_hex(data, bytes->len, hex);
		buf_printf(&key, "%s_sha256", name);
		json_object_set_new(into, key.data, json_string(hex));
	} else if (is_utf8(data, bytes->len)) {
		json_object_set_new(into, name, json_stringn(data, bytes->len));
	} else {
		base64_add(&coded, data, bytes->len);
		buf_printf(&key, "%s_base64", name);
		json_object_set_new(into, key.data, json_stringn(coded.data, coded.len));
	}
	buf_free(&key);
	buf_free(&coded);
}

static json_t *record_json(const struct record *record)
{
	json_t *json = json_pack("{s:I, s:I, s:I, s:I}", "request", (json_int_t)record->number, "connection",
		(json_int_t)record->connection, "on_connection", (json_int_t)record->on_connection, "at_ms",
		(json_int_t)record->at_ms);

	set_bytes(json, "head", &record->head);
	set_bytes(json, "body", &record->body);
	return json;
}

static void add_ending(json_t *json, const struct record *record)
{
	json_object_set_new(json, "outcome", record->outcome ? json_string(record->outcome) : json_null());
	if (!record->outcome)
		return;
	json_object_set_new(json, "phase", json_string(record->phase));
	json_object_set_new(json, "took_ms", json_integer(record->took_ms));
	json_object_set_new(json, "events", json_integer((json_int_t)record->events));
}

static size_t weight(const struct record *record)
{
	return sizeof(*record) + record->head.cap + record->body.cap;
}

static void free_record(struct record *record)
{
	buf_free(&record->head);
	buf_free(&record->body);
	free(record);
}

/* Forget the oldest. One that is still going on is freed by its exchange. */
static void drop_oldest(struct engine *engine)
{
	struct record *record = engine->records;

	engine->records = record->next;
	if (!engine->records)
		engine->last_record = NULL;
	engine->records_bytes -= weight(record);
	engine->records_dropped++;
	if (record->outcome)
		free_record(record);
	else
		record->is_dropped = true;
}

static struct record *append(struct conn *conn)
{
	struct engine *engine = conn->engine;
	struct record *record = xalloc(sizeof(*record));
	const struct request *request = &conn->x.request;

	record->number = ++engine->next_request;
	record->connection = conn->number;
	record->on_connection = conn->requests;
	record->at_ms = now_us() / 1000;
	buf_add(&record->head, request->head.data, request->head.len);
	buf_add(&record->body, request->body.data, request->body.len);
	if (engine->last_record)
		engine->last_record->next = record;
	else
		engine->records = record;
	engine->last_record = record;
	engine->records_bytes += weight(record);
	while (engine->records_bytes > (size_t)engine->options.keep && engine->records != record)
		drop_oldest(engine);
	return record;
}

void record_request(struct conn *conn)
{
	struct engine *engine = conn->engine;
	json_t *line;

	if (conn->is_control)
		return;
	conn->x.record = append(conn);
	engine->counters.requests++;
	engine->counters.last_request_ms = conn->x.record->at_ms;
	if (engine->record_fd < 0)
		return;
	line = record_json(conn->x.record);
	json_object_set_new(line, "event", json_string("request"));
	write_line(engine, line);
}

void record_end(struct conn *conn)
{
	struct engine *engine = conn->engine;
	struct exchange *x = &conn->x;
	struct record *record = x->record;
	json_t *line;

	x->record = NULL;
	record->outcome = x->outcome;
	record->phase = phase_names[x->phase];
	record->events = x->events;
	record->took_ms = (now_us() - x->began_us) / 1000;
	if (engine->record_fd >= 0) {
		line = json_pack("{s:s, s:I, s:I}", "event", "end", "request", (json_int_t)record->number,
			"connection", (json_int_t)record->connection);
		add_ending(line, record);
		write_line(engine, line);
	}
	if (record->is_dropped)
		free_record(record);
}

void record_partial(struct conn *conn)
{
	struct engine *engine = conn->engine;

	if (engine->record_fd < 0)
		return;
	write_line(engine,
		json_pack("{s:s, s:I, s:s, s:I}", "event", "partial", "connection", (json_int_t)conn->number,
			"outcome", "client_closed", "bytes",
			(json_int_t)(conn->in.len + conn->x.request.head.len + conn->x.request.body.len)));
}

void record_connection(struct conn *conn, const char *event, const char *by)
{
	struct engine *engine = conn->engine;
	json_t *line;

	if (engine->record_fd < 0)
		return;
	line = json_pack("{s:s, s:I, s:I}", "event", event, "connection", (json_int_t)conn->number, "at_ms",
		(json_int_t)(now_us() / 1000));
	if (by)
		json_object_set_new(line, "by", json_string(by));
	write_line(engine, line);
}

void record_clear(struct engine *engine)
{
	while (engine->records)
		drop_oldest(engine);
	engine->records_dropped = 0;
}

json_t *record_all(const struct engine *engine)
{
	json_t *all = json_array();
	const struct record *record;

	for (record = engine->records; record; record = record->next) {
		json_t *json = record_json(record);

		add_ending(json, record);
		json_array_append_new(all, json);
	}
	return json_pack("{s:I, s:o}", "dropped", (json_int_t)engine->records_dropped, "requests", all);
}
