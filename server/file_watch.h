/* SPDX-License-Identifier: Apache-2.0 */
/* Has a file changed? Looked at several times a second; one that is just being written is left alone until it looks
 * the same twice. */
#ifndef VGW_SERVER_FILE_WATCH_H
#define VGW_SERVER_FILE_WATCH_H

#include <stdbool.h>
#include <sys/stat.h>

struct file_watch {
	struct stat read; /* the file as it was read last */
	struct stat seen; /* and as it was seen at the last look */
};

/* All zero for a file that is not there. Look before reading: what is written in between shows at the next look. */
void file_watch_look(const char *path, struct stat *info);
void file_watch_reset(struct file_watch *watch, const struct stat *info);
/* True once for each change. */
bool file_watch_has_changed(struct file_watch *watch, const char *path);

#endif
