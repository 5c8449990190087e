/* SPDX-License-Identifier: Apache-2.0 */
/* poll() over the descriptors of a handful of engines and an eventfd that says that the list has changed. The mutex
 * guards the list; callbacks run without it, `running` names the item whose callback runs, and remove() waits for
 * that. The thread blocks all signals: they are the host program's business. */
#include "backend/watcher.h"

#include "util/alloc.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TICK_MS = 500 };

struct vgw__watcher {
	int wake_fd; /* const after new */
	pthread_mutex_t mutex;
	pthread_cond_t is_idle; /* `running` became NULL */
	pthread_t thread;
	struct vgw__list items; /* from here guarded by mutex */
	size_t count;
	struct vgw__watched *running;
	bool has_thread;
	bool is_stopping;
	struct pollfd *fds; /* the thread's own; item i of the list is fds[i + 1] */
	size_t fd_capacity;
};

static void wake(struct vgw__watcher *watcher)
{
	const uint64_t one = 1;

	(void)!write(watcher->wake_fd, &one, sizeof(one));
}

/* Room for the descriptors is made when an item is added, so that the thread never lacks memory. */
static size_t collect_locked(struct vgw__watcher *watcher)
{
	size_t n = 0;

	watcher->fds[n++] = (struct pollfd){ .fd = watcher->wake_fd, .events = POLLIN };
	VGW__LIST_EACH(it, &watcher->items) {
		const struct vgw__watched *watched = VGW__CONTAINER(it, struct vgw__watched, link);

		if (!watched->is_ready)
			watcher->fds[n++] = (struct pollfd){ .fd = watched->fd, .events = POLLIN };
	}
	return n;
}

static void mark_ready_locked(struct vgw__watcher *watcher, const struct pollfd *fds, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		VGW__LIST_EACH(it, &watcher->items) {
			struct vgw__watched *watched = VGW__CONTAINER(it, struct vgw__watched, link);

			if (fds[i].revents != 0 && watched->fd == fds[i].fd && !watched->is_ready) {
				struct pollfd again = { .fd = watched->fd, .events = POLLIN };

				/* The number may mean another descriptor by now. */
				watched->is_ready = poll(&again, 1, 0) == 1;
			}
		}
	}
}

static void run_unlocked(struct vgw__watcher *watcher, struct vgw__watched *watched,
	void (*fn)(struct vgw__watched *watched))
{
	watcher->running = watched;
	(void)pthread_mutex_unlock(&watcher->mutex);
	fn(watched);
	(void)pthread_mutex_lock(&watcher->mutex);
	watcher->running = NULL;
	(void)pthread_cond_broadcast(&watcher->is_idle);
}

/* Items move to the end as they are served, so that a list that changes meanwhile is still walked once. */
static void serve_locked(struct vgw__watcher *watcher, bool is_tick)
{
	for (size_t left = watcher->count; left > 0 && !vgw__list_is_empty(&watcher->items); left--) {
		struct vgw__list *link = vgw__list_first(&watcher->items);
		struct vgw__watched *watched = VGW__CONTAINER(link, struct vgw__watched, link);

		vgw__list_remove(link);
		vgw__list_append(&watcher->items, link);
		if (watched->is_ready && watched->on_ready) {
			void (*fn)(struct vgw__watched *) = watched->on_ready;

			watched->is_ready = !watched->is_repeated;
			watched->on_ready = watched->is_repeated ? fn : NULL;
			run_unlocked(watcher, watched, fn);
		} else if (is_tick && watched->on_tick && !watched->is_ready) {
			run_unlocked(watcher, watched, watched->on_tick);
		}
	}
}

static void *watch(void *user)
{
	struct vgw__watcher *watcher = user;
	int64_t next_tick_ms = vgw_now_ms() + TICK_MS;
	uint64_t count;

	(void)pthread_mutex_lock(&watcher->mutex);
	while (!watcher->is_stopping) {
		size_t n = collect_locked(watcher);
		struct pollfd *fds = watcher->fds;
		int64_t left_ms = next_tick_ms - vgw_now_ms();
		bool is_tick;

		/* The array is replaced only by add(), which wakes us and leaves the old one to us. */
		watcher->fds = NULL;
		(void)pthread_mutex_unlock(&watcher->mutex);
		(void)poll(fds, n, n == 1 ? -1 : left_ms > 0 ? (int)left_ms : 0);
		(void)!read(watcher->wake_fd, &count, sizeof(count));
		(void)pthread_mutex_lock(&watcher->mutex);
		mark_ready_locked(watcher, fds, n);
		if (watcher->fds)
			vgw__free(fds);
		else
			watcher->fds = fds;
		is_tick = vgw_now_ms() >= next_tick_ms;
		if (is_tick)
			next_tick_ms = vgw_now_ms() + TICK_MS;
		serve_locked(watcher, is_tick);
	}
	(void)pthread_mutex_unlock(&watcher->mutex);
	return NULL;
}

vgw_status vgw__watcher_new(struct vgw__watcher **out, vgw_error *err)
{
	struct vgw__watcher *watcher;

	*out = NULL;
	watcher = vgw__alloc(sizeof(*watcher));
	if (!watcher)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch engines");
	vgw__list_init(&watcher->items);
	watcher->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watcher->wake_fd < 0) {
		int error = errno;

		vgw__free(watcher);
		return vgw_error_set(err, VGW_INTERNAL, error, "cannot make an eventfd: %s", strerror(error));
	}
	(void)pthread_mutex_init(&watcher->mutex, NULL);
	(void)pthread_cond_init(&watcher->is_idle, NULL);
	*out = watcher;
	return VGW_OK;
}

void vgw__watcher_free(struct vgw__watcher *watcher)
{
	if (!watcher)
		return;
	(void)pthread_mutex_lock(&watcher->mutex);
	watcher->is_stopping = true;
	(void)pthread_mutex_unlock(&watcher->mutex);
	wake(watcher);
	if (watcher->has_thread)
		(void)pthread_join(watcher->thread, NULL);
	(void)pthread_cond_destroy(&watcher->is_idle);
	(void)pthread_mutex_destroy(&watcher->mutex);
	(void)close(watcher->wake_fd);
	vgw__free(watcher->fds);
	vgw__free(watcher);
}

static int start_thread_locked(struct vgw__watcher *watcher)
{
	sigset_t all, before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&watcher->thread, NULL, watch, watcher);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	watcher->has_thread = rc == 0;
	return rc;
}

/* The thread owns its array while it waits (watcher->fds is NULL then); a larger one is laid beside it. */
static bool make_room_locked(struct vgw__watcher *watcher)
{
	size_t need = watcher->count + 2;
	struct pollfd *fds;

	if (need <= watcher->fd_capacity)
		return true;
	fds = vgw__calloc(need * 2, sizeof(*fds));
	if (!fds)
		return false;
	vgw__free(watcher->fds);
	watcher->fds = fds;
	watcher->fd_capacity = need * 2;
	return true;
}

vgw_status vgw__watcher_add(struct vgw__watcher *watcher, struct vgw__watched *watched, int fd, vgw_error *err)
{
	vgw_status status = VGW_OK;
	int rc = 0;

	(void)pthread_mutex_lock(&watcher->mutex);
	watched->fd = fd;
	watched->is_ready = false;
	if (!make_room_locked(watcher))
		status = vgw_error_set(err, VGW_NOMEM, 0, "no memory to watch an engine");
	if (status == VGW_OK && !watcher->has_thread)
		rc = start_thread_locked(watcher);
	if (rc != 0)
		status = vgw_error_set(err, VGW_INTERNAL, rc, "cannot start the thread that watches engines: %s",
			strerror(rc));
	if (status == VGW_OK) {
		vgw__list_append(&watcher->items, &watched->link);
		watched->is_added = true;
		watcher->count++;
	}
	(void)pthread_mutex_unlock(&watcher->mutex);
	wake(watcher);
	return status;
}

void vgw__watcher_remove(struct vgw__watcher *watcher, struct vgw__watched *watched)
{
	(void)pthread_mutex_lock(&watcher->mutex);
	if (watched->is_added) {
		vgw__list_remove(&watched->link);
		watched->is_added = false;
		watcher->count--;
	}
	while (watcher->running == watched)
		(void)pthread_cond_wait(&watcher->is_idle, &watcher->mutex);
	(void)pthread_mutex_unlock(&watcher->mutex);
	wake(watcher);
}
