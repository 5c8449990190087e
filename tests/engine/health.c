/* SPDX-License-Identifier: Apache-2.0 */
/* /health, /version and /metrics. */
#include "model.h"

#include <string.h>

void health_get(struct conn *conn)
{
	struct buf empty = {0};

	exchange_reply(conn, 200, NULL, &empty);
}

void health_version(struct conn *conn)
{
	exchange_json(conn, 200, json_pack("{s:s}", "version", ENGINE_VERSION "+simulated"));
}

static void add_metric(
	struct buf *out, const struct engine *engine, const char *name, const char *kind, double value)
{
	const char *model = engine->options.names.items[0];
	struct buf label = {0};

	buf_json(&label, model, strlen(model));
	buf_printf(out, "# HELP %s Simulated.\n# TYPE %s %s\n", name, name, kind);
	buf_printf(
		out, "%s{engine=\"0\",model_name=\"%s\"} %.17g\n", name, label.data ? label.data : "", value);
	buf_free(&label);
}

void metrics_get(struct conn *conn)
{
	static const char *const states[] = {"awake", "weights_offloaded", "discard_all"};
	const struct engine *engine = conn->engine;
	const struct counters *c = &engine->counters;
	struct buf out = {0};
	int64_t held = 0;
	const struct conn *other;
	size_t i;

	for (other = engine->conns; other; other = other->next)
		held += other->is_busy && other->x.is_held && !other->x.stream;
	add_metric(&out, engine, "vllm:num_requests_running", "gauge", (double)(c->running - held));
	add_metric(&out, engine, "vllm:num_requests_waiting", "gauge", (double)held);
	add_metric(&out, engine, "vllm:kv_cache_usage_perc", "gauge",
		c->running < 256 ? (double)c->running / 256 : 1);
	add_metric(&out, engine, "vllm:prompt_tokens_total", "counter", (double)c->prompt_tokens);
	add_metric(&out, engine, "vllm:generation_tokens_total", "counter", (double)c->generation_tokens);
	add_metric(&out, engine, "vllm:request_success_total", "counter", (double)c->answered);
	buf_text(&out, "# HELP vllm:engine_sleep_state Simulated.\n# TYPE vllm:engine_sleep_state gauge\n");
	for (i = 0; i < 3; i++)
		buf_printf(&out, "vllm:engine_sleep_state{engine=\"0\",sleep_state=\"%s\"} %d\n", states[i],
			strcmp(sleep_state_name(engine), states[i]) == 0);
	exchange_reply(conn, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}
