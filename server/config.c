/* SPDX-License-Identifier: Apache-2.0 */
/* From a file's name to a struct config. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compat_env.h"
#include "compat_imply.h"
#include "config_arena.h"
#include "config_check.h"
#include "config_decode.h"
#include "config_yaml.h"
#include "env.h"

#define SYSTEM_PATH "/etc/vllmgw/vllmgw.yaml"
#define LOCAL_PATH "vllmgw.yaml"

enum { DEFAULT_MEMORY_BYTES = 64 * 1024 * 1024 };

static const char *const *get_environment(const char *const *environment)
{
	return environment ? environment : (const char *const *)environ;
}

/* --- the file --- */

struct file {
	char *text;
	size_t len;
	struct stat info;
	bool is_read;
};

/* Up to one byte more than is allowed, so that the reader can say it is too large. */
static int read_all(int fd, struct file *file)
{
	size_t room = YAML_MAX_BYTES + 1;
	ssize_t got = 1;

	file->text = malloc(room);
	if (!file->text)
		return ENOMEM;
	while (file->len < room && got > 0) {
		got = read(fd, file->text + file->len, room - file->len);
		if (got < 0 && errno != EINTR)
			return errno;
		if (got > 0)
			file->len += (size_t)got;
		else if (got < 0)
			got = 1;
	}
	return 0;
}

static bool read_file(struct file *file, const char *path, struct config_report *report)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int failure = fd < 0 ? errno : 0;

	if (fd >= 0) {
		failure = fstat(fd, &file->info) != 0 ? errno : read_all(fd, file);
		(void)close(fd);
	}
	if (failure)
		config_report_error(report, NULL, NULL, "%s: cannot be read: %s", path, strerror(failure));
	file->is_read = failure == 0;
	return file->is_read;
}

/* Who may read the keys in it, and who may change what we start. */
static void check_file(const struct file *file, const char *path, const struct config_decoder *decoder)
{
	struct config_report *report = decoder->report;

	if (!S_ISREG(file->info.st_mode))
		return;
	if (file->info.st_mode & (S_IWGRP | S_IWOTH))
		config_report_warning(report, NULL, NULL,
			"%s: others may write to it (mode %04o); chmod go-w %s", path,
			(unsigned)file->info.st_mode & 07777, path);
	if (file->info.st_uid != 0 && file->info.st_uid != geteuid())
		config_report_warning(report, NULL, NULL, "%s: belongs to another user (uid %u); chown it",
			path, (unsigned)file->info.st_uid);
	if (decoder->literal_secret.line && (file->info.st_mode & S_IROTH))
		config_report_warning(report, &decoder->literal_secret, NULL,
			"a key is written out in a file that everybody may read; chmod 640 %s, or write "
			"${NAME}",
			path);
}

int config_find(const char *option, const char *const *environment, char *text, size_t size)
{
	struct env env = { get_environment(environment), NULL };
	const char *named = option ? option : env_find(&env, "VLLMGW_CONFIG");
	const char *path = named && *named ? named : NULL;

	if (!path && access(LOCAL_PATH, F_OK) == 0)
		path = LOCAL_PATH;
	if (!path && access(SYSTEM_PATH, F_OK) == 0)
		path = SYSTEM_PATH;
	if (path && strlen(path) < size) {
		(void)snprintf(text, size, "%s", path);
		return 0;
	}
	if (path)
		(void)snprintf(text, size, "the path of the configuration file is too long");
	else
		(void)snprintf(text, size,
			"no configuration found; looked at -c FILE, $VLLMGW_CONFIG, ./" LOCAL_PATH
			", " SYSTEM_PATH);
	return -1;
}

/* --- the tree --- */

static struct node *make_tree(const struct config_source *source, const char *name, const struct file *file,
	struct config_arena *arena, struct config_report *report)
{
	static const struct config_place nowhere = { CONFIG_FROM_DEFAULT, NULL, 0, 0 };
	struct node *tree;

	if (source->text)
		tree = yaml_parse(arena, name, source->text, source->len, report);
	else if (file->is_read)
		tree = yaml_parse(arena, name, file->text, file->len, report);
	else
		return node_new(arena, NODE_MAP, &nowhere);
	if (tree && node_is_null(tree))
		return node_new(arena, NODE_MAP, &tree->place);
	if (tree && tree->kind != NODE_MAP) {
		config_report_error(report, &tree->place, NULL,
			"expected a mapping with keys such as 'listen' and 'models'");
		return NULL;
	}
	return tree;
}

/* A default that depends on the environment: it goes into the tree, so that it is shown. */
static void choose_state_dir(struct config *config, const struct config_decoder *decoder)
{
	static const struct config_place place = { CONFIG_FROM_DEFAULT, NULL, 0, 0 };
	const char *given = env_find(decoder->env, "STATE_DIRECTORY");
	const char *xdg = env_find(decoder->env, "XDG_STATE_HOME");
	const char *home = env_find(decoder->env, "HOME");
	const char *path = "/var/lib/vllmgw";
	struct node *node;

	if (config->state_dir)
		return;
	if (given && *given)
		path = config_arena_strndup(decoder->arena, given, strcspn(given, ":"));
	else if (xdg && *xdg == '/')
		path = config_arena_printf(decoder->arena, "%s/vllmgw", xdg);
	else if (home && *home == '/' && geteuid() != 0)
		path = config_arena_printf(decoder->arena, "%s/.local/state/vllmgw", home);
	node = path ? node_new(decoder->arena, NODE_SCALAR, &place) : NULL;
	if (!node)
		return;
	node->is_literal = true;
	node->text = path;
	config->state_dir = path;
	(void)node_put_path(decoder->arena, config->tree, "state_dir", node);
}

static void collect_secrets(struct config *config, const struct config_decoder *decoder)
{
	const char **items;
	size_t count = 0;

	for (const struct config_secret *secret = decoder->secrets; secret; secret = secret->next)
		count++;
	items = config_arena_calloc(decoder->arena, count + 1, sizeof(*items));
	if (!items)
		return;
	config->secrets = (struct config_strings){ items, count };
	for (const struct config_secret *secret = decoder->secrets; secret; secret = secret->next)
		*items++ = secret->text;
}

static void build(struct config *config, const struct config_source *source, const struct file *file,
	struct config_report *report)
{
	struct env env = { get_environment(source->environment), NULL };
	struct config_decoder decoder = { .arena = config->arena, .report = report, .env = &env };

	config->tree = make_tree(source, config->path, file, config->arena, report);
	if (!config->tree)
		return;
	config->is_blank = config->path && !config->tree->first;
	compat_env_apply(&env, config->arena, config->tree, report);
	env_override(&env, config->arena, config->tree, report);
	compat_imply(config->arena, config->tree);
	config_decode_keys(&decoder, &config_server_keys, config->tree, "", 0, config);
	if (config->arena->is_exhausted)
		return;
	choose_state_dir(config, &decoder);
	collect_secrets(config, &decoder);
	config_check(&decoder, config);
	env_warn_of_unknown(&env, report);
	if (file->is_read)
		check_file(file, config->path, &decoder);
}

static struct config *config_new(const struct config_source *source)
{
	struct config_arena *arena =
		config_arena_new(source->memory_bytes ? source->memory_bytes : DEFAULT_MEMORY_BYTES);
	struct config *config = arena ? config_arena_alloc(arena, sizeof(*config)) : NULL;

	if (!config) {
		config_arena_free(arena);
		return NULL;
	}
	config->arena = arena;
	if (source->path || source->text)
		config->path = config_arena_strdup(arena, source->path ? source->path : "configuration");
	return config;
}

int config_load(struct config **out, const struct config_source *source, struct config_report *report)
{
	struct config *config = config_new(source);
	struct file file = { .text = NULL };

	*out = NULL;
	config_report_init(report);
	if (config && (source->text || !source->path || read_file(&file, source->path, report)))
		build(config, source, &file, report);
	free(file.text);
	if (!config || config->arena->is_exhausted) {
		config_report_init(report);
		config_report_error(report, NULL, NULL, "out of memory while reading the configuration");
	}
	config_report_sort(report);
	if (report->errors.total) {
		config_free(config);
		return -1;
	}
	*out = config;
	return 0;
}

void config_free(struct config *config)
{
	if (config)
		config_arena_free(config->arena);
}

const struct config_model *config_find_model(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->models.count; i++) {
		if (strcmp(config->models.items[i].name, name) == 0)
			return &config->models.items[i];
	}
	return NULL;
}
