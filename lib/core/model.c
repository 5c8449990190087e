/* SPDX-License-Identifier: Apache-2.0 */
/* One model: copied, checked, and prepared for the hot path (default keys are rendered once, here). */
#include "core/model.h"

#include "util/alloc.h"
#include "util/error.h"
#include "util/opts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 512, PATH_MAX_BYTES = 4096, LORA_TIMEOUT_MS = 60000, WIDTH_MAX = 64 };

static void free_strings(struct vgw__names *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		vgw__free(strings->items[i]);
	vgw__free(strings->items);
}

static vgw_status copy_strings(struct vgw__names *out, const char *const *items, size_t count)
{
	if (!count)
		return VGW_OK;
	out->items = vgw__calloc(count, sizeof(*out->items));
	if (!out->items)
		return VGW_NOMEM;
	for (; out->count < count; out->count++) {
		out->items[out->count] = vgw__strdup(items[out->count]);
		if (!out->items[out->count])
			return VGW_NOMEM;
	}
	return VGW_OK;
}

static vgw_status copy_memory(vgw_model *model, const vgw_model_options *options)
{
	if (!options->memory_count)
		return VGW_OK;
	model->memory = vgw__calloc(options->memory_count, sizeof(*model->memory));
	if (!model->memory)
		return VGW_NOMEM;
	for (; model->memory_count < options->memory_count; model->memory_count++) {
		struct vgw__model_memory *memory = &model->memory[model->memory_count];

		memory->bytes = options->memory[model->memory_count].bytes;
		memory->device = vgw__strdup(options->memory[model->memory_count].device);
		if (!memory->device)
			return VGW_NOMEM;
	}
	return VGW_OK;
}

/* jansson's own memory goes through free(): our text is a copy in the library's memory. */
static char *render_default(const char *key, json_t *value)
{
	json_t *name = json_string(key);
	char *key_text = name ? json_dumps(name, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	char *value_text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	char *text = key_text && value_text ? vgw__printf("%s:%s", key_text, value_text) : NULL;

	json_decref(name);
	free(key_text);
	free(value_text);
	return text;
}

static vgw_status read_defaults(vgw_model *model, const char *text, vgw_error *err)
{
	json_error_t why;
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	vgw_status status = VGW_NOMEM;
	const char *key;
	json_t *value;

	if (!json_is_object(object)) {
		json_decref(object);
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s': defaults are no JSON object: %s", model->name,
			object ? "another type" : why.text);
	}
	model->defaults = vgw__calloc(json_object_size(object), sizeof(*model->defaults));
	if (!model->defaults)
		goto out;
	json_object_foreach(object, key, value) {
		struct vgw__body_default *one = &model->defaults[model->default_count++];

		one->name = vgw__strdup(key);
		one->text = render_default(key, value);
		if (!one->name || !one->text)
			goto out;
	}
	status = VGW_OK;
out:
	json_decref(object);
	return status;
}

/* Options of vLLM that multiply the devices one engine computes on. */
static const char *const width_options[] = {
	"--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp", "--data-parallel-size", "-dp",
};

/* "--tensor-parallel-size" "2", or "--tensor-parallel-size=2"; 1: it says nothing of the kind. */
static uint32_t read_width(const json_t *arguments)
{
	uint32_t width = 1;

	for (size_t i = 0; i < json_array_size(arguments); i++) {
		const char *text = json_string_value(json_array_get(arguments, i));
		const char *next = json_string_value(json_array_get(arguments, i + 1));

		for (size_t k = 0; text && k < sizeof(width_options) / sizeof(width_options[0]); k++) {
			size_t len = strlen(width_options[k]);
			const char *value;
			unsigned long count;

			if (strncmp(text, width_options[k], len) != 0 || (text[len] != '\0' && text[len] != '='))
				continue;
			value = text[len] == '=' ? text + len + 1 : next;
			count = value ? strtoul(value, NULL, 10) : 0;
			if (count > 0 && count <= WIDTH_MAX && width <= WIDTH_MAX / count)
				width *= (uint32_t)count;
		}
	}
	return width;
}

/* Whoever gives a container GPUs by himself has decided. */
static uint32_t width_of(const json_t *backend)
{
	const json_t *gpus = json_object_get(backend, "gpus");
	const char *word = json_string_value(gpus);
	json_int_t count = json_integer_value(gpus);

	if (json_is_array(gpus) || (word && strcmp(word, "all") == 0))
		return VGW__WIDTH_ALL;
	if (count > 0 && count <= WIDTH_MAX)
		return (uint32_t)count;
	return read_width(json_object_get(backend, "command")) * read_width(json_object_get(backend, "args"));
}

static bool is_https(const json_t *backend)
{
	const char *url = json_string_value(json_array_get(json_object_get(backend, "urls"), 0));

	if (!url)
		url = json_string_value(json_object_get(backend, "url"));
	return url && strncmp(url, "https:", 6) == 0;
}

static vgw_status read_backend(vgw_model *model, vgw_error *err)
{
	json_error_t why;
	json_t *object = json_loads(model->backend_json, JSON_REJECT_DUPLICATES, &why);
	const char *key = json_string_value(json_object_get(object, "api_key"));
	vgw_status status = VGW_OK;

	if (!json_is_object(object))
		status = vgw_error_set(err, VGW_INVALID, 0, "model '%s': its backend is no JSON object", model->name);
	else if (model->usage == VGW_USAGE_AUTO)
		model->usage = is_https(object) ? VGW_USAGE_FINAL : VGW_USAGE_CONTINUOUS;
	if (status == VGW_OK && key && *key && !(model->upstream_auth = vgw__printf("Bearer %s", key)))
		status = VGW_NOMEM;
	model->width = model->tensor_parallel ? model->tensor_parallel : width_of(object);
	json_decref(object);
	return status;
}

static vgw_status read_sleep(vgw_model *model, const vgw_model_options *options, vgw_error *err)
{
	const char *mode = options->sleep_mode ? options->sleep_mode : "abort";
	const char *canary = options->sleep_canary && options->sleep_canary[0] ? options->sleep_canary : NULL;

	if (options->sleep_level > 2)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s': sleep level %u; there are 0, 1 and 2", model->name,
			(unsigned)options->sleep_level);
	if (strcmp(mode, "abort") != 0 && strcmp(mode, "wait") != 0)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s': sleep mode '%.20s'; there are abort and wait",
			model->name, mode);
	model->sleep_level = options->sleep_level;
	model->sleep_timeout_ms = options->sleep_timeout_ms;
	model->wake_timeout_ms = options->wake_timeout_ms;
	model->sleep_mode = vgw__strdup(mode);
	model->sleep_canary = canary ? vgw__strdup(canary) : NULL;
	return model->sleep_mode && (model->sleep_canary || !canary) ? VGW_OK : VGW_NOMEM;
}

/* A name goes into headers, logs and file names' sources: no control characters. */
static bool is_name(const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (len == 0 || len > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	}
	return true;
}

vgw_status vgw__model_new(vgw_model **out, const vgw_model_options *given, vgw_error *err)
{
	vgw_model_options options;
	vgw_model *model;
	vgw_status status = vgw__opts_copy(&options, sizeof(options), given, "vgw_model_options", err);

	*out = NULL;
	if (status != VGW_OK)
		return status;
	if (!is_name(options.name) || strchr(options.name, '*'))
		return vgw_error_set(err, VGW_INVALID, 0,
			"a model needs a name of 1 to %d printable bytes without '*'", NAME_MAX_BYTES);
	if (!options.kind || (options.served_name && !is_name(options.served_name)))
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s' needs a kind and a printable served name",
			options.name);
	if ((unsigned)options.balance >= VGW_BALANCE_COUNT)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s': there is no way to balance of number %d",
			options.name, (int)options.balance);
	if ((unsigned)options.usage >= VGW_USAGE_COUNT)
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s': there is no way to tell usage of number %d",
			options.name, (int)options.usage);
	model = vgw__alloc(sizeof(*model));
	if (!model)
		return vgw_error_set(err, VGW_NOMEM, 0, "model");
	model->is_unlisted = options.is_unlisted != 0;
	model->is_pinned = options.is_pinned != 0;
	model->balance = options.balance;
	model->max_loras = options.max_loras ? options.max_loras : 1;
	model->lora_timeout_ms = options.lora_timeout_ms ? options.lora_timeout_ms : LORA_TIMEOUT_MS;
	model->tensor_parallel = options.tensor_parallel;
	model->usage = options.usage;
	model->fallback_after_ms = options.fallback_after_ms;
	model->name = vgw__strdup(options.name);
	model->served_name = vgw__strdup(options.served_name ? options.served_name : options.name);
	model->kind = vgw__strdup(options.kind);
	model->backend_json = vgw__strdup(options.backend_json ? options.backend_json : "{}");
	status = VGW_NOMEM;
	if (model->name && model->served_name && model->kind && model->backend_json)
		status = read_backend(model, err);
	if (status == VGW_OK && options.fallback)
		status = (model->fallback = vgw__strdup(options.fallback)) ? VGW_OK : VGW_NOMEM;
	if (status == VGW_OK)
		status = read_sleep(model, &options, err);
	if (status == VGW_OK && options.defaults_json)
		status = read_defaults(model, options.defaults_json, err);
	if (status == VGW_OK)
		status = copy_strings(&model->aliases, options.aliases, options.alias_count);
	if (status == VGW_OK)
		status = copy_strings(&model->strip, options.strip, options.strip_count);
	if (status == VGW_OK)
		status = copy_strings(&model->groups, options.groups, options.group_count);
	if (status == VGW_OK)
		status = copy_strings(&model->devices, options.devices, options.device_count);
	if (status == VGW_OK)
		status = copy_memory(model, &options);
	if (status != VGW_OK) {
		vgw__model_free(model);
		return vgw_error_set(err, status, 0, "model '%s'", options.name);
	}
	*out = model;
	return VGW_OK;
}

static vgw_status check_adapter(const vgw_adapter_options *options, vgw_error *err)
{
	if (!is_name(options->name) || strchr(options->name, '*'))
		return vgw_error_set(err, VGW_INVALID, 0,
			"an adapter needs a name of 1 to %d printable bytes without '*'", NAME_MAX_BYTES);
	if (!options->path || !options->path[0] || strlen(options->path) > PATH_MAX_BYTES)
		return vgw_error_set(err, VGW_INVALID, 0, "adapter '%s' needs a path of 1 to %d bytes", options->name,
			PATH_MAX_BYTES);
	return VGW_OK;
}

vgw_status vgw__model_new_adapter(vgw_model **out, const vgw_adapter_options *given, const vgw_model *base,
	vgw_error *err)
{
	vgw_adapter_options options;
	vgw_model *model;
	vgw_status status = vgw__opts_copy(&options, sizeof(options), given, "vgw_adapter_options", err);

	*out = NULL;
	if (status == VGW_OK)
		status = check_adapter(&options, err);
	if (status != VGW_OK)
		return status;
	model = vgw__alloc(sizeof(*model));
	if (!model)
		return vgw_error_set(err, VGW_NOMEM, 0, "adapter");
	*model = *base;
	model->base = base;
	model->is_unlisted = options.is_unlisted != 0;
	model->aliases = (struct vgw__names){ NULL, 0 };
	model->name = vgw__strdup(options.name);
	model->served_name = vgw__strdup(options.name);
	model->adapter_path = vgw__strdup(options.path);
	status = model->name && model->served_name && model->adapter_path ? VGW_OK : VGW_NOMEM;
	if (status == VGW_OK)
		status = copy_strings(&model->aliases, options.aliases, options.alias_count);
	if (status != VGW_OK) {
		vgw__model_free(model);
		return vgw_error_set(err, status, 0, "adapter '%s'", options.name);
	}
	*out = model;
	return VGW_OK;
}

static void free_own(vgw_model *model)
{
	free_strings(&model->aliases);
	vgw__free(model->adapter_path);
	vgw__free(model->served_name);
	vgw__free(model->name);
	vgw__free(model);
}

void vgw__model_free(vgw_model *model)
{
	if (!model)
		return;
	if (model->base) { /* the rest is its base's */
		free_own(model);
		return;
	}
	for (size_t i = 0; i < model->default_count; i++) {
		vgw__free(model->defaults[i].name);
		vgw__free(model->defaults[i].text);
	}
	for (size_t i = 0; i < model->memory_count; i++)
		vgw__free(model->memory[i].device);
	vgw__free(model->defaults);
	vgw__free(model->memory);
	free_strings(&model->strip);
	free_strings(&model->groups);
	free_strings(&model->devices);
	vgw__free(model->fallback);
	vgw__free(model->sleep_mode);
	vgw__free(model->sleep_canary);
	vgw__free(model->upstream_auth);
	vgw__free(model->backend_json);
	vgw__free(model->kind);
	free_own(model);
}

static bool is_same_list(const struct vgw__names *a, const struct vgw__names *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool vgw__model_is_same_engine(const vgw_model *a, const vgw_model *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->served_name, b->served_name) == 0 &&
	       strcmp(a->kind, b->kind) == 0 && strcmp(a->backend_json, b->backend_json) == 0 &&
	       is_same_list(&a->devices, &b->devices) && a->width == b->width && a->sleep_level == b->sleep_level &&
	       strcmp(a->sleep_mode, b->sleep_mode) == 0 && is_same_text(a->sleep_canary, b->sleep_canary);
}

const char *vgw_model_get_name(const vgw_model *model)
{
	return model->name;
}

const char *vgw_model_get_served_name(const vgw_model *model)
{
	return model->served_name;
}

const char *vgw_model_get_alias(const vgw_model *model, size_t place)
{
	return place < model->aliases.count ? model->aliases.items[place] : NULL;
}

const char *vgw_model_get_base(const vgw_model *model)
{
	return model->base ? model->base->name : NULL;
}

bool vgw_model_is_unlisted(const vgw_model *model)
{
	return model->is_unlisted;
}
