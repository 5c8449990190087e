/* SPDX-License-Identifier: Apache-2.0 */
/* The sleep decorator over real processes: what the engine is told, in which order, and what happens when it does
 * not do what it says. */
#include "process_rig.h"

#include "backend/sleep.h"
#include "engine_spy.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { SHORT_MS = 400 };

/* The rig's kind with sleep over it. */
struct bed {
	struct rig *rig;
	struct vgw__sleep_kind sleep;
	char memory_file[96];
};

static int make_bed(void **state)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	void *rig;

	assert_non_null(bed);
	assert_int_equal(rig_set_up(&rig), 0);
	bed->rig = rig;
	(void)snprintf(bed->memory_file, sizeof(bed->memory_file), "%s/memory", bed->rig->state_dir);
	*state = bed;
	return 0;
}

static int unmake_bed(void **state)
{
	struct bed *bed = *state;
	void *rig = bed->rig;

	assert_int_equal(rig_tear_down(&rig), 0);
	vgw__settle_free(bed->sleep.settle);
	free(bed);
	return 0;
}

static void wrap(struct bed *bed, uint32_t level, const char *mode, const char *canary)
{
	bed->sleep.inner = bed->rig->kind;
	bed->sleep.level = level;
	bed->sleep.mode = mode;
	bed->sleep.canary = canary;
	assert_true(vgw__sleep_is_needed(bed->rig->kind, level));
	vgw__sleep_wrap(&bed->sleep);
	assert_false(vgw__sleep_is_needed(&bed->sleep.kind, level));
	bed->rig->kind = &bed->sleep.kind;
	bed->rig->sleep_level = level;
}

/* The simulator's fake GPU of 64 GiB, and a source that reads it. */
static void watch_memory(struct bed *bed)
{
	char script[512];
	const char *items[] = { "/bin/sh", "-c", script };
	struct vgw__strings command = { 0 };

	(void)snprintf(script, sizeof(script), "echo $((68719476736 - $(%s --memory-used %s))) 68719476736",
		rig_get_engine(), bed->memory_file);
	for (size_t i = 0; i < 3; i++)
		assert_true(vgw__strings_add(&command, items[i]));
	assert_int_equal(vgw__settle_new_command(&bed->sleep.settle, &command, NULL), VGW_OK);
	vgw__strings_fini(&command);
}

static void begin(struct bed *bed, const char *more)
{
	char arguments[1024];

	(void)snprintf(arguments, sizeof(arguments), ", \"--enable-sleep-mode\", \"--memory-file\", \"%s\"%s",
		bed->memory_file, more);
	rig_make_engine(bed->rig, arguments, "");
}

/* As the residency does it: activate, then the probe. */
static vgw_status bring_up(struct bed *bed, int64_t timeout_ms, vgw_error *err)
{
	struct rig *rig = bed->rig;
	vgw_status status;

	vgw__host_begin(rig->host);
	status = rig->kind->ops.activate(rig->self, vgw_now_ms() + timeout_ms, err);
	return status == VGW_OK ? rig->kind->ops.probe(rig->self, vgw_now_ms() + timeout_ms, err) : status;
}

static void bring_up_well(struct bed *bed)
{
	vgw_error err = VGW_ERROR_INIT;

	if (bring_up(bed, PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static vgw_status put_down(struct bed *bed, vgw_depth depth, int64_t timeout_ms, vgw_error *err)
{
	vgw__host_begin(bed->rig->host);
	return bed->rig->kind->ops.deactivate(bed->rig->self, depth, vgw_now_ms() + timeout_ms, err);
}

static void sleep_well(struct bed *bed)
{
	vgw_error err = VGW_ERROR_INIT;

	if (put_down(bed, VGW_DEPTH_SLEEP, PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
	assert_false(rig_report_of(bed->rig).has_depth);
}

static void assert_told(struct bed *bed, const char *wanted)
{
	char told[SPY_TEXT];

	spy_list(bed->rig->url, "POST", told);
	assert_string_equal(told, wanted);
}

/* --- what the engine is told --- */

static void level_1_sleeps_and_wakes_in_two_words(void **state)
{
	struct bed *bed = *state;
	int64_t pid;

	watch_memory(bed);
	wrap(bed, 1, "abort", NULL);
	begin(bed, "");
	bring_up_well(bed);
	pid = rig_describe(bed->rig).pid;
	assert_told(bed, "");
	sleep_well(bed);
	assert_int_equal(spy_count(bed->rig->url, "sleep_level"), 1);
	bring_up_well(bed);
	assert_told(bed, "POST /sleep?level=1&mode=abort\nPOST /wake_up\n");
	assert_int_equal(spy_count(bed->rig->url, "sleep_level"), 0);
	assert_int_equal(rig_describe(bed->rig).pid, pid);
	assert_int_equal(bed->rig->deaths, 0);
}

static void level_2_wakes_in_its_exact_order(void **state)
{
	struct bed *bed = *state;
	char body[SPY_TEXT];

	watch_memory(bed);
	wrap(bed, 2, "wait", NULL);
	begin(bed, "");
	bring_up_well(bed);
	sleep_well(bed);
	assert_told(bed, "POST /sleep?level=2&mode=wait\n");
	spy_forget(bed->rig->url);
	bring_up_well(bed);
	assert_told(bed, "POST /wake_up?tags=weights\nPOST /collective_rpc\nPOST /wake_up?tags=kv_cache\n"
		"POST /reset_prefix_cache\nPOST /v1/completions\n");
	spy_last_body(bed->rig->url, "/collective_rpc", body);
	assert_says(body, "{\"method\":\"reload_weights\",\"args\":[],\"kwargs\":{},\"timeout\":");
	spy_last_body(bed->rig->url, "/v1/completions", body);
	assert_says(body, "\"max_tokens\":1,");
	assert_says(body, "\"model\":\"org/big\"");
}

static void asleep_it_is_asleep_once(void **state)
{
	struct bed *bed = *state;

	wrap(bed, 1, "abort", NULL);
	begin(bed, "");
	bring_up_well(bed);
	sleep_well(bed);
	sleep_well(bed);
	assert_told(bed, "POST /sleep?level=1&mode=abort\n");
}

static void a_stop_stops_also_a_sleeper(void **state)
{
	struct bed *bed = *state;
	int64_t pid;

	wrap(bed, 1, "abort", NULL);
	begin(bed, "");
	bring_up_well(bed);
	pid = rig_describe(bed->rig).pid;
	sleep_well(bed);
	rig_stop_well(bed->rig);
	assert_false(rig_lives((pid_t)pid));
	bring_up_well(bed); /* cold: nothing is left to be woken */
	assert_told(bed, "");
}

/* --- what may go wrong --- */

static void a_sleep_that_keeps_its_memory_has_failed(void **state)
{
	struct bed *bed = *state;
	vgw_error err = VGW_ERROR_INIT;
	int64_t before;

	watch_memory(bed);
	wrap(bed, 1, "abort", NULL);
	begin(bed, ", \"--fault\", \"sleep-lies\"");
	bring_up_well(bed);
	before = vgw_now_ms();
	assert_int_equal(put_down(bed, VGW_DEPTH_SLEEP, SHORT_MS, &err), VGW_TIMEOUT);
	assert_true(vgw_now_ms() - before < SHORT_MS + 1000);
	assert_says(err.text, "without giving its memory back");
	rig_stop_well(bed->rig);
	assert_int_equal(rig_describe(bed->rig).pid, 0);
}

static void a_sleep_that_hangs_is_given_up_at_the_deadline(void **state)
{
	struct bed *bed = *state;
	vgw_error err = VGW_ERROR_INIT;
	int64_t before;

	wrap(bed, 1, "abort", NULL);
	begin(bed, ", \"--fault\", \"sleep-hangs\"");
	bring_up_well(bed);
	before = vgw_now_ms();
	assert_int_equal(put_down(bed, VGW_DEPTH_SLEEP, SHORT_MS, &err), VGW_TIMEOUT);
	assert_true(vgw_now_ms() - before < SHORT_MS + 500);
	assert_says(err.text, "/sleep?level=1&mode=abort");
	rig_stop_well(bed->rig);
}

static void a_wake_that_hangs_is_given_up_and_a_cold_start_follows(void **state)
{
	struct bed *bed = *state;
	vgw_error err = VGW_ERROR_INIT;
	int64_t before, pid;

	wrap(bed, 1, "abort", NULL);
	begin(bed, ", \"--fault\", \"wake-hangs\"");
	bring_up_well(bed);
	pid = rig_describe(bed->rig).pid;
	sleep_well(bed);
	before = vgw_now_ms();
	assert_int_equal(bring_up(bed, SHORT_MS, &err), VGW_TIMEOUT);
	assert_true(vgw_now_ms() - before < SHORT_MS + 500);
	assert_int_equal(put_down(bed, VGW_DEPTH_STOP, PATIENCE_MS, NULL), VGW_OK);
	bring_up_well(bed);
	assert_int_not_equal(rig_describe(bed->rig).pid, pid);
}

static void *cancel_soon(void *user)
{
	struct rig *rig = user;
	char told[SPY_TEXT];

	do {
		spy_list(rig->url, "POST", told);
	} while (!strstr(told, "/wake_up"));
	vgw__host_cancel(rig->host);
	return NULL;
}

static void a_wake_can_be_cancelled(void **state)
{
	struct bed *bed = *state;
	pthread_t thread;
	int64_t before;

	wrap(bed, 1, "abort", NULL);
	begin(bed, ", \"--fault\", \"wake-hangs\"");
	bring_up_well(bed);
	sleep_well(bed);
	before = vgw_now_ms();
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, bed->rig), 0);
	assert_int_equal(bring_up(bed, PATIENCE_MS, NULL), VGW_CANCELLED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(vgw_now_ms() - before < PATIENCE_MS / 2);
}

static void an_engine_without_sleep_mode_is_told_how_to_get_it(void **state)
{
	struct bed *bed = *state;
	vgw_error err = VGW_ERROR_INIT;

	wrap(bed, 1, "abort", NULL);
	rig_make_engine(bed->rig, "", "");
	bring_up_well(bed);
	assert_int_equal(put_down(bed, VGW_DEPTH_SLEEP, PATIENCE_MS, &err), VGW_BACKEND);
	assert_says(err.text, "--enable-sleep-mode and VLLM_SERVER_DEV_MODE=1");
}

/* --- the canary --- */

static void the_canary_is_asked_once_and_compared_after_each_wake(void **state)
{
	struct bed *bed = *state;

	wrap(bed, 2, "abort", "The capital of France is");
	begin(bed, "");
	bring_up_well(bed);
	assert_told(bed, "POST /v1/completions\n");
	for (int i = 0; i < 2; i++) {
		sleep_well(bed);
		spy_forget(bed->rig->url);
		bring_up_well(bed);
		assert_told(bed, "POST /wake_up?tags=weights\nPOST /collective_rpc\nPOST /wake_up?tags=kv_cache\n"
			"POST /reset_prefix_cache\nPOST /v1/completions\nPOST /v1/completions\n");
	}
}

/* --- across a restart --- */

static void take_over(struct bed *bed, const char *from, const char *to)
{
	struct rig *rig = bed->rig;
	char identity[1200];
	char *place;
	vgw_error err = VGW_ERROR_INIT;

	(void)snprintf(identity, sizeof(identity), "%s", rig_describe(rig).identity);
	rig->kind->ops.destroy(rig->self);
	rig->self = NULL;
	if (from) {
		place = strstr(identity, from);
		assert_non_null(place);
		memcpy(place, to, strlen(to));
	}
	begin(bed, "");
	vgw__host_begin(rig->host);
	if (rig->kind->ops.adopt(rig->self, identity, vgw_now_ms() + PATIENCE_MS, &err) != VGW_OK)
		fail_msg("%s", err.text);
}

static void a_sleeper_is_adopted_asleep_and_woken_from_its_level(void **state)
{
	struct bed *bed = *state;
	int64_t pid;

	wrap(bed, 1, "abort", NULL);
	begin(bed, "");
	bring_up_well(bed);
	pid = rig_describe(bed->rig).pid;
	sleep_well(bed);
	take_over(bed, NULL, NULL);
	assert_true(rig_report_of(bed->rig).has_depth);
	assert_int_equal(rig_report_of(bed->rig).depth, VGW_DEPTH_SLEEP);
	bring_up_well(bed);
	assert_int_equal(rig_describe(bed->rig).pid, pid);
	assert_told(bed, "POST /sleep?level=1&mode=abort\nPOST /wake_up\n");
}

static void one_that_is_awake_is_adopted_awake(void **state)
{
	struct bed *bed = *state;

	wrap(bed, 2, "abort", NULL);
	begin(bed, "");
	bring_up_well(bed);
	take_over(bed, NULL, NULL);
	assert_false(rig_report_of(bed->rig).has_depth);
	sleep_well(bed);
	bring_up_well(bed);
}

/* The remembered answer is replaced: what the engine says then is not what it said when it was well. */
static void an_engine_that_wakes_up_with_other_answers_has_failed(void **state)
{
	struct bed *bed = *state;
	vgw_error err = VGW_ERROR_INIT;
	char now[40];

	wrap(bed, 2, "abort", "The capital of France is");
	begin(bed, "");
	bring_up_well(bed);
	sleep_well(bed);
	(void)snprintf(now, sizeof(now), "%.13s", strstr(rig_describe(bed->rig).identity, "\"canary\":\""));
	take_over(bed, now, "\"canary\":\"123");
	assert_int_equal(bring_up(bed, PATIENCE_MS, &err), VGW_BACKEND);
	assert_says(err.text, "canary");
}

/* --- somebody else's engine --- */

static void an_engine_of_somebody_else_is_only_put_to_sleep(void **state)
{
	struct bed *bed = *state;
	struct rig *theirs = bed->rig;
	void *ours_state;
	struct bed ours = { 0 };
	char json[256];

	theirs->sleep_level = 1; /* its development routes */
	begin(bed, "");
	rig_activate_well(theirs);
	assert_int_equal(rig_set_up(&ours_state), 0);
	ours.rig = ours_state;
	assert_int_equal(vgw__controllers_find(ours.rig->controllers, &ours.rig->kind, "static", NULL), VGW_OK);
	wrap(&ours, 1, "abort", NULL);
	(void)snprintf(json, sizeof(json), "{\"kind\":\"static\",\"urls\":[\"%s\"]}", theirs->url);
	assert_int_equal(rig_create(ours.rig, json, NULL), VGW_OK);
	vgw__host_begin(ours.rig->host);
	assert_int_equal(ours.rig->kind->ops.adopt(ours.rig->self, "", vgw_now_ms() + PATIENCE_MS, NULL), VGW_OK);
	assert_false(rig_report_of(ours.rig).has_depth);
	assert_int_equal(put_down(&ours, VGW_DEPTH_STOP, PATIENCE_MS, NULL), VGW_OK);
	assert_int_equal(spy_count(theirs->url, "sleep_level"), 1);
	bring_up_well(&ours);
	assert_told(&ours, "POST /sleep?level=1&mode=abort\nPOST /wake_up\n");
	assert_int_equal(spy_post(theirs->url, "/sleep?level=1", ""), 200); /* behind our back */
	bring_up_well(&ours);
	assert_int_equal(spy_count(theirs->url, "sleep_level"), 0);
	assert_int_equal(rig_tear_down(&ours_state), 0);
	assert_true(rig_lives((pid_t)rig_describe(theirs).pid));
}

#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, make_bed, unmake_bed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BED_TEST(level_1_sleeps_and_wakes_in_two_words),
		BED_TEST(level_2_wakes_in_its_exact_order),
		BED_TEST(asleep_it_is_asleep_once),
		BED_TEST(a_stop_stops_also_a_sleeper),
		BED_TEST(a_sleep_that_keeps_its_memory_has_failed),
		BED_TEST(a_sleep_that_hangs_is_given_up_at_the_deadline),
		BED_TEST(a_wake_that_hangs_is_given_up_and_a_cold_start_follows),
		BED_TEST(a_wake_can_be_cancelled),
		BED_TEST(an_engine_without_sleep_mode_is_told_how_to_get_it),
		BED_TEST(the_canary_is_asked_once_and_compared_after_each_wake),
		BED_TEST(a_sleeper_is_adopted_asleep_and_woken_from_its_level),
		BED_TEST(one_that_is_awake_is_adopted_awake),
		BED_TEST(an_engine_that_wakes_up_with_other_answers_has_failed),
		BED_TEST(an_engine_of_somebody_else_is_only_put_to_sleep),
	};

	return cmocka_run_group_tests_name("sleep", tests, NULL, NULL);
}
