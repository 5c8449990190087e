/* SPDX-License-Identifier: Apache-2.0 */
/* The service: started (start.c), run, and taken apart in the other order.
 *
 *   start ─► READY ─► signals ─► drain ─► stop
 *
 * The main thread only waits for signals. SIGHUP: a new registry is built from the file read again, and
 * published if it is good; listeners and limits stay as they were started. */
#include "service.h"

#include "notify.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { DRAIN_TICK_MS = 50, FRESH_MS = 250 };

/* --- reading the configuration again
 * -------------------------------------------------------------------------- */

/* A file that somebody is about to write, or a disk that was full: whoever wants no models can say so. */
static bool is_emptied(struct service *service, const struct config *config, char *why, size_t size)
{
	const struct config *present = service->newest ? service->newest : service->config;

	if (!config->is_blank || present->is_blank)
		return false;
	(void)snprintf(why, size, "%s is empty: nothing changes; to serve no model, write models: {}", config->path);
	service_say(service, VGW_LOG_ERROR, "%s", why);
	return true;
}

static int reload_locked(struct service *service, char *why, size_t size)
{
	struct config *config = load_config(service->args, why, size);
	int result = -1;

	if (config && !is_emptied(service, config, why, size) && service_stage_keys(service, config, why, size) == 0 &&
		service_stage_tls(service, config, why, size) == 0 &&
		service_publish(service, config, why, size) == 0 &&
		log_sink_set_secrets(service->sink, config->secrets.items, config->secrets.count) == 0) {
		log_sink_set_level(service->sink, config->log.level);
		/* The front still holds texts of the first one: that lives as long as the service. */
		keys_commit(service->keys);
		tls_commit(service->tls);
		config_free(service->newest);
		service->newest = config;
		service_say(service, VGW_LOG_INFO,
			"configuration read again: %zu model%s; listeners and limits stay until a restart",
			config->models.count, config->models.count == 1 ? "" : "s");
		config = NULL;
		result = 0;
	} else {
		service_say(
			service, VGW_LOG_ERROR, "the configuration was not read again: the old one stays");
	}
	config_free(config);
	return result;
}

/* On the main thread after SIGHUP, on the desk's for POST /admin/reload. */
int service_reload(void *user, char *why, size_t size)
{
	struct service *service = user;
	int result;

	(void)pthread_mutex_lock(&service->reload_lock);
	notify_reloading();
	result = reload_locked(service, why, size);
	notify_ready("Serving");
	(void)pthread_mutex_unlock(&service->reload_lock);
	return result;
}

/* --- running
 * -------------------------------------------------------------------------------------------------- */

static void refresh_files(struct service *service)
{
	char why[512], tls_why[512];
	int result, tls_result;

	(void)pthread_mutex_lock(&service->reload_lock);
	result = keys_refresh(service->keys, why, sizeof(why));
	tls_result = tls_refresh(service->tls, tls_why, sizeof(tls_why));
	(void)pthread_mutex_unlock(&service->reload_lock);
	if (tls_result > 0)
		service_say(service, tls_why[0] ? VGW_LOG_WARN : VGW_LOG_INFO, "certificate read again%s%s",
			tls_why[0] ? ": " : "", tls_why);
	else if (tls_result < 0)
		service_say(service, VGW_LOG_ERROR, "%s; the certificate stays as it was", tls_why);
	if (result > 0)
		service_say(service, VGW_LOG_INFO, "keys read again: %zu", keys_count(service->keys));
	else if (result < 0)
		service_say(service, VGW_LOG_ERROR, "%s; the keys stay as they were", why);
}

/* A keys file and a certificate are looked at several times a second. */
static int get_patience_ms(struct service *service, int64_t watchdog_ms)
{
	bool has_file;

	(void)pthread_mutex_lock(&service->reload_lock);
	has_file = keys_have_file(service->keys) || tls_has_files(service->tls);
	(void)pthread_mutex_unlock(&service->reload_lock);
	if (has_file && (watchdog_ms <= 0 || watchdog_ms > KEYS_TICK_MS))
		return KEYS_TICK_MS;
	return watchdog_ms > 0 ? (int)watchdog_ms : -1;
}

/* A service manager that hears nothing starts us anew: that is what a worker that hangs, or a residency, needs. */
static void feed_watchdog(struct service *service, int64_t patience_ms)
{
	int64_t workers_ms = front_get_silence_ms(service->front);
	int64_t residency_ms = vgw_residency_get_silence_ms(vgw_gateway_get_residency(service->gateway));
	bool is_alive = workers_ms < patience_ms && residency_ms < patience_ms;

	if (is_alive)
		notify_alive();
	else if (!service->is_starving)
		service_say(service, VGW_LOG_ERROR, "the watchdog is not fed: %s has been silent for %lld ms",
			workers_ms >= patience_ms ? "a worker" : "the residency's thread",
			(long long)(workers_ms >= patience_ms ? workers_ms : residency_ms));
	service->is_starving = !is_alive;
}

/* SIGTERM, SIGINT or a broken descriptor end it. */
static void wait_for_stop(struct service *service)
{
	int64_t patience_ms = notify_get_watchdog_ms(), watchdog_ms = patience_ms / 2;
	struct pollfd poller = {.fd = service->signals, .events = POLLIN};

	for (;;) {
		int count = poll(&poller, 1, get_patience_ms(service, watchdog_ms));
		struct signalfd_siginfo info;
		char why[512];

		if (watchdog_ms > 0)
			feed_watchdog(service, patience_ms);
		refresh_files(service);
		if (count <= 0)
			continue;
		if (read(service->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
			continue;
		if (info.ssi_signo != SIGHUP)
			return;
		(void)service_reload(service, why, sizeof(why));
	}
}

/* A client that has connected a moment ago has its request on the way: it is given a moment to be told. */
static bool is_busy(struct service *service, int64_t fresh_until_ms)
{
	return front_count_requests(service->front) > 0 ||
	       (front_count_fresh(service->front) > 0 && vgw_now_ms() < fresh_until_ms);
}

/* A second SIGTERM or SIGINT; there is nothing to read again for a SIGHUP. */
static bool is_hurried(struct service *service)
{
	struct pollfd poller = {.fd = service->signals, .events = POLLIN};
	struct signalfd_siginfo info;

	return poll(&poller, 1, DRAIN_TICK_MS) > 0 &&
		(read(service->signals, &info, sizeof(info)) != (ssize_t)sizeof(info) || info.ssi_signo != SIGHUP);
}

/* Requests under way have drain_ms; a second signal ends the patience. */
static void drain(struct service *service)
{
	int64_t fresh_until_ms = vgw_now_ms() + FRESH_MS;
	int64_t until_ms = vgw_now_ms() + service->config->timeouts.drain_ms;
	uint64_t left;

	notify_stopping();
	front_drain(service->front);
	desk_stop(service->desk); /* event streams and followed logs end now, not at the end of the drain */
	left = front_count_requests(service->front);
	service_say(service, VGW_LOG_INFO, "stopping: %llu request%s under way", (unsigned long long)left,
		left == 1 ? "" : "s");
	while (is_busy(service, fresh_until_ms) && vgw_now_ms() < until_ms) {
		if (is_hurried(service))
			break;
	}
	left = front_count_requests(service->front);
	if (left)
		service_say(service, VGW_LOG_WARN, "%llu request%s had to be cut off",
			(unsigned long long)left, left == 1 ? "" : "s");
}

int serve(struct config *config, const struct args *args)
{
	struct service service = {
		.config = config, .args = args, .signals = -1, .reload_lock = PTHREAD_MUTEX_INITIALIZER};
	int status = EXIT_FAILED;

	if (service_start(&service) == 0) {
		notify_ready("Serving");
		wait_for_stop(&service);
		drain(&service);
		status = EXIT_SUCCESS;
	}
	desk_stop(service.desk);
	front_free(service.front);
	catalogue_free(service.catalogue);
	desk_free(service.desk);
	if (status == EXIT_SUCCESS && service.config->residency.on_exit == CONFIG_ON_EXIT_STOP)
		adhoc_forget(service.adhoc);
	keys_free(service.keys);
	tls_free(service.tls);
	limits_redis_free(service.limits);
	vgw_gateway_free(service.gateway);
	adhoc_free(service.adhoc);
	routes_free(service.routes);
	if (status == EXIT_SUCCESS)
		service_say(&service, VGW_LOG_INFO, "stopped");
	log_sink_free(service.sink);
	if (service.signals >= 0)
		(void)close(service.signals);
	config_free(service.newest);
	config_free(service.config);
	return status;
}
