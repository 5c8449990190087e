/* SPDX-License-Identifier: Apache-2.0 */
/* Redaction by value: wherever the engine prints the key it was given, we know it. */
#include "backend/redact.h"

#include "util/text.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Shorter values ("1", "true") are no secrets, and taking them out would shred every line. */
enum { SECRET_MIN = 6 };

static const char mark[] = "[redacted]";

static bool name_says_secret(const char *name, size_t len)
{
	static const char *const words[] = { "TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL" };

	for (size_t i = 0; i < len; i++) {
		if (len - i >= 7 && strncasecmp(name + i, "TOKENIZ", 7) == 0) {
			i += 6; /* TOKENIZERS_PARALLELISM is none */
			continue;
		}
		for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
			if (len - i >= strlen(words[w]) && strncasecmp(name + i, words[w], strlen(words[w])) == 0)
				return true;
	}
	return false;
}

/* --api-key=V: the value in it; --api-key V: the value in *next. NULL: no secret. */
static const char *find_secret(const char *argument, const char *next)
{
	static const char *const options[] = { "--api-key", "--hf-token", "--token", "--password" };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t len = strlen(options[i]);

		if (strncmp(argument, options[i], len) != 0)
			continue;
		if (argument[len] == '=')
			return argument + len + 1;
		if (argument[len] == '\0')
			return next;
	}
	return NULL;
}

static bool add(struct vgw__strings *secrets, const char *value)
{
	return strlen(value) < SECRET_MIN || vgw__strings_add(secrets, value);
}

bool vgw__redact_collect(struct vgw__strings *secrets, const struct vgw__strings *argv,
	const struct vgw__strings *env)
{
	for (size_t i = 0; i < argv->count; i++) {
		const char *value = find_secret(argv->items[i], argv->items[i + 1]);

		if (value && !add(secrets, value))
			return false;
	}
	for (size_t i = 0; i < env->count; i++) {
		const char *equals = strchr(env->items[i], '=');

		if (equals && name_says_secret(env->items[i], (size_t)(equals - env->items[i])) &&
			!add(secrets, equals + 1))
			return false;
	}
	return true;
}

bool vgw__redact_has_secret_argument(const struct vgw__strings *argv)
{
	for (size_t i = 0; i < argv->count; i++)
		if (find_secret(argv->items[i], argv->items[i + 1]))
			return true;
	return false;
}

/* The length of the secret that begins at `text`, 0: none. The longest, when one begins another. */
static size_t match_secret(const char *text, size_t len, const struct vgw__strings *secrets)
{
	size_t longest = 0;

	for (size_t i = 0; i < secrets->count; i++) {
		size_t secret = strlen(secrets->items[i]);

		if (secret > longest && secret <= len && memcmp(text, secrets->items[i], secret) == 0)
			longest = secret;
	}
	return longest;
}

/* The end of a terminal's escape sequence ("\x1b[31m") at `text`, so that colours vanish instead of littering. */
static size_t measure_escape(const char *text, size_t len)
{
	size_t i = 2;

	if (len < 2 || text[0] != '\x1b' || text[1] != '[')
		return 0;
	while (i < len && ((text[i] >= '0' && text[i] <= '9') || text[i] == ';'))
		i++;
	return i < len ? i + 1 : i;
}

void vgw__redact_line(char *out, size_t size, const char *line, size_t len, const struct vgw__strings *secrets)
{
	size_t at = 0, used = 0;

	while (at < len) {
		size_t secret = match_secret(line + at, len - at, secrets);
		size_t escape = secret ? 0 : measure_escape(line + at, len - at);
		size_t character = secret || escape ? 0 : vgw__text_measure(line + at, len - at);
		const char *put = secret ? mark : character ? line + at : line[at] == '\t' ? " " : "?";
		size_t put_len = secret ? sizeof(mark) - 1 : escape ? 0 : character ? character : 1;

		if (used + put_len + 1 > size)
			break;
		memcpy(out + used, put, put_len);
		used += put_len;
		at += secret ? secret : escape ? escape : character ? character : 1;
	}
	out[used] = '\0';
}
