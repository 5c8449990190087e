/* SPDX-License-Identifier: Apache-2.0 */
/* Origins as browsers write them: anything else would match nothing, silently. */
#include "config_check.h"

#include <string.h>

static const char *get_problem(const char *text)
{
	const char *host = strstr(text, "://");

	if (strcmp(text, "*") == 0)
		return NULL;
	if (!host || host == text)
		return "is not an origin: write https://host, http://host:port, or \"*\" for all";
	host += 3;
	if (strpbrk(host, "/?#@* \t") || !*host)
		return "is not an origin: it ends with the host or its port, without a path, and * only stands alone";
	return NULL;
}

void config_check_cors(struct config_decoder *decoder, const struct config *config)
{
	const struct node *node = node_get_path(config->tree, "cors.origins");
	size_t index = 0;

	for (const struct node *item = node ? node->first : NULL; item; item = item->next, index++) {
		const char *problem = item->kind == NODE_SCALAR && !item->is_reported ? get_problem(item->text) : NULL;
		const char *path = problem ? config_arena_printf(decoder->arena, "cors.origins[%zu]", index) : NULL;

		if (path)
			config_report_error(decoder->report, &item->place, path, "'%s' %s", item->text, problem);
	}
}
