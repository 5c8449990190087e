/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks: "127.0.0.1", "10.0.0.0/8", "fd00::/8". One of IPv4 is the same as its image in IPv6. */
#ifndef VGW_SERVER_CONFIG_NETWORK_H
#define VGW_SERVER_CONFIG_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETWORK_TEXT_BYTES = 46, NETWORKS_MAX = 64 /* in a list of the configuration */ };

struct network {
	uint8_t address[16];
	unsigned bits; /* of it that count */
};

/* False: it is neither, or bits are set behind the network's own. */
bool network_parse(const char *text, size_t len, struct network *out);
bool network_holds(const struct network *network, const struct network *address);
/* As it is usually written, without the number of bits. */
void network_print(const struct network *network, char out[NETWORK_TEXT_BYTES]);

#endif
