/* SPDX-License-Identifier: Apache-2.0 */
/* The sleep decorator's operations. Whatever goes wrong is an error to the residency, which then asks for STOP and,
 * after a failed wake, starts cold: nothing is repaired here.
 *
 * The identity of the inner kind gets two members more: at which level the engine sleeps, and its canary. */
#include "backend/sleep.h"

#include "backend/sleeper.h"
#include "util/alloc.h"
#include "util/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADOPT_MS = 5000, CANARY_MS = 30000, UNKNOWN_LEVEL = 2 /* its wake is right for a level-1 sleeper too */ };

static const vgw_controller_ops *ops_of(const struct vgw__sleeper *sleeper)
{
	return &sleeper->kind->inner->ops;
}

/* Somebody else's engine: it cannot be stopped. */
static bool is_foreign(const struct vgw__sleeper *sleeper)
{
	return (ops_of(sleeper)->flags & VGW_CONTROLLER_UNMANAGED) != 0;
}

/* --- making it --- */

static void sleep_destroy(void *self)
{
	struct vgw__sleeper *sleeper = self;

	if (!sleeper)
		return;
	if (sleeper->inner)
		ops_of(sleeper)->destroy(sleeper->inner);
	vgw__free(sleeper->model);
	vgw__free(sleeper->served_name);
	vgw__free(sleeper->api_key);
	vgw__free(sleeper);
}

static bool copy_texts(struct vgw__sleeper *sleeper, const vgw_replica_spec *spec)
{
	json_t *backend = json_loads(spec->backend_json ? spec->backend_json : "{}", 0, NULL);
	const char *api_key = json_string_value(json_object_get(backend, "api_key"));
	bool is_done;

	sleeper->model = vgw__strdup(spec->model);
	sleeper->served_name = vgw__strdup(spec->served_name ? spec->served_name : spec->model);
	sleeper->api_key = api_key ? vgw__strdup(api_key) : NULL;
	is_done = backend && sleeper->model && sleeper->served_name && (sleeper->api_key || !api_key);
	json_decref(backend);
	return is_done;
}

static vgw_status sleep_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user, vgw_error *err)
{
	const struct vgw__sleep_kind *kind = user;
	struct vgw__sleeper *sleeper = vgw__alloc(sizeof(*sleeper));
	vgw_status status;

	*self = NULL;
	if (!sleeper)
		return vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	sleeper->kind = kind;
	sleeper->host = host;
	status = kind->inner->ops.create(&sleeper->inner, spec, host, kind->inner->user, err);
	if (status == VGW_OK && !copy_texts(sleeper, spec))
		status = vgw_error_set(err, VGW_NOMEM, 0, "model '%.60s': no memory for its backend", spec->model);
	if (status != VGW_OK) {
		sleep_destroy(sleeper);
		return status;
	}
	vgw__sleep_list_devices(sleeper, spec->devices ? spec->devices : "");
	*self = sleeper;
	return VGW_OK;
}

/* --- down --- */

/* Nobody is refused for it, so the log is where it can be read. */
static vgw_status tell_failure(const struct vgw__sleeper *sleeper, const char *what_now, vgw_status status,
	const vgw_error *err)
{
	if (status != VGW_CANCELLED)
		vgw__log(vgw_host_get_logger(sleeper->host), VGW_LOG_WARN, "sleep", sleeper->model, "%s; %s",
			err ? err->text : vgw_status_get_text(status), what_now);
	return status;
}

static vgw_status put_to_sleep(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err)
{
	int64_t began_ms = vgw_now_ms(), slept_ms;
	vgw_status status;

	if (atomic_load(&sleeper->level) == 0)
		vgw__sleep_note_free(sleeper);
	else if (!is_foreign(sleeper))
		return VGW_OK;
	atomic_store(&sleeper->level, sleeper->kind->level); /* from here on it may sleep, whatever we are told */
	status = vgw__sleep_post(sleeper, deadline_ms, err);
	slept_ms = vgw_now_ms();
	if (status == VGW_OK)
		status = vgw__sleep_await_free(sleeper, deadline_ms, err);
	if (status != VGW_OK)
		return tell_failure(sleeper, "it is stopped instead", status, err);
	vgw__log(vgw_host_get_logger(sleeper->host), VGW_LOG_INFO, "sleep", sleeper->model,
		"asleep at level %u: %lld ms, its memory back after %lld ms", (unsigned)sleeper->kind->level,
		(long long)(slept_ms - began_ms), (long long)(vgw_now_ms() - slept_ms));
	return VGW_OK;
}

static vgw_status sleep_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__sleeper *sleeper = self;
	vgw_status status;

	sleeper->is_fresh = false;
	if (depth == VGW_DEPTH_SLEEP || is_foreign(sleeper))
		return put_to_sleep(sleeper, deadline_ms, err);
	status = ops_of(sleeper)->deactivate(sleeper->inner, VGW_DEPTH_STOP, deadline_ms, err);
	if (status == VGW_OK)
		atomic_store(&sleeper->level, 0);
	return status;
}

/* --- up --- */

static vgw_status wake(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err)
{
	int64_t began_ms = vgw_now_ms();
	unsigned level = atomic_load(&sleeper->level);
	vgw_status status = vgw__sleep_wake(sleeper, level, deadline_ms, err);

	if (status != VGW_OK)
		return tell_failure(sleeper, "it is started anew", status, err);
	atomic_store(&sleeper->level, 0);
	vgw__log(vgw_host_get_logger(sleeper->host), VGW_LOG_INFO, "sleep", sleeper->model,
		"awake from level %u: %lld ms", level, (long long)(vgw_now_ms() - began_ms));
	return VGW_OK;
}

/* It may have slept before we came. */
static vgw_status wake_foreign(struct vgw__sleeper *sleeper, int64_t deadline_ms, vgw_error *err)
{
	bool is_asleep;
	vgw_status status = vgw__sleep_ask(sleeper, &is_asleep, deadline_ms, err);

	if (status != VGW_OK || !is_asleep)
		return status;
	atomic_store(&sleeper->level, UNKNOWN_LEVEL);
	return wake(sleeper, deadline_ms, err);
}

static vgw_status sleep_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__sleeper *sleeper = self;
	vgw_status status;

	vgw__sleep_list_devices(sleeper, vgw_host_get_devices(sleeper->host));
	if (atomic_load(&sleeper->level) > 0)
		return wake(sleeper, deadline_ms, err);
	if (!is_foreign(sleeper))
		vgw__sleep_note_free(sleeper);
	status = ops_of(sleeper)->activate(sleeper->inner, deadline_ms, err);
	if (status == VGW_OK && is_foreign(sleeper))
		return wake_foreign(sleeper, deadline_ms, err);
	sleeper->is_fresh = status == VGW_OK;
	return status;
}

/* The first time that a start is seen to serve is the time to look at what it took, and how it answers. */
static vgw_status sleep_probe(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__sleeper *sleeper = self;
	const vgw_controller_ops *ops = ops_of(sleeper);
	int64_t canary_until_ms = vgw_now_ms() + CANARY_MS;
	vgw_status status;

	status = ops->probe ? ops->probe(sleeper->inner, deadline_ms, err)
		: vgw__sleep_probe(sleeper, deadline_ms, err);
	if (status != VGW_OK)
		return status;
	if (sleeper->is_fresh)
		vgw__sleep_note_footprint(sleeper);
	if (sleeper->kind->canary && (sleeper->is_fresh || !atomic_load(&sleeper->canary)))
		vgw__sleep_remember_canary(sleeper, canary_until_ms < deadline_ms ? canary_until_ms : deadline_ms);
	sleeper->is_fresh = false;
	return VGW_OK;
}

/* --- across our own restart --- */

static void sleep_describe(void *self, vgw_replica_facts *facts)
{
	struct vgw__sleeper *sleeper = self;
	char canary[20] = "";
	char *text = NULL;
	json_t *identity;

	if (ops_of(sleeper)->describe)
		ops_of(sleeper)->describe(sleeper->inner, facts);
	if (facts->size < sizeof(*facts) || (!facts->identity[0] && !is_foreign(sleeper)))
		return;
	identity = facts->identity[0] ? json_loads(facts->identity, 0, NULL) : json_object();
	(void)snprintf(canary, sizeof(canary), "%llx", (unsigned long long)atomic_load(&sleeper->canary));
	if (json_object_set_new(identity, "sleep_level", json_integer(atomic_load(&sleeper->level))) == 0 &&
		json_object_set_new(identity, "canary", json_string(canary)) == 0)
		text = json_dumps(identity, JSON_COMPACT);
	if (text && strlen(text) < sizeof(facts->identity)) /* else the inner kind's own has to do */
		memcpy(facts->identity, text, strlen(text) + 1);
	free(text);
	json_decref(identity);
}

static void recall(struct vgw__sleeper *sleeper, const char *identity, unsigned *level)
{
	json_t *root = json_loads(identity ? identity : "", 0, NULL);
	const char *canary = json_string_value(json_object_get(root, "canary"));
	json_int_t slept = json_integer_value(json_object_get(root, "sleep_level"));

	*level = slept == 1 ? 1 : UNKNOWN_LEVEL;
	atomic_store(&sleeper->canary, canary && sleeper->kind->canary ? strtoull(canary, NULL, 16) : 0);
	json_decref(root);
}

static vgw_status sleep_adopt(void *self, const char *identity, int64_t deadline_ms, vgw_error *err)
{
	struct vgw__sleeper *sleeper = self;
	const vgw_controller_ops *ops = ops_of(sleeper);
	int64_t until_ms = vgw_now_ms() + ADOPT_MS < deadline_ms ? vgw_now_ms() + ADOPT_MS : deadline_ms;
	bool is_asleep = false;
	unsigned level;
	vgw_status status = VGW_NOT_FOUND;

	vgw__sleep_list_devices(sleeper, vgw_host_get_devices(sleeper->host));
	recall(sleeper, identity, &level);
	if (is_foreign(sleeper))
		status = ops->activate(sleeper->inner, until_ms, err);
	else if (ops->adopt)
		status = ops->adopt(sleeper->inner, identity, deadline_ms, err);
	if (status != VGW_OK)
		return status;
	if (vgw__sleep_ask(sleeper, &is_asleep, until_ms, err) != VGW_OK) {
		if (!is_foreign(sleeper)) /* it was seen to serve a moment ago, and is held: not to be left alone */
			(void)ops->deactivate(sleeper->inner, VGW_DEPTH_STOP, deadline_ms, NULL);
		return VGW_NOT_FOUND;
	}
	if (is_asleep) {
		atomic_store(&sleeper->level, level);
		vgw_host_set_depth(sleeper->host, VGW_DEPTH_SLEEP);
	}
	return VGW_OK;
}

/* --- wrapping --- */

bool vgw__sleep_is_needed(const struct vgw__controller_kind *inner, uint32_t level)
{
	return level > 0 && !(inner->ops.flags & VGW_CONTROLLER_CAN_SLEEP);
}

void vgw__sleep_wrap(struct vgw__sleep_kind *sleep)
{
	const vgw_controller_ops *inner = &sleep->inner->ops;

	sleep->kind = (struct vgw__controller_kind){
		.ops = {
			.size = sizeof(vgw_controller_ops),
			.kind = inner->kind,
			.flags = VGW_CONTROLLER_CAN_SLEEP |
				(inner->flags & (VGW_CONTROLLER_SELF_RUNNING | VGW_CONTROLLER_PLACEABLE)),
			.create = sleep_create,
			.destroy = sleep_destroy,
			.activate = sleep_activate,
			.deactivate = sleep_deactivate,
			.probe = sleep_probe,
			.adopt = sleep_adopt,
			.describe = sleep_describe,
		},
		.user = sleep,
	};
	if (inner->flags & VGW_CONTROLLER_UNMANAGED) /* nobody says in which state we find it */
		sleep->kind.ops.flags |= VGW_CONTROLLER_SELF_RUNNING;
}
