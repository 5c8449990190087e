/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use the routes for administrators.
 *
 *   with an admin's key    whoever sends one: admin.key, or a key with admin: true
 *   without any            peers of the loopback addresses, and of Unix sockets when they are root or ourselves
 *
 * A browser on this machine is such a peer too, and runs the pages of strangers. Therefore, without a key, the Host
 * must be a name of this machine (a page's own name, pointed at 127.0.0.1, is not), and with or without one a page
 * of another origin is refused. No answer of these routes carries CORS headers. */
#include "front/internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *header(const struct exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, name);
}

bool admission_is_visible(const struct exchange *x)
{
	return x->route->auth != ROUTE_ADMIN || !x->listen->has_no_admin;
}

/* --- the key -------------------------------------------------------------------------------------------------- */

static vgw_fault check_key(struct exchange *x, const char **why)
{
	const struct front_options *options = &x->worker->front->options;
	const struct key *key = keys_check(&x->worker->keys, x->head.authorization, x->head.api_key);

	if (!key) {
		keys_refuse(options->keys);
		*why = "send an admin's key: Authorization: Bearer KEY, or X-API-Key";
		return VGW_FAULT_INVALID_API_KEY;
	}
	(void)snprintf(x->facts.key, sizeof(x->facts.key), "%s", vgw_principal_get_name(key->principal));
	return key->is_admin ? VGW_FAULT_NONE : VGW_FAULT_PERMISSION_DENIED;
}

/* --- the peer ------------------------------------------------------------------------------------------------- */

static bool is_own_user(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

/* --- Host and Origin ------------------------------------------------------------------------------------------ */

/* Without a port. */
static size_t host_length(const char *host)
{
	const char *end = host[0] == '[' ? strchr(host, ']') : NULL;

	return end ? (size_t)(end - host) + 1 : strcspn(host, ":");
}

static bool is_name(const char *host, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(host, name, len) == 0;
}

static bool is_local_host(const struct exchange *x, const char *host)
{
	size_t len = host_length(host);
	const char *address = x->listen->kind == FRONT_LISTEN_TCP ? x->listen->host : "";

	if (is_name(host, len, "localhost") || is_name(host, len, "127.0.0.1") || is_name(host, len, "[::1]"))
		return true;
	if (host[0] == '[' && len > 2)
		return is_name(host + 1, len - 2, address);
	return *address && is_name(host, len, address);
}

/* A page of our own says where it came from; a plain client says nothing. */
static bool is_own_origin(const struct exchange *x)
{
	const char *origin = header(x, "Origin"), *site = header(x, "Sec-Fetch-Site"), *host = header(x, "Host");
	const char *name = origin ? strstr(origin, "://") : NULL;

	if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return false;
	return !origin || (name && host && strcasecmp(name + 3, host) == 0);
}

/* --- the decision --------------------------------------------------------------------------------------------- */

static vgw_fault check_peer(const struct exchange *x, const char **why)
{
	const char *host = header(x, "Host");

	if (!x->connection)
		return VGW_FAULT_PERMISSION_DENIED;
	if (x->is_proxied) {
		*why = "without admin.key only peers on the gateway's own machine may do that, not over a proxy";
		return VGW_FAULT_PERMISSION_DENIED;
	}
	if (strcmp(x->peer, "unix") == 0) {
		*why = "this user may not administer the gateway";
		return is_own_user(x->connection->fd) ? VGW_FAULT_NONE : VGW_FAULT_PERMISSION_DENIED;
	}
	if (!x->connection->is_local) {
		*why = "without admin.key only peers on the gateway's own machine may do that";
		return VGW_FAULT_PERMISSION_DENIED;
	}
	if (!host || !is_local_host(x, host)) {
		*why = "without admin.key the Host must be localhost, 127.0.0.1, [::1] or the address that is listened on";
		return VGW_FAULT_HOST_NOT_ALLOWED;
	}
	return VGW_FAULT_NONE;
}

vgw_fault admission_check(struct exchange *x, const char **why)
{
	bool has_key = x->worker->front->options.keys && keys_have_admin(&x->worker->keys);
	vgw_fault fault = has_key ? VGW_FAULT_NONE : check_peer(x, why);

	if (fault == VGW_FAULT_NONE && !is_own_origin(x))
		fault = VGW_FAULT_ORIGIN_NOT_ALLOWED;
	else if (fault == VGW_FAULT_NONE && has_key)
		fault = check_key(x, why);
	if (fault == VGW_FAULT_NONE)
		*why = NULL;
	return fault;
}
