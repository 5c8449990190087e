/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/models: what OpenAI's clients expect, plus where each model stands. */
#include "gateway/worker.h"

#include "util/alloc.h"
#include "util/error.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *describe(const struct vgw__snapshot *snapshot, const vgw_model *model)
{
	const char *standing = model->base ? vgw__adapters_get_standing(snapshot, &snapshot->adapters[model->place])
		: vgw__resident_get_standing(snapshot->residents[model->place]);
	json_t *json = json_pack("{s:s,s:s,s:i,s:s,s:s*,s:{s:s}}", "id", model->name, "object", "model", "created", 0,
		"owned_by", "vllmgw", "parent", vgw_model_get_base(model), "status", "value", standing);
	json_t *aliases = json_array();
	bool is_ok = json && aliases;

	for (size_t i = 0; is_ok && i < model->aliases.count; i++)
		is_ok = json_array_append_new(aliases, json_string(model->aliases.items[i])) == 0;
	is_ok = is_ok && json_object_set(json, "aliases", aliases) == 0;
	json_decref(aliases);
	if (!is_ok) {
		json_decref(json);
		json = NULL;
	}
	return json;
}

static bool append(json_t *data, const struct vgw__snapshot *snapshot, const vgw_model *model,
	const vgw_principal *principal)
{
	return model->is_unlisted || !vgw_principal_may_use(principal, model->name) ||
		json_array_append_new(data, describe(snapshot, model)) == 0;
}

/* Takes the reference; the text is copied into the library's memory. */
static char *dump(json_t *json)
{
	char *dumped = json ? json_dumps(json, JSON_COMPACT) : NULL;
	char *text = dumped ? vgw__strdup(dumped) : NULL;

	free(dumped);
	json_decref(json);
	return text;
}

char *vgw_gateway_dup_models(vgw_gateway *gateway)
{
	return vgw_gateway_dup_models_of(gateway, NULL);
}

char *vgw_gateway_dup_model(vgw_gateway *gateway, const char *name, size_t len, vgw_error *err)
{
	return vgw_gateway_dup_model_of(gateway, NULL, name, len, err);
}

char *vgw_gateway_dup_models_of(vgw_gateway *gateway, const vgw_principal *principal)
{
	struct vgw__snapshot *snapshot = vgw__gateway_ref_snapshot(gateway);
	json_t *data = json_array();
	json_t *list = json_pack("{s:s,s:O?}", "object", "list", "data", data);
	bool is_ok = data && list;

	for (size_t i = 0; is_ok && snapshot && i < snapshot->count; i++)
		is_ok = append(data, snapshot, vgw_registry_get_model(snapshot->registry, i), principal);
	for (size_t i = 0; is_ok && snapshot && i < snapshot->adapter_count; i++)
		is_ok = append(data, snapshot, snapshot->adapters[i].model, principal);
	vgw__snapshot_unref(snapshot);
	json_decref(data);
	if (!is_ok) {
		json_decref(list);
		return NULL;
	}
	return dump(list);
}

char *vgw_gateway_dup_model_of(vgw_gateway *gateway, const vgw_principal *principal, const char *name, size_t len,
	vgw_error *err)
{
	struct vgw__snapshot *snapshot = vgw__gateway_ref_snapshot(gateway);
	const vgw_model *model = snapshot ? vgw_registry_find(snapshot->registry, name, len) : NULL;
	char *text = NULL;

	vgw__error_reset(err);
	if (!model || !vgw_principal_may_use(principal, model->name))
		(void)vgw_error_set(err, VGW_NOT_FOUND, 0, "the model '%.*s' does not exist",
			len < 200 ? (int)len : 200, name);
	else if (!(text = dump(describe(snapshot, model))))
		(void)vgw_error_set(err, VGW_NOMEM, 0, "model");
	vgw__snapshot_unref(snapshot);
	return text;
}
