/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted controller. One mutex and one condition for all of it: tests are small. */
#include "testing.h"

#include "fake_controller.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct instance {
	struct fakes *fakes;
	struct fake *fake;
	vgw_host *host;
};

void fakes_init(struct fakes *fakes)
{
	pthread_condattr_t attributes;

	memset(fakes, 0, sizeof(*fakes));
	pthread_mutex_init(&fakes->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&fakes->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

void fakes_fini(struct fakes *fakes)
{
	assert_int_equal(fakes->broken_contracts, 0);
	pthread_cond_destroy(&fakes->changed);
	pthread_mutex_destroy(&fakes->lock);
}

static struct fake *get_locked(struct fakes *fakes, const char *model)
{
	for (int i = 0; i < FAKES_MAX; i++) {
		struct fake *fake = &fakes->items[i];

		if (!fake->name[0])
			(void)snprintf(fake->name, sizeof(fake->name), "%s", model);
		if (strcmp(fake->name, model) == 0)
			return fake;
	}
	return NULL;
}

struct fake *fakes_get(struct fakes *fakes, const char *model)
{
	struct fake *fake;

	pthread_mutex_lock(&fakes->lock);
	fake = get_locked(fakes, model);
	pthread_mutex_unlock(&fakes->lock);
	assert_non_null(fake);
	return fake;
}

int fakes_read(struct fakes *fakes, const int *counter)
{
	int value;

	pthread_mutex_lock(&fakes->lock);
	value = *counter;
	pthread_mutex_unlock(&fakes->lock);
	return value;
}

/* --- the test's side --- */

void fakes_hold(struct fakes *fakes, const char *model)
{
	pthread_mutex_lock(&fakes->lock);
	get_locked(fakes, model)->is_held = true;
	pthread_mutex_unlock(&fakes->lock);
}

void fakes_hold_stop(struct fakes *fakes, const char *model)
{
	pthread_mutex_lock(&fakes->lock);
	get_locked(fakes, model)->is_stop_held = true;
	pthread_mutex_unlock(&fakes->lock);
}

void fakes_release(struct fakes *fakes, const char *model)
{
	pthread_mutex_lock(&fakes->lock);
	get_locked(fakes, model)->is_held = false;
	get_locked(fakes, model)->is_stop_held = false;
	pthread_cond_broadcast(&fakes->changed);
	pthread_mutex_unlock(&fakes->lock);
}

void fakes_fail(struct fakes *fakes, const char *model, int times, vgw_failure failure, const char *text)
{
	struct fake *fake;

	pthread_mutex_lock(&fakes->lock);
	fake = get_locked(fakes, model);
	fake->failures = times;
	fake->failure = failure;
	fake->text = text;
	pthread_mutex_unlock(&fakes->lock);
}

void fakes_kill(struct fakes *fakes, const char *model, const char *reason)
{
	vgw_host *host;

	pthread_mutex_lock(&fakes->lock);
	host = get_locked(fakes, model)->host;
	pthread_mutex_unlock(&fakes->lock);
	vgw_host_report_death(host, reason);
}

static bool wait_for(struct fakes *fakes, const int *counter, int at_least)
{
	int64_t until_ms = vgw_now_ms() + FAKE_WAIT_MS;
	const struct timespec until = { until_ms / 1000, until_ms % 1000 * 1000000 };
	bool is_there;

	pthread_mutex_lock(&fakes->lock);
	while (*counter < at_least && pthread_cond_timedwait(&fakes->changed, &fakes->lock, &until) == 0)
		;
	is_there = *counter >= at_least;
	pthread_mutex_unlock(&fakes->lock);
	return is_there;
}

bool fakes_wait_held(struct fakes *fakes, const char *model)
{
	return wait_for(fakes, &fakes_get(fakes, model)->waiting, 1);
}

bool fakes_wait_activations(struct fakes *fakes, const char *model, int count)
{
	return wait_for(fakes, &fakes_get(fakes, model)->activations, count);
}

/* --- the controller's side --- */

static void begin_locked(struct instance *instance)
{
	if (++instance->fake->running > 1)
		instance->fakes->broken_contracts++;
}

/* True: cancelled while it stood there. */
static bool stand_locked(struct instance *instance, const bool *barrier)
{
	struct timespec soon;
	int64_t until_ms;

	instance->fake->waiting++;
	pthread_cond_broadcast(&instance->fakes->changed);
	while (*barrier && !vgw_host_is_cancelled(instance->host)) {
		until_ms = vgw_now_ms() + 5; /* cancellation rings no bell of ours */
		soon = (struct timespec){ until_ms / 1000, until_ms % 1000 * 1000000 };
		(void)pthread_cond_timedwait(&instance->fakes->changed, &instance->fakes->lock, &soon);
	}
	instance->fake->waiting--;
	return *barrier;
}

static void set_up_locked(struct instance *instance, bool is_up)
{
	struct fakes *fakes = instance->fakes;

	if (fakes->on_up && is_up != instance->fake->is_up)
		fakes->on_up(instance->fake->name, is_up);
	if (is_up && !instance->fake->is_up)
		fakes->up++;
	if (!is_up && instance->fake->is_up)
		fakes->up--;
	if (fakes->up > fakes->most_up)
		fakes->most_up = fakes->up;
	instance->fake->is_up = is_up;
	pthread_cond_broadcast(&fakes->changed);
}

static vgw_status fake_create(void **self, const vgw_replica_spec *spec, vgw_host *host, void *user, vgw_error *err)
{
	struct instance *instance = malloc(sizeof(*instance));

	if (strstr(spec->backend_json, "broken")) {
		free(instance);
		return vgw_error_set(err, VGW_INVALID, 0, "model '%s': its backend is broken", spec->model);
	}
	instance->fakes = user;
	instance->host = host;
	instance->fake = fakes_get(user, spec->model);
	pthread_mutex_lock(&instance->fakes->lock);
	instance->fake->created++;
	pthread_mutex_unlock(&instance->fakes->lock);
	*self = instance;
	return VGW_OK;
}

static void fake_destroy(void *self)
{
	struct instance *instance = self;

	pthread_mutex_lock(&instance->fakes->lock);
	instance->fake->destroyed++;
	pthread_cond_broadcast(&instance->fakes->changed);
	pthread_mutex_unlock(&instance->fakes->lock);
	free(instance);
}

static vgw_status fake_activate(void *self, int64_t deadline_ms, vgw_error *err)
{
	struct instance *instance = self;
	struct fake *fake = instance->fake;
	vgw_status status = VGW_OK;
	bool is_cancelled = false;

	(void)deadline_ms;
	(void)vgw_host_set_endpoint(instance->host, "http://127.0.0.1:9", NULL);
	vgw_host_set_progress(instance->host, 50, "loading weights");
	pthread_mutex_lock(&instance->fakes->lock);
	begin_locked(instance);
	fake->host = instance->host;
	fake->activations++;
	if (fake->is_held)
		is_cancelled = stand_locked(instance, &fake->is_held);
	if (is_cancelled) {
		status = vgw_error_set(err, VGW_CANCELLED, 0, "given up");
	} else if (fake->failures > 0) {
		fake->failures--;
		vgw_host_set_failure(instance->host, fake->failure, fake->text);
		status = vgw_error_set(err, VGW_BACKEND, 0, "it failed");
	} else {
		set_up_locked(instance, true);
		fake->is_asleep = false;
	}
	fake->running--;
	pthread_cond_broadcast(&instance->fakes->changed);
	pthread_mutex_unlock(&instance->fakes->lock);
	return status;
}

static vgw_status fake_deactivate(void *self, vgw_depth depth, int64_t deadline_ms, vgw_error *err)
{
	struct instance *instance = self;
	struct fake *fake = instance->fake;

	(void)deadline_ms;
	(void)err;
	pthread_mutex_lock(&instance->fakes->lock);
	begin_locked(instance);
	if (fake->is_stop_held)
		(void)stand_locked(instance, &fake->is_stop_held);
	set_up_locked(instance, false);
	fake->is_asleep = depth == VGW_DEPTH_SLEEP;
	fake->sleeps += depth == VGW_DEPTH_SLEEP;
	fake->stops += depth == VGW_DEPTH_STOP;
	fake->running--;
	pthread_cond_broadcast(&instance->fakes->changed);
	pthread_mutex_unlock(&instance->fakes->lock);
	return VGW_OK;
}

static vgw_status fake_probe(void *self, int64_t deadline_ms, vgw_error *err)
{
	(void)self;
	(void)deadline_ms;
	(void)err;
	return VGW_OK;
}

const vgw_controller_ops fake_ops = {
	.size = sizeof(vgw_controller_ops), .kind = "fake", .create = fake_create, .destroy = fake_destroy,
	.activate = fake_activate, .deactivate = fake_deactivate, .probe = fake_probe,
};

const vgw_controller_ops fake_sleeper_ops = {
	.size = sizeof(vgw_controller_ops), .kind = "sleeper", .flags = VGW_CONTROLLER_CAN_SLEEP,
	.create = fake_create, .destroy = fake_destroy, .activate = fake_activate, .deactivate = fake_deactivate,
	.probe = fake_probe,
};

/* --- a residency with it --- */

vgw_residency *fakes_residency(struct fakes *fakes, const vgw_residency_options *options)
{
	vgw_residency *residency;
	vgw_error err = VGW_ERROR_INIT;

	if (vgw_residency_new(&residency, options, &err) != VGW_OK)
		fail_msg("%s", err.text);
	assert_int_equal(vgw_residency_add_controller(residency, &fake_ops, fakes, NULL), VGW_OK);
	assert_int_equal(vgw_residency_add_controller(residency, &fake_sleeper_ops, fakes, NULL), VGW_OK);
	return residency;
}

void fakes_apply(vgw_residency *residency, const char *kind, const char *const *names)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_registry *registry;
	vgw_error err = VGW_ERROR_INIT;

	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	for (size_t i = 0; names[i]; i++) {
		options.name = names[i];
		options.kind = kind;
		options.backend_json = "{}";
		options.sleep_level = 1;
		assert_int_equal(vgw_registry_add(registry, &options, NULL), VGW_OK);
	}
	if (vgw_residency_apply(residency, registry, &err) != VGW_OK)
		fail_msg("%s", err.text);
	vgw_registry_unref(registry);
}
