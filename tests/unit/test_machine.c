/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's table against prose: every state with every input. What the prose does not name cannot
 * happen. */
#include "testing.h"

#include "core/planner_internal.h"
#include "world.h"

#include <string.h>

struct prose {
	enum vgw__state state;
	enum vgw__input input;
	enum vgw__state then;
	const char *sentence;
};

#define SAY(state, input, then, sentence)                                                                    \
	{                                                                                                    \
		VGW__STATE_##state, VGW__INPUT_##input, VGW__STATE_##then, sentence                          \
	}

static const struct prose prose[] = {
	SAY(ABSENT, START, STARTING, "room and device are there: a cold start begins"),
	SAY(ABSENT, EVICT, ABSENT, "nothing to evict"),
	SAY(ABSENT, RESET, ABSENT, "its failures are forgiven"),
	SAY(ABSENT, ADOPT, READY, "an engine of an earlier life serves again"),
	SAY(ABSENT, ADOPT_ASLEEP, ASLEEP, "a sleeper of an earlier life is known again"),
	SAY(STARTING, ACTIVATED, READY, "it was probed: reservations first, then the gate opens"),
	SAY(STARTING, FAILED, LEAVING, "whatever it left behind is swept"),
	SAY(STARTING, CANCEL, STARTING, "the operation is told; its answer decides"),
	SAY(STARTING, EVICT, STARTING, "as a cancel, and it leaves even if the start succeeds"),
	SAY(STARTING, DIED, STARTING, "doomed; the operation still has to return"),
	SAY(STARTING, DEADLINE, STARTING, "overdue: cancelled"),
	SAY(STARTING, RESET, STARTING, "its failures are forgiven"),
	SAY(READY, EVICT, DRAINING, "the gate closes, leases are waited for"),
	SAY(READY, DIED, LEAVING, "a crash, whatever its exit code: swept, then back-off"),
	SAY(READY, DEADLINE, READY, "it has been stable: earlier failures are forgiven"),
	SAY(READY, RESET, READY, "its failures are forgiven"),
	SAY(DRAINING, IDLE, LEAVING, "the last lease is gone"),
	SAY(DRAINING, REVOKE, READY, "the reason to leave is gone: the gate opens again"),
	SAY(DRAINING, EVICT, DRAINING, "perhaps deeper, perhaps final"),
	SAY(DRAINING, DIED, LEAVING, "a crash: swept, then back-off"),
	SAY(DRAINING, DEADLINE, LEAVING, "the leases are cut"),
	SAY(DRAINING, RESET, DRAINING, "its failures are forgiven"),
	SAY(LEAVING, LEAVE, LEAVING, "the device is ours: the stop begins"),
	SAY(LEAVING, DEACTIVATED, LEAVING, "now the memory is waited for"),
	SAY(LEAVING, KEPT, STUCK, "it does not stop: the budget stays held"),
	SAY(LEAVING, SETTLED, ABSENT, "the memory is back"),
	SAY(LEAVING, UNSETTLED, STUCK, "the memory is not back: the budget stays held"),
	SAY(LEAVING, EVICT, LEAVING, "perhaps deeper"),
	SAY(LEAVING, DIED, LEAVING, "as asked"),
	SAY(LEAVING, DEADLINE, STUCK, "the operation hangs"),
	SAY(LEAVING, RESET, LEAVING, "its failures are forgiven"),
	SAY(ASLEEP, WAKE, WAKING, "room and device are there: it wakes"),
	SAY(ASLEEP, EVICT, LEAVING, "nobody holds a lease on a sleeper: it stops"),
	SAY(ASLEEP, DIED, LEAVING, "a crash: swept, then back-off"),
	SAY(ASLEEP, RESET, ASLEEP, "its failures are forgiven"),
	SAY(WAKING, ACTIVATED, READY, "awake and probed"),
	SAY(WAKING, FAILED, LEAVING, "stopped; its waiters get a cold start"),
	SAY(WAKING, EVICT, WAKING, "cancelled, and it leaves even if the wake succeeds"),
	SAY(WAKING, DIED, WAKING, "doomed; the operation still has to return"),
	SAY(WAKING, DEADLINE, WAKING, "overdue: cancelled"),
	SAY(WAKING, RESET, WAKING, "its failures are forgiven"),
	SAY(BACKOFF, EVICT, BACKOFF, "nothing to evict"),
	SAY(BACKOFF, DEADLINE, ABSENT, "it may be tried again"),
	SAY(BACKOFF, RESET, ABSENT, "its failures are forgiven"),
	SAY(STUCK, LEAVE, LEAVING, "the stop is tried again"),
	SAY(STUCK, ACTIVATED, STUCK, "a late answer: the stop is tried again as soon as the device is free"),
	SAY(STUCK, FAILED, STUCK, "the same"),
	SAY(STUCK, DEACTIVATED, STUCK, "the same"),
	SAY(STUCK, KEPT, STUCK, "the same"),
	SAY(STUCK, SETTLED, ABSENT, "late, but the memory is back"),
	SAY(STUCK, UNSETTLED, STUCK, "still not: tried again later"),
	SAY(STUCK, EVICT, STUCK, "it is leaving as well as it can"),
	SAY(STUCK, DIED, STUCK, "its memory is what matters"),
	SAY(STUCK, DEADLINE, STUCK, "time to try the stop again"),
	SAY(STUCK, RESET, STUCK, "the operator wants it tried again now"),
	SAY(STUCK, FORGET, ABSENT, "the operator says that nothing is left"),
};

static const struct prose *find(enum vgw__state state, enum vgw__input input)
{
	for (size_t i = 0; i < sizeof(prose) / sizeof(prose[0]); i++) {
		if (prose[i].state == state && prose[i].input == input)
			return &prose[i];
	}
	return NULL;
}

static void begin(struct world *world)
{
	memset(world, 0, sizeof(*world));
	world->limits = (struct vgw__planner_limits){1, 1, 4};
	world->config.max_resident = 1;
	world->config.max_asleep = 1;
	world->models[0] = (struct vgw__model_config){
		.devices = 1, .awake_bytes = {4}, .asleep_bytes = {1}, .can_sleep = true};
	world->now_ms = 1000;
	assert_true(world_begin(world));
}

/* Leads the only replica into the state, and in LEAVING into the part where the input makes sense. */
static void lead(struct world *world, enum vgw__state state, enum vgw__input input)
{
	static const struct vgw__feed crash = {.failure = VGW__FAILURE_UNKNOWN, .beneficiary = VGW__NOBODY};
	struct vgw__replica *r;

	begin(world);
	r = &world->planner->replicas[0];
	if (state == VGW__STATE_ABSENT)
		return;
	world_command(world, VGW__EVENT_LOAD, 0, false);
	if (state == VGW__STATE_STARTING)
		return;
	if (state == VGW__STATE_BACKOFF) {
		world_fail(world, 0, VGW__FAILURE_UNKNOWN);
		world_settle(world);
		return;
	}
	world_answer(world, 0, true);
	if (state == VGW__STATE_READY)
		return;
	if (state == VGW__STATE_ASLEEP || state == VGW__STATE_WAKING) {
		world_command(world, VGW__EVENT_SLEEP, 0, false);
		world_settle(world);
		if (state == VGW__STATE_WAKING)
			world_command(world, VGW__EVENT_LOAD, 0, false);
		return;
	}
	world_use(world, 0);
	if (state == VGW__STATE_DRAINING) {
		struct vgw__feed feed = {.cause = VGW__CAUSE_IDLE_TTL,
			.depth = VGW__DEPTH_STOP,
			.is_final = input != VGW__INPUT_REVOKE,
			.beneficiary = VGW__NOBODY};

		vgw__machine_feed(world->planner, r, VGW__INPUT_EVICT, &feed);
		return;
	}
	if (state == VGW__STATE_LEAVING && input == VGW__INPUT_LEAVE) {
		vgw__machine_feed(world->planner, r, VGW__INPUT_DIED,
			&crash); /* fed past the planner: waits for its device */
		r->verdict = VGW__VERDICT_ABSENT;
		return;
	}
	world_command(world, VGW__EVENT_UNLOAD, 0, false);
	world_release(world, 0);
	if (input == VGW__INPUT_SETTLED || input == VGW__INPUT_UNSETTLED)
		world_answer(world, 0, true);
	if (state == VGW__STATE_STUCK)
		world_advance(world, 200000); /* nobody answers */
}

static void every_state_answers_every_input_as_the_prose_says(void **unused)
{
	static struct world world;
	static const struct vgw__feed feed = {.depth = VGW__DEPTH_STOP, .beneficiary = VGW__NOBODY};
	size_t told = 0;

	(void)unused;
	for (int s = 0; s < VGW__STATE_COUNT; s++) {
		for (int i = 0; i < VGW__INPUT_COUNT; i++) {
			const struct prose *line = find((enum vgw__state)s, (enum vgw__input)i);

			if (vgw__machine_accepts((enum vgw__state)s, (enum vgw__input)i) != (line != NULL))
				fail_msg("%s with %s: table and prose disagree",
					vgw__state_name((enum vgw__state)s),
					vgw__input_name((enum vgw__input)i));
			if (!line)
				continue;
			told++;
			lead(&world, line->state, line->input);
			if (world.planner->replicas[0].state != line->state)
				fail_msg("%s could not be led to", vgw__state_name(line->state));
			vgw__machine_feed(world.planner, &world.planner->replicas[0], line->input, &feed);
			if (world.planner->replicas[0].state != line->then)
				fail_msg("%s with %s: %s, but went to %s", vgw__state_name(line->state),
					vgw__input_name(line->input), line->sentence,
					vgw__state_name(world.planner->replicas[0].state));
			assert_null(world.planner->broken);
			world_end(&world);
		}
	}
	assert_int_equal(told, sizeof(prose) / sizeof(prose[0]));
}

static void an_input_that_cannot_happen_is_told_and_survived(void **unused)
{
	static struct world world;
	const char *what = NULL;

	(void)unused;
	lead(&world, VGW__STATE_READY, VGW__INPUT_EVICT);
	vgw__machine_feed(world.planner, &world.planner->replicas[0], VGW__INPUT_SETTLED, NULL);
	assert_int_equal(world.planner->replicas[0].state, VGW__STATE_READY);
	assert_int_not_equal(vgw__planner_check(world.planner, world.now_ms, &what), 0);
	assert_string_equal(what, "an input that cannot happen in this state");
	world_end(&world);
}

static void every_state_has_an_exit(void **unused)
{
	(void)unused;
	for (int s = 0; s < VGW__STATE_COUNT; s++) {
		bool has_exit =
			s == VGW__STATE_STARTING || s == VGW__STATE_WAKING; /* by the answer, checked below */

		for (size_t i = 0; i < sizeof(prose) / sizeof(prose[0]); i++)
			has_exit = has_exit || ((int)prose[i].state == s && prose[i].then != prose[i].state);
		assert_true(has_exit);
	}
}

static void every_name_is_told(void **unused)
{
	(void)unused;
	assert_string_equal(vgw__state_name(VGW__STATE_BACKOFF), "backoff");
	assert_string_equal(vgw__cause_name(VGW__CAUSE_IDLE_TTL), "idle_ttl");
	assert_string_equal(vgw__failure_name(VGW__FAILURE_OOM), "out_of_memory");
	assert_string_equal(vgw__decision_name(VGW__DECISION_EVICT), "evict");
	assert_string_equal(vgw__reason_name(VGW__REASON_MAX_WAIT), "max_wait");
	assert_int_equal(vgw__reason_fault(VGW__REASON_NO_ROOM), VGW_FAULT_NO_CAPACITY);
	assert_string_equal(vgw__state_name(VGW__STATE_COUNT), "?");
	assert_string_equal(vgw__reason_text((enum vgw__reason)999), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_answers_every_input_as_the_prose_says),
		cmocka_unit_test(an_input_that_cannot_happen_is_told_and_survived),
		cmocka_unit_test(every_state_has_an_exit),
		cmocka_unit_test(every_name_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
