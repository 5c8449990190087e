/* SPDX-License-Identifier: Apache-2.0 */
/* The checking thread.
 *
 *   timer ──► fill ──► a check per target ──► GET /health ──► head, end or deadline ──► conclusion ──► target->health
 *
 * A check is over before the next round begins. Everything here belongs to the thread; targets are told by atomics. */
#include "balance/health.h"

#include "net/curl.h"
#include "net/h1.h"
#include "util/alloc.h"
#include "util/list.h"
#include "util/log.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { GOOD_CHECKS = 2, BAD_CHECKS = 3, DEADLINE_MS = 2000, IDLE_CONNECTION_MS = 1000, NAME_SIZE = 64 };

struct vgw__health {
	vgw_loop *loop;
	vgw_logger logger;
	int64_t interval_ms;
	vgw__health_fn fill;
	void *user;
	pthread_t thread;
	bool has_thread;
	vgw_timer round;
	struct vgw__transport *h1;
	struct vgw__transport *curl; /* made with the first https target */
	struct vgw__list checks;
};

struct check {
	struct vgw__list link;
	struct vgw__health *health;
	struct vgw__targets *targets; /* keeps the target */
	struct vgw__target *target;
	struct vgw__upstream_call *upstream;
	vgw_timer deadline;
	uint32_t status; /* 0: no answer yet */
	const char *why;
	struct vgw__header header;
	char *authorization;
	char model[NAME_SIZE];
};

/* --- what an answer means ------------------------------------------------------------------------------------- */

static bool set_health(struct vgw__target *target, enum vgw__health_state to)
{
	return atomic_exchange(&target->health, (int)to) != (int)to;
}

bool vgw__health_take(struct vgw__target *target, uint32_t status, int64_t now_ms)
{
	int before = atomic_load(&target->health);

	if (status == 503) {
		target->good_checks = target->bad_checks = 0;
		return set_health(target, VGW__HEALTH_LOADING);
	}
	if ((status >= 200 && status < 300) || status == 404 || status == 405) {
		target->bad_checks = 0;
		if (before == VGW__HEALTH_DOWN && ++target->good_checks < GOOD_CHECKS)
			return false;
		if (before == VGW__HEALTH_DOWN || before == VGW__HEALTH_LOADING)
			vgw__circuit_warm_up(&target->circuit, now_ms);
		target->good_checks = 0;
		return set_health(target, VGW__HEALTH_UP);
	}
	target->good_checks = 0;
	if (before == VGW__HEALTH_DOWN || ++target->bad_checks < BAD_CHECKS)
		return false;
	return set_health(target, VGW__HEALTH_DOWN);
}

static void conclude(struct check *check)
{
	struct vgw__health *health = check->health;
	const struct vgw__target *target = check->target;
	enum vgw__health_state before = (enum vgw__health_state)atomic_load(&target->health), now;

	if (vgw__health_take(check->target, check->status, vgw_loop_now_ms(health->loop))) {
		now = (enum vgw__health_state)atomic_load(&target->health);
		if (now != VGW__HEALTH_UP || before != VGW__HEALTH_UNKNOWN)
			vgw__log(&health->logger, now == VGW__HEALTH_DOWN ? VGW_LOG_WARN : VGW_LOG_INFO, "balance", check->model,
				"replica %u (%s) is %s: GET /health %s %u", target->number, target->endpoint->url,
				vgw__health_name(now), check->status ? "answers" : check->why, check->status);
	}
}

/* --- one check ------------------------------------------------------------------------------------------------ */

static void free_check(struct check *check)
{
	if (check->upstream)
		vgw__upstream_cancel(check->upstream);
	vgw_timer_cancel(check->health->loop, &check->deadline);
	vgw__list_remove(&check->link);
	vgw__targets_unref(check->targets);
	vgw__free(check->authorization);
	vgw__free(check);
}

static void on_deadline(vgw_timer *timer)
{
	struct check *check = timer->user;

	check->status = 0;
	check->why = "is not answered in time,";
	conclude(check);
	free_check(check);
}

static void on_head(void *user, const struct vgw__response_head *head)
{
	((struct check *)user)->status = head->status;
}

static enum vgw__flow on_data(void *user, const char *data, size_t len)
{
	(void)user;
	(void)data;
	(void)len;
	return VGW__FLOW_GO;
}

static void on_end(void *user, const struct vgw__upstream_result *result)
{
	struct check *check = user;

	check->upstream = NULL;
	if (result->outcome != VGW__OUTCOME_COMPLETE) {
		check->status = 0;
		check->why = result->why ? result->why : "fails,";
	}
	if (result->outcome != VGW__OUTCOME_FAILED) /* a shortage of ours says nothing of the engine */
		conclude(check);
	free_check(check);
}

static const struct vgw__upstream_events events = { .on_head = on_head, .on_data = on_data, .on_end = on_end };

static struct vgw__transport *transport_for(struct vgw__health *health, const struct vgw__endpoint *endpoint,
	vgw_error *err)
{
	if (!endpoint->is_tls)
		return health->h1;
	if (!health->curl && vgw__curl_new(&health->curl, health->loop, err) != VGW_OK)
		return NULL;
	return health->curl;
}

static bool start(struct check *check, vgw_error *err)
{
	struct vgw__transport *transport = transport_for(check->health, check->target->endpoint, err);
	const struct vgw__upstream_request request = {
		.endpoint = check->target->endpoint,
		.method = "GET",
		.path = "/health",
		.headers = &check->header,
		.header_count = check->authorization ? 1 : 0,
		.connect_timeout_ms = DEADLINE_MS,
	};

	check->deadline.user = check;
	return transport && vgw_timer_start(check->health->loop, &check->deadline,
		vgw_loop_now_ms(check->health->loop) + (check->health->interval_ms < DEADLINE_MS
			? check->health->interval_ms : DEADLINE_MS), on_deadline) == VGW_OK &&
		vgw__upstream_start(transport, &check->upstream, &request, &events, check, err) == VGW_OK;
}

static void ask_one(struct vgw__health *health, struct vgw__targets *targets, uint32_t place, const char *model,
	const char *authorization)
{
	struct check *check = vgw__alloc(sizeof(*check));
	vgw_error err = VGW_ERROR_INIT;

	if (!check)
		return; /* the next round may have the memory */
	check->health = health;
	check->targets = vgw__targets_ref(targets);
	check->target = targets->items[place];
	(void)snprintf(check->model, sizeof(check->model), "%s", model);
	vgw__list_append(&health->checks, &check->link);
	check->authorization = authorization ? vgw__strdup(authorization) : NULL;
	if (check->authorization)
		check->header = (struct vgw__header){ { "authorization", sizeof("authorization") - 1 },
			{ check->authorization, strlen(check->authorization) } };
	if ((authorization && !check->authorization) || !start(check, &err))
		free_check(check);
}

void vgw__health_ask(struct vgw__health *health, struct vgw__targets *targets, const char *model,
	const char *authorization)
{
	if (targets->count == 1) { /* there is nobody else to ask: what it says of itself changes nothing */
		atomic_store(&targets->items[0]->health, VGW__HEALTH_UNKNOWN);
		return;
	}
	for (uint32_t i = 0; i < targets->count; i++)
		ask_one(health, targets, i, model, authorization);
}

/* --- the thread ----------------------------------------------------------------------------------------------- */

static void on_round(vgw_timer *timer)
{
	struct vgw__health *health = timer->user;

	health->fill(health->user, health);
	if (vgw_timer_start(health->loop, timer, vgw_loop_now_ms(health->loop) + health->interval_ms, on_round) != VGW_OK)
		vgw__log(&health->logger, VGW_LOG_ERROR, "balance", NULL, "no memory for a timer: replicas are not checked any more");
}

static void *run(void *user)
{
	struct vgw__health *health = user;
	vgw_error err = VGW_ERROR_INIT;

	if (vgw_loop_run(health->loop, &err) != VGW_OK)
		vgw__log(&health->logger, VGW_LOG_ERROR, "balance", NULL, "replicas are not checked any more: %s", err.text);
	return NULL;
}

/* Signals are the program's business. */
static bool start_thread(struct vgw__health *health)
{
	sigset_t all, before;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	health->has_thread = pthread_create(&health->thread, NULL, run, health) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return health->has_thread;
}

vgw_status vgw__health_new(struct vgw__health **out, int64_t interval_ms, const vgw_logger *logger, vgw__health_fn fill,
	void *user, vgw_error *err)
{
	struct vgw__health *health = vgw__alloc(sizeof(*health));
	vgw_status status;

	*out = NULL;
	if (!health)
		return vgw_error_set(err, VGW_NOMEM, 0, "checks of replicas");
	vgw__list_init(&health->checks);
	health->interval_ms = interval_ms;
	health->logger = *logger;
	health->fill = fill;
	health->user = user;
	status = vgw_loop_new(&health->loop, err);
	if (status == VGW_OK)
		status = vgw__h1_new(&health->h1, health->loop, IDLE_CONNECTION_MS, err);
	health->round.user = health;
	if (status == VGW_OK)
		status = vgw_timer_start(health->loop, &health->round, vgw_now_ms(), on_round);
	if (status == VGW_OK && !start_thread(health))
		status = VGW_INTERNAL;
	if (status != VGW_OK) {
		vgw__health_free(health);
		return vgw_error_set(err, status, 0, "the thread that checks replicas cannot be started");
	}
	*out = health;
	return VGW_OK;
}

void vgw__health_free(struct vgw__health *health)
{
	struct vgw__list *link;

	if (!health)
		return;
	if (health->has_thread) {
		vgw_loop_stop(health->loop);
		(void)pthread_join(health->thread, NULL);
	}
	while ((link = vgw__list_first(&health->checks)) != NULL)
		free_check(VGW__CONTAINER(link, struct check, link));
	if (health->loop)
		vgw_timer_cancel(health->loop, &health->round);
	if (health->h1)
		health->h1->ops->destroy(health->h1);
	if (health->curl)
		health->curl->ops->destroy(health->curl);
	vgw_loop_free(health->loop);
	vgw__free(health);
}
