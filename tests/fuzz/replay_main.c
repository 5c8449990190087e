/* SPDX-License-Identifier: Apache-2.0 */
/* Runs every file of the folders (or each file) named on the command line through the fuzz target it is
 * linked with, so that a corpus is a test with any compiler. An empty or missing corpus is a failure. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t replayed;

static bool replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data =
		malloc(size ? size : 1); /* exact, so that a sanitizer sees each byte read behind it */
	bool is_read = file && data && fread(data, 1, size, file) == size;

	if (is_read) {
		(void)LLVMFuzzerTestOneInput(data, size);
		replayed++;
	} else {
		perror(path);
	}
	if (file)
		(void)fclose(file);
	free(data);
	return is_read;
}

static bool replay(const char *path)
{
	struct dirent **entries = NULL;
	struct stat status;
	bool ok = true;
	int count;

	if (stat(path, &status) != 0) {
		perror(path);
		return false;
	}
	if (!S_ISDIR(status.st_mode))
		return replay_file(path, (size_t)status.st_size);
	count = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char child[4096];

		if (entries[i]->d_name[0] != '.') {
			(void)snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
			ok = replay(child) && ok;
		}
		free(entries[i]);
	}
	free(entries);
	return ok && count >= 0;
}

int main(int argc, char **argv)
{
	bool ok = true;

	for (int i = 1; i < argc; i++)
		ok = replay(argv[i]) && ok;
	printf("%zu inputs replayed\n", replayed);
	return ok && replayed ? 0 : 1;
}
