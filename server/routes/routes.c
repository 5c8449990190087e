/* SPDX-License-Identifier: Apache-2.0 */
/* Routes are found by exact comparison of the raw path: nothing is decoded, normalised or guessed, so no spelling of
 * one path can reach another. Sorted once, searched by halves. */
#include "routes/routes.h"

#include <stdlib.h>
#include <string.h>

#define CALL(path_, operation_) { .method = "POST", .path = path_, .auth = ROUTE_USER, .operation = operation_ }
#define ANSWER(path_, auth_, fn_) { .method = "GET", .path = path_, .auth = auth_, .answer = fn_ }

static const struct route table[] = {
#define XX(name, path) CALL(path, VGW_OPERATION_##name),
	VGW_OPERATION_MAP(XX)
#undef XX
	ANSWER("/v1/models", ROUTE_USER, answer_models),
	ANSWER("/v1/models/", ROUTE_USER, answer_model),
	ANSWER("/health", ROUTE_PUBLIC, answer_health),
	ANSWER("/ready", ROUTE_PUBLIC, answer_ready),
	ANSWER("/version", ROUTE_OPERATOR, answer_version),
	ANSWER("/metrics", ROUTE_OPERATOR, answer_metrics),
};

enum { ROUTE_COUNT = sizeof(table) / sizeof(table[0]) };

struct routes {
	const struct route *sorted[ROUTE_COUNT]; /* by path */
};

static int by_path(const void *a, const void *b)
{
	const struct route *const *left = a, *const *right = b;

	return strcmp((*left)->path, (*right)->path);
}

struct routes *routes_new(void)
{
	struct routes *routes = calloc(1, sizeof(*routes));

	if (!routes)
		return NULL;
	for (size_t i = 0; i < ROUTE_COUNT; i++)
		routes->sorted[i] = &table[i];
	qsort(routes->sorted, ROUTE_COUNT, sizeof(routes->sorted[0]), by_path);
	return routes;
}

void routes_free(struct routes *routes)
{
	free(routes);
}

static const struct route *find(const struct routes *routes, const char *path, size_t len)
{
	size_t low = 0, high = ROUTE_COUNT;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *known = routes->sorted[middle]->path;
		int order = strncmp(known, path, len);

		if (order == 0 && known[len] == '\0')
			return routes->sorted[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool is_method(const char *method)
{
	static const char *const known[] = { "GET", "HEAD", "POST", "OPTIONS", "DELETE" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(method, known[i]) == 0)
			return true;
	}
	return false;
}

/* A path is unique in the table, so a method that does not fit it is wrong for it. Methods that no route has are wrong
 * everywhere. */
enum route_miss routes_find(const struct routes *routes, const char *method, const char *path, size_t path_len,
	const struct route **out, const char **allow)
{
	const struct route *route = find(routes, path, path_len);
	const char *slash = NULL;
	bool is_get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;

	*allow = "GET, HEAD, POST, OPTIONS";
	if (!is_method(method))
		return ROUTE_WRONG_METHOD;
	if (route && path[path_len - 1] == '/')
		route = NULL; /* a prefix wants a segment after it */
	for (size_t i = path_len; !route && !slash && i > 1; i--) {
		if (path[i - 1] == '/' && i < path_len)
			slash = path + i - 1;
	}
	if (!route && slash)
		route = find(routes, path, (size_t)(slash - path) + 1);
	if (!route)
		return ROUTE_UNKNOWN_PATH;
	*out = route;
	*allow = strcmp(route->method, "GET") == 0 ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
	if (strcmp(method, route->method) != 0 && !(is_get && strcmp(route->method, "GET") == 0))
		return ROUTE_WRONG_METHOD;
	return ROUTE_HIT;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int route_decode(const char *segment, size_t len, char *out, size_t size, size_t *out_len)
{
	size_t at = 0;

	for (size_t i = 0; i < len; i++) {
		int byte = (unsigned char)segment[i];

		if (byte == '%') {
			if (i + 2 >= len || hex(segment[i + 1]) < 0 || hex(segment[i + 2]) < 0)
				return -1;
			byte = hex(segment[i + 1]) * 16 + hex(segment[i + 2]);
			i += 2;
		}
		if (byte < 0x20 || byte == 0x7f || at + 1 >= size)
			return -1;
		out[at++] = (char)byte;
	}
	out[at] = '\0';
	*out_len = at;
	return at ? 0 : -1;
}
