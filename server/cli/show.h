/* SPDX-License-Identifier: Apache-2.0 */
/* Tables that more than one command prints. */
#ifndef VGW_SERVER_CLI_SHOW_H
#define VGW_SERVER_CLI_SHOW_H

#include "cli/cli.h"

void show_add_model_heads(struct cli_table *table);
void show_add_model(struct cli_table *table, const json_t *model);
void show_add_requests(struct cli_table *table, const json_t *requests);

#endif
