/* SPDX-License-Identifier: Apache-2.0 */
/* Files by their time, size and inode. */
#include "file_watch.h"

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_size == b->st_size && a->st_ino == b->st_ino;
}

void file_watch_look(const char *path, struct stat *info)
{
	if (stat(path, info) != 0)
		*info = (struct stat){ 0 };
}

void file_watch_reset(struct file_watch *watch, const struct stat *info)
{
	watch->read = *info;
	watch->seen = *info;
}

bool file_watch_has_changed(struct file_watch *watch, const char *path)
{
	struct stat info;
	bool is_settled;

	file_watch_look(path, &info);
	is_settled = is_same(&info, &watch->seen);
	watch->seen = info;
	if (!is_settled || is_same(&info, &watch->read))
		return false;
	watch->read = info;
	return true;
}
