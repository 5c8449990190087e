/* SPDX-License-Identifier: Apache-2.0 */
/* The ad-hoc model as a model of kind process, and its file. */
#include "adhoc.h"

#include "adhoc_spec.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARGIN_MS = 120 * 1000 };

struct adhoc {
	char *path; /* const after new; NULL: there is nowhere to remember it */
	pthread_mutex_t lock; /* guards the rest */
	struct adhoc_spec *spec;
	char *name; /* of the published model; NULL: none */
	bool is_allowed;
	char *log_path; /* of its engine, or the last one's; NULL: there was none */
	uint64_t generation;
	int64_t patience_ms;
};

struct adhoc *adhoc_new(const char *state_dir)
{
	struct adhoc *adhoc = calloc(1, sizeof(*adhoc));

	if (!adhoc || pthread_mutex_init(&adhoc->lock, NULL) != 0) {
		free(adhoc);
		return NULL;
	}
	if (state_dir && asprintf(&adhoc->path, "%s/adhoc.json", state_dir) < 0) {
		adhoc->path = NULL;
		adhoc_free(adhoc);
		return NULL;
	}
	return adhoc;
}

void adhoc_free(struct adhoc *adhoc)
{
	if (!adhoc)
		return;
	adhoc_spec_free(adhoc->spec);
	free(adhoc->name);
	free(adhoc->log_path);
	free(adhoc->path);
	(void)pthread_mutex_destroy(&adhoc->lock);
	free(adhoc);
}

struct adhoc_spec *adhoc_swap(struct adhoc *adhoc, struct adhoc_spec *spec)
{
	struct adhoc_spec *old;

	(void)pthread_mutex_lock(&adhoc->lock);
	old = adhoc->spec;
	adhoc->spec = spec;
	adhoc->generation++;
	(void)pthread_mutex_unlock(&adhoc->lock);
	return old;
}

/* --- as a model ------------------------------------------------------------------------------------------------- */

/* ${PORT} and the like are the configuration's to use: a request's words are text. */
static json_t *literal(const char *word)
{
	char *escaped = malloc(2 * strlen(word) + 1), *at = escaped;
	json_t *json;

	if (!escaped)
		return NULL;
	for (; *word; word++) {
		if (word[0] == '$' && word[1] == '{')
			*at++ = '$';
		*at++ = *word;
	}
	*at = '\0';
	json = json_string(escaped);
	free(escaped);
	return json;
}

static int append_all(json_t *list, const struct config_strings *texts)
{
	int result = 0;

	for (size_t i = 0; i < texts->count; i++)
		result |= json_array_append_new(list, json_string(texts->items[i]));
	return result;
}

static json_t *make_command(const struct adhoc_spec *spec, const struct config *config)
{
	json_t *command = json_array();
	int result = command ? append_all(command, &config->adhoc.command) : -1;

	for (size_t i = 0; i < spec->count; i++)
		result |= json_array_append_new(command, literal(spec->words[i]));
	result |= command ? append_all(command, &config->adhoc.options) : -1;
	if (result == 0)
		return command;
	json_decref(command);
	return NULL;
}

static char *make_backend(const struct adhoc_spec *spec, const struct config *config)
{
	json_t *env = json_object(), *command = make_command(spec, config);
	json_t *backend = json_pack("{s:s, s:o, s:O, s:I, s:I}", "kind", "process", "command", command, "env", env,
		"start_timeout_ms", (json_int_t)config->adhoc.start_timeout_ms, "stop_timeout_ms",
		(json_int_t)config->adhoc.stop_timeout_ms);
	char *text = NULL;
	int result = backend ? 0 : -1;

	for (size_t i = 0; i + 1 < config->adhoc.env.count; i += 2)
		result |= json_object_set_new(env, config->adhoc.env.items[i], json_string(config->adhoc.env.items[i + 1]));
	if (result == 0)
		text = json_dumps(backend, JSON_COMPACT);
	json_decref(backend);
	json_decref(env);
	return text;
}

/* Two of them at a time would share the memory that each believes to have for itself: one group. */
static vgw_status add(vgw_registry *registry, const char *name, const char *served_name, const char *backend,
	vgw_error *err)
{
	static const char *const groups[] = { "adhoc" };
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;

	options.name = name;
	options.served_name = served_name;
	options.kind = "process";
	options.backend_json = backend;
	options.groups = groups;
	options.group_count = 1;
	return vgw_registry_add(registry, &options, err);
}

static bool is_taken(const vgw_registry *registry, const char *name)
{
	const vgw_model *model;

	for (size_t i = 0; (model = vgw_registry_get_model(registry, i)) != NULL; i++) {
		const char *called = vgw_model_get_name(model);

		for (size_t j = 0; called; called = vgw_model_get_alias(model, j++)) {
			if (strcmp(called, name) == 0)
				return true;
		}
	}
	return false;
}

/* A configured model of that name keeps it; the engine is told its own name all the same. */
static vgw_status add_named(struct adhoc *adhoc, vgw_registry *registry, const char *backend, vgw_error *err)
{
	const char *own = adhoc->spec->name;
	bool is_renamed = is_taken(registry, own);
	vgw_status status;
	char *name;

	if (asprintf(&name, "%s%s", is_renamed ? "adhoc:" : "", own) < 0)
		return vgw_error_set(err, VGW_NOMEM, 0, "the ad-hoc model");
	status = add(registry, name, is_renamed ? own : "*", backend, err);
	if (status == VGW_OK)
		adhoc->name = name;
	else
		free(name);
	return status;
}

vgw_status adhoc_add(struct adhoc *adhoc, const struct config *config, vgw_registry *registry, vgw_error *err)
{
	vgw_status status = VGW_OK;
	char *backend = NULL;

	(void)pthread_mutex_lock(&adhoc->lock);
	adhoc->is_allowed = config->allow_adhoc_models;
	adhoc->patience_ms = 2 * config->adhoc.start_timeout_ms + config->adhoc.stop_timeout_ms + config->timeouts.drain_ms +
			     MARGIN_MS;
	free(adhoc->name);
	adhoc->name = NULL;
	if (adhoc->spec && adhoc->is_allowed) {
		backend = make_backend(adhoc->spec, config);
		status = backend ? add_named(adhoc, registry, backend, err) : vgw_error_set(err, VGW_NOMEM, 0, "model");
		if (status == VGW_OK && (config->compat.aic_vllm_proxy || !config->default_model))
			status = vgw_registry_set_default(registry, adhoc->name, err);
	}
	(void)pthread_mutex_unlock(&adhoc->lock);
	free(backend);
	return status;
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

bool adhoc_get(struct adhoc *adhoc, struct adhoc_view *view)
{
	bool is_there;

	(void)pthread_mutex_lock(&adhoc->lock);
	is_there = adhoc->name && adhoc->spec;
	view->is_allowed = adhoc->is_allowed;
	view->generation = adhoc->generation;
	view->patience_ms = adhoc->patience_ms;
	view->name = is_there ? strdup(adhoc->name) : NULL;
	view->text = is_there ? strdup(adhoc->spec->text) : NULL;
	(void)pthread_mutex_unlock(&adhoc->lock);
	if (!is_there || (view->name && view->text))
		return true;
	adhoc_view_fini(view);
	return false;
}

void adhoc_view_fini(struct adhoc_view *view)
{
	free(view->name);
	free(view->text);
	view->name = NULL;
	view->text = NULL;
}

bool adhoc_is(struct adhoc *adhoc, const struct adhoc_spec *spec)
{
	bool is_same;

	(void)pthread_mutex_lock(&adhoc->lock);
	is_same = adhoc->name && adhoc->spec && adhoc->spec->count == spec->count;
	for (size_t i = 0; is_same && i < spec->count; i++)
		is_same = strcmp(adhoc->spec->words[i], spec->words[i]) == 0;
	(void)pthread_mutex_unlock(&adhoc->lock);
	return is_same;
}

char *adhoc_dup_log_path(struct adhoc *adhoc)
{
	char *path;

	(void)pthread_mutex_lock(&adhoc->lock);
	path = adhoc->log_path ? strdup(adhoc->log_path) : NULL;
	(void)pthread_mutex_unlock(&adhoc->lock);
	return path;
}

void adhoc_note_log_path(struct adhoc *adhoc, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return;
	(void)pthread_mutex_lock(&adhoc->lock);
	free(adhoc->log_path);
	adhoc->log_path = copy;
	(void)pthread_mutex_unlock(&adhoc->lock);
}

/* --- the file --------------------------------------------------------------------------------------------------- */

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t len = strlen(text);
	bool is_written;

	if (fd < 0)
		return -1;
	is_written = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
	return close(fd) == 0 && is_written ? 0 : -1;
}

/* Never half a file: the new one takes the old one's place when it is whole. */
static int replace_file(const char *path, const char *text)
{
	char *fresh = NULL;
	int result;

	if (asprintf(&fresh, "%s.new", path) < 0)
		return -1;
	result = write_file(fresh, text);
	if (result == 0)
		result = rename(fresh, path);
	free(fresh);
	return result;
}

int adhoc_keep(struct adhoc *adhoc)
{
	json_t *json = NULL;
	char *text;
	int result;

	if (!adhoc->path)
		return 0;
	(void)pthread_mutex_lock(&adhoc->lock);
	if (adhoc->spec)
		json = json_pack("{s:s}", "model_spec", adhoc->spec->text);
	(void)pthread_mutex_unlock(&adhoc->lock);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return unlink(adhoc->path) == 0 || errno == ENOENT ? 0 : -1;
	result = replace_file(adhoc->path, text);
	free(text);
	return result;
}

bool adhoc_recall(struct adhoc *adhoc)
{
	json_t *json = adhoc->path ? json_load_file(adhoc->path, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *text = json_string_value(json_object_get(json, "model_spec"));
	char why[128];
	struct adhoc_spec *spec = text ? adhoc_parse(text, why, sizeof(why)) : NULL;

	json_decref(json);
	if (spec)
		adhoc_spec_free(adhoc_swap(adhoc, spec));
	return spec != NULL;
}

void adhoc_forget(struct adhoc *adhoc)
{
	if (adhoc && adhoc->path)
		(void)unlink(adhoc->path);
}
