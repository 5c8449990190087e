/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of addresses, all as IPv6. IPv4 is hidden in IPv6 in several ways; those that lead to the same host are
 * undone first. */
#include "net/deny.h"

#include "util/error.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Link-local, which is where metadata services are, and the places of those that are elsewhere. */
static const char *const links[] = { "169.254.0.0/16", "fe80::/10", "100.100.100.200", "168.63.129.16",
	"fd00:ec2::/32", "fd20:ce::254" };

static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };      /* ::ffff:a.b.c.d */
static const unsigned char translated[12] = { 0x00, 0x64, 0xff, 0x9b };     /* 64:ff9b::a.b.c.d */

static void map(unsigned char out[16], const void *four)
{
	memcpy(out, mapped, sizeof(mapped));
	memcpy(out + sizeof(mapped), four, 4);
}

static bool parse_bits(const char *text, unsigned most, unsigned *out)
{
	char *end;
	unsigned long bits = strtoul(text, &end, 10);

	*out = (unsigned)bits;
	return *text >= '0' && *text <= '9' && !*end && bits <= most;
}

static bool parse_range(struct vgw__deny_range *range, const char *text)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char address[INET6_ADDRSTRLEN];
	unsigned char four[4];

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, four) == 1) {
		map(range->address, four);
		range->bits = 32;
		if (slash && !parse_bits(slash + 1, 32, &range->bits))
			return false;
		range->bits += 96;
		return true;
	}
	range->bits = 128;
	return inet_pton(AF_INET6, address, range->address) == 1 && (!slash || parse_bits(slash + 1, 128, &range->bits));
}

vgw_status vgw__deny_init(struct vgw__deny *deny, const char *const *texts, size_t count, bool are_links_allowed,
	vgw_error *err)
{
	size_t link_count = are_links_allowed ? 0 : sizeof(links) / sizeof(links[0]);

	deny->count = 0;
	if (count + link_count > VGW__DENY_RANGES)
		return vgw_error_set(err, VGW_INVALID, 0, "more than %d ranges of addresses are denied", VGW__DENY_RANGES);
	for (size_t i = 0; i < link_count + count; i++) {
		const char *text = i < link_count ? links[i] : texts[i - link_count];

		if (!parse_range(&deny->ranges[deny->count++], text))
			return vgw_error_set(err, VGW_INVALID, 0,
				"'%.60s' is not an address or a range of them; write 10.0.0.0/8, 10.1.2.3 or fd00::/8", text);
	}
	return VGW_OK;
}

static bool is_inside(const struct vgw__deny_range *range, const unsigned char address[16])
{
	unsigned whole = range->bits / 8, rest = range->bits % 8;
	unsigned char mask = (unsigned char)(0xff00 >> rest);

	return memcmp(range->address, address, whole) == 0 &&
	       (!rest || ((range->address[whole] ^ address[whole]) & mask) == 0);
}

bool vgw__deny_matches(const struct vgw__deny *deny, const struct sockaddr *address)
{
	unsigned char six[16];

	if (address->sa_family == AF_INET) {
		map(six, &((const struct sockaddr_in *)(const void *)address)->sin_addr);
	} else if (address->sa_family == AF_INET6) {
		memcpy(six, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, sizeof(six));
		if (memcmp(six, translated, sizeof(translated)) == 0)
			memcpy(six, mapped, sizeof(mapped));
	} else {
		return false;
	}
	for (size_t i = 0; i < deny->count; i++) {
		if (is_inside(&deny->ranges[i], six))
			return true;
	}
	return false;
}

vgw_status vgw__deny_filter(const struct vgw__deny *deny, struct vgw__endpoint *endpoint, vgw_error *err)
{
	uint32_t kept = 0, count = endpoint->address_count;

	for (uint32_t i = 0; i < count; i++) {
		if (!vgw__deny_matches(deny, (const struct sockaddr *)&endpoint->addresses[i].addr))
			endpoint->addresses[kept++] = endpoint->addresses[i];
	}
	endpoint->address_count = kept;
	if (kept || !count)
		return VGW_OK;
	return vgw_error_set(err, VGW_INVALID, 0, "'%.120s' leads to an address that engines may not have: link-local "
		"and metadata addresses, and those of upstreams.deny (see upstreams.allow_link_local)", endpoint->url);
}
