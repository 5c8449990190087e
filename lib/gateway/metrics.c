/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics: the counters, where the models stand, and the replicas. */
#include "gateway/worker.h"

#include "observe/key_stats.h"
#include "observe/lifecycle.h"
#include "util/alloc.h"

#include <string.h>

enum { METRICS_MAX_BYTES = 64 * 1024 * 1024 };

static void hear(void *user, const vgw_event *event)
{
	vgw_gateway *gateway = user;

	vgw__lifecycle_hear(gateway->stats, event);
}

vgw_status vgw__metrics_listen(vgw_gateway *gateway, vgw_error *err)
{
	return vgw_residency_subscribe(&gateway->listening, gateway->residency, hear, gateway, err);
}

/* One of the words is 1, so that a change is a step in a graph. */
static bool print_standing(struct vgw__buf *out, const char *model, const struct vgw__resident *resident)
{
	static const char *const words[] = {
#define XX(name, text) text,
		VGW__STANDING_MAP(XX)
#undef XX
	};
	const char *standing = vgw__resident_get_standing(resident);
	char *name = vgw__metrics_escape(model);
	bool is_ok = name != NULL;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && is_ok; i++)
		is_ok = vgw__buf_print(out, "vllmgw_model_state{model=\"%s\",state=\"%s\"} %d\n", name, words[i],
			strcmp(standing, words[i]) == 0);
	vgw__free(name);
	return is_ok;
}

static bool print_standings(vgw_gateway *gateway, struct vgw__buf *out)
{
	struct vgw__snapshot *snapshot = vgw__gateway_ref_snapshot(gateway);
	bool is_ok = vgw__buf_print(out, "# HELP vllmgw_model_state 1 for the state that the model is in.\n"
					 "# TYPE vllmgw_model_state gauge\n");

	for (size_t i = 0; snapshot && is_ok && i < snapshot->count; i++)
		is_ok = print_standing(out, vgw_registry_get_model(snapshot->registry, i)->name, snapshot->residents[i]);
	vgw__snapshot_unref(snapshot);
	return is_ok;
}

char *vgw_gateway_dup_metrics(vgw_gateway *gateway)
{
	vgw_metrics_naming naming = gateway->options.metrics_naming;
	struct vgw__buf out;
	char *text = vgw__stats_render(gateway->stats, naming != VGW_METRICS_OTEL, naming != VGW_METRICS_VLLMGW);
	char *all = NULL;

	vgw__buf_init(&out, METRICS_MAX_BYTES);
	if (text && vgw__buf_append(&out, text, strlen(text)) && print_standings(gateway, &out) &&
		vgw__replicas_print(gateway, &out))
		all = vgw__strndup(out.data, out.len);
	vgw__buf_fini(&out);
	vgw__free(text);
	return all;
}
