/* SPDX-License-Identifier: Apache-2.0 */
/* What a running service consists of; private to start.c, which makes it, and serve.c, which runs it and
 * takes it apart. On the main thread, except where `reload_lock` is held. */
#ifndef VGW_SERVER_SERVICE_H
#define VGW_SERVER_SERVICE_H

#include "adhoc.h"
#include "apply.h"
#include "catalogue.h"
#include "config_network.h"
#include "keys.h"
#include "limits_redis.h"
#include "serve.h"

#include <pthread.h>

enum { LISTENS_MAX = 16 };

struct service {
	struct config *config; /* listeners and limits: what the service was started with */
	struct config *newest; /* whose keys are used; NULL: the one above */
	const struct args *args;
	struct log_sink *sink;
	struct access_log access;
	vgw_logger logger;
	vgw_gateway *gateway;
	struct routes *routes;
	struct desk *desk;
	struct adhoc *adhoc;
	struct catalogue *catalogue; /* NULL: nobody asks for it */
	pthread_mutex_t reload_lock; /* held while the configuration or the keys are read again */
	struct keys *keys;
	struct tls *tls;
	struct limits_redis *limits; /* NULL: counted in this process */
	struct front_listen listens[LISTENS_MAX];
	size_t listen_count;
	struct network proxies[NETWORKS_MAX];
	struct front *front;
	int signals;
	bool is_starving; /* the watchdog was not fed last time */
};

void service_say(struct service *service, vgw_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* start.c: everything up to the open listeners. -1: it has said why; what was made is still to be taken
 * apart. */
int service_start(struct service *service);

/* start.c: the models, residency and catalogue of `config` from now on. -1: nothing changed, said and in
 * `why`. */
int service_publish(struct service *service, const struct config *config, char *why, size_t size);
int service_stage_keys(struct service *service, const struct config *config, char *why, size_t size);
int service_stage_tls(struct service *service, const struct config *config, char *why, size_t size);

/* start.c: the models as they are configured now, and the ad-hoc one; `user` is the service. */
int service_publish_again(void *user, char *why, size_t size);

/* serve.c: the configuration read again; `user` is the service. On the main thread after SIGHUP, on the
 * desk's for POST /admin/reload. */
int service_reload(void *user, char *why, size_t size);

#endif
