/* SPDX-License-Identifier: Apache-2.0 */
/* Doing something with a model. What takes time is begun and answered with 202 and the model's state; with ?wait=1
 * (or wait=SECONDS) the answer comes when it is done, has failed, or the time is over.
 *
 *   admin_act ── vigil kept first, so that nothing is missed ── command ──┬─ refused ──► error
 *                                                                         ├─ done ─────► 200
 *                                                                         └─ begun ────► 202, or transitions ──► 200 */
#include "routes/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_DEFAULT_S = 1800, WAIT_MAX_S = 86400 };

struct waiting {
	struct vigil vigil;
	enum admin_action action;
	admin_print_fn print;
	int64_t until_ms;
	char *model; /* its configured name, behind this struct */
};

/* --- looking -------------------------------------------------------------------------------------------------- */

/* Owned by the caller; NULL: no such model, or no memory. */
static json_t *get_model(struct errand *errand, const char *name)
{
	char *text = vgw_residency_dup_state(admin_get_residency(errand));
	json_t *state = text ? json_loads(text, 0, NULL) : NULL, *found = NULL, *model;
	json_t *models = json_object_get(state, "models");
	size_t i;

	(void)json_array_extend(models, json_object_get(state, "adapters"));
	json_array_foreach(models, i, model) {
		if (!found && strcmp(json_string_value(json_object_get(model, "name")), name) == 0)
			found = json_incref(model);
	}
	json_decref(state);
	vgw_free(text);
	return found;
}

static const char *text_of(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

/* Events and the state call a model by its name, requests perhaps by an alias: from malloc(), or NULL. */
static char *find_name(struct errand *errand, const char *called)
{
	vgw_registry *registry = vgw_gateway_dup_registry(desk_get_gateway(errand_get_desk(errand)));
	const vgw_model *model = registry ? vgw_registry_find(registry, called, strlen(called)) : NULL;
	const char *alias = called;
	char *name;

	/* the default model answers to every name, but an order for it must mean it */
	for (size_t i = 0; model && strcmp(vgw_model_get_name(model), called) != 0; i++) {
		alias = vgw_model_get_alias(model, i);
		if (!alias || strcmp(alias, called) == 0)
			break;
	}
	name = strdup(model && alias ? vgw_model_get_name(model) : called);
	vgw_registry_unref(registry);
	return name;
}

static bool is_adapter(struct errand *errand, const char *name)
{
	vgw_registry *registry = vgw_gateway_dup_registry(desk_get_gateway(errand_get_desk(errand)));
	const vgw_model *adapter;
	bool is_found = false;

	for (size_t i = 0; registry && (adapter = vgw_registry_get_adapter(registry, i)) != NULL; i++)
		is_found = is_found || strcmp(vgw_model_get_name(adapter), name) == 0;
	vgw_registry_unref(registry);
	return is_found;
}

void admin_answer_error(struct errand *errand, const vgw_error *err)
{
	vgw_fault fault = vgw_error_get_fault(err);
	vgw_error told = *err;

	/* to an operator a lack of room is a conflict with what is there, not an overload that passes */
	if (fault == VGW_FAULT_NO_CAPACITY)
		told.fault = VGW_FAULT_INSUFFICIENT_MEMORY;
	if (err->status == VGW_BUSY && fault == VGW_FAULT_SERVER_OVERLOADED)
		told.fault = VGW_FAULT_MODEL_BUSY;
	errand_answer_error(errand, &told);
}

void admin_answer_state(struct errand *errand, const char *name, bool is_done, admin_print_fn print)
{
	json_t *model = get_model(errand, name);

	if (model && print) {
		admin_answer_json(errand, 200, print(name, text_of(model, "state")));
		json_decref(model);
		return;
	}
	admin_answer_json(errand, is_done ? 200 : 202, model);
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

static const char *goal_of(enum admin_action action)
{
	static const char *const goals[] = {
#define XX(name, text, state) [ADMIN_##name] = state,
		ADMIN_ACTION_MAP(XX)
#undef XX
	};

	return goals[action];
}

static const char *word_of(enum admin_action action)
{
	static const char *const words[] = {
#define XX(name, text, state) [ADMIN_##name] = text,
		ADMIN_ACTION_MAP(XX)
#undef XX
	};

	return words[action];
}

static bool is_any(const char *state, const char *a, const char *b)
{
	return strcmp(state, a) == 0 || strcmp(state, b) == 0;
}

static bool is_reached(enum admin_action action, const char *state)
{
	return strcmp(state, goal_of(action)) == 0 || (action == ADMIN_UNLOAD && strcmp(state, "backoff") == 0);
}

static bool is_hopeless(enum admin_action action, const vgw_event *event)
{
	if (strcmp(event->to, "stuck") == 0)
		return true;
	if (action == ADMIN_SLEEP)
		return !is_any(event->to, "draining", "leaving");
	if (action == ADMIN_UNLOAD)
		return false;
	/* one that failed is tried again or backs off: that is told next */
	return strcmp(event->to, "backoff") == 0 ||
		(is_any(event->from, "starting", "waking") && strcmp(event->cause, "failed") != 0 &&
			!is_any(event->cause, "timed_out", "crashed"));
}

static bool hear(struct vigil *vigil, const struct desk_event *told)
{
	struct waiting *waiting = (struct waiting *)vigil;
	const vgw_event *event = told->event;
	vgw_error err = VGW_ERROR_INIT;

	if (event->kind != VGW_EVENT_TRANSITION || strcmp(event->model, waiting->model) != 0)
		return true;
	if (is_reached(waiting->action, event->to)) {
		admin_answer_state(vigil->errand, waiting->model, true, waiting->print);
		return false;
	}
	if (!is_hopeless(waiting->action, event))
		return true;
	(void)vgw_error_set_fault(&err, VGW_BACKEND,
		strcmp(event->to, "backoff") == 0 ? VGW_FAULT_MODEL_START_FAILED : VGW_FAULT_MODEL_CONFLICT,
		"model '%.60s': %s did not succeed: it is %s now (%s)%s%.100s", waiting->model, word_of(waiting->action),
		event->to, event->cause, event->text[0] ? ": " : "", event->text);
	errand_answer_error(vigil->errand, &err);
	return false;
}

static bool tick(struct vigil *vigil, int64_t now_ms)
{
	struct waiting *waiting = (struct waiting *)vigil;

	if (now_ms < waiting->until_ms)
		return true;
	errand_answer_fault(vigil->errand, VGW_FAULT_QUEUE_TIMEOUT, "the time to wait is over; what was begun goes on");
	return false;
}

int64_t admin_get_wait_ms(struct errand *errand)
{
	const char *given = errand_get_request(errand)->query[ROUTE_QUERY_WAIT];
	long seconds = given ? strtol(given, NULL, 10) : 0;

	return 1000 * (int64_t)(seconds <= 1 || seconds > WAIT_MAX_S ? WAIT_DEFAULT_S : seconds);
}

static struct waiting *new_waiting(struct errand *errand, enum admin_action action, const char *model,
	admin_print_fn print)
{
	size_t size = strlen(model) + 1;
	struct waiting *waiting = errand_alloc(errand, sizeof(*waiting) + size);

	if (!waiting)
		return NULL;
	waiting->vigil = (struct vigil){ .errand = errand, .hear = hear, .tick = tick };
	waiting->action = action;
	waiting->print = print;
	waiting->until_ms = vgw_now_ms() + admin_get_wait_ms(errand);
	waiting->model = memcpy(waiting + 1, model, size);
	return waiting;
}

/* --- acting --------------------------------------------------------------------------------------------------- */

static bool is_set(const char *value)
{
	return value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

static vgw_status order(struct errand *errand, enum admin_action action, const char *model, vgw_error *err)
{
	vgw_residency *residency = admin_get_residency(errand);

	switch (action) {
	case ADMIN_LOAD:
		return vgw_residency_load(residency, model, 0, err);
	case ADMIN_UNLOAD:
		return vgw_residency_unload(residency, model,
			is_set(errand_get_request(errand)->query[ROUTE_QUERY_FORCE]), 0, err);
	case ADMIN_SLEEP:
		return vgw_residency_sleep(residency, model, 0, err);
	default:
		return vgw_residency_wake(residency, model, 0, err);
	}
}

static void act(struct errand *errand, enum admin_action action, const char *model, bool is_waiting,
	admin_print_fn print)
{
	struct waiting *waiting = is_waiting ? new_waiting(errand, action, model, print) : NULL;
	struct desk *desk = errand_get_desk(errand);
	vgw_error err = VGW_ERROR_INIT;
	json_t *now;
	bool is_done;

	if (waiting && !desk_keep(desk, &waiting->vigil))
		return;
	if (order(errand, action, model, &err) != VGW_OK) {
		if (waiting)
			desk_let_go(desk, &waiting->vigil);
		admin_answer_error(errand, &err);
		return;
	}
	now = get_model(errand, model);
	is_done = is_reached(action, text_of(now, "state"));
	json_decref(now);
	if (waiting && !is_done)
		return;
	if (waiting)
		desk_let_go(desk, &waiting->vigil);
	admin_answer_state(errand, model, is_done, print);
}

void admin_act(struct errand *errand, enum admin_action action, const char *called, bool is_waiting,
	admin_print_fn print)
{
	char *model = find_name(errand, called);

	if (model && is_adapter(errand, model))
		admin_act_on_adapter(errand, action, model, is_waiting, print);
	else if (model)
		act(errand, action, model, is_waiting, print);
	else
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
	free(model);
}

/* --- routes --------------------------------------------------------------------------------------------------- */

static void act_on_path(struct errand *errand, enum admin_action action)
{
	const struct errand_request *request = errand_get_request(errand);

	admin_act(errand, action, request->name, is_set(request->query[ROUTE_QUERY_WAIT]), NULL);
}

void admin_load(struct errand *errand)
{
	act_on_path(errand, ADMIN_LOAD);
}

void admin_unload(struct errand *errand)
{
	act_on_path(errand, ADMIN_UNLOAD);
}

void admin_sleep(struct errand *errand)
{
	act_on_path(errand, ADMIN_SLEEP);
}

void admin_wake(struct errand *errand)
{
	act_on_path(errand, ADMIN_WAKE);
}

/* What is done at once. */
static void answer_at_once(struct errand *errand, vgw_status status, const vgw_error *err)
{
	char *model = find_name(errand, errand_get_request(errand)->name);

	if (status != VGW_OK)
		admin_answer_error(errand, err);
	else
		admin_answer_state(errand, model ? model : "", true, NULL);
	free(model);
}

static void set_pin(struct errand *errand, uint32_t pin)
{
	vgw_error err = VGW_ERROR_INIT;

	answer_at_once(errand,
		vgw_residency_pin(admin_get_residency(errand), errand_get_request(errand)->name, pin, &err), &err);
}

void admin_pin(struct errand *errand)
{
	set_pin(errand, 1);
}

void admin_unpin(struct errand *errand)
{
	set_pin(errand, 0);
}

/* ?replica=N, the N of the "MODEL/N" that the state shows. */
static void set_drain(struct errand *errand, uint32_t drain)
{
	const struct errand_request *request = errand_get_request(errand);
	const char *text = request->query[ROUTE_QUERY_REPLICA];
	size_t len = text ? strlen(text) : 0;
	vgw_error err = VGW_ERROR_INIT;

	if (len == 0 || len > 4 || strspn(text, "0123456789") != len) {
		errand_answer_fault(errand, VGW_FAULT_BAD_REQUEST, "say which replica: ?replica=N");
		return;
	}
	answer_at_once(errand, vgw_residency_drain_replica(admin_get_residency(errand), request->name,
		(uint32_t)strtoul(text, NULL, 10), drain, &err), &err);
}

void admin_drain(struct errand *errand)
{
	set_drain(errand, 1);
}

void admin_undrain(struct errand *errand)
{
	set_drain(errand, 0);
}

void admin_reset(struct errand *errand)
{
	const struct errand_request *request = errand_get_request(errand);
	vgw_error err = VGW_ERROR_INIT;

	answer_at_once(errand, vgw_residency_reset(admin_get_residency(errand), request->name,
		is_set(request->query[ROUTE_QUERY_FORCE]), &err), &err);
}
