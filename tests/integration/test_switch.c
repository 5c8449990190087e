/* SPDX-License-Identifier: Apache-2.0 */
/* Switching between two models on one device, with and without sleep: the residency, the sleep decorator and real
 * processes, at a fraction of the times that are measured with vLLM (cold 40 s and more, sleep 3 s, wake 2 s).
 * What the gateway adds to the engines' own times is printed, and bounded. */
#include "testing.h"

#include <vllmgw/event.h>
#include <vllmgw/residency.h>

#include "engine_spy.h"
#include "process_rig.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { COLD_MS = 1000, SLEEP_MS = 150, WAKE_MS = 100, SOON_MS = 30000, EVENTS = 128, ADDED_MS = 1000 };

struct seen {
	char model[16];
	char from[12];
	char to[12];
	int64_t at_ms;
};

struct switchyard {
	vgw_residency *residency;
	vgw_subscription *subscription;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct seen seen[EVENTS]; /* guarded by mutex */
	size_t count;             /* guarded by mutex */
	char dir[64];
};

static void on_event(void *user, const vgw_event *event)
{
	struct switchyard *yard = user;
	struct seen *seen;

	if (event->kind != VGW_EVENT_TRANSITION)
		return;
	(void)pthread_mutex_lock(&yard->mutex);
	assert_true(yard->count < EVENTS);
	seen = &yard->seen[yard->count++];
	(void)snprintf(seen->model, sizeof(seen->model), "%s", event->model);
	(void)snprintf(seen->from, sizeof(seen->from), "%s", event->from);
	(void)snprintf(seen->to, sizeof(seen->to), "%s", event->to);
	seen->at_ms = event->at_ms;
	(void)pthread_cond_broadcast(&yard->changed);
	(void)pthread_mutex_unlock(&yard->mutex);
}

static void on_log(void *user, vgw_log_level level, const char *area, const char *model, const char *text)
{
	(void)user;
	(void)level;
	if (strcmp(area, "sleep") == 0)
		(void)printf("    %s: %s\n", model ? model : "", text);
}

static void add_model(vgw_registry *registry, const char *name, const char *more, uint32_t level, const char *file)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	char json[2048];

	(void)snprintf(json, sizeof(json), "{\"kind\":\"process\",\"stop_timeout\":\"5s\",\"command\":[\"%s\","
		"\"--port\",\"${PORT}\",\"--served-model-name\",\"${MODEL}\",\"--load-time\",\"%dms\","
		"\"--enable-sleep-mode\",\"--sleep-time\",\"%dms\",\"--wake-time\",\"%dms\","
		"\"--memory-file\",\"%s\"%s]}", rig_get_engine(), COLD_MS, SLEEP_MS, WAKE_MS, file, more);
	options.name = name;
	options.kind = "process";
	options.backend_json = json;
	options.sleep_level = level;
	options.sleep_timeout_ms = 1000;
	options.wake_timeout_ms = 1000;
	assert_int_equal(vgw_registry_add(registry, &options, NULL), VGW_OK);
}

/* Model a as told, b without faults, one of them up at a time. */
static void open_yard(struct switchyard *yard, uint32_t level, const char *more_of_a, bool is_watched)
{
	vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_registry *registry = NULL;
	vgw_error err = VGW_ERROR_INIT;
	char file[96], script[512];
	const char *command[] = { "/bin/sh", "-c", script };

	memset(yard, 0, sizeof(*yard));
	(void)pthread_mutex_init(&yard->mutex, NULL);
	(void)pthread_cond_init(&yard->changed, NULL);
	(void)snprintf(yard->dir, sizeof(yard->dir), "/tmp/vgw-switch-XXXXXX");
	assert_non_null(mkdtemp(yard->dir));
	(void)snprintf(file, sizeof(file), "%s/memory", yard->dir);
	(void)snprintf(script, sizeof(script), "echo $((68719476736 - $(%s --memory-used %s))) 68719476736",
		rig_get_engine(), file);
	options.logger = (vgw_logger){ .fn = on_log, .level = VGW_LOG_INFO };
	options.max_asleep = 2;
	options.memory_command = command;
	options.memory_command_count = is_watched ? 3 : 0;
	assert_int_equal(vgw_residency_new(&yard->residency, &options, NULL), VGW_OK);
	assert_int_equal(vgw_residency_subscribe(&yard->subscription, yard->residency, on_event, yard, NULL), VGW_OK);
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	add_model(registry, "a", more_of_a, level, file);
	add_model(registry, "b", "", level, file);
	if (vgw_residency_apply(yard->residency, registry, &err) != VGW_OK)
		fail_msg("%s", err.text);
	vgw_registry_unref(registry);
}

static void close_yard(struct switchyard *yard)
{
	char file[96];

	vgw_subscription_end(yard->subscription);
	vgw_residency_free(yard->residency);
	(void)snprintf(file, sizeof(file), "%s/memory", yard->dir);
	(void)unlink(file);
	assert_int_equal(rmdir(yard->dir), 0);
	(void)pthread_cond_destroy(&yard->changed);
	(void)pthread_mutex_destroy(&yard->mutex);
}

/* Use a model once; returns how long it took until it could be used. */
static int64_t use(struct switchyard *yard, const char *model)
{
	int64_t before = vgw_now_ms(), took_ms;
	vgw_error err = VGW_ERROR_INIT;
	vgw_lease *lease;

	if (vgw_residency_acquire(&lease, yard->residency, model, before + SOON_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
	took_ms = vgw_now_ms() - before;
	assert_int_equal(spy_post(vgw_lease_get_endpoint(lease), "/v1/completions",
		model[0] == 'a' ? "{\"model\":\"a\",\"prompt\":\"x\",\"max_tokens\":1}"
			: "{\"model\":\"b\",\"prompt\":\"x\",\"max_tokens\":1}"), 200);
	vgw_lease_release(lease);
	return took_ms;
}

static int64_t find_locked(const struct switchyard *yard, const char *model, const char *from, const char *to)
{
	int64_t at_ms = 0;

	for (size_t i = 0; i < yard->count; i++) {
		const struct seen *seen = &yard->seen[i];

		if (strcmp(seen->model, model) == 0 && strcmp(seen->from, from) == 0 && strcmp(seen->to, to) == 0)
			at_ms = seen->at_ms;
	}
	return at_ms;
}

/* When a transition was; it may still be on its way. */
static int64_t time_of(struct switchyard *yard, const char *model, const char *from, const char *to)
{
	struct timespec until;
	int64_t at_ms;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SOON_MS / 1000;
	(void)pthread_mutex_lock(&yard->mutex);
	while ((at_ms = find_locked(yard, model, from, to)) == 0) {
		if (pthread_cond_timedwait(&yard->changed, &yard->mutex, &until) != 0)
			fail_msg("%s never went from %s to %s", model, from, to);
	}
	(void)pthread_mutex_unlock(&yard->mutex);
	return at_ms;
}

static void forget_transitions(struct switchyard *yard)
{
	(void)pthread_mutex_lock(&yard->mutex);
	yard->count = 0;
	(void)pthread_mutex_unlock(&yard->mutex);
}

/* From b, which is up, to a. Prints the parts; returns the whole. */
static int64_t measure_switch(struct switchyard *yard, const char *what, const char *gone, const char *before,
	const char *coming)
{
	int64_t asked_ms, took_ms, left_ms, gone_ms, begun_ms, ready_ms, decided_ms;

	forget_transitions(yard);
	asked_ms = vgw_now_ms();
	took_ms = use(yard, "a");
	decided_ms = time_of(yard, "b", "ready", "draining");
	left_ms = time_of(yard, "b", "draining", "leaving");
	gone_ms = time_of(yard, "b", "leaving", gone);
	begun_ms = time_of(yard, "a", before, coming);
	ready_ms = time_of(yard, "a", coming, "ready");
	(void)printf("%s: %lld ms = decision %lld, drain %lld, %s %lld, turn %lld, %s %lld, readiness lag %lld\n", what,
		(long long)took_ms, (long long)(decided_ms - asked_ms), (long long)(left_ms - decided_ms), gone,
		(long long)(gone_ms - left_ms), (long long)(begun_ms - gone_ms), coming,
		(long long)(ready_ms - begun_ms), (long long)(asked_ms + took_ms - ready_ms));
	return took_ms;
}

static void measure_level_1(const char *what, bool is_watched)
{
	struct switchyard yard;
	int64_t took_ms, engines_ms = SLEEP_MS + WAKE_MS;

	open_yard(&yard, 1, "", is_watched);
	(void)use(&yard, "a");
	(void)use(&yard, "b");
	took_ms = measure_switch(&yard, what, "asleep", "asleep", "waking");
	(void)printf("  of which the engines need %lld, so the gateway and its checks add %lld\n", (long long)engines_ms,
		(long long)(took_ms - engines_ms));
	assert_true(took_ms < engines_ms + ADDED_MS);
	close_yard(&yard);
}

static void sleep_makes_a_switch_short(void **unused)
{
	(void)unused;
	measure_level_1("level 1", false);
}

/* The fake GPU is read by a shell that starts two programs, several times a switch; a driver answers at once. */
static void looking_at_the_memory_costs_what_reading_it_costs(void **unused)
{
	(void)unused;
	measure_level_1("level 1, memory watched", true);
}

static void level_2_costs_two_wakes_and_is_still_shorter_than_a_start(void **unused)
{
	struct switchyard yard;

	(void)unused;
	open_yard(&yard, 2, "", true);
	(void)use(&yard, "a");
	(void)use(&yard, "b");
	assert_true(measure_switch(&yard, "level 2", "asleep", "asleep", "waking") < SLEEP_MS + 2 * WAKE_MS + ADDED_MS);
	close_yard(&yard);
}

static void without_sleep_a_switch_is_a_cold_start(void **unused)
{
	struct switchyard yard;
	int64_t took_ms;

	(void)unused;
	open_yard(&yard, 0, "", true);
	(void)use(&yard, "b");
	took_ms = measure_switch(&yard, "no sleep", "absent", "absent", "starting");
	assert_true(took_ms >= COLD_MS);
	assert_true(took_ms < COLD_MS + 2 * ADDED_MS);
	close_yard(&yard);
}

static void a_sleep_that_lies_becomes_a_stop_and_the_switch_goes_on(void **unused)
{
	struct switchyard yard;
	int64_t took_ms;

	(void)unused;
	open_yard(&yard, 1, ",\"--fault\",\"sleep-lies\"", true);
	(void)use(&yard, "a");
	took_ms = use(&yard, "b");
	(void)time_of(&yard, "a", "leaving", "absent");
	assert_true(took_ms < 1000 + COLD_MS + 2 * ADDED_MS); /* the sleep's timeout, the stop, the start */
	assert_string_equal(vgw_residency_get_standing(yard.residency, "a"), "unloaded");
	close_yard(&yard);
}

static void a_wake_that_hangs_becomes_a_cold_start_for_those_who_wait(void **unused)
{
	struct switchyard yard;
	int64_t took_ms;

	(void)unused;
	open_yard(&yard, 1, ",\"--fault\",\"wake-hangs\"", true);
	(void)use(&yard, "a");
	(void)use(&yard, "b");
	(void)time_of(&yard, "a", "leaving", "asleep");
	took_ms = use(&yard, "a"); /* does not fail */
	(void)time_of(&yard, "a", "waking", "leaving");
	(void)time_of(&yard, "a", "starting", "ready");
	assert_true(took_ms < 1000 + SLEEP_MS + COLD_MS + 2 * ADDED_MS);
	close_yard(&yard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sleep_makes_a_switch_short),
		cmocka_unit_test(looking_at_the_memory_costs_what_reading_it_costs),
		cmocka_unit_test(level_2_costs_two_wakes_and_is_still_shorter_than_a_start),
		cmocka_unit_test(without_sleep_a_switch_is_a_cold_start),
		cmocka_unit_test(a_sleep_that_lies_becomes_a_stop_and_the_switch_goes_on),
		cmocka_unit_test(a_wake_that_hangs_becomes_a_cold_start_for_those_who_wait),
	};

	return cmocka_run_group_tests_name("switch", tests, NULL, NULL);
}
