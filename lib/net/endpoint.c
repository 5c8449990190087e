/* SPDX-License-Identifier: Apache-2.0 */
/* Base URLs of engines: "http://host[:port][/prefix]", "https://..." and "unix:/path".
 * libcurl's URL parser does the splitting; what an engine's base URL must not have (credentials, a query, a fragment)
 * is refused here. A URL that may hold credentials is never repeated in a message. */
#include "net/endpoint.h"

#include "util/alloc.h"

#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static vgw_status out_of_memory(vgw_error *err)
{
	return vgw_error_set(err, VGW_NOMEM, 0, "endpoint");
}

static vgw_status refuse(const char *url, vgw_error *err, const char *what)
{
	if (strchr(url, '@'))
		return vgw_error_set(err, VGW_INVALID, 0, "the engine's URL %s", what);
	return vgw_error_set(err, VGW_INVALID, 0, "the engine's URL '%.100s' %s", url, what);
}

/* --- unix sockets ------------------------------------------------------------------------------------------------ */

static vgw_status fill_unix(struct vgw__endpoint *endpoint, const char *url, vgw_error *err)
{
	const char *path = url + strlen("unix:");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	if (path[0] != '/' || len < 2)
		return refuse(url, err, "names no socket: write unix: and an absolute path");
	if (len >= sizeof(addr.sun_path))
		return refuse(url, err, "is too long: the path of a unix socket has at most 107 bytes");
	memcpy(addr.sun_path, path, len + 1);
	memcpy(&endpoint->addresses[0].addr, &addr, sizeof(addr));
	endpoint->addresses[0].len = sizeof(addr);
	endpoint->address_count = 1;
	endpoint->unix_path = vgw__strdup(path);
	endpoint->host = vgw__strdup("localhost");
	endpoint->authority = vgw__strdup("localhost");
	endpoint->base_path = vgw__strdup("");
	if (!endpoint->unix_path || !endpoint->host || !endpoint->authority || !endpoint->base_path)
		return out_of_memory(err);
	return VGW_OK;
}

/* --- http and https ---------------------------------------------------------------------------------------------- */

/* NULL: the URL has no such part. The text is libcurl's: curl_free(). */
static char *get_part(CURLU *parsed, CURLUPart part, unsigned flags)
{
	char *text = NULL;

	if (curl_url_get(parsed, part, &text, flags) != CURLUE_OK)
		return NULL;
	return text;
}

static bool has_part(CURLU *parsed, CURLUPart part)
{
	char *text = get_part(parsed, part, 0);
	bool is_there = text != NULL;

	curl_free(text);
	return is_there;
}

/* Parts of the URL go into request heads: visible ASCII only. */
static bool is_visible(const char *text)
{
	for (; *text; text++)
		if (*text <= 0x20 || *text >= 0x7f)
			return false;
	return true;
}

/* A copy without slashes at its end; `part` is freed. */
static char *take_part(char *part)
{
	size_t len = part ? strlen(part) : 0;
	char *text;

	while (len && part[len - 1] == '/')
		len--;
	text = vgw__strndup(part ? part : "", len);
	curl_free(part);
	return text;
}

static vgw_status check_parts(CURLU *parsed, const char *url, bool *is_tls, vgw_error *err)
{
	char *scheme = get_part(parsed, CURLUPART_SCHEME, 0);
	bool is_http = scheme && strcmp(scheme, "http") == 0;

	*is_tls = scheme && strcmp(scheme, "https") == 0;
	curl_free(scheme);
	if (!is_http && !*is_tls)
		return refuse(url, err, "must begin with http://, https:// or unix:/");
	if (has_part(parsed, CURLUPART_USER) || has_part(parsed, CURLUPART_PASSWORD))
		return refuse(url, err, "holds a user or a password: give the engine's key in its own setting");
	if (has_part(parsed, CURLUPART_QUERY) || strchr(url, '?'))
		return refuse(url, err, "has a query ('?'): give the base URL alone");
	if (has_part(parsed, CURLUPART_FRAGMENT) || strchr(url, '#'))
		return refuse(url, err, "has a fragment ('#'): give the base URL alone");
	return VGW_OK;
}

static vgw_status fill_http(struct vgw__endpoint *endpoint, CURLU *parsed, const char *url, vgw_error *err)
{
	char *port = get_part(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	unsigned long number = port ? strtoul(port, NULL, 10) : 0;

	curl_free(port);
	if (number < 1 || number > 65535)
		return refuse(url, err, "has a port that is none: ports are 1 to 65535");
	endpoint->port = (uint16_t)number;
	endpoint->host = take_part(get_part(parsed, CURLUPART_HOST, 0));
	endpoint->base_path = take_part(get_part(parsed, CURLUPART_PATH, 0));
	if (!endpoint->host || !endpoint->base_path)
		return out_of_memory(err);
	if (!endpoint->host[0] || !is_visible(endpoint->host) || !is_visible(endpoint->base_path))
		return refuse(url, err, "has no host, or characters that a URL cannot have");
	endpoint->authority = vgw__printf("%s:%u", endpoint->host, (unsigned)endpoint->port);
	if (!endpoint->authority)
		return out_of_memory(err);
	return VGW_OK;
}

/* The name as getaddrinfo() wants it: without the brackets of an IPv6 address, with its zone. */
static char *resolvable_name(const struct vgw__endpoint *endpoint, CURLU *parsed)
{
	const char *host = endpoint->host;
	char *zone = get_part(parsed, CURLUPART_ZONEID, 0);
	size_t len = strlen(host);
	char *name;

	if (host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	name = vgw__printf("%.*s%s%s", (int)len, host, zone ? "%" : "", zone ? zone : "");
	curl_free(zone);
	return name;
}

static vgw_status resolve(struct vgw__endpoint *endpoint, CURLU *parsed, vgw_error *err)
{
	/* AI_ADDRCONFIG would hide 127.0.0.1 on a host without a network. */
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	struct addrinfo *found = NULL;
	char service[8];
	char *name = resolvable_name(endpoint, parsed);
	int rc;

	if (!name)
		return out_of_memory(err);
	(void)snprintf(service, sizeof(service), "%u", (unsigned)endpoint->port);
	rc = getaddrinfo(name, service, &hints, &found);
	vgw__free(name);
	if (rc == EAI_MEMORY)
		return out_of_memory(err);
	if (rc != 0)
		return VGW_OK;
	for (struct addrinfo *it = found; it; it = it->ai_next) {
		struct vgw__address *address = &endpoint->addresses[endpoint->address_count];

		if (endpoint->address_count == VGW__ENDPOINT_ADDRESSES)
			break;
		if (it->ai_addrlen > sizeof(address->addr))
			continue;
		memcpy(&address->addr, it->ai_addr, it->ai_addrlen);
		address->len = it->ai_addrlen;
		endpoint->address_count++;
	}
	freeaddrinfo(found);
	return VGW_OK;
}

static vgw_status parse_http(struct vgw__endpoint *endpoint, const char *url, vgw_error *err)
{
	CURLU *parsed = curl_url();
	CURLUcode rc;
	vgw_status status;

	if (!parsed)
		return out_of_memory(err);
	rc = curl_url_set(parsed, CURLUPART_URL, url, CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME);
	if (rc == CURLUE_OUT_OF_MEMORY)
		status = out_of_memory(err);
	else if (rc != CURLUE_OK)
		status = refuse(url, err, "cannot be understood: write http://host:port, https://host:port or unix:/path");
	else
		status = check_parts(parsed, url, &endpoint->is_tls, err);
	if (status == VGW_OK)
		status = fill_http(endpoint, parsed, url, err);
	if (status == VGW_OK)
		status = resolve(endpoint, parsed, err);
	curl_url_cleanup(parsed);
	return status;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static uint64_t next_id(void)
{
	static atomic_uint_fast64_t last_id;

	return atomic_fetch_add(&last_id, 1) + 1;
}

vgw_status vgw__endpoint_new(struct vgw__endpoint **out, const char *url, vgw_error *err)
{
	struct vgw__endpoint *endpoint;
	size_t len = strlen(url);
	vgw_status status;

	*out = NULL;
	endpoint = vgw__alloc(sizeof(*endpoint));
	if (!endpoint)
		return out_of_memory(err);
	atomic_init(&endpoint->refs, 1);
	endpoint->id = next_id();
	while (len && url[len - 1] == '/')
		len--;
	endpoint->url = vgw__strndup(url, len);
	if (!endpoint->url)
		status = out_of_memory(err);
	else if (strncmp(url, "unix:", 5) == 0)
		status = fill_unix(endpoint, endpoint->url, err);
	else
		status = parse_http(endpoint, endpoint->url, err);
	if (status != VGW_OK) {
		vgw__endpoint_unref(endpoint);
		return status;
	}
	*out = endpoint;
	return VGW_OK;
}

struct vgw__endpoint *vgw__endpoint_new_one(const struct vgw__endpoint *endpoint, const struct vgw__address *address)
{
	struct vgw__endpoint *one = vgw__alloc(sizeof(*one));

	if (!one)
		return NULL;
	atomic_init(&one->refs, 1);
	one->id = next_id();
	one->port = endpoint->port;
	one->is_tls = endpoint->is_tls;
	one->is_one_of_many = true;
	one->addresses[0] = *address;
	one->address_count = 1;
	one->url = vgw__strdup(endpoint->url);
	one->authority = vgw__strdup(endpoint->authority);
	one->host = vgw__strdup(endpoint->host);
	one->base_path = vgw__strdup(endpoint->base_path);
	one->ca_file = endpoint->ca_file ? vgw__strdup(endpoint->ca_file) : NULL;
	if (one->url && one->authority && one->host && one->base_path && (one->ca_file || !endpoint->ca_file))
		return one;
	vgw__endpoint_unref(one);
	return NULL;
}

vgw_status vgw__endpoint_set_ca(struct vgw__endpoint *endpoint, const char *ca_file, vgw_error *err)
{
	char *copy = vgw__strdup(ca_file);

	if (!copy)
		return out_of_memory(err);
	vgw__free(endpoint->ca_file);
	endpoint->ca_file = copy;
	return VGW_OK;
}

struct vgw__endpoint *vgw__endpoint_ref(struct vgw__endpoint *endpoint)
{
	atomic_fetch_add_explicit(&endpoint->refs, 1, memory_order_relaxed);
	return endpoint;
}

void vgw__endpoint_unref(struct vgw__endpoint *endpoint)
{
	if (!endpoint || atomic_fetch_sub_explicit(&endpoint->refs, 1, memory_order_acq_rel) != 1)
		return;
	vgw__free(endpoint->url);
	vgw__free(endpoint->authority);
	vgw__free(endpoint->host);
	vgw__free(endpoint->base_path);
	vgw__free(endpoint->unix_path);
	vgw__free(endpoint->ca_file);
	vgw__free(endpoint);
}
