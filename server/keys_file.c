/* SPDX-License-Identifier: Apache-2.0 */
/* The text is cut in place. A part without an option's name belongs to the value before it, because models are called
 * "llama3:8b". */
#include "keys_file.h"

#include "config_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 64 * 1024 * 1024, OPTION_COUNT = 7 };

static const char *const options[OPTION_COUNT] = { "models", "rpm", "tpm", "concurrency", "priority", "may_swap",
	"admin" };

enum option { MODELS, RPM, TPM, CONCURRENCY, PRIORITY, MAY_SWAP, ADMIN };

/* --- values --------------------------------------------------------------------------------------------------- */

static int find_option(const char *part)
{
	const char *equals = strchr(part, '=');

	for (int i = 0; equals && i < OPTION_COUNT; i++) {
		if (strlen(options[i]) == (size_t)(equals - part) && strncmp(part, options[i], strlen(options[i])) == 0)
			return i;
	}
	return -1;
}

static const char *read_number(const char *value, int64_t *out)
{
	if (!*value || strlen(value) > 9 || strspn(value, "0123456789") != strlen(value))
		return "is not a whole number up to 100000000";
	*out = strtoll(value, NULL, 10);
	return *out > CONFIG_MAX_LIMIT ? "is not a whole number up to 100000000" : NULL;
}

static const char *read_flag(const char *value, bool *out)
{
	*out = strcmp(value, "true") == 0;
	return *out || strcmp(value, "false") == 0 ? NULL : "is neither true nor false";
}

static const char *read_priority(const char *value, enum config_priority *out)
{
#define XX(name, text)                                \
	if (strcmp(value, text) == 0) {               \
		*out = CONFIG_PRIORITY_##name;        \
		return NULL;                          \
	}
	CONFIG_PRIORITIES(XX)
#undef XX
	return "is not normal, batch or interactive";
}

static const char *read_models(struct keys_file *file, char *value, struct config_auth_key *key, size_t *used)
{
	char *rest = value;
	char *name;

	key->models.items = file->models + *used;
	key->models.count = 0;
	while ((name = strsep(&rest, ",")) != NULL) {
		const char *star = strchr(name, '*');

		if (!*name || (star && star[1]))
			return "has an empty name, or a * that is not last";
		file->models[(*used)++] = name;
		key->models.count++;
	}
	return NULL;
}

static const char *read_option(struct keys_file *file, struct config_auth_key *key, enum option option, char *value,
	size_t *used)
{
	switch (option) {
	case MODELS:
		return read_models(file, value, key, used);
	case RPM:
		return read_number(value, &key->rpm);
	case TPM:
		return read_number(value, &key->tpm);
	case CONCURRENCY:
		return read_number(value, &key->concurrency);
	case PRIORITY:
		return read_priority(value, &key->priority);
	case MAY_SWAP:
		return read_flag(value, &key->may_swap);
	default:
		return read_flag(value, &key->is_admin);
	}
}

/* --- lines ---------------------------------------------------------------------------------------------------- */

/* The end of an option's value: before the next part that names one. */
static char *find_value_end(char *value)
{
	char *colon;

	for (colon = strchr(value, ':'); colon; colon = strchr(colon + 1, ':')) {
		if (find_option(colon + 1) >= 0)
			return colon;
	}
	return value + strlen(value);
}

static const char *read_options(struct keys_file *file, struct config_auth_key *key, char *part, const char **where,
	size_t *used)
{
	unsigned given = 0;

	while (*part) {
		int option = find_option(part);
		char *value, *end;
		const char *problem;
		bool is_last;

		*where = option < 0 ? "an option" : options[option];
		if (option < 0)
			return "is unknown; there are models, rpm, tpm, concurrency, priority, may_swap, admin";
		if (given & 1u << option)
			return "is given twice";
		given |= 1u << option;
		value = strchr(part, '=') + 1;
		end = find_value_end(value);
		is_last = *end == '\0';
		*end = '\0';
		problem = read_option(file, key, (enum option)option, value, used);
		if (problem)
			return problem;
		part = is_last ? end : end + 1;
	}
	return NULL;
}

static const char *read_line(struct keys_file *file, char *line, const char **where, size_t *used)
{
	struct config_auth_key *key = &file->items[file->count];
	char *rest = line;

	*key = (struct config_auth_key){ .may_swap = true };
	key->name = strsep(&rest, ":");
	key->sha256 = strsep(&rest, ":");
	*where = "the name";
	if (!*key->name || strlen(key->name) > 64 || strpbrk(key->name, " \t\"\\"))
		return "must have 1 to 64 bytes, and no space, quote or backslash";
	*where = "the digest";
	if (!key->sha256 || strlen(key->sha256) != 64 || strspn(key->sha256, "0123456789abcdefABCDEF") != 64)
		return "must be 64 hexadecimal digits (printf %s KEY | sha256sum)";
	file->count++;
	return rest ? read_options(file, key, rest, where, used) : NULL;
}

static size_t count_bytes(const char *text, char byte)
{
	size_t count = 1;

	for (; *text; text++)
		count += *text == byte;
	return count;
}

int keys_file_parse(struct keys_file *file, const char *path, const char *text, size_t len, char *why, size_t size)
{
	char *rest, *line;
	size_t used = 0;
	unsigned number = 0;

	*file = (struct keys_file){ .text = strndup(text, len) };
	if (file->text && strlen(file->text) == len) {
		file->items = calloc(count_bytes(file->text, '\n'), sizeof(*file->items));
		file->models = calloc(count_bytes(file->text, '\n') + count_bytes(file->text, ','), sizeof(*file->models));
	}
	if (!file->items || !file->models) {
		(void)snprintf(why, size, "%s: %s", path, file->text && strlen(file->text) != len
			? "there is a NUL byte in it" : "out of memory");
		keys_file_free(file);
		return -1;
	}
	rest = file->text;
	while ((line = strsep(&rest, "\n")) != NULL) {
		size_t end = strlen(line);
		const char *where = "", *problem;

		number++;
		while (end && strchr(" \t\r", line[end - 1]))
			line[--end] = '\0';
		if (!*line || *line == '#')
			continue;
		problem = read_line(file, line, &where, &used);
		if (problem) {
			(void)snprintf(why, size, "%s:%u: %s %s", path, number, where, problem);
			keys_file_free(file);
			return -1;
		}
	}
	return 0;
}

void keys_file_free(struct keys_file *file)
{
	free(file->text);
	free(file->items);
	free(file->models);
	*file = (struct keys_file){ 0 };
}

/* --- the file ------------------------------------------------------------------------------------------------- */

static char *read_all(int fd, size_t *len)
{
	struct stat info;
	char *text;
	ssize_t got = 1;

	*len = 0;
	if (fstat(fd, &info) != 0)
		return NULL;
	if (!S_ISREG(info.st_mode)) { /* it is read again and again: a pipe would be empty, or keep us waiting */
		errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
		return NULL;
	}
	if (info.st_size > FILE_MAX_BYTES) {
		errno = EFBIG;
		return NULL;
	}
	text = malloc((size_t)info.st_size + 1);
	while (text && got > 0 && *len < (size_t)info.st_size) {
		got = read(fd, text + *len, (size_t)info.st_size - *len);
		*len += got > 0 ? (size_t)got : 0;
	}
	if (got >= 0)
		return text;
	free(text);
	return NULL;
}

int keys_file_read(struct keys_file *file, const char *path, char *why, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len;
	char *text = fd < 0 ? NULL : read_all(fd, &len);
	int failure = errno, result;

	*file = (struct keys_file){ 0 };
	if (fd >= 0)
		(void)close(fd);
	if (!text) {
		(void)snprintf(why, size, "%s: cannot be read: %s", path,
			failure == EINVAL ? "it is no regular file" : strerror(failure));
		return -1;
	}
	result = keys_file_parse(file, path, text, len, why, size);
	free(text);
	return result;
}
