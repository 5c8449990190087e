/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing, comparing, and the check of the one list of them. */
#include "config_network.h"

#include "config_check.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool parse_bits(const char *text, size_t len, unsigned most, unsigned *out)
{
	unsigned bits = 0;

	if (!len || len > 3)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		bits = bits * 10 + (unsigned)(text[i] - '0');
	}
	*out = bits;
	return bits <= most;
}

static bool has_rest(const struct network *network)
{
	for (unsigned bit = network->bits; bit < 128; bit++) {
		if (network->address[bit / 8] & (0x80 >> bit % 8))
			return true;
	}
	return false;
}

bool network_parse(const char *text, size_t len, struct network *out)
{
	const char *slash = memchr(text, '/', len);
	size_t address_len = slash ? (size_t)(slash - text) : len;
	char address[NETWORK_TEXT_BYTES];
	unsigned offset = 0;

	if (!address_len || address_len >= sizeof(address))
		return false;
	memcpy(address, text, address_len);
	address[address_len] = '\0';
	if (inet_pton(AF_INET, address, out->address + 12) == 1) {
		memcpy(out->address, mapped, sizeof(mapped));
		offset = 96;
	} else if (inet_pton(AF_INET6, address, out->address) != 1) {
		return false;
	}
	out->bits = 128 - offset;
	if (slash && !parse_bits(slash + 1, len - address_len - 1, 128 - offset, &out->bits))
		return false;
	out->bits += offset;
	if (!slash)
		out->bits = 128;
	return !has_rest(out);
}

bool network_holds(const struct network *network, const struct network *address)
{
	unsigned whole = network->bits / 8, rest = network->bits % 8;
	unsigned mask = 0xffu << (8 - rest);

	return memcmp(network->address, address->address, whole) == 0 &&
	       (!rest || !((network->address[whole] ^ address->address[whole]) & mask & 0xff));
}

void network_print(const struct network *network, char out[NETWORK_TEXT_BYTES])
{
	bool is_mapped = memcmp(network->address, mapped, sizeof(mapped)) == 0;

	(void)inet_ntop(is_mapped ? AF_INET : AF_INET6, network->address + (is_mapped ? 12 : 0), out, NETWORK_TEXT_BYTES);
}

void config_check_proxies(struct config_decoder *decoder, const struct config *config)
{
	const struct node *list = node_get(config->tree, "trusted_proxies");

	if (config->trusted_proxies.count > NETWORKS_MAX)
		config_report_error(decoder->report, list ? &list->place : NULL, "trusted_proxies",
			"there are %zu, at most %d are possible: put them together to networks",
			config->trusted_proxies.count, NETWORKS_MAX);
	for (size_t i = 0; i < config->trusted_proxies.count; i++) {
		const char *text = config->trusted_proxies.items[i];
		struct network network;

		if (strcmp(text, "unix") != 0 && !network_parse(text, strlen(text), &network))
			config_report_error(decoder->report, list ? &list->place : NULL, "trusted_proxies",
				"'%s' is not an address (127.0.0.1), a network (10.0.0.0/8, without bits behind it) or unix",
				text);
	}
}
