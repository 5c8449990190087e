/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: certificate, key and addresses belong together. What the files hold is seen when they are read. */
#include "config_check.h"

#include <string.h>

static size_t count_tls(const struct config_listens *listens)
{
	size_t count = 0;

	for (size_t i = 0; i < listens->count; i++)
		count += listens->items[i].is_tls;
	return count;
}

/* About the key at `path`, because of what is written at `place`. */
static void report(struct config_decoder *decoder, const struct config *config, const char *path, const char *place,
	const char *text)
{
	const struct node *node = node_get_path(config->tree, place);

	config_report_error(decoder->report, node ? &node->place : NULL, path, "%s", text);
}

/* Somebody who configures a certificate expects encryption: plain listeners only are a mistake, not a choice. */
void config_check_tls(struct config_decoder *decoder, const struct config *config)
{
	size_t count = count_tls(&config->listen) + count_tls(&config->admin.listen);
	const char *listen = count_tls(&config->listen) ? "listen" : "admin.listen";

	if (config->tls.certificate && !config->tls.key)
		report(decoder, config, "tls.key", "tls.certificate",
			"is needed with tls.certificate: the file of its private key");
	else if (config->tls.key && !config->tls.certificate)
		report(decoder, config, "tls.certificate", "tls.key",
			"is needed with tls.key: the file of the certificate and its chain");
	else if (count && !config->tls.certificate)
		report(decoder, config, listen, listen, "https:// needs tls.certificate and tls.key");
	else if (!count && config->tls.certificate)
		report(decoder, config, "tls.certificate", "tls.certificate",
			"is not used: no address begins with https://; write listen: https://HOST:PORT");
}
