/* SPDX-License-Identifier: Apache-2.0 */
/* Models that answer instead of others: their chains must end. */
#include "config_check.h"

#include <string.h>

enum { FALLBACKS_MAX = 8 }; /* in a chain: the library's limit */

/* The model of that name or alias; NULL: that has been reported. */
static const struct node *find_model(const struct config *config, const struct node *models, const char *name)
{
	const struct node *found = node_get(models, name);

	for (size_t i = 0; !found && i < config->models.count; i++) {
		for (size_t j = 0; j < config->models.items[i].aliases.count; j++) {
			if (strcmp(config->models.items[i].aliases.items[j], name) == 0)
				found = node_get(models, config->models.items[i].name);
		}
	}
	return found;
}

static void report_cycle(struct config_decoder *decoder, const struct node *model, const char *path, int steps)
{
	const struct config_place *place = &node_get_path(model, "fallback.model")->place;

	if (steps)
		config_report_error(decoder->report, place, path, "this chain of fallbacks comes back to '%s'", model->key);
	else
		config_report_error(decoder->report, place, path, "a model cannot fall back to itself");
}

/* A chain that comes back to where it began is told once for each model on the way. */
void config_check_fallback(struct config_decoder *decoder, const struct config *config, const struct node *models,
	const struct node *model, const char *path)
{
	const struct node *at = model;

	for (int steps = 0; at; steps++) {
		const struct node *fallback = node_get_path(at, "fallback.model");

		if (!fallback || node_is_null(fallback))
			return;
		at = find_model(config, models, fallback->text);
		if (at == model)
			report_cycle(decoder, model, path, steps);
		else if (steps == FALLBACKS_MAX)
			config_report_error(decoder->report, &node_get_path(model, "fallback.model")->place, path,
				"this chain of fallbacks has more than %d models", FALLBACKS_MAX);
		if (at == model || steps == FALLBACKS_MAX)
			return;
	}
}
