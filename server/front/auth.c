/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use a route, told from the head alone, before any of the body is read.
 *
 *   class      no keys configured              keys configured
 *   PUBLIC     everybody                       everybody
 *   USER       everybody                       a key
 *   OPERATOR   everybody                       a key, a loopback peer, or auth.public_metrics
 *
 * Who shows no valid key is counted against the limit of his address, so that keys cannot be tried at leisure. */
#include "front/internal.h"

#include <stdio.h>
#include <string.h>

static bool is_loopback(const char *peer)
{
	return strncmp(peer, "127.", 4) == 0 || strcmp(peer, "::1") == 0 || strncmp(peer, "::ffff:127.", 11) == 0 ||
	       strcmp(peer, "unix") == 0;
}

/* An IPv6 address stands for its network: one customer has 2^64 of them. */
const char *auth_get_address(const struct exchange *x, char *out, size_t size)
{
	const char *at = x->peer;
	unsigned groups = 0;

	if (!*at || strcmp(at, "unix") == 0)
		return NULL;
	if (!strchr(at, ':') || strchr(at, '.'))
		return at;
	for (; *at && groups < 4 && strncmp(at, "::", 2) != 0; at++)
		groups += at[1] == ':' || at[1] == '\0';
	(void)snprintf(out, size, "%.*s", (int)(at - x->peer), x->peer);
	return out;
}

static void take_key(struct exchange *x, const struct key *key)
{
	x->principal = vgw_principal_ref(key->principal);
	(void)snprintf(x->facts.key, sizeof(x->facts.key), "%s", vgw_principal_get_name(key->principal));
}

vgw_fault auth_check(struct exchange *x)
{
	const struct front_options *options = &x->worker->front->options;
	struct keys_reader *reader = &x->worker->keys;
	const struct key *key = NULL;

	if (x->route->auth == ROUTE_PUBLIC || !options->keys)
		return VGW_FAULT_NONE;
	if (x->head.authorization || x->head.api_key)
		key = keys_check(reader, x->head.authorization, x->head.api_key);
	if (key) {
		take_key(x, key);
		return VGW_FAULT_NONE;
	}
	if (!keys_are_required(reader))
		return VGW_FAULT_NONE;
	if (x->route->auth == ROUTE_OPERATOR && (options->public_metrics || (is_loopback(x->peer) && !x->is_proxied)))
		return VGW_FAULT_NONE;
	keys_refuse(options->keys);
	x->retry_after_ms = vgw_gateway_take_address(options->gateway, auth_get_address(x, x->address, sizeof(x->address)));
	return x->retry_after_ms ? VGW_FAULT_RATE_LIMIT_EXCEEDED : VGW_FAULT_INVALID_API_KEY;
}
