/* SPDX-License-Identifier: Apache-2.0 */
/* What the instances of kind "docker" share. */
#include "backend/docker.h"

#include "backend/builtin.h"
#include "util/alloc.h"
#include "util/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- daemons --- */

static struct vgw__docker_daemon *find_locked(struct vgw__docker_kind *kind, const char *name)
{
	VGW__LIST_EACH(it, &kind->daemons) {
		struct vgw__docker_daemon *daemon = VGW__CONTAINER(it, struct vgw__docker_daemon, link);

		if (strcmp(daemon->client.name, name) == 0)
			return daemon;
	}
	return NULL;
}

vgw_status vgw__docker_find_daemon(struct vgw__docker_kind *kind, const char *where, const vgw_logger *logger,
	struct vgw__docker_daemon **out, vgw_error *err)
{
	struct vgw__docker_daemon *daemon = vgw__alloc(sizeof(*daemon));
	struct vgw__docker_daemon *known;
	vgw_status status;

	*out = NULL;
	if (!daemon)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for a Docker Engine");
	status = vgw__docker_client_init(&daemon->client, where, err);
	if (status == VGW_OK)
		status = vgw__docker_events_new(&daemon->events, &daemon->client, logger, err);
	(void)pthread_mutex_lock(&kind->mutex);
	known = status == VGW_OK ? find_locked(kind, daemon->client.name) : NULL;
	if (status == VGW_OK && !known)
		vgw__list_append(&kind->daemons, &daemon->link);
	(void)pthread_mutex_unlock(&kind->mutex);
	*out = known ? known : status == VGW_OK ? daemon : NULL;
	if (*out == daemon)
		return VGW_OK;
	vgw__docker_events_free(daemon->events);
	vgw__docker_client_fini(&daemon->client);
	vgw__free(daemon);
	return status;
}

/* --- who we are --- */

static bool is_instance(const char *text)
{
	return strlen(text) == VGW__NONCE_SIZE - 1 && strspn(text, "0123456789abcdef") == VGW__NONCE_SIZE - 1;
}

static bool read_instance(const char *path, char out[VGW__NONCE_SIZE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t len;

	if (fd < 0)
		return false;
	len = read(fd, out, VGW__NONCE_SIZE - 1);
	(void)close(fd);
	out[len > 0 ? len : 0] = '\0';
	return is_instance(out);
}

/* Written aside and linked: of two that come at a time, one wins, and nobody reads half of it. */
static bool write_instance(const char *path, const char *instance)
{
	char aside[600];
	bool is_written;
	int fd;

	(void)snprintf(aside, sizeof(aside), "%s.%d", path, (int)getpid());
	fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	is_written = write(fd, instance, strlen(instance)) == (ssize_t)strlen(instance) && fsync(fd) == 0;
	is_written = close(fd) == 0 && is_written;
	is_written = is_written && (link(aside, path) == 0 || errno == EEXIST);
	(void)unlink(aside);
	return is_written;
}

vgw_status vgw__docker_get_instance(struct vgw__docker_kind *kind, const char *state_dir,
	char out[VGW__NONCE_SIZE], vgw_error *err)
{
	vgw_status status = VGW_OK;
	char path[512] = "";

	(void)pthread_mutex_lock(&kind->mutex);
	if (kind->instance[0] == '\0') {
		if (state_dir)
			(void)snprintf(path, sizeof(path), "%s/docker-instance", state_dir);
		if (!path[0] || !read_instance(path, kind->instance)) {
			if (!vgw__random_hex(kind->instance, sizeof(kind->instance)))
				status = vgw_error_set(err, VGW_INTERNAL, errno,
					"the system gives no random numbers");
			/* a folder that cannot be written is no reason not to serve: adoption goes by other marks */
			if (status == VGW_OK && path[0] && write_instance(path, kind->instance))
				(void)read_instance(path, kind->instance);
		}
	}
	memcpy(out, kind->instance, VGW__NONCE_SIZE);
	(void)pthread_mutex_unlock(&kind->mutex);
	return status;
}

/* --- who holds what --- */

void vgw__docker_hold(struct vgw__docker *docker, const char *container)
{
	(void)pthread_mutex_lock(&docker->kind->mutex);
	(void)snprintf(docker->container, sizeof(docker->container), "%s", container);
	(void)pthread_mutex_unlock(&docker->kind->mutex);
}

bool vgw__docker_is_held(struct vgw__docker_kind *kind, const char *container, char *model, size_t size)
{
	bool is_held = false;

	(void)pthread_mutex_lock(&kind->mutex);
	VGW__LIST_EACH(it, &kind->instances) {
		const struct vgw__docker *docker = VGW__CONTAINER(it, struct vgw__docker, link);

		if (strcmp(docker->container, container) != 0)
			continue;
		is_held = true;
		if (size > 0)
			(void)snprintf(model, size, "%s", docker->config.model);
	}
	(void)pthread_mutex_unlock(&kind->mutex);
	return is_held;
}

/* --- life --- */

vgw_status vgw__docker_kind_new(struct vgw__docker_kind **out, vgw_error *err)
{
	struct vgw__docker_kind *kind;
	vgw_status status;

	*out = NULL;
	kind = vgw__alloc(sizeof(*kind));
	if (!kind)
		return vgw_error_set(err, VGW_NOMEM, 0, "no memory for the kind docker");
	status = vgw__watcher_new(&kind->watcher, err);
	if (status != VGW_OK) {
		vgw__free(kind);
		return status;
	}
	vgw__ports_init(&kind->ports);
	(void)pthread_mutex_init(&kind->mutex, NULL);
	vgw__list_init(&kind->daemons);
	vgw__list_init(&kind->instances);
	*out = kind;
	return VGW_OK;
}

void vgw__docker_kind_free(struct vgw__docker_kind *kind)
{
	struct vgw__list *link;

	if (!kind)
		return;
	while ((link = vgw__list_first(&kind->daemons)) != NULL) {
		struct vgw__docker_daemon *daemon = VGW__CONTAINER(link, struct vgw__docker_daemon, link);

		vgw__list_remove(link);
		vgw__docker_events_free(daemon->events);
		vgw__docker_client_fini(&daemon->client);
		vgw__free(daemon);
	}
	vgw__watcher_free(kind->watcher);
	vgw__ports_fini(&kind->ports);
	(void)pthread_mutex_destroy(&kind->mutex);
	vgw__free(kind);
}
