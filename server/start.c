/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the service: everything is made in the order it is needed.
 *
 *   config ─► log ─► gateway ─► keys ─► registry ─► desk ─► front ─► listening */
#include "service.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { RESERVED_FDS = 128 };

void service_say(struct service *service, vgw_log_level level, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	log_sink_log(service->sink, level, "server", NULL, text);
}

static bool is_json_wanted(const struct config *config)
{
	if (config->log.format == CONFIG_LOG_FORMAT_AUTO)
		return !isatty(STDERR_FILENO);
	return config->log.format == CONFIG_LOG_FORMAT_JSON;
}

/* A stream takes two descriptors: the client's and the engine's. */
static void raise_descriptors(struct service *service)
{
	struct rlimit limit;
	uint64_t wanted = 2 * (uint64_t)service->config->limits.connections + RESERVED_FDS;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < wanted)
		service_say(service, VGW_LOG_WARN,
			"limits.connections is %lld, but only %llu descriptors may be open: %llu would be "
			"needed "
			"(LimitNOFILE= in a systemd unit, ulimit -n in a shell)",
			(long long)service->config->limits.connections, (unsigned long long)limit.rlim_cur,
			(unsigned long long)wanted);
}

static int open_signals(struct service *service)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	service->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return service->signals < 0 ? -1 : 0;
}

static uint32_t worker_count(const struct config *config)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (config->workers > 0)
		return (uint32_t)config->workers;
	return processors < 1 ? 1 : processors > 64 ? 64 : (uint32_t)processors;
}

/* Before the models are published: a start that cannot listen would stop the engines that it took over. */
static int find_listens(struct service *service)
{
	char why[256] = "";
	int result = apply_listens(service->listens, LISTENS_MAX, &service->listen_count, service->config, why, sizeof(why));

	for (size_t i = 0; result == 0 && i < service->listen_count; i++)
		result = front_check_listen(&service->listens[i], why, sizeof(why));
	if (result != 0)
		service_say(service, VGW_LOG_ERROR, "%s", why);
	return result;
}

static int open_front(struct service *service)
{
	static const char *const beats[] = {[CONFIG_HEARTBEAT_COMMENT] = ": keepalive\n\n",
		[CONFIG_HEARTBEAT_DATA] = "data:\n\n",
		[CONFIG_HEARTBEAT_OFF] = NULL};
	const struct config *config = service->config;
	struct front_options options = {
		.gateway = service->gateway,
		.routes = service->routes,
		.desk = service->desk,
		.catalogue = service->catalogue,
		.is_model_router = config->compat.model_router,
		.is_aic = config->compat.aic_vllm_proxy,
		.keys = service->keys,
		.tls = service->tls,
		.public_metrics = config->auth.public_metrics,
		.origins = config->cors.origins.items,
		.origin_count = config->cors.origins.count,
		.access_log = config->log.access ? &service->access : NULL,
		.logger = service->logger,
		.listens = service->listens,
		.workers = worker_count(config),
		.connections = (uint32_t)config->limits.connections,
		.body_bytes = (uint64_t)config->limits.body_bytes,
		.head_bytes = (size_t)config->limits.head_bytes,
		.queue_bytes = (uint64_t)config->limits.queue_bytes,
		.header_timeout_ms = config->limits.header_timeout_ms,
		.body_timeout_ms = config->limits.body_timeout_ms,
		.heartbeat_ms = config->heartbeat.idle_ms,
		.heartbeat = beats[config->heartbeat.style],
		.is_early = config->heartbeat.while_loading,
		.write_timeout_ms = config->timeouts.idle_ms,
	};
	char why[256] = "";

	options.listen_count = service->listen_count;
	apply_proxies(&options, service->proxies, config);
	if (front_new(&service->front, &options, why, sizeof(why)) != 0) {
		service_say(service, VGW_LOG_ERROR, "%s", why);
		return -1;
	}
	for (size_t i = 0; i < service->listen_count; i++)
		service_say(service, VGW_LOG_INFO, "listening on %s%s, %u worker%s",
			service->listens[i].kind == FRONT_LISTEN_UNIX ? "" :
				service->listens[i].is_tls	      ? "https://" :
									"http://",
			front_get_address(service->front, i), options.workers,
			options.workers == 1 ? "" : "s");
	return 0;
}

int service_publish(struct service *service, const struct config *config, char *why, size_t size)
{
	vgw_error err = VGW_ERROR_INIT;
	vgw_registry *registry = NULL;
	struct apply_room room = {0};
	vgw_gateway_options options;
	vgw_status status = apply_registry(&registry, config, &err);

	if (status == VGW_OK)
		status = adhoc_add(service->adhoc, config, registry, &err);
	if (status == VGW_OK)
		status = apply_gateway_options(&options, &room, config, service->logger, &err);
	if (status == VGW_OK)
		status = vgw_gateway_apply(service->gateway, registry, &err);
	if (status == VGW_OK)
		status = vgw_residency_configure(
			vgw_gateway_get_residency(service->gateway), &room.residency, &err);
	if (status == VGW_OK && service->catalogue && catalogue_configure(service->catalogue, config) != 0)
		status = vgw_error_set(&err, VGW_NOMEM, 0, "out of memory");
	apply_room_free(&room);
	vgw_registry_unref(registry);
	if (status != VGW_OK) {
		service_say(service, VGW_LOG_ERROR, "%s", err.text);
		(void)snprintf(why, size, "%s", err.text);
	}
	return status == VGW_OK ? 0 : -1;
}

int service_publish_again(void *user, char *why, size_t size)
{
	struct service *service = user;
	int result;

	(void)pthread_mutex_lock(&service->reload_lock);
	result = service_publish(service, service->newest ? service->newest : service->config, why, size);
	(void)pthread_mutex_unlock(&service->reload_lock);
	return result;
}

/* An ad-hoc model whose engine has survived us goes on; no other one comes back by itself. */
static int publish_first(struct service *service, char *why, size_t size)
{
	struct adhoc_view view;
	const char *standing;
	bool is_there;

	if (!adhoc_recall(service->adhoc))
		return service_publish(service, service->config, why, size);
	is_there = service_publish(service, service->config, why, size) == 0 && adhoc_get(service->adhoc, &view);
	if (is_there) {
		standing = view.name ? vgw_residency_get_standing(vgw_gateway_get_residency(service->gateway), view.name) : NULL;
		is_there = standing && strcmp(standing, "loaded") == 0;
		if (is_there)
			service_say(service, VGW_LOG_INFO, "the engine of %s has survived", view.name);
		adhoc_view_fini(&view);
	}
	if (is_there)
		return 0;
	adhoc_spec_free(adhoc_swap(service->adhoc, NULL));
	adhoc_forget(service->adhoc);
	return service_publish(service, service->config, why, size);
}

/* Limits in Redis, if that is configured. */
static vgw_status open_limits(struct service *service, vgw_gateway_options *options, vgw_error *err)
{
	const struct config *config = service->config;
	const struct limits_redis_options limits = {
		.url = config->auth.store,
		.password = config->auth.store_password,
		.is_open = config->auth.store_down == CONFIG_STORE_DOWN_OPEN,
		.logger = service->logger,
	};
	char why[256];

	if (strcmp(config->auth.store, "memory") == 0)
		return VGW_OK;
	if (limits_redis_new(&service->limits, &limits, why, sizeof(why)) != 0)
		return vgw_error_set(err, VGW_INVALID, 0, "auth.store: %.200s", why);
	options->limit_store = &limits_redis_ops;
	options->limit_store_user = service->limits;
	return VGW_OK;
}

int service_stage_keys(struct service *service, const struct config *config, char *why, size_t size)
{
	if (keys_stage(service->keys, config, why, size) == 0)
		return 0;
	service_say(service, VGW_LOG_ERROR, "%s", why);
	return -1;
}

static unsigned get_features(const struct config *config)
{
	unsigned features = config->compat.ai_backend_gateway ? ROUTES_SIMPLE : 0;

	features |= config->compat.aic_vllm_proxy ? ROUTES_AIC | ROUTES_ADHOC : 0;
	features |= config->allow_adhoc_models ? ROUTES_ADHOC : 0;
	features |= config->compat.aic_open ? ROUTES_AIC_OPEN : 0;
	features |= config->passthrough ? ROUTES_PASSTHROUGH : 0;
	features |= config->compat.llama_swap ? ROUTES_LLAMA_SWAP : 0;
	return features | (config->compat.ollama ? ROUTES_OLLAMA : 0);
}

static void say_who_switches(struct service *service)
{
	const struct config *config = service->config;

	if (config->compat.aic_vllm_proxy && !config->compat.aic_open && !config->admin.key && !config->auth.keys.count &&
		!config->auth.keys_file)
		service_say(service, VGW_LOG_INFO, "models are switched from this machine only; for others set admin.key "
			"(VLLMGW_ADMIN_KEY) and give it to them, or compat.aic_open");
}

int service_stage_tls(struct service *service, const struct config *config, char *why, size_t size)
{
	int result = tls_stage(service->tls, config, why, size);

	if (result != 0)
		service_say(service, result < 0 ? VGW_LOG_ERROR : VGW_LOG_WARN, "%s", why);
	return result < 0 ? -1 : 0;
}

int service_start(struct service *service)
{
	const struct config *config = service->config;
	struct apply_room room = {0};
	vgw_gateway_options options;
	vgw_error err = VGW_ERROR_INIT;
	vgw_status status;
	char why[512];

	if (open_signals(service) !=
		0) { /* before any thread: one that does not block SIGTERM would die of it */
		(void)fprintf(stderr, "error: signals cannot be set up: %s\n", strerror(errno));
		return -1;
	}
	service->sink = log_sink_new(STDERR_FILENO, is_json_wanted(config), config->log.level);
	service->routes = routes_new(get_features(config));
	service->adhoc = adhoc_new(config->state_dir);
	if (!service->sink || !service->routes || !service->adhoc ||
		log_sink_set_secrets(service->sink, config->secrets.items, config->secrets.count) != 0) {
		(void)fputs("error: out of memory\n", stderr);
		return -1;
	}
	service->access.sink = service->sink;
	service->logger = log_sink_get_logger(service->sink);
	raise_descriptors(service);
	status = apply_gateway_options(&options, &room, config, service->logger, &err);
	if (status == VGW_OK)
		status = open_limits(service, &options, &err);
	if (status == VGW_OK)
		status = vgw_gateway_new(&service->gateway, &options, &err);
	apply_room_free(&room);
	if (status != VGW_OK) {
		service_say(service, VGW_LOG_ERROR, "%s", err.text);
		return -1;
	}
	service->keys = keys_new(service->gateway);
	service->tls = tls_new();
	if (!service->keys || !service->tls) {
		service_say(service, VGW_LOG_ERROR, "out of memory, or without SHA-256");
		return -1;
	}
	if (config->compat.ai_backend_gateway && !(service->catalogue = catalogue_new())) {
		service_say(service, VGW_LOG_ERROR,
			"the thread that asks engines for their models cannot be started");
		return -1;
	}
	if (service_stage_keys(service, config, why, sizeof(why)) != 0 ||
		service_stage_tls(service, config, why, sizeof(why)) != 0 || find_listens(service) != 0 ||
		publish_first(service, why, sizeof(why)) != 0)
		return -1;
	keys_commit(service->keys);
	tls_commit(service->tls);
	service->desk = desk_new(&(struct desk_options){
		.gateway = service->gateway, .reload = service_reload, .reload_user = service,
		.adhoc = service->adhoc, .publish = service_publish_again});
	if (!service->desk) {
		service_say(
			service, VGW_LOG_ERROR, "the thread for administrators' requests cannot be started");
		return -1;
	}
	say_who_switches(service);
	if (service->catalogue)
		catalogue_wait(service->catalogue);
	return open_front(service);
}
