/* SPDX-License-Identifier: Apache-2.0 */
/* Routes are found by comparison of the raw path: nothing is decoded, normalised or guessed, so no spelling of one
 * path can reach another. Exact ones are sorted once and searched by halves; what is left is compared with the few
 * that hold a name: what stands before and behind its {} is exact too. */
#include "routes/routes.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL(path_, operation_) { .method = "POST", .path = path_, .auth = ROUTE_USER, .operation = operation_ }
#define ANSWER(path_, auth_, fn_) { .method = "GET", .path = path_, .auth = auth_, .answer = fn_ }
#define SIMPLE(path_, operation_, rewrite_) \
	{ .method = "POST", .path = path_, .auth = ROUTE_USER, .operation = operation_, .rewrite = rewrite_, .needs = ROUTES_SIMPLE }
#define ADMIN(method_, path_, fn_) { .method = method_, .path = path_, .auth = ROUTE_ADMIN, .errand = fn_ }
#define FACADE(method_, path_, fn_, needs_) \
	{ .method = method_, .path = path_, .auth = ROUTE_ADMIN, .errand = fn_, .needs = needs_ }
#define PASS(method_, path_, auth_, needs_) \
	{ .method = method_, .path = path_, .auth = auth_, .is_forward = true, .needs = needs_ }
#define FORWARD(path_, auth_, needs_)                                             \
	PASS("GET", path_, auth_, needs_), PASS("POST", path_, auth_, needs_),    \
	PASS("PUT", path_, auth_, needs_), PASS("PATCH", path_, auth_, needs_),   \
	PASS("DELETE", path_, auth_, needs_)

static const struct route table[] = {
#define XX(name, path) CALL(path, VGW_OPERATION_##name),
	VGW_OPERATION_MAP(XX)
#undef XX
	{ .method = "GET", .path = "/v1/models", .auth = ROUTE_USER, .answer = answer_models, .unless = ROUTES_AIC },
	{ .method = "GET", .path = "/v1/models/{}", .auth = ROUTE_USER, .answer = answer_model, .unless = ROUTES_AIC },
	ANSWER("/health", ROUTE_PUBLIC, answer_health),
	ANSWER("/ready", ROUTE_PUBLIC, answer_ready),
	ANSWER("/version", ROUTE_OPERATOR, answer_version),
	ANSWER("/metrics", ROUTE_OPERATOR, answer_metrics),

	SIMPLE("/api/chat", VGW_OPERATION_CHAT_COMPLETIONS, simple_rewrite),
	{ .method = "POST", .path = "/api/chat/stream", .auth = ROUTE_USER, .operation = VGW_OPERATION_CHAT_COMPLETIONS,
		.rewrite = simple_rewrite_stream, .needs = ROUTES_SIMPLE, .is_early = true },
	SIMPLE("/api/embeddings", VGW_OPERATION_EMBEDDINGS, simple_rewrite),
	{ .method = "GET", .path = "/api/models", .auth = ROUTE_USER, .answer = simple_models, .needs = ROUTES_SIMPLE },

	ADMIN("GET", "/admin/state", admin_state),
	ADMIN("GET", "/admin/decisions", admin_decisions),
	ADMIN("GET", "/admin/events", admin_events),
	ADMIN("GET", "/admin/requests", admin_requests),
	ADMIN("DELETE", "/admin/requests/{}", admin_cancel),
	ADMIN("POST", "/admin/reload", admin_reload),
	ADMIN("POST", "/admin/explain", admin_explain),
	ADMIN("POST", "/admin/models/{}/load", admin_load),
	ADMIN("POST", "/admin/models/{}/unload", admin_unload),
	ADMIN("POST", "/admin/models/{}/sleep", admin_sleep),
	ADMIN("POST", "/admin/models/{}/wake", admin_wake),
	ADMIN("POST", "/admin/models/{}/pin", admin_pin),
	ADMIN("POST", "/admin/models/{}/unpin", admin_unpin),
	ADMIN("POST", "/admin/models/{}/reset", admin_reset),
	ADMIN("POST", "/admin/models/{}/drain", admin_drain),
	ADMIN("POST", "/admin/models/{}/undrain", admin_undrain),
	ADMIN("GET", "/admin/models/{}/logs", admin_logs),

	{ .method = "POST", .path = "/v1/models", .auth = ROUTE_ADMIN, .errand = openai_load, .unless = ROUTES_AIC },
	{ .method = "DELETE", .path = "/v1/models/{}", .auth = ROUTE_ADMIN, .errand = openai_unload, .unless = ROUTES_AIC },
	FACADE("GET", "/running", swap_running, ROUTES_LLAMA_SWAP),
	FACADE("GET", "/unload", swap_unload_all, ROUTES_LLAMA_SWAP),
	FACADE("POST", "/unload", swap_unload_all, ROUTES_LLAMA_SWAP),
	FACADE("POST", "/api/models/unload/{}", swap_unload, ROUTES_LLAMA_SWAP),
	FORWARD("/upstream/{}", ROUTE_ADMIN, ROUTES_LLAMA_SWAP),
	FACADE("GET", "/api/ps", ollama_ps, ROUTES_OLLAMA),
	{ .method = "GET", .path = "/api/tags", .auth = ROUTE_USER, .answer = ollama_tags, .needs = ROUTES_OLLAMA },
	{ .method = "GET", .path = "/api/version", .auth = ROUTE_OPERATOR, .answer = answer_version, .needs = ROUTES_OLLAMA },
	FACADE("GET", "/status", aic_status, ROUTES_ADHOC),
	FACADE("POST", "/switch", aic_switch, ROUTES_ADHOC),
	FACADE("GET", "/logs/current", aic_log, ROUTES_ADHOC),
	FACADE("GET", "/logs/tail", aic_log_tail, ROUTES_ADHOC),
	FORWARD("/{}", ROUTE_USER, ROUTES_PASSTHROUGH),
	ADMIN("POST", "/models/load", llama_load),
	ADMIN("POST", "/models/unload", llama_unload),
};

enum { ROUTE_COUNT = sizeof(table) / sizeof(table[0]), ALLOW_BYTES = 48 };

/* All methods of one path. */
struct place {
	const struct route *first; /* in routes->sorted */
	size_t prefix_len;         /* what stands before the {}; the whole path without one */
	const char *suffix;        /* what stands behind it; NULL: there is none */
	size_t route_count;
	char allow[ALLOW_BYTES];
};

struct routes {
	struct route sorted[ROUTE_COUNT]; /* by path */
	size_t count;
	struct place exact[ROUTE_COUNT];  /* by path */
	struct place named[ROUTE_COUNT];
	size_t exact_count;
	size_t named_count;
};

/* --- making --------------------------------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b)
{
	const struct route *left = a, *right = b;
	int order = strcmp(left->path, right->path);

	return order ? order : strcmp(left->method, right->method);
}

static void list_methods(struct place *place)
{
	size_t at = 0;

	for (size_t i = 0; i < place->route_count; i++) {
		const char *method = place->first[i].method;

		at += (size_t)snprintf(place->allow + at, ALLOW_BYTES - at, "%s, %s", method,
			strcmp(method, "GET") == 0 && !place->first[i].errand ? "HEAD, " : "");
	}
	(void)snprintf(place->allow + at, ALLOW_BYTES - at, "OPTIONS");
}

static void add_place(struct routes *routes, const struct route *first, size_t count)
{
	const char *hole = strstr(first->path, "{}");
	struct place *place = hole ? &routes->named[routes->named_count++] : &routes->exact[routes->exact_count++];

	place->first = first;
	place->route_count = count;
	place->prefix_len = hole ? (size_t)(hole - first->path) : strlen(first->path);
	place->suffix = hole ? hole + 2 : NULL;
	list_methods(place);
}

static bool is_wanted(const struct route *route, unsigned features)
{
	return (route->needs & ~features) == 0 && (route->unless & features) == 0;
}

struct routes *routes_new(unsigned features)
{
	struct routes *routes = calloc(1, sizeof(*routes));
	size_t count;

	if (!routes)
		return NULL;
	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		assert(table[i].auth >= ROUTE_USER && table[i].auth <= ROUTE_ADMIN && "every route says who may use it");
		if (!is_wanted(&table[i], features))
			continue;
		routes->sorted[routes->count] = table[i];
		if ((table[i].needs & ROUTES_ADHOC) && (features & ROUTES_AIC_OPEN))
			routes->sorted[routes->count].auth = ROUTE_USER;
		routes->count++;
	}
	qsort(routes->sorted, routes->count, sizeof(routes->sorted[0]), by_path);
	for (size_t i = 0; i < routes->count; i += count) {
		for (count = 1; i + count < routes->count; count++) {
			if (strcmp(routes->sorted[i].path, routes->sorted[i + count].path) != 0)
				break;
		}
		add_place(routes, &routes->sorted[i], count);
	}
	return routes;
}

void routes_free(struct routes *routes)
{
	free(routes);
}

const struct route *routes_get(const struct routes *routes, size_t place)
{
	return place < routes->count ? &routes->sorted[place] : NULL;
}

/* --- finding -------------------------------------------------------------------------------------------------- */

static const struct place *find_exact(const struct routes *routes, const char *path, size_t len)
{
	size_t low = 0, high = routes->exact_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *known = routes->exact[middle].first->path;
		int order = strncmp(known, path, len);

		if (order == 0 && known[len] == '\0')
			return &routes->exact[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The longest suffix wins, so that a name that ends like a route does not hide that route. */
static const struct place *find_named(const struct routes *routes, const char *path, size_t len)
{
	const struct place *best = NULL;

	for (size_t i = 0; i < routes->named_count; i++) {
		const struct place *place = &routes->named[i];
		size_t suffix_len = strlen(place->suffix);

		if (len > place->prefix_len + suffix_len &&
			memcmp(path, place->first->path, place->prefix_len) == 0 &&
			memcmp(path + len - suffix_len, place->suffix, suffix_len) == 0 &&
			(!best || suffix_len > strlen(best->suffix)))
			best = place;
	}
	return best;
}

static bool is_method(const char *method)
{
	static const char *const known[] = { "GET", "HEAD", "POST", "OPTIONS", "DELETE", "PUT", "PATCH" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(method, known[i]) == 0)
			return true;
	}
	return false;
}

/* Methods that no route has are wrong everywhere. */
enum route_miss routes_find(const struct routes *routes, const char *method, const char *path, size_t path_len,
	const struct route **out, const char **allow)
{
	const struct place *place = find_exact(routes, path, path_len);
	bool is_head = strcmp(method, "HEAD") == 0; /* served by quick answers: errands may change something */

	*allow = "GET, HEAD, POST, OPTIONS";
	if (!is_method(method))
		return ROUTE_WRONG_METHOD;
	if (!place)
		place = find_named(routes, path, path_len);
	if (!place)
		return ROUTE_UNKNOWN_PATH;
	*out = place->first;
	*allow = place->allow;
	for (size_t i = 0; i < place->route_count; i++) {
		const struct route *route = &place->first[i];

		if (strcmp(is_head && !route->errand ? "GET" : method, route->method) == 0) {
			*out = route;
			return ROUTE_HIT;
		}
	}
	return ROUTE_WRONG_METHOD;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

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

static int decode(const char *text, size_t len, char *out, size_t size, size_t *out_len)
{
	size_t at = 0;

	for (size_t i = 0; i < len; i++) {
		int byte = (unsigned char)text[i];

		if (byte == '%') {
			if (i + 2 >= len || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0)
				return -1;
			byte = hex(text[i + 1]) * 16 + hex(text[i + 2]);
			i += 2;
		}
		if (byte < 0x20 || byte == 0x7f || at + 1 >= size)
			return -1;
		out[at++] = (char)byte;
	}
	out[at] = '\0';
	*out_len = at;
	return 0;
}

static bool has_odd_segment(const char *text, size_t len)
{
	for (size_t from = 0; from <= len;) {
		const char *slash = memchr(text + from, '/', len - from);
		size_t size = (slash ? (size_t)(slash - text) : len) - from;

		if (size == 0 || (size == 1 && text[from] == '.') || (size == 2 && memcmp(text + from, "..", 2) == 0))
			return true;
		from += size + 1;
	}
	return false;
}

int route_get_name(const struct route *route, const char *path, size_t path_len, char *out, size_t size,
	size_t *out_len)
{
	const char *hole = strstr(route->path, "{}");
	size_t before = hole ? (size_t)(hole - route->path) : 0;
	size_t around = hole ? before + strlen(hole + 2) : 0;

	out[0] = '\0';
	*out_len = 0;
	if (!hole)
		return 0;
	if (path_len <= around || has_odd_segment(path + before, path_len - around))
		return -1;
	return decode(path + before, path_len - around, out, size, out_len);
}

int route_decode_value(char *value)
{
	size_t len = strlen(value);

	return decode(value, len, value, len + 1, &len);
}
