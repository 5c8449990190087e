/* SPDX-License-Identifier: Apache-2.0 */
/* One thread for each server that members were made for. It looks into the server's list now and then, and tells the
 * residency where that differs from what it believes: a model that somebody unloaded (or that the server put out for
 * want of room), one that somebody loaded, all of them when the server is gone.
 *
 * The mutex guards the members. A list that was asked for before an operation began says nothing of its end, so each
 * member counts its operations, and only a list of the same count is believed. Reports are made under the mutex, so
 * that a member that has left is not reported any more; they only post. */
#include "backend/http.h"

#include "backend/host.h"
#include "util/alloc.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { LIST_MS = 5000, FAILURES = 2, REASON_SIZE = 200 };

struct vgw__http_server {
	struct vgw__list link;   /* among the kind's; guarded by the kind's mutex, as refs */
	size_t refs;
	char *key;
	struct vgw__http_kind *kind;
	int stop_fd;             /* readable: the thread's call is to be given up */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct vgw__list members; /* guarded by mutex, as all from here */
	bool is_stopping;
	int failures;             /* lists in a row that could not be had */
};

/* --- one look --- */

static void report(struct vgw__http *http, enum vgw__http_state state)
{
	char reason[REASON_SIZE];
	bool is_up = state == VGW__HTTP_LOADED;

	if (http->is_up == is_up || state == VGW__HTTP_LOADING)
		return;
	http->is_up = is_up;
	(void)snprintf(reason, sizeof(reason), "%s %s it", http->config.url, is_up ? "has loaded" : "has unloaded");
	if (!is_up) {
		vgw_host_report_absence(http->host, reason);
	} else if (http->has_endpoint || vgw_host_set_endpoint(http->host, http->config.url, NULL) == VGW_OK) {
		http->has_endpoint = true;
		vgw_host_report_presence(http->host, reason);
	}
}

static void report_gone(struct vgw__http *http, const char *why)
{
	char reason[REASON_SIZE];

	if (!http->is_up)
		return;
	http->is_up = false;
	(void)snprintf(reason, sizeof(reason), "the server does not answer: %.150s", why);
	vgw_host_report_death(http->host, reason);
}

static void compare_locked(struct vgw__http_server *server, const json_t *list, const char *why)
{
	server->failures = list ? 0 : server->failures + 1;
	VGW__LIST_EACH(it, &server->members) {
		struct vgw__http *http = VGW__CONTAINER(it, struct vgw__http, link);

		if (http->is_busy || http->epoch != http->seen_epoch)
			continue;
		if (list)
			report(http, vgw__http_find(&http->config, list, NULL));
		else if (server->failures >= FAILURES)
			report_gone(http, why);
	}
}

/* Returns with the mutex held, as it is called. The first member's words stand for all: they are part of the key. */
static void look_locked(struct vgw__http_server *server)
{
	struct vgw__http *first = VGW__CONTAINER(vgw__list_first(&server->members), struct vgw__http, link);
	struct vgw__endpoint *endpoint = vgw__endpoint_ref(first->endpoint);
	struct vgw__http_config config = {
		.list_path = vgw__strdup(first->config.list_path),
		.api_key = first->config.api_key ? vgw__strdup(first->config.api_key) : NULL,
	};
	vgw_error why = VGW_ERROR_INIT;
	json_t *list = NULL;

	VGW__LIST_EACH(it, &server->members) {
		struct vgw__http *http = VGW__CONTAINER(it, struct vgw__http, link);

		http->seen_epoch = http->epoch;
	}
	(void)pthread_mutex_unlock(&server->mutex);
	if (config.list_path)
		(void)vgw__http_fetch(&config, endpoint, vgw_now_ms() + LIST_MS, server->stop_fd, &list, &why);
	(void)pthread_mutex_lock(&server->mutex);
	if (!server->is_stopping && config.list_path)
		compare_locked(server, list, why.text);
	json_decref(list);
	vgw__http_config_fini(&config);
	vgw__endpoint_unref(endpoint);
}

/* --- the thread --- */

static int64_t interval_locked(const struct vgw__http_server *server)
{
	int64_t ms = INT64_MAX;

	VGW__LIST_EACH(it, &server->members) {
		const struct vgw__http *http = VGW__CONTAINER(it, struct vgw__http, link);

		ms = http->config.reconcile_ms < ms ? http->config.reconcile_ms : ms;
	}
	return ms;
}

static void wait_locked(struct vgw__http_server *server, int64_t ms)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (!server->is_stopping &&
		pthread_cond_timedwait(&server->changed, &server->mutex, &until) != ETIMEDOUT)
		continue;
}

static void *run(void *user)
{
	struct vgw__http_server *server = user;

	(void)pthread_mutex_lock(&server->mutex);
	while (!server->is_stopping) {
		wait_locked(server, interval_locked(server));
		if (!server->is_stopping && vgw__list_first(&server->members))
			look_locked(server);
	}
	(void)pthread_mutex_unlock(&server->mutex);
	return NULL;
}

/* Signals are the host program's business. */
static int start_thread(struct vgw__http_server *server)
{
	sigset_t all, before;
	int failure;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &before);
	failure = pthread_create(&server->thread, NULL, run, server);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failure;
}

/* --- servers --- */

static void free_server(struct vgw__http_server *server)
{
	if (server->stop_fd >= 0)
		(void)close(server->stop_fd);
	(void)pthread_cond_destroy(&server->changed);
	(void)pthread_mutex_destroy(&server->mutex);
	vgw__free(server->key);
	vgw__free(server);
}

static bool init_locks(struct vgw__http_server *server)
{
	pthread_condattr_t monotonic;
	bool is_done;

	if (pthread_condattr_init(&monotonic) != 0)
		return false;
	is_done = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
		pthread_cond_init(&server->changed, &monotonic) == 0;
	(void)pthread_condattr_destroy(&monotonic);
	return is_done && pthread_mutex_init(&server->mutex, NULL) == 0;
}

static struct vgw__http_server *new_server(struct vgw__http *http, char *key)
{
	struct vgw__http_server *server = vgw__alloc(sizeof(*server));

	if (!server || !init_locks(server)) {
		vgw__free(server);
		vgw__free(key);
		return NULL;
	}
	server->key = key;
	server->kind = http->kind;
	server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vgw__list_init(&server->members);
	vgw__list_append(&server->members, &http->link);
	if (server->stop_fd < 0 || start_thread(server) != 0) {
		vgw__list_remove(&http->link);
		free_server(server);
		return NULL;
	}
	return server;
}

/* Two members share a thread when one list answers for both. */
static char *make_key(const struct vgw__http_config *config)
{
	return vgw__printf("%s %s %s", config->url, config->list_path, config->api_key ? config->api_key : "");
}

vgw_status vgw__http_join(struct vgw__http *http, vgw_error *err)
{
	struct vgw__http_kind *kind = http->kind;
	char *key;

	if (http->server)
		return VGW_OK;
	key = make_key(&http->config);
	if (!key)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its server", http->config.model);
	(void)pthread_mutex_lock(&kind->mutex);
	VGW__LIST_EACH(it, &kind->servers) {
		struct vgw__http_server *server = VGW__CONTAINER(it, struct vgw__http_server, link);

		if (strcmp(server->key, key) == 0)
			http->server = server;
	}
	if (http->server) {
		vgw__free(key);
		(void)pthread_mutex_lock(&http->server->mutex);
		vgw__list_append(&http->server->members, &http->link);
		(void)pthread_mutex_unlock(&http->server->mutex);
	} else {
		http->server = new_server(http, key);
		if (http->server)
			vgw__list_append(&kind->servers, &http->server->link);
	}
	if (http->server)
		http->server->refs++;
	(void)pthread_mutex_unlock(&kind->mutex);
	if (!http->server)
		return vgw_error_set(err, VGW_INTERNAL, 0, "model '%.60s': cannot start the thread that watches %.80s",
			http->config.model, http->config.url);
	return VGW_OK;
}

void vgw__http_leave(struct vgw__http *http)
{
	struct vgw__http_server *server = http->server;
	const uint64_t one = 1;
	bool is_last;

	if (!server)
		return;
	http->server = NULL;
	(void)pthread_mutex_lock(&server->kind->mutex);
	is_last = --server->refs == 0;
	if (is_last)
		vgw__list_remove(&server->link);
	(void)pthread_mutex_lock(&server->mutex);
	vgw__list_remove(&http->link);
	server->is_stopping = is_last;
	(void)pthread_cond_broadcast(&server->changed);
	(void)pthread_mutex_unlock(&server->mutex);
	(void)pthread_mutex_unlock(&server->kind->mutex);
	if (!is_last)
		return;
	(void)!write(server->stop_fd, &one, sizeof(one));
	(void)pthread_join(server->thread, NULL);
	free_server(server);
}

void vgw__http_begin(struct vgw__http *http)
{
	(void)pthread_mutex_lock(&http->server->mutex);
	http->is_busy = true;
	http->epoch++;
	(void)pthread_mutex_unlock(&http->server->mutex);
}

void vgw__http_end(struct vgw__http *http, bool is_up)
{
	(void)pthread_mutex_lock(&http->server->mutex);
	http->is_busy = false;
	http->is_up = is_up;
	http->epoch++;
	(void)pthread_mutex_unlock(&http->server->mutex);
}
