/* SPDX-License-Identifier: Apache-2.0 */
/* What clients of Ollama ask before they do anything: which models there are. What is loaded (/api/ps) stands
 * with the other facades of residency. */
#include "routes/routes.h"

#include <jansson.h>
#include <stdlib.h>

/* Engines do not tell; clients cut a digest to its first twelve characters without asking how long it is. */
static const char no_digest[] = "0000000000000000000000000000000000000000000000000000000000000000";

static json_t *print_tag(const json_t *id)
{
	return json_pack("{s:O, s:O, s:s, s:i, s:s, s:{s:s, s:s, s:s, s:n, s:s, s:s}}", "name", id, "model", id, "modified_at",
		"1970-01-01T00:00:00Z", "size", 0, "digest", no_digest, "details", "parent_model", "", "format", "", "family",
		"", "families", "parameter_size", "", "quantization_level", "");
}

void ollama_tags(const struct route_view *view, struct route_answer *answer)
{
	char *text = vgw_gateway_dup_models_of(view->gateway, view->principal);
	json_t *listed = text ? json_loads(text, 0, NULL) : NULL, *tags = json_array(), *list, *model;
	int result = listed && tags ? 0 : -1;
	size_t i;

	json_array_foreach(json_object_get(listed, "data"), i, model)
		result |= json_array_append_new(tags, print_tag(json_object_get(model, "id")));
	list = result == 0 ? json_pack("{s:O}", "models", tags) : NULL;
	answer->status = 200;
	answer->type = "application/json";
	answer->free_fn = free;
	answer->body = list ? json_dumps(list, JSON_COMPACT) : NULL;
	json_decref(list);
	json_decref(tags);
	json_decref(listed);
	vgw_free(text);
}
