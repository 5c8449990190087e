/* SPDX-License-Identifier: Apache-2.0 */
/* Health, readiness, version, metrics. */
#include "routes/routes.h"

#include "catalogue.h"
#include "process_metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STALLED_MS = 5000 }; /* the residency's thread says nothing for so long */

static void print(struct route_answer *answer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print(struct route_answer *answer, const char *format, ...)
{
	va_list ap;

	answer->free_fn = free;
	va_start(ap, format);
	if (vasprintf(&answer->body, format, ap) < 0)
		answer->body = NULL;
	va_end(ap);
}

static bool wants_text(const struct route_view *view)
{
	if (view->accept && strncmp(view->accept, "text/plain", 10) == 0)
		return true;
	return view->is_model_router && !(view->accept && strncmp(view->accept, "application/json", 16) == 0);
}

/* Load balancers ask for text, people and programs for JSON. */
void answer_health(const struct route_view *view, struct route_answer *answer)
{
	bool is_stalled = vgw_residency_get_silence_ms(vgw_gateway_get_residency(view->gateway)) > STALLED_MS;
	const char *status = view->is_draining ? "draining" : is_stalled ? "stalled" : "ok";
	bool is_ok = !view->is_draining && !is_stalled;
	char vllm[40] = "";

	answer->status = is_ok ? 200 : 503;
	if (wants_text(view)) {
		answer->type = "text/plain; charset=utf-8";
		print(answer, "%s", is_ok ? "OK" : status);
		return;
	}
	answer->type = "application/json";
	if (view->catalogue) {
		json_t *snapshot = catalogue_dup(view->catalogue);

		(void)snprintf(vllm, sizeof(vllm), "\"vllm\":\"%s\",", simple_get_state(snapshot));
		json_decref(snapshot);
	}
	print(answer, "{\"ok\":%s,%s\"status\":\"%s\",\"version\":\"%s\",\"uptime_s\":%" PRId64
			     ",\"requests_in_flight\":%" PRIu64 "}",
		is_ok ? "true" : "false", vllm, status, vgw_version(),
		view->uptime_ms / 1000, vgw_gateway_count_calls(view->gateway));
}

void answer_ready(const struct route_view *view, struct route_answer *answer)
{
	vgw_registry *registry = vgw_gateway_dup_registry(view->gateway);
	bool is_ready = registry && !view->is_draining;

	answer->status = is_ready ? 200 : 503;
	answer->type = "application/json";
	print(answer, "{\"ready\":%s}", is_ready ? "true" : "false");
	vgw_registry_unref(registry);
}

void answer_version(const struct route_view *view, struct route_answer *answer)
{
	(void)view;
	answer->status = 200;
	answer->type = "application/json";
	print(answer, "{\"version\":\"%s\"}", vgw_version());
}

void answer_metrics(const struct route_view *view, struct route_answer *answer)
{
	char *gateway = vgw_gateway_dup_metrics(view->gateway);

	answer->status = 200;
	answer->type = "text/plain; version=0.0.4; charset=utf-8";
	answer->free_fn = free;
	answer->body = gateway ? process_metrics_append(gateway, view->connections, view->keys_refused) : NULL;
	vgw_free(gateway);
}
