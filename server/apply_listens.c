/* SPDX-License-Identifier: Apache-2.0 */
/* Where to listen: the configuration's addresses, and the sockets of a service manager. */
#include "apply.h"
#include "config_network.h"

#include "notify.h"

#include <stdio.h>
#include <string.h>

static int take_systemd(struct front_listen *listens, size_t room, size_t *count, bool is_tls, char *why, size_t size)
{
	int first, fds = notify_take_sockets(&first);

	if (fds <= 0) {
		(void)snprintf(why, size, "listen is 'systemd', but the service manager passed no socket; "
					  "enable the .socket unit, or give an address");
		return -1;
	}
	for (int i = 0; i < fds && *count < room; i++)
		listens[(*count)++] = (struct front_listen){ .kind = FRONT_LISTEN_FD, .is_tls = is_tls,
			.fd = first + i };
	return 0;
}

static int add_listens(struct front_listen *listens, size_t room, size_t *count,
	const struct config_listens *configured, char *why, size_t size)
{
	for (size_t i = 0; i < configured->count; i++) {
		const struct config_listen *at = &configured->items[i];

		if (*count == room) {
			(void)snprintf(why, size, "more than %zu listen addresses", room);
			return -1;
		}
		if (at->kind == CONFIG_LISTEN_SYSTEMD) {
			if (take_systemd(listens, room, count, at->is_tls, why, size) != 0)
				return -1;
		} else if (at->kind == CONFIG_LISTEN_UNIX) {
			listens[(*count)++] = (struct front_listen){ .kind = FRONT_LISTEN_UNIX, .path = at->path };
		} else {
			listens[(*count)++] = (struct front_listen){ .kind = FRONT_LISTEN_TCP, .is_tls = at->is_tls,
				.host = at->host, .port = at->port };
		}
	}
	return 0;
}

int apply_listens(struct front_listen *listens, size_t room, size_t *count, const struct config *config, char *why,
	size_t size)
{
	size_t everybodys;

	*count = 0;
	if (add_listens(listens, room, count, &config->listen, why, size) != 0)
		return -1;
	everybodys = config->admin.listen.count ? *count : 0;
	for (size_t i = 0; i < everybodys; i++)
		listens[i].has_no_admin = true;
	return add_listens(listens, room, count, &config->admin.listen, why, size);
}

/* They were checked when the configuration was read. */
void apply_proxies(struct front_options *options, struct network *networks, const struct config *config)
{
	static const char *const headers[] = {
#define XX(name, text) [CONFIG_PROXY_##name] = text,
		CONFIG_PROXY_HEADERS(XX)
#undef XX
	};

	options->proxies = networks;
	options->proxy_header = headers[config->proxy_header];
	for (size_t i = 0; i < config->trusted_proxies.count && i < NETWORKS_MAX; i++) {
		const char *text = config->trusted_proxies.items[i];

		if (strcmp(text, "unix") == 0)
			options->trusts_unix = true;
		else if (network_parse(text, strlen(text), &networks[options->proxy_count]))
			options->proxy_count++;
	}
}
