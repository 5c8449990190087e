/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that waits for engines to end, for all instances of a kind. The thread starts with the first item. */
#ifndef VGW_BACKEND_WATCHER_H
#define VGW_BACKEND_WATCHER_H

#include <vllmgw/status.h>

#include "util/list.h"

struct vgw__watcher;

/* Lives inside the watching object; zero it before first use. */
struct vgw__watched {
	void *user;
	void (*on_ready)(struct vgw__watched *watched); /* the descriptor is readable; once, unless... */
	void (*on_tick)(struct vgw__watched *watched);  /* about twice a second; NULL: not wanted */
	bool is_repeated;                               /* ...it is called each time, and empties the descriptor */
	struct vgw__list link;                          /* private from here */
	int fd;
	bool is_added;
	bool is_ready;
};

vgw_status vgw__watcher_new(struct vgw__watcher **out, vgw_error *err);
void vgw__watcher_free(struct vgw__watcher *watcher); /* after the last item was removed; NULL is allowed */

vgw_status vgw__watcher_add(struct vgw__watcher *watcher, struct vgw__watched *watched, int fd, vgw_error *err);
/* When it returns, no callback of the item runs or will run. Not to be called from a callback. Idempotent. */
void vgw__watcher_remove(struct vgw__watcher *watcher, struct vgw__watched *watched);

#endif
