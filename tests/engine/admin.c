/* SPDX-License-Identifier: Apache-2.0 */
/* /_engine/: what a test asks the simulator about itself, and tells it to do. On the control socket always,
 * on the data port while the engine answers anything. */
#include "model.h"

#include <string.h>

void admin_requests(struct conn *conn)
{
	exchange_json(conn, 200, record_all(conn->engine));
}

void admin_counters(struct conn *conn)
{
	const struct engine *engine = conn->engine;
	const struct counters *counters = &engine->counters;
	json_t *json = json_object();

#define C(name) json_object_set_new(json, #name, json_integer(counters->name));
	ENGINE_COUNTERS(C)
#undef C
	json_object_set_new(json, "now_ms", json_integer(now_us() / 1000));
	json_object_set_new(json, "uptime_ms", json_integer((now_us() - engine->started_us) / 1000));
	json_object_set_new(json, "port", json_integer(engine->port));
	json_object_set_new(json, "ready", json_boolean(engine->is_ready));
	json_object_set_new(json, "sleep_level", json_integer(engine->sleeper.level));
	exchange_json(conn, 200, json);
}

/* {"spec": "stall-mid-stream:2", "times": 3, "where": "all"}; without times until the reset. */
void admin_fault(struct conn *conn)
{
	const char *spec = json_string_value(json_object_get(conn->x.json, "spec"));
	const char *where = json_string_value(json_object_get(conn->x.json, "where"));
	json_int_t times = json_integer_value(json_object_get(conn->x.json, "times"));
	struct fault_set faults = {0};
	struct buf why = {0};

	if (!spec || !fault_parse(&faults, spec, &why)) {
		exchange_error(
			conn, 400, "BadRequestError", "spec", "%s", why.data ? why.data : "spec is missing");
		buf_free(&why);
		return;
	}
	engine_inject(conn->engine, &faults, times, where ? where : "inference");
	exchange_json(conn, 200, json_pack("{s:b}", "ok", 1));
}

/* Forgets records, counters and injected faults; the command line's faults stay. */
void admin_reset(struct conn *conn)
{
	struct counters *counters = &conn->engine->counters;
	struct counters kept = *counters;

	record_clear(conn->engine);
	*counters = (struct counters){.open = kept.open, .running = kept.running, .peak_open = kept.open,
		.peak_running = kept.running};
	engine_clear_injected(conn->engine);
	exchange_json(conn, 200, json_pack("{s:b}", "ok", 1));
}

void admin_exit(struct conn *conn)
{
	lifecycle_exit_now(
		conn->engine, (int)json_integer_value(json_object_get(conn->x.json, "code")) & 255);
}
