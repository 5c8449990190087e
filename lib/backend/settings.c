/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a `backend:` object with jansson, and saying what is wrong with it. */
#include "backend/settings.h"

#include "util/alloc.h"
#include "util/duration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_MS (INT64_C(100) * 366 * 24 * 3600 * 1000)

static const char *name_type(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "a mapping";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a text";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

static vgw_status refuse(const struct vgw__settings *settings, const char *key, const json_t *value,
	const char *wanted, vgw_error *err)
{
	return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend.%.60s is %s; expected %s", settings->model,
		key, name_type(value), wanted);
}

/* --- unknown keys --- */

/* How many letters to add, drop or change to get from one to the other. */
static size_t distance(const char *a, const char *b)
{
	size_t row[64];
	size_t len = strlen(b);

	if (len >= sizeof(row) / sizeof(row[0]) || strlen(a) > len + 3)
		return SIZE_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 1; j <= len; j++) {
			size_t best = diagonal + (a[i] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[len];
}

static vgw_status refuse_unknown(const struct vgw__settings *settings, const char *key, const char *const *known,
	vgw_error *err)
{
	const char *nearest = NULL;
	size_t best = 4; /* farther than three letters is no hint */

	for (; *known; known++) {
		size_t d = distance(key, *known);

		if (d < best) {
			best = d;
			nearest = *known;
		}
	}
	return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend has no key '%.60s'%s%s%s", settings->model,
		key, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'" : "");
}

static bool is_known(const char *key, const char *const *known)
{
	for (; *known; known++)
		if (strcmp(key, *known) == 0)
			return true;
	return false;
}

/* --- one value --- */

/* NULL when it is absent; null is the same as absent. */
static json_t *get_value(const struct vgw__settings *settings, const char *key)
{
	json_t *value = json_object_get(settings->root, key);

	return json_is_null(value) ? NULL : value;
}

/* A scalar as text in our own memory; NULL when it is none (or there is no memory: *is_scalar tells). */
static char *dup_scalar(const json_t *value, bool *is_scalar)
{
	char *text, *copy;

	*is_scalar = !json_is_object(value) && !json_is_array(value) && !json_is_null(value);
	if (!*is_scalar)
		return NULL;
	if (json_is_string(value)) {
		*is_scalar = strlen(json_string_value(value)) == json_string_length(value);
		return *is_scalar ? vgw__strdup(json_string_value(value)) : NULL;
	}
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	copy = text ? vgw__strdup(text) : NULL;
	free(text);
	return copy;
}

static vgw_status no_memory(const struct vgw__settings *settings, vgw_error *err)
{
	return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", settings->model);
}

vgw_status vgw__settings_open(struct vgw__settings *settings, const char *model, const char *json,
	const char *const *known, vgw_error *err)
{
	json_error_t where;
	const char *key;
	json_t *value;

	settings->model = model ? model : "";
	settings->root = json ? json_loads(json, JSON_REJECT_DUPLICATES, &where) : NULL;
	if (!json)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s' has no backend", settings->model);
	if (!settings->root)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend, line %d, column %d: %.100s",
			settings->model, where.line, where.column, where.text);
	if (!json_is_object(settings->root))
		return vgw_error_set(err, VGW_INVALID, 0, "model '%.60s': backend is %s; expected a mapping",
			settings->model, name_type(settings->root));
	json_object_foreach(settings->root, key, value)
		if (!is_known(key, known))
			return refuse_unknown(settings, key, known, err);
	return VGW_OK;
}

void vgw__settings_close(struct vgw__settings *settings)
{
	json_decref(settings->root);
	settings->root = NULL;
}

bool vgw__settings_has(const struct vgw__settings *settings, const char *key)
{
	return get_value(settings, key) != NULL;
}

vgw_status vgw__settings_get_text(const struct vgw__settings *settings, const char *key, const char **out,
	vgw_error *err)
{
	const json_t *value = get_value(settings, key);

	if (!value)
		return VGW_OK;
	if (!json_is_string(value) || json_string_length(value) != strlen(json_string_value(value)))
		return refuse(settings, key, value, "a text without NUL", err);
	*out = json_string_value(value);
	return VGW_OK;
}

vgw_status vgw__settings_get_duration(const struct vgw__settings *settings, const char *key, int64_t *out_ms,
	vgw_error *err)
{
	const json_t *value = get_value(settings, key);
	char in_ms[64];

	(void)snprintf(in_ms, sizeof(in_ms), "%s_ms", key);
	if (!value)
		return vgw__settings_get_integer(settings, in_ms, 0, LONGEST_MS, out_ms, err);
	if (json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= LONGEST_MS) {
		*out_ms = json_integer_value(value);
		return VGW_OK;
	}
	if (json_is_string(value) && vgw__parse_duration(json_string_value(value), out_ms))
		return VGW_OK;
	if (json_is_string(value))
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.%s is '%.40s'; expected a duration such as 250ms, 15s, 20m or 1h",
			settings->model, key, json_string_value(value));
	return refuse(settings, key, value, "a duration such as 250ms, 15s, 20m or 1h", err);
}

vgw_status vgw__settings_get_integer(const struct vgw__settings *settings, const char *key, int64_t min,
	int64_t max, int64_t *out, vgw_error *err)
{
	const json_t *value = get_value(settings, key);

	if (!value)
		return VGW_OK;
	if (!json_is_integer(value))
		return refuse(settings, key, value, "an integer", err);
	if (json_integer_value(value) < min || json_integer_value(value) > max)
		return vgw_error_set(err, VGW_INVALID, 0,
			"model '%.60s': backend.%s is %lld; expected %lld to %lld", settings->model, key,
			(long long)json_integer_value(value), (long long)min, (long long)max);
	*out = json_integer_value(value);
	return VGW_OK;
}

vgw_status vgw__settings_get_flag(const struct vgw__settings *settings, const char *key, bool *out, vgw_error *err)
{
	const json_t *value = get_value(settings, key);

	if (!value)
		return VGW_OK;
	if (!json_is_boolean(value))
		return refuse(settings, key, value, "true or false", err);
	*out = json_is_true(value);
	return VGW_OK;
}

vgw_status vgw__settings_get_list(const struct vgw__settings *settings, const char *key, struct vgw__strings *out,
	vgw_error *err)
{
	const json_t *array = get_value(settings, key);
	bool is_scalar;

	if (!array)
		return VGW_OK;
	if (!json_is_array(array))
		return refuse(settings, key, array, "a list of texts", err);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *value = json_array_get(array, i);
		char *text = dup_scalar(value, &is_scalar);

		if (!is_scalar)
			return vgw_error_set(err, VGW_INVALID, 0,
				"model '%.60s': backend.%s[%zu] is %s; expected a text without NUL", settings->model,
				key, i, name_type(value));
		if (!vgw__strings_take(out, text))
			return no_memory(settings, err);
	}
	return VGW_OK;
}

vgw_status vgw__settings_get_map(const struct vgw__settings *settings, const char *key, struct vgw__strings *out,
	vgw_error *err)
{
	json_t *map = get_value(settings, key);
	const char *name;
	json_t *value;
	bool is_scalar;

	if (!map)
		return VGW_OK;
	if (!json_is_object(map))
		return refuse(settings, key, map, "a mapping of names to texts", err);
	json_object_foreach(map, name, value) {
		char *text = dup_scalar(value, &is_scalar);
		bool is_added;

		if (!is_scalar || name[0] == '\0' || strchr(name, '=')) {
			vgw__free(text);
			return vgw_error_set(err, VGW_INVALID, 0,
				"model '%.60s': backend.%s.%.60s is %s; expected NAME: text, no = in the name",
				settings->model, key, name, name_type(value));
		}
		is_added = text && vgw__strings_take(out, vgw__printf("%s=%s", name, text));
		vgw__free(text);
		if (!is_added)
			return no_memory(settings, err);
	}
	return VGW_OK;
}
