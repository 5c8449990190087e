/* SPDX-License-Identifier: Apache-2.0 */
/* What one key's value says about another's. */
#ifndef VGW_SERVER_CONFIG_CHECK_H
#define VGW_SERVER_CONFIG_CHECK_H

#include "config_decode.h"

/* Names, references, budgets, orders. Works on what could be decoded, whatever else is wrong. */
void config_check(struct config_decoder *decoder, const struct config *config);

/* config_tls.c: certificate, key and addresses belong together */
void config_check_tls(struct config_decoder *decoder, const struct config *config);

/* config_cors.c */
void config_check_cors(struct config_decoder *decoder, const struct config *config);

/* config_network.c: trusted_proxies */
void config_check_proxies(struct config_decoder *decoder, const struct config *config);

/* Where one model's chain of fallbacks leads. */
void config_check_fallback(struct config_decoder *decoder, const struct config *config, const struct node *models,
	const struct node *model, const char *path);

#endif
