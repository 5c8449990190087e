/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of config_keys.h as arrays. */
#include "config_keys.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROW(path, type, min, max, words, text, flags, offset, help)                                          \
	{ path, CONFIG_##type, flags, min, max, words, text, offset, help },

#define XX(path, type, min, max, words, text, flags, field, help)                                            \
	ROW(path, type, min, max, words, text, flags, offsetof(struct config, field), help)
static const struct config_key server_keys[] = { CONFIG_SERVER_KEYS(XX) };
#undef XX

#define XX(path, type, min, max, words, text, flags, field, help)                                            \
	ROW(path, type, min, max, words, text, flags, offsetof(struct config_model, field), help)
static const struct config_key model_keys[] = { CONFIG_MODEL_KEYS(XX) };
#undef XX

#define XX(path, type, min, max, words, text, flags, field, help)                                            \
	ROW(path, type, min, max, words, text, flags, offsetof(struct config_adapter, field), help)
static const struct config_key adapter_keys[] = { CONFIG_ADAPTER_KEYS(XX) };
#undef XX

#define XX(path, type, min, max, words, text, flags, field, help)                                            \
	ROW(path, type, min, max, words, text, flags, offsetof(struct config_memory, field), help)
static const struct config_key device_keys[] = { CONFIG_DEVICE_KEYS(XX) };
#undef XX

#define XX(path, type, min, max, words, text, flags, field, help)                                            \
	ROW(path, type, min, max, words, text, flags, offsetof(struct config_auth_key, field), help)
static const struct config_key auth_keys[] = { CONFIG_AUTH_KEYS(XX) };
#undef XX

#define XX(path, type, min, max, words, text, flags, field, help)                                            \
	ROW(path, type, min, max, words, text, flags, 0, help)
static const struct config_key static_keys[] = { CONFIG_BACKEND_STATIC_KEYS(XX) };
static const struct config_key process_keys[] = { CONFIG_BACKEND_PROCESS_KEYS(XX) };
static const struct config_key docker_keys[] = { CONFIG_BACKEND_DOCKER_KEYS(XX) };
static const struct config_key http_keys[] = { CONFIG_BACKEND_HTTP_KEYS(XX) };
static const struct config_key kubernetes_keys[] = { CONFIG_BACKEND_KUBERNETES_KEYS(XX) };
#undef XX

const struct config_keys config_server_keys = { server_keys, COUNT(server_keys) };
const struct config_keys config_model_keys = { model_keys, COUNT(model_keys) };
const struct config_keys config_adapter_keys = { adapter_keys, COUNT(adapter_keys) };
const struct config_keys config_auth_key_keys = { auth_keys, COUNT(auth_keys) };
const struct config_keys config_device_keys = { device_keys, COUNT(device_keys) };

#define XX(kind, keys, is_managed, help) { kind, is_managed, { keys, COUNT(keys) }, help },
const struct config_backend config_backends[] = { CONFIG_BACKENDS(XX) };
#undef XX
const size_t config_backend_count = COUNT(config_backends);

/* An enum is stored through an int, the log level too. */
_Static_assert(sizeof(enum config_policy) == sizeof(int), "words are stored as int");
_Static_assert(sizeof(vgw_log_level) == sizeof(int), "words are stored as int");

const struct config_backend *config_backend_find(const char *kind)
{
	for (size_t i = 0; i < config_backend_count; i++) {
		if (strcmp(config_backends[i].kind, kind) == 0)
			return &config_backends[i];
	}
	return NULL;
}

size_t config_type_get_size(enum config_type type)
{
#define XX(name, ctype, text) [CONFIG_##name] = sizeof(ctype),
	static const size_t sizes[CONFIG_TYPE_COUNT] = { CONFIG_TYPES(XX) };
#undef XX

	return sizes[type];
}

const char *config_type_get_text(enum config_type type)
{
#define XX(name, ctype, text) [CONFIG_##name] = text,
	static const char *const texts[CONFIG_TYPE_COUNT] = { CONFIG_TYPES(XX) };
#undef XX

	return texts[type];
}

const struct config_key *config_keys_find(const struct config_keys *keys, const char *path)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (strcmp(keys->items[i].path, path) == 0)
			return &keys->items[i];
	}
	return NULL;
}

bool config_words_get(const char *words, size_t index, char *text, size_t size)
{
	const char *word = words;

	if (!word || *word != '|')
		return false;
	for (; index > 0; index--) {
		word = strchr(word + 1, '|');
		if (!word)
			return false;
	}
	(void)snprintf(text, size, "%.*s", (int)strcspn(word + 1, "|"), word + 1);
	return true;
}
