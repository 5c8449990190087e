/* SPDX-License-Identifier: Apache-2.0 */
/* A server's list of models. */
#include "backend/http.h"

#include "backend/engine_call.h"

#include <string.h>

enum { LIST_BYTES = 4 << 20, EXCERPT_SIZE = 100, KEY_SIZE = 64 };

vgw_status vgw__http_fetch(const struct vgw__http_config *config, const struct vgw__endpoint *endpoint,
	int64_t deadline_ms, int cancel_fd, json_t **out, vgw_error *err)
{
	const struct vgw__engine_call call = {
		.endpoint = endpoint, .path = config->list_path, .api_key = config->api_key,
		.deadline_ms = deadline_ms, .max_answer_bytes = LIST_BYTES, .cancel_fd = cancel_fd,
	};
	struct vgw__control_answer answer;
	char said[EXCERPT_SIZE];
	vgw_status status = vgw__engine_call(&call, &answer, err);

	*out = NULL;
	if (status == VGW_BACKEND)
		return VGW_NOT_FOUND;
	if (status == VGW_OK && answer.status != 200)
		status = vgw_error_set(err, VGW_BACKEND, 0, "%.60s answers %u: %s", config->list_path,
			(unsigned)answer.status, vgw__engine_call_excerpt(&answer, said, sizeof(said)));
	if (status == VGW_OK) {
		*out = json_loadb(answer.body, answer.body_len, 0, NULL);
		if (!*out)
			status = vgw_error_set(err, VGW_BACKEND, 0, "%.60s is not JSON: %s", config->list_path,
				vgw__engine_call_excerpt(&answer, said, sizeof(said)));
	}
	vgw__control_answer_fini(&answer);
	return status;
}

/* The member at "a.b.c"; the value itself for "". NULL: there is none. */
static const json_t *follow(const json_t *value, const char *path)
{
	while (value && *path) {
		size_t len = strcspn(path, ".");
		char key[KEY_SIZE];

		if (len >= sizeof(key))
			return NULL;
		memcpy(key, path, len);
		key[len] = '\0';
		value = json_object_get(value, key);
		path += len;
		path += *path == '.';
	}
	return value;
}

static bool is_word(const struct vgw__strings *words, const json_t *value)
{
	const char *text = json_is_boolean(value) ? (json_is_true(value) ? "true" : "false") : json_string_value(value);

	for (size_t i = 0; text && i < words->count; i++) {
		if (strcmp(words->items[i], text) == 0)
			return true;
	}
	return false;
}

static enum vgw__http_state judge(const struct vgw__http_config *config, const json_t *item)
{
	const json_t *state = follow(item, config->list_state);

	if (!config->list_state[0] || is_word(&config->loaded, state))
		return VGW__HTTP_LOADED;
	if (is_word(&config->loading, state))
		return VGW__HTTP_LOADING;
	if (config->list_failed[0] && json_is_true(follow(item, config->list_failed)))
		return VGW__HTTP_FAILED;
	return VGW__HTTP_UNLOADED;
}

static bool is_named(const struct vgw__http_config *config, const json_t *item)
{
	const char *id = json_string_value(json_is_string(item) ? item : follow(item, config->list_id));
	const json_t *aliases = config->list_aliases[0] ? follow(item, config->list_aliases) : NULL;

	if (id && strcmp(id, config->served_name) == 0)
		return true;
	for (size_t i = 0; i < json_array_size(aliases); i++) {
		const char *alias = json_string_value(json_array_get(aliases, i));

		if (alias && strcmp(alias, config->served_name) == 0)
			return true;
	}
	return false;
}

enum vgw__http_state vgw__http_find(const struct vgw__http_config *config, const json_t *list, bool *is_listed)
{
	const json_t *items = follow(list, config->list_items);

	if (is_listed)
		*is_listed = true;
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);

		if (is_named(config, item))
			return judge(config, item);
	}
	if (is_listed)
		*is_listed = false;
	return VGW__HTTP_UNLOADED;
}
