/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the residency's thread, and the operator's commands made of them.
 *
 *   caller: ask ── message ──► run: step, answer ──► caller goes on
 *                              or: watch ── each step: is_settled? the deadline? ──► answer
 */
#include "residency/internal.h"

#include "util/error.h"

/* --- asking --------------------------------------------------------------------------------------------------- */

/* Nothing of the ask may be touched afterwards: it is gone with its caller. */
static void answer(struct vgw__ask *ask)
{
	(void)pthread_mutex_lock(&ask->lock);
	ask->is_answered = true;
	(void)pthread_cond_signal(&ask->answered);
	(void)pthread_mutex_unlock(&ask->lock);
}

static void heard_ask(vgw_message *message)
{
	struct vgw__ask *ask = message->user;

	vgw__list_init(&ask->link);
	ask->run(ask);
	if (ask->is_over)
		answer(ask);
}

static void stop_watching(struct vgw__ask *ask)
{
	vgw__list_remove(&ask->link);
	vgw_timer_cancel(ask->residency->loop, &ask->timer);
	answer(ask);
}

static void on_deadline(vgw_timer *timer)
{
	struct vgw__ask *ask = timer->user;

	ask->status = vgw_error_set(ask->err, VGW_TIMEOUT, 0, "the deadline passed; what was begun goes on");
	stop_watching(ask);
}

void vgw__ask_watch(struct vgw__ask *ask, bool (*is_settled)(struct vgw__ask *ask), int64_t deadline_ms)
{
	ask->is_settled = is_settled;
	ask->timer.user = ask;
	vgw__list_append(&ask->residency->asks, &ask->link);
	if (deadline_ms == VGW__NEVER ||
		vgw_timer_start(ask->residency->loop, &ask->timer, deadline_ms, on_deadline) == VGW_OK)
		return;
	ask->status = vgw_error_set(ask->err, VGW_NOMEM, 0, "no memory for a timer");
	vgw__list_remove(&ask->link);
	ask->is_over = true;
}

void vgw__asks_look(vgw_residency *residency)
{
	struct vgw__list *it = residency->asks.next;

	while (it != &residency->asks) {
		struct vgw__ask *ask = VGW__CONTAINER(it, struct vgw__ask, link);

		it = it->next;
		if (ask->is_settled(ask))
			stop_watching(ask);
	}
}

void vgw__asks_refuse(vgw_residency *residency)
{
	struct vgw__list *link;

	while ((link = vgw__list_first(&residency->asks)) != NULL) {
		struct vgw__ask *ask = VGW__CONTAINER(link, struct vgw__ask, link);

		ask->status = vgw_error_set(ask->err, VGW_SHUTDOWN, 0, "the residency is shutting down");
		stop_watching(ask);
	}
}

vgw_status vgw__ask(vgw_residency *residency, struct vgw__ask *ask)
{
	ask->residency = residency;
	ask->message.user = ask;
	if (pthread_mutex_init(&ask->lock, NULL) != 0)
		return vgw_error_set(ask->err, VGW_NOMEM, 0, "residency");
	(void)pthread_cond_init(&ask->answered, NULL);
	vgw_loop_post(residency->loop, &ask->message, heard_ask);
	(void)pthread_mutex_lock(&ask->lock);
	while (!ask->is_answered)
		(void)pthread_cond_wait(&ask->answered, &ask->lock);
	(void)pthread_mutex_unlock(&ask->lock);
	(void)pthread_cond_destroy(&ask->answered);
	(void)pthread_mutex_destroy(&ask->lock);
	return ask->status;
}

/* --- commands ------------------------------------------------------------------------------------------------- */

struct command {
	struct vgw__ask ask;
	struct vgw__engine *engine;
	enum vgw__event_kind kind;
	bool force;
	int64_t deadline_ms; /* 0: do not wait */
};

static struct command *command_of(struct vgw__ask *ask)
{
	return VGW__CONTAINER(ask, struct command, ask);
}

static void view(const struct command *command, struct vgw__replica_view *view)
{
	vgw__planner_view(command->ask.residency->planner, command->engine->slot, vgw_now_ms(), view);
}

static bool fail(struct vgw__ask *ask, enum vgw__reason reason)
{
	ask->status = vgw__refuse(command_of(ask)->engine->resident, reason, -1, ask->err);
	return true;
}

/* Nothing of the command can be told when the model was taken out of the set meanwhile. */
static bool is_gone(struct vgw__ask *ask)
{
	return command_of(ask)->engine->slot == VGW__NOBODY && fail(ask, VGW__REASON_NO_SUCH_MODEL);
}

static bool is_loaded(struct vgw__ask *ask)
{
	struct vgw__replica_view now;

	if (is_gone(ask))
		return true;
	view(command_of(ask), &now);
	if (now.state == VGW__STATE_READY)
		return true;
	if (now.state == VGW__STATE_BACKOFF)
		return fail(ask, VGW__REASON_START_FAILED);
	if (now.state == VGW__STATE_STUCK)
		return fail(ask, VGW__REASON_STUCK);
	return !now.is_wanted && (now.state == VGW__STATE_ABSENT || now.state == VGW__STATE_ASLEEP) &&
		fail(ask, VGW__REASON_UNLOADED);
}

static bool is_unloaded(struct vgw__ask *ask)
{
	struct vgw__replica_view now;

	if (command_of(ask)->engine->slot == VGW__NOBODY)
		return true;
	view(command_of(ask), &now);
	if (now.state == VGW__STATE_STUCK)
		return fail(ask, VGW__REASON_STUCK);
	return now.state == VGW__STATE_ABSENT || now.state == VGW__STATE_BACKOFF;
}

static bool is_asleep(struct vgw__ask *ask)
{
	struct vgw__replica_view now;

	if (is_gone(ask))
		return true;
	view(command_of(ask), &now);
	if (now.state == VGW__STATE_ASLEEP)
		return true;
	if (now.state == VGW__STATE_DRAINING || now.state == VGW__STATE_LEAVING)
		return false;
	ask->status = vgw_error_set(ask->err, VGW_BACKEND, 0, "model '%.60s' did not fall asleep: it is %s",
		command_of(ask)->engine->resident->name, vgw__state_name(now.state));
	return true;
}

static bool (*const ends[VGW__EVENT_COUNT])(struct vgw__ask *ask) = {
	[VGW__EVENT_LOAD] = is_loaded,
	[VGW__EVENT_UNLOAD] = is_unloaded,
	[VGW__EVENT_SLEEP] = is_asleep,
};

static void run_command(struct vgw__ask *ask)
{
	struct command *command = command_of(ask);
	struct vgw__event event = {
		.kind = command->kind, .model = command->engine->slot, .force = command->force,
	};
	enum vgw__reason reason;

	ask->is_over = true;
	if (command->engine->is_unmanaged) {
		if (command->kind != VGW__EVENT_LOAD)
			ask->status = vgw_error_set(ask->err, VGW_INVALID, 0,
				"model '%.60s' is run by somebody else: it can only be used",
				command->engine->resident->name);
		return;
	}
	if (is_gone(ask))
		return;
	reason = vgw__manager_step(ask->residency, &event);
	if (reason != VGW__REASON_NONE) {
		(void)fail(ask, reason);
		return;
	}
	if (!command->deadline_ms || !ends[command->kind] || ends[command->kind](ask))
		return;
	ask->is_over = false;
	vgw__ask_watch(ask, ends[command->kind], command->deadline_ms);
}

static vgw_status obey(vgw_residency *residency, const char *model, struct command *command, vgw_error *err)
{
	vgw_status status;

	vgw__error_reset(err);
	command->engine = vgw__manager_find(residency, model, err);
	if (!command->engine)
		return VGW_NOT_FOUND;
	command->ask.err = err;
	if (!command->ask.run)
		command->ask.run = run_command;
	status = vgw__ask(residency, &command->ask);
	vgw__engine_unref(command->engine);
	return status;
}

static void run_wake(struct vgw__ask *ask)
{
	struct command *command = command_of(ask);
	struct vgw__replica_view now;

	if (!command->engine->is_unmanaged && command->engine->slot != VGW__NOBODY) {
		view(command, &now);
		if (now.state != VGW__STATE_ASLEEP && now.state != VGW__STATE_WAKING && now.state != VGW__STATE_READY) {
			ask->status = vgw_error_set_fault(ask->err, VGW_BUSY, VGW_FAULT_MODEL_BUSY,
				"model '%.60s' does not sleep: it is %s", command->engine->resident->name,
				vgw__state_name(now.state));
			ask->is_over = true;
			return;
		}
	}
	run_command(ask);
}

vgw_status vgw_residency_load(vgw_residency *residency, const char *model, int64_t deadline_ms, vgw_error *err)
{
	struct command command = { .kind = VGW__EVENT_LOAD, .deadline_ms = deadline_ms };

	return obey(residency, model, &command, err);
}

vgw_status vgw_residency_unload(vgw_residency *residency, const char *model, uint32_t force, int64_t deadline_ms,
	vgw_error *err)
{
	struct command command = { .kind = VGW__EVENT_UNLOAD, .force = force != 0, .deadline_ms = deadline_ms };

	return obey(residency, model, &command, err);
}

vgw_status vgw_residency_sleep(vgw_residency *residency, const char *model, int64_t deadline_ms, vgw_error *err)
{
	struct command command = { .kind = VGW__EVENT_SLEEP, .deadline_ms = deadline_ms };

	return obey(residency, model, &command, err);
}

vgw_status vgw_residency_wake(vgw_residency *residency, const char *model, int64_t deadline_ms, vgw_error *err)
{
	struct command command = { .ask = { .run = run_wake }, .kind = VGW__EVENT_LOAD, .deadline_ms = deadline_ms };

	return obey(residency, model, &command, err);
}

vgw_status vgw_residency_pin(vgw_residency *residency, const char *model, uint32_t pin, vgw_error *err)
{
	struct command command = { .kind = pin ? VGW__EVENT_PIN : VGW__EVENT_UNPIN };

	return obey(residency, model, &command, err);
}

vgw_status vgw_residency_reset(vgw_residency *residency, const char *model, uint32_t force, vgw_error *err)
{
	struct command command = { .kind = VGW__EVENT_RESET, .force = force != 0 };

	return obey(residency, model, &command, err);
}
