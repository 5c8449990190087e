/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of other origins: a browser lets them read an answer only if it says so. Off without `cors.origins`.
 *
 *   preflight (OPTIONS)   needs no key, starts nothing, is answered from the table of routes
 *   any answer            names the origin that may read it, errors and streams too
 *   administrators'       never: no page of another origin has any business there */
#include "front/internal.h"

#include <string.h>
#include <strings.h>

enum { REQUEST_HEADERS_BYTES = 1024 };

/* Into the configuration's own text, which outlives the connection. */
const char *cors_find(const struct front *front, const char *origin)
{
	const struct front_options *options = &front->options;

	for (size_t i = 0; origin && i < options->origin_count; i++) {
		if (strcmp(options->origins[i], "*") == 0 || strcasecmp(options->origins[i], origin) == 0)
			return options->origins[i];
	}
	return NULL;
}

static bool is_off(const struct exchange *x)
{
	return !x->worker->front->options.origin_count || (x->route && x->route->auth == ROUTE_ADMIN);
}

void cors_add(const struct exchange *x, struct reply *reply)
{
	if (is_off(x))
		return;
	reply_add(reply, "vary", "origin"); /* without an origin too: caches must not mix the two */
	if (!x->origin)
		return;
	reply_add(reply, "access-control-allow-origin", x->origin);
	reply_add(reply, "access-control-expose-headers",
		"x-request-id, x-vllmgw-model, x-vllmgw-replica, server-timing, retry-after, x-should-retry, "
		"x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, "
		"x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens");
}

/* Which headers the page may send is no secret and no risk: those the gateway does not know go nowhere. */
void cors_add_preflight(const struct exchange *x, struct reply *reply, const char *allow)
{
	const char *headers =
		MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, "Access-Control-Request-Headers");

	if (is_off(x) || !x->origin)
		return;
	reply_add(reply, "access-control-allow-methods", allow);
	if (headers && strlen(headers) <= REQUEST_HEADERS_BYTES)
		reply_add(reply, "access-control-allow-headers", headers);
	reply_add(reply, "access-control-max-age", "600");
}
