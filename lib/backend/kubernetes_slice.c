/* SPDX-License-Identifier: Apache-2.0 */
/* What an EndpointSlice says. */
#include "backend/kubernetes_slice.h"

#include "util/alloc.h"

#include <string.h>

const char *vgw__kube_slice_get_service(const json_t *slice)
{
	const json_t *labels = json_object_get(json_object_get(slice, "metadata"), "labels");

	return json_string_value(json_object_get(labels, VGW__KUBE_SERVICE_LABEL));
}

const char *vgw__kube_slice_get_name(const json_t *slice)
{
	return json_string_value(json_object_get(json_object_get(slice, "metadata"), "name"));
}

/* An absent condition is to be taken as true, says the API. */
static bool is_condition(const json_t *endpoint, const char *name, bool absent)
{
	const json_t *value = json_object_get(json_object_get(endpoint, "conditions"), name);

	return json_is_boolean(value) ? json_is_true(value) : absent;
}

static bool add_url(struct vgw__strings *urls, const char *address, uint16_t port)
{
	bool is_v6 = strchr(address, ':') != NULL;
	char *url = vgw__printf("http://%s%s%s:%u", is_v6 ? "[" : "", address, is_v6 ? "]" : "", (unsigned)port);

	for (size_t i = 0; url && i < urls->count; i++) {
		if (strcmp(urls->items[i], url) == 0) {
			vgw__free(url); /* an endpoint may be in two slices while it moves */
			return true;
		}
	}
	return vgw__strings_take(urls, url);
}

static bool read_slice(const json_t *slice, uint16_t port, struct vgw__strings *ready, size_t *listed)
{
	const json_t *endpoints = json_object_get(slice, "endpoints");

	for (size_t i = 0; i < json_array_size(endpoints); i++) {
		const json_t *endpoint = json_array_get(endpoints, i);
		/* the addresses of one endpoint are one pod's */
		const char *address = json_string_value(json_array_get(json_object_get(endpoint, "addresses"), 0));

		if (!address || is_condition(endpoint, "terminating", false))
			continue;
		++*listed;
		if (is_condition(endpoint, "ready", true) && !add_url(ready, address, port))
			return false;
	}
	return true;
}

static bool read_family(json_t *items, const char *service, const char *family, uint16_t port,
	struct vgw__strings *ready, size_t *listed)
{
	const char *name;
	json_t *slice;
	bool is_good = true;

	json_object_foreach(items, name, slice) {
		const char *of = vgw__kube_slice_get_service(slice);
		const char *type = json_string_value(json_object_get(slice, "addressType"));

		if (is_good && of && type && strcmp(of, service) == 0 && strcmp(type, family) == 0)
			is_good = read_slice(slice, port, ready, listed);
	}
	return is_good;
}

bool vgw__kube_slice_collect(json_t *slices, const char *service, uint16_t port, struct vgw__strings *ready,
	size_t *listed)
{
	if (!read_family(slices, service, "IPv4", port, ready, listed))
		return false;
	/* a dual-stack service lists every pod once for each family: one of them is enough */
	return *listed > 0 || read_family(slices, service, "IPv6", port, ready, listed);
}
