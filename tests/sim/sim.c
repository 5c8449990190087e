/* SPDX-License-Identifier: Apache-2.0 */
/* Choices, their meaning, and shrinking; see sim.h. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How often each choice is made, out of the sum. */
#define CHOICES(XX)                                                                                          \
	XX(REQUEST, 14)                                                                                      \
	XX(USE, 8)                                                                                           \
	XX(RELEASE, 14)                                                                                      \
	XX(ANSWER, 22) XX(ADVANCE_LITTLE, 10) XX(ADVANCE, 8) XX(ADVANCE_FAR, 1) XX(CANCEL, 3)                \
		XX(ANSWER_BADLY, 2) XX(FAIL, 2) XX(DIE, 1) XX(LOAD, 1) XX(UNLOAD, 1) XX(FORCE_UNLOAD, 1)     \
			XX(SLEEP, 1) XX(PIN, 1) XX(UNPIN, 2) XX(RESET, 2) XX(FORGET, 1) XX(CHANGE, 1)        \
				XX(PROGRESS, 1) XX(STALE, 2) XX(PRELOAD, 1) XX(CONFIGURE, 1)

enum choice {
#define XX(name, often) CHOICE_##name,
	CHOICES(XX)
#undef XX
		CHOICE_COUNT
};

static const char *const choice_names[] = {
#define XX(name, often) #name,
	CHOICES(XX)
#undef XX
};

/* One row per unit of frequency, so that drawing is one look. */
static const uint8_t rows[] = {
#define R1(c) c
#define R2(c) c, c
#define R3(c) R2(c), c
#define R8(c) R2(c), R2(c), R2(c), R2(c)
#define R10(c) R8(c), R2(c)
#define R14(c) R10(c), R2(c), R2(c)
#define R22(c) R14(c), R8(c)
#define XX(name, often) R##often(CHOICE_##name),
	CHOICES(XX)
#undef XX
};

uint64_t sim_choice(uint64_t seed, uint64_t i)
{
	uint64_t z = seed * 0x9e3779b97f4a7c15ull + (i + 1) * 0xd1b54a32d192ed03ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static enum choice kind_of(uint64_t choice)
{
	return (enum choice)rows[(choice & 0xffff) % sizeof(rows)];
}

void sim_describe(uint64_t choice, char *text, size_t room)
{
	(void)snprintf(text, room, "%s model %u arg %u", choice_names[kind_of(choice)],
		(unsigned)(choice >> 16 & 0xff), (unsigned)(choice >> 24 & 0xffff));
}

/* --- configurations --- */

/* Fixed sets of two devices; of four also some of those that may be taken. */
static void draw_places(struct vgw__model_config *config, int32_t gpus, uint64_t r)
{
	config->devices = 1u + (uint32_t)(r % 3); /* gpu0, gpu1 or both */
	if (gpus == 2)
		return;
	config->devices = 1u + (uint32_t)((r >> 32) % 15);
	config->devices_needed = 1 + (int32_t)((r >> 40) % 2);
	if (!(config->devices & (config->devices - 1)))
		config->devices_needed = (r >> 42) & 1u; /* all there is, in both spellings */
}

static void draw_model(struct world *world, int32_t m, int32_t gpus, uint64_t r)
{
	struct vgw__model_config *config = &world->models[m];

	memset(config, 0, sizeof(*config));
	draw_places(config, gpus, r);
	for (int32_t d = 0; d < gpus; d++)
		config->awake_bytes[d] = ((config->devices >> d) & 1u) ? 2 + (int64_t)((r >> 8) % 8) : 0;
	config->can_sleep = (r >> 16) % 3 != 0;
	for (int32_t d = 0; d < gpus && config->can_sleep; d++)
		config->asleep_bytes[d] = ((config->devices >> d) & 1u) ? 1 : 0;
	config->asleep_bytes[gpus] = config->can_sleep ? 3 + (int64_t)((r >> 20) % 4) : 0;
	config->groups = (r >> 24) % 4 == 0 ? 1 : 0;
	config->ttl_sleep_ms = (r >> 26) % 3 == 0 ? 20000 : 0;
	config->ttl_stop_ms = (r >> 28) % 3 == 0 ? 60000 : 0;
	config->start_timeout_ms = 20000;
	config->wake_timeout_ms = 5000;
	config->sleep_timeout_ms = 5000;
	config->stop_timeout_ms = 5000;
	config->drain_timeout_ms = 10000;
	config->expected_start_ms = 2000;
}

static void draw_residency(struct world *world, uint64_t r)
{
	static const int64_t waits[] = {1000, 10000, 60000};

	world->config = (struct vgw__residency_config){
		.max_resident = (int32_t)(r % 4),
		.max_asleep = (int32_t)((r >> 4) % 3),
		.policy = (r >> 8) & 1u ? VGW__POLICY_COST : VGW__POLICY_LRU,
		.max_wait_ms = waits[(r >> 9) % 3],
		.min_resident_ms = (r >> 12) & 1u ? 3000 : 0,
		.hold_ms = (r >> 13) & 1u ? 1000 : 0,
		.settle_timeout_ms = 3000,
		.cancel_grace_ms = 2000,
		.stuck_retry_ms = 4000,
		.cancel_unwanted_load = (r >> 14) & 1u,
		.seed = r,
	};
}

bool sim_begin(struct world *world, uint64_t seed)
{
	uint64_t r = sim_choice(seed, UINT32_MAX);
	int32_t gpus = (r >> 40) & 1u ? 4 : 2;

	memset(world, 0, sizeof(*world));
	world->limits =
		(struct vgw__planner_limits){.models = 2 + (int32_t)(r % 4), .devices = gpus + 1, .waiters = 16};
	world->devices[0].budget_bytes = (r >> 4) & 1u ? 12 : 0;
	world->devices[1].budget_bytes = 10;
	world->devices[2].budget_bytes = 10;
	world->devices[3].budget_bytes = 12;
	world->devices[gpus].budget_bytes = 8;
	world->devices[gpus].is_host = true; /* the last one */
	draw_residency(world, r >> 8);
	for (int32_t m = 0; m < world->limits.models; m++)
		draw_model(world, m, gpus, sim_choice(seed, UINT32_MAX - 1u - (uint64_t)m));
	world->now_ms = 1000;
	return world_begin(world);
}

/* --- choices --- */

/* The first model at or after `m` for which something runs. */
static int32_t with_operation(const struct world *world, int32_t m)
{
	for (int32_t i = 0; i < world->limits.models; i++) {
		int32_t at = (m + i) % world->limits.models;

		if (world->model[at].op != WORLD_OP_NONE ||
			(world->model[at].is_idle_due && !world->model[at].leases))
			return at;
	}
	return m;
}

static int32_t with_lease(const struct world *world, int32_t m)
{
	for (int32_t i = 0; i < world->limits.models; i++) {
		if (world->model[(m + i) % world->limits.models].leases)
			return (m + i) % world->limits.models;
	}
	return m;
}

/* A cancelled activation may succeed all the same: it was too late to stop it. */
static void answer(struct world *world, int32_t m, bool is_success, bool is_too_late)
{
	const struct world_model *model = &world->model[m];

	if (model->op != WORLD_OP_NONE)
		world_answer(world, m,
			is_success &&
				(model->op != WORLD_OP_ACTIVATE || !model->op_is_cancelled || is_too_late));
	else
		world_release(world, m); /* an IDLE that is due */
}

static void send_stale(struct world *world, int32_t m, uint32_t arg)
{
	static const enum vgw__event_kind kinds[] = {VGW__EVENT_IDLE, VGW__EVENT_ACTIVATED, VGW__EVENT_FAILED,
		VGW__EVENT_DEACTIVATED, VGW__EVENT_SETTLED, VGW__EVENT_DIED, VGW__EVENT_QUIET};
	struct vgw__event event = {
		.kind = kinds[arg % (sizeof(kinds) / sizeof(kinds[0]))],
		.model = m,
		.ticket = world->model[m].op_ticket - 1 - arg % 3,
		.generation = world->model[m].generation - 1,
	};

	if (event.kind == VGW__EVENT_IDLE)
		event.ticket = world->model[m].gate_ticket - 1;
	world_step(world, &event);
}

static void command(struct world *world, enum choice kind, int32_t m, uint32_t arg)
{
	switch (kind) {
	case CHOICE_LOAD:
		world_command(world, VGW__EVENT_LOAD, m, false);
		break;
	case CHOICE_PRELOAD:
		world_command(world, VGW__EVENT_PRELOAD, m, false);
		break;
	case CHOICE_UNLOAD:
	case CHOICE_FORCE_UNLOAD:
		world_command(world, VGW__EVENT_UNLOAD, m, kind == CHOICE_FORCE_UNLOAD);
		break;
	case CHOICE_SLEEP:
		world_command(world, VGW__EVENT_SLEEP, m, false);
		break;
	case CHOICE_PIN:
	case CHOICE_UNPIN:
		world_command(world, kind == CHOICE_PIN ? VGW__EVENT_PIN : VGW__EVENT_UNPIN, m, false);
		break;
	case CHOICE_RESET:
	case CHOICE_FORGET:
		world_command(world, VGW__EVENT_RESET, m, kind == CHOICE_FORGET);
		break;
	case CHOICE_CHANGE:
		world_command(world, VGW__EVENT_MODEL_CHANGED, m, arg % 2);
		break;
	default:
		break;
	}
}

void sim_step(struct world *world, uint64_t choice)
{
	enum choice kind = kind_of(choice);
	int32_t m = (int32_t)((choice >> 16 & 0xff) % (uint64_t)world->limits.models);
	uint32_t arg = (uint32_t)(choice >> 24 & 0xffff);
	struct vgw__event progress = {.kind = VGW__EVENT_PROGRESS,
		.model = m,
		.ticket = world->model[m].op_ticket,
		.eta_ms = arg % 5000};
	int32_t waiter = (int32_t)(arg % (uint32_t)world->limits.waiters);

	switch (kind) {
	case CHOICE_REQUEST:
		world_ask(world, m, 500 + (int64_t)(arg % 8) * (arg % 8) * 2000);
		break;
	case CHOICE_USE:
		world_use(world, m);
		break;
	case CHOICE_RELEASE:
		world_release(world, with_lease(world, m));
		break;
	case CHOICE_ANSWER:
		answer(world, with_operation(world, m), true, arg % 2);
		break;
	case CHOICE_ANSWER_BADLY:
		answer(world, with_operation(world, m), false, false);
		break;
	case CHOICE_FAIL:
		world_fail(world, with_operation(world, m), VGW__FAILURE_OOM + (enum vgw__failure)(arg % 4));
		break;
	case CHOICE_DIE:
		world_die(world, m, arg % 2 ? VGW__FAILURE_NONE : VGW__FAILURE_OOM);
		break;
	case CHOICE_ADVANCE_LITTLE:
		world_advance(world, arg % 100);
		break;
	case CHOICE_ADVANCE:
		world_advance(world, arg % 4000);
		break;
	case CHOICE_ADVANCE_FAR:
		world_advance(world, 10 * (int64_t)arg);
		break;
	case CHOICE_CANCEL:
		if (world->waiter[waiter].is_waiting)
			world_cancel(world, waiter);
		break;
	case CHOICE_PROGRESS:
		world_step(world, &progress);
		break;
	case CHOICE_STALE:
		send_stale(world, m, arg);
		break;
	case CHOICE_CONFIGURE:
		world->config.min_resident_ms = arg % 2 ? 3000 : 0;
		world_command(world, VGW__EVENT_CONFIGURED, VGW__NOBODY, false);
		break;
	default:
		command(world, kind, m, arg);
		break;
	}
}

/* --- the end --- */

static bool is_at_rest(const struct world *world)
{
	for (int32_t w = 0; w < world->limits.waiters; w++) {
		if (world->waiter[w].is_waiting)
			return false;
	}
	for (int32_t m = 0; m < world->limits.models; m++) {
		enum vgw__state state = world->model[m].state;

		if (world->model[m].op != WORLD_OP_NONE || world->model[m].leases)
			return false;
		if (state != VGW__STATE_ABSENT && state != VGW__STATE_READY && state != VGW__STATE_ASLEEP &&
			state != VGW__STATE_BACKOFF)
			return false;
	}
	return true;
}

/* All operations succeed, all leases come back, a second goes by. */
static void calm(struct world *world)
{
	for (int32_t m = 0; m < world->limits.models; m++) {
		while (world->model[m].leases && !world->broken)
			world_release(world, m);
	}
	world_settle(world);
	world_advance(world, 1000);
}

void sim_finish(struct world *world)
{
	struct vgw__event bye = {.kind = VGW__EVENT_SHUTDOWN};
	bool is_abrupt = world->steps % 2; /* half of them are shut down in the middle of it all */

	for (int round = 0; round < 200 && !is_abrupt && !world->broken && !is_at_rest(world); round++)
		calm(world);
	if (!is_abrupt && !world->broken && !is_at_rest(world))
		world->broken = "I16: faults stopped and somebody still waits or something still runs";
	if (!world->broken)
		world_step(world, &bye);
	for (int round = 0; round < 200 && !world->broken && !world->is_shutdown_done; round++)
		calm(world);
	if (!world->broken && !world->is_shutdown_done)
		world->broken = "I20: the shutdown does not come to an end";
	for (int round = 0; round < 200 && !world->broken && !is_at_rest(world); round++)
		calm(world);
	if (!world->broken && !is_at_rest(world))
		world->broken = "I20: something is left after the shutdown";
}

const char *sim_live(uint64_t seed, const uint64_t *choices, size_t count, enum sim_mode mode)
{
	static struct world world;

	if (!sim_begin(&world, seed))
		return "no memory";
	for (size_t i = 0; i < count && !world.broken; i++)
		sim_step(&world, choices[i]);
	if (mode == SIM_LIVENESS && !world.broken)
		sim_finish(&world);
	world_end(&world);
	return world.broken;
}

size_t sim_shrink(uint64_t seed, uint64_t *choices, size_t count, enum sim_mode mode)
{
	uint64_t *tried = malloc(count * sizeof(*tried));
	size_t chunk = count / 2;

	while (tried && chunk > 0) {
		bool has_shrunk = false;

		for (size_t at = 0; at + chunk <= count;) {
			memcpy(tried, choices, at * sizeof(*tried));
			memcpy(tried + at, choices + at + chunk, (count - at - chunk) * sizeof(*tried));
			if (sim_live(seed, tried, count - chunk, mode)) {
				count -= chunk;
				memcpy(choices, tried, count * sizeof(*tried));
				has_shrunk = true;
			} else {
				at += chunk;
			}
		}
		if (!has_shrunk || chunk > count)
			chunk /= 2;
	}
	free(tried);
	return count;
}
