/* SPDX-License-Identifier: Apache-2.0 */
/* Keys files: a line each, name:sha256hex[:option=value...]. Options are those of `auth.keys`; the names of models are
 * separated by commas and may have colons. Blank lines and lines that begin with # say nothing. */
#ifndef VGW_SERVER_KEYS_FILE_H
#define VGW_SERVER_KEYS_FILE_H

#include "config.h"

struct keys_file {
	char *text;       /* what the keys point into */
	struct config_auth_key *items;
	const char **models; /* what all lists of models point into */
	size_t count;
};

/* 0, or -1 with a sentence that names the line. */
int keys_file_read(struct keys_file *file, const char *path, char *why, size_t size);
/* The same of text in memory, which is copied; `path` is for the sentence. */
int keys_file_parse(struct keys_file *file, const char *path, const char *text, size_t len, char *why, size_t size);
void keys_file_free(struct keys_file *file); /* also of a zeroed one */

#endif
