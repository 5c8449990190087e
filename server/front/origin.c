/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a request is from, when proxies stand between.
 *
 *   client 203.0.113.9 ── proxy 10.0.0.2 ── proxy 127.0.0.1 ── us       X-Forwarded-For: 203.0.113.9, 10.0.0.2
 *          └ the first from the right that is not trusted                                 trusted, the peer too
 *
 * Everybody can write the header; each proxy only vouches for the one that it heard from itself, at the right end. So
 * it is read from there, and only as long as the one who says it is trusted. One kind of header is looked at, the
 * configured one: a proxy that writes the other passes on what clients put into this one. */
#include "front/internal.h"

#include "config_network.h"

#include <string.h>
#include <strings.h>

enum { HOPS_MAX = 32 }; /* of longer lists the right end counts */

struct text {
	const char *at;
	size_t len;
};

struct hops {
	const char *header;
	struct text items[HOPS_MAX]; /* a ring */
	size_t count;
};

static struct text trim(struct text text)
{
	while (text.len && strchr(" \t", text.at[0])) {
		text.at++;
		text.len--;
	}
	while (text.len && strchr(" \t", text.at[text.len - 1]))
		text.len--;
	return text;
}

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct hops *hops = user;

	(void)kind;
	if (!value || strcasecmp(name, hops->header) != 0)
		return MHD_YES;
	for (;;) {
		size_t len = strcspn(value, ",");

		hops->items[hops->count++ % HOPS_MAX] = trim((struct text){ value, len });
		if (!value[len])
			return MHD_YES;
		value += len + 1;
	}
}

/* `for=192.0.2.7;proto=https`: the value of `for`, without quotes. */
static struct text get_for(struct text item)
{
	while (item.len) {
		const char *end = memchr(item.at, ';', item.len);
		struct text pair = trim((struct text){ item.at, end ? (size_t)(end - item.at) : item.len });

		if (pair.len > 4 && strncasecmp(pair.at, "for=", 4) == 0) {
			pair = (struct text){ pair.at + 4, pair.len - 4 };
			if (pair.len > 1 && pair.at[0] == '"' && pair.at[pair.len - 1] == '"')
				pair = (struct text){ pair.at + 1, pair.len - 2 };
			return pair;
		}
		if (!end)
			break;
		item = (struct text){ end + 1, item.len - (size_t)(end + 1 - item.at) };
	}
	return (struct text){ "", 0 };
}

/* An address, perhaps with a port: 192.0.2.7, 192.0.2.7:80, 2001:db8::1, [2001:db8::1]:80. */
static bool parse_hop(struct text hop, struct network *out)
{
	const char *colon = memchr(hop.at, ':', hop.len);
	const char *bracket = memchr(hop.at, ']', hop.len);

	if (memchr(hop.at, '/', hop.len))
		return false;
	if (hop.len && hop.at[0] == '[')
		return bracket && network_parse(hop.at + 1, (size_t)(bracket - hop.at) - 1, out);
	if (colon && !memchr(colon + 1, ':', hop.len - (size_t)(colon + 1 - hop.at)))
		hop.len = (size_t)(colon - hop.at); /* one colon: a port */
	return network_parse(hop.at, hop.len, out);
}

static bool is_trusted(const struct front_options *options, const struct network *address)
{
	for (size_t i = 0; i < options->proxy_count; i++) {
		if (network_holds(&options->proxies[i], address))
			return true;
	}
	return false;
}

void origin_find(struct exchange *x)
{
	const struct front_options *options = &x->worker->front->options;
	struct hops hops = { .header = options->proxy_header };
	struct network address;
	size_t left;

	if (strcmp(x->peer, "unix") == 0 ? !options->trusts_unix
					 : !parse_hop((struct text){ x->peer, strlen(x->peer) }, &address) ||
					   !is_trusted(options, &address))
		return;
	(void)MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, on_header, &hops);
	x->is_proxied = hops.count > 0;
	left = hops.count < HOPS_MAX ? hops.count : HOPS_MAX;
	while (left--) {
		struct text hop = hops.items[--hops.count % HOPS_MAX];

		if (strcasecmp(hops.header, "forwarded") == 0)
			hop = get_for(hop);
		if (!parse_hop(hop, &address))
			return; /* "unknown": all that is known is who says so */
		network_print(&address, x->peer);
		if (!is_trusted(options, &address))
			return;
	}
}
