/* SPDX-License-Identifier: Apache-2.0 */
/* Router: two sorted arrays. Exact names are found by binary search; prefixes are few and kept longest first, so
 * that the first that fits is the right one. */
#include <vllmgw/router.h>

#include "util/alloc.h"
#include "util/error.h"

#include <string.h>

enum { PATTERN_MAX_BYTES = 512 };

struct rule {
	char *text; /* without the final '*' */
	size_t len;
	void *target;
};

struct rules {
	struct rule *items;
	size_t count;
	size_t capacity;
};

struct vgw_router {
	struct rules names;    /* sorted by text */
	struct rules prefixes; /* longest first */
	void *fallback;
};

static int compare(const struct rule *rule, const char *name, size_t len)
{
	size_t shorter = rule->len < len ? rule->len : len;
	int order = memcmp(rule->text, name, shorter);

	if (order)
		return order;
	return rule->len < len ? -1 : rule->len > len;
}

/* Place of the name, or where it would be. */
static size_t search(const struct rules *names, const char *name, size_t len, bool *is_found)
{
	size_t low = 0, high = names->count;

	*is_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare(&names->items[middle], name, len);

		if (order == 0) {
			*is_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t search_prefix(const struct rules *prefixes, const char *text, size_t len, bool *is_found)
{
	size_t at = 0;

	*is_found = false;
	while (at < prefixes->count && prefixes->items[at].len > len)
		at++;
	for (size_t i = at; i < prefixes->count && prefixes->items[i].len == len; i++)
		*is_found = *is_found || memcmp(prefixes->items[i].text, text, len) == 0;
	return at;
}

static vgw_status insert(struct rules *rules, size_t at, const char *text, size_t len, void *target)
{
	struct rule *items = vgw__grow(rules->items, &rules->capacity, rules->count + 1, sizeof(*items));
	char *copy;

	if (!items)
		return VGW_NOMEM;
	rules->items = items;
	copy = vgw__strndup(text, len);
	if (!copy)
		return VGW_NOMEM;
	memmove(&items[at + 1], &items[at], (rules->count - at) * sizeof(*items));
	items[at] = (struct rule){ .text = copy, .len = len, .target = target };
	rules->count++;
	return VGW_OK;
}

vgw_status vgw_router_new(vgw_router **out, vgw_error *err)
{
	vgw__error_reset(err);
	*out = vgw__alloc(sizeof(**out));
	return *out ? VGW_OK : vgw_error_set(err, VGW_NOMEM, 0, "router");
}

static void free_rules(struct rules *rules)
{
	for (size_t i = 0; i < rules->count; i++)
		vgw__free(rules->items[i].text);
	vgw__free(rules->items);
}

void vgw_router_free(vgw_router *router)
{
	if (!router)
		return;
	free_rules(&router->names);
	free_rules(&router->prefixes);
	vgw__free(router);
}

vgw_status vgw_router_add(vgw_router *router, const char *pattern, void *target, vgw_error *err)
{
	size_t len = strlen(pattern);
	const char *star = strchr(pattern, '*');
	bool is_prefix = star != NULL;
	bool is_known;
	size_t at;

	vgw__error_reset(err);
	if (!target || len == 0 || len > PATTERN_MAX_BYTES)
		return vgw_error_set(err, VGW_INVALID, 0, "a model name has 1 to %d bytes", PATTERN_MAX_BYTES);
	if (star && star != pattern + len - 1)
		return vgw_error_set(err, VGW_INVALID, 0, "'%s': '*' may only stand at the end", pattern);
	if (is_prefix)
		len--;
	at = is_prefix ? search_prefix(&router->prefixes, pattern, len, &is_known)
		       : search(&router->names, pattern, len, &is_known);
	if (is_known)
		return vgw_error_set(err, VGW_EXISTS, 0, "'%s' is already routed", pattern);
	if (insert(is_prefix ? &router->prefixes : &router->names, at, pattern, len, target) != VGW_OK)
		return vgw_error_set(err, VGW_NOMEM, 0, "route '%s'", pattern);
	return VGW_OK;
}

void vgw_router_set_default(vgw_router *router, void *target)
{
	router->fallback = target;
}

void *vgw_router_find(const vgw_router *router, const char *name, size_t len)
{
	bool is_found = false;
	size_t at = len ? search(&router->names, name, len, &is_found) : 0;

	if (is_found)
		return router->names.items[at].target;
	for (size_t i = 0; len && i < router->prefixes.count; i++) {
		const struct rule *rule = &router->prefixes.items[i];

		if (rule->len <= len && memcmp(rule->text, name, rule->len) == 0)
			return rule->target;
	}
	return router->fallback;
}
