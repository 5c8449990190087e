/* SPDX-License-Identifier: Apache-2.0 */
/* vgw_search [--faults N] [--requests N] [--case N]
 *
 * Every state that a small world can come into, on the real code: two or three models, one or two devices, a
 * few requests, a few faults, in every order. Each new state is checked (world.c's account and the planner's
 * own), and from each the way to rest is walked: faults stop, everything must end. States are told apart by a
 * canonical text: times relative to now, orders as ranks, no counters; learning (rates, measured times) is
 * switched off by forgetting after each step, so that the canonical text decides what can follow. */
#include "sim.h"

#include "core/planner_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 400
#define MOVES 10
#define CASES 7

struct node {
	struct world world;
	int requests;
	int faults;
	int patience; /* timers that may still fire */
	int move;     /* the next move to try from here */
	char name[40];
};

struct search {
	struct node *stack;
	uint64_t *seen; /* open addressing, two words per state; 0,0 is empty */
	size_t room;    /* power of two */
	size_t count;
	uint64_t steps;
	int depth_max;
	struct world finish; /* with its own planner */
};

/* --- the canonical text --- */

struct text {
	unsigned char bytes[2048];
	size_t len;
};

static void put(struct text *text, int64_t value)
{
	if (text->len + sizeof(value) <= sizeof(text->bytes)) {
		memcpy(text->bytes + text->len, &value, sizeof(value));
		text->len += sizeof(value);
	}
}

static int64_t relative(int64_t at_ms, int64_t now_ms)
{
	return at_ms == VGW__NEVER ? VGW__NEVER : at_ms - now_ms;
}

static int64_t rank_of(const struct vgw__planner *p, uint64_t seq)
{
	int64_t rank = 0;

	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct vgw__replica *r = &p->replicas[i];

		rank += r->is_claimed && r->claim_seq < seq;
		rank += r->state == VGW__STATE_LEAVING && r->evict_seq < seq;
		rank += r->state == VGW__STATE_DRAINING && r->evict_seq < seq;
		rank += r->state == VGW__STATE_STUCK && r->evict_seq < seq;
	}
	return rank;
}

static int64_t age_rank(const struct vgw__planner *p, const struct vgw__replica *r)
{
	int64_t rank = 0;

	for (int32_t i = 0; i < p->limits.models; i++)
		rank += p->replicas[i].last_used_ms < r->last_used_ms;
	return rank;
}

static void put_replica(struct text *text, const struct vgw__planner *p, const struct vgw__replica *r)
{
	bool is_leaving = r->state == VGW__STATE_DRAINING || r->state == VGW__STATE_LEAVING ||
			  r->state == VGW__STATE_STUCK;
	uint64_t flags = 0;
	const bool bits[] = {r->is_pinned, r->is_final, r->is_cancelling, r->is_overdue, r->is_unload,
		r->is_retry_due, r->has_drained, r->is_wanted_admin, r->is_claimed, r->is_retried,
		r->is_shedding, r->is_watched};

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		flags |= (uint64_t)bits[i] << i;
	put(text, (int64_t)r->state | (int64_t)r->pending << 8 | (int64_t)r->phase << 16 |
			  (int64_t)r->depth << 24 | (int64_t)r->op_depth << 28 | (int64_t)r->verdict << 32 |
			  (int64_t)r->holds << 36 | (int64_t)r->doomed << 40 |
			  (int64_t)(r->failures & 15) << 48 | (int64_t)(r->sleep_failures & 3) << 52);
	put(text, (int64_t)flags);
	put(text, relative(r->deadline_ms, p->now_ms));
	put(text, r->state == VGW__STATE_BACKOFF || r->verdict == VGW__VERDICT_BACKOFF
			  ? relative(r->until_ms, p->now_ms)
			  : 0);
	put(text, r->devices);
	put(text, is_leaving ? rank_of(p, r->evict_seq) : -1);
	put(text, r->is_claimed ? rank_of(p, r->claim_seq) : -1);
	put(text, is_leaving ? r->beneficiary : VGW__NOBODY);
	put(text, age_rank(p, r));
	for (int32_t w = r->first_waiter; w != VGW__NOBODY; w = p->waiters[w].next) {
		put(text, relative(p->waiters[w].arrived_ms, p->now_ms));
		put(text, relative(p->waiters[w].deadline_ms, p->now_ms));
	}
	put(text, -7);
}

static void describe(const struct node *node, struct text *text)
{
	const struct vgw__planner *p = node->world.planner;

	text->len = 0;
	put(text, node->requests | node->faults << 8 | node->patience << 16);
	put(text, relative(node->world.timer_ms, node->world.now_ms));
	for (int32_t i = 0; i < p->limits.models; i++) {
		const struct world_model *m = &node->world.model[i];

		put_replica(text, p, &p->replicas[i]);
		put(text, (int64_t)m->op | (int64_t)m->op_depth << 4 | m->op_is_cancelled << 6 |
				  m->op_is_wake << 7 | m->has_engine << 8 | m->is_awake << 9 |
				  m->is_gate_open << 10 | m->is_idle_due << 11 | m->is_watched << 12 |
				  m->was_cut << 13 | (int64_t)m->leases << 16);
		put(text, (int64_t)(p->replicas[i].ticket - m->op_ticket) << 32 |
				  (p->replicas[i].ticket - m->gate_ticket));
	}
}

/* true: not seen before. */
static bool remember(struct search *search, const struct node *node)
{
	struct text text;
	uint64_t a = 0x9e3779b97f4a7c15ull;
	uint64_t b = 0x243f6a8885a308d3ull;
	uint64_t word;
	size_t at;

	describe(node, &text);
	for (size_t i = 0; i < text.len; i += sizeof(word)) {
		memcpy(&word, text.bytes + i, sizeof(word));
		a = (a ^ word) * 0xff51afd7ed558ccdull;
		a ^= a >> 32;
		b = (b + word) * 0xc4ceb9fe1a85ec53ull;
		b ^= b >> 29;
	}
	a |= 1;
	for (at = a & (search->room - 1);; at = (at + 1) & (search->room - 1)) {
		if (!search->seen[2 * at])
			break;
		if (search->seen[2 * at] == a && search->seen[2 * at + 1] == b)
			return false;
	}
	if (2 * search->count >= search->room)
		return false; /* full: main() says so */
	search->seen[2 * at] = a;
	search->seen[2 * at + 1] = b;
	search->count++;
	return true;
}

/* --- moves --- */

static void forget_learning(struct world *world)
{
	struct vgw__planner *p = world->planner;

	p->decisions = 0;
	p->random = 1;
	for (int32_t i = 0; i < p->limits.models; i++) {
		struct vgw__replica *r = &p->replicas[i];

		memset(&r->rate, 0, sizeof(r->rate));
		memset(&r->start, 0, sizeof(r->start));
		memset(&r->wake, 0, sizeof(r->wake));
		memset(&r->sleep, 0, sizeof(r->sleep));
		memset(&r->stop, 0, sizeof(r->stop));
		memset(&r->drain, 0, sizeof(r->drain));
	}
}

static void copy_world(struct world *to, const struct world *from)
{
	struct vgw__planner *own = to->planner;

	*to = *from;
	to->planner = own;
	vgw__planner_copy(own, from->planner);
}

static bool spend(int *budget)
{
	if (*budget <= 0)
		return false;
	--*budget;
	return true;
}

/* Makes move number `move` in `node`; false: it is none here. */
static bool make(struct node *node, int move)
{
	static const char *const names[MOVES] = {"ask", "use", "release", "answer", "fail", "out of memory",
		"die", "cancel", "timer", "unload"};
	struct world *world = &node->world;
	int32_t m = move / MOVES;
	struct world_model *model = &world->model[m];
	struct vgw__event timer = {.kind = VGW__EVENT_TIMER};

	(void)snprintf(node->name, sizeof(node->name), "%s %d", names[move % MOVES], (int)m);
	switch (move % MOVES) {
	case 0:
		return spend(&node->requests) && world_ask(world, m, 1000000) != VGW__NOBODY;
	case 1:
		return model->is_gate_open && spend(&node->requests) && world_use(world, m);
	case 2:
		if (!model->leases && !(model->is_idle_due))
			return false;
		world_release(world, m);
		return true;
	case 3:
		if (model->op == WORLD_OP_NONE)
			return false;
		world_answer(world, m, true);
		return true;
	case 4:
		if (model->op == WORLD_OP_NONE || (!model->op_is_cancelled && !spend(&node->faults)))
			return false;
		world_answer(world, m, false);
		return true;
	case 5:
		if (model->op != WORLD_OP_ACTIVATE || !spend(&node->faults))
			return false;
		world_fail(world, m, VGW__FAILURE_OOM);
		return true;
	case 6:
		if (!model->has_engine || !spend(&node->faults))
			return false;
		world_die(world, m, VGW__FAILURE_NONE);
		return true;
	case 7:
		for (int32_t w = 0; w < world->limits.waiters; w++) {
			if (world->waiter[w].is_waiting && world->waiter[w].model == m &&
				spend(&node->faults)) {
				world_cancel(world, w);
				return true;
			}
		}
		return false;
	case 8:
		if (m || world->timer_ms == VGW__NEVER || !spend(&node->patience))
			return false;
		world->now_ms = world->timer_ms;
		world->timer_ms = VGW__NEVER;
		world_step(world, &timer);
		return true;
	default:
		if (model->state == VGW__STATE_ABSENT || !spend(&node->faults))
			return false;
		world_command(world, VGW__EVENT_UNLOAD, m, false);
		return true;
	}
}

/* --- the search --- */

static int tell(const struct search *search, int depth, const char *what)
{
	printf("broken: %s\n", what);
	for (int i = 1; i <= depth; i++)
		printf("  %s\n", search->stack[i].name);
	return 1;
}

static int explore(struct search *search)
{
	int depth = 0;
	int moves = search->stack[0].world.limits.models * MOVES;

	(void)remember(search, &search->stack[0]);
	while (depth >= 0) {
		struct node *node = &search->stack[depth];
		struct node *next = &search->stack[depth + 1];

		if (node->move == moves || depth + 1 == DEPTH_MAX) {
			depth--;
			continue;
		}
		copy_world(&next->world, &node->world);
		next->requests = node->requests;
		next->faults = node->faults;
		next->patience = node->patience;
		next->move = 0;
		if (!make(next, node->move++))
			continue;
		search->steps++;
		forget_learning(&next->world);
		if (next->world.broken)
			return tell(search, depth + 1, next->world.broken);
		if (!remember(search, next))
			continue;
		copy_world(&search->finish, &next->world);
		sim_finish(&search->finish);
		if (search->finish.broken)
			return tell(search, depth + 1, search->finish.broken);
		depth++;
		if (depth > search->depth_max)
			search->depth_max = depth;
	}
	return 0;
}

/* --- cases --- */

/* One GPU for one; the same with sleep; two that exclude each other; a wide one over two devices;
 * three that sleep; two, then three that choose one of two devices, beside a wide one that sleeps too. */
static void set_case(struct world *world, int number)
{
	memset(world, 0, sizeof(*world));
	world->now_ms = 1000;
	world->limits =
		(struct vgw__planner_limits){.models = number == 4 || number == 6 ? 3 : 2, .devices = 3, .waiters = 4};
	world->devices[0].budget_bytes = 10;
	world->devices[1].budget_bytes = 10;
	world->devices[2].budget_bytes = 8;
	world->devices[2].is_host = true;
	world->config = (struct vgw__residency_config){.max_resident = number == 3 || number == 6 ? 0 : number == 5 ? 2 : 1,
		.max_wait_ms = 5000,
		.max_asleep = number == 1 || number >= 4,
		.settle_timeout_ms = 1000,
		.cancel_grace_ms = 1000,
		.stuck_retry_ms = 1000,
		.backoff_ms = 1000,
		.cancel_unwanted_load = number == 1};
	if (number == 2)
		world->config.max_resident = 2;
	for (int32_t m = 0; m < world->limits.models; m++) {
		struct vgw__model_config *config = &world->models[m];

		config->devices = (number == 3 && m) || number >= 5 ? 3 : 1;
		config->devices_needed = number < 5 ? 0 : number == 6 && m == 2 ? 2 : 1;
		config->awake_bytes[0] = number == 2 ? 5 : 8;
		config->awake_bytes[1] = (number == 3 && m) || number >= 5 ? 8 : 0;
		config->can_sleep = number == 1 || number >= 4;
		config->asleep_bytes[0] = config->can_sleep ? 1 : 0;
		config->asleep_bytes[1] = number >= 5 ? 1 : 0;
		config->asleep_bytes[2] = config->can_sleep ? 6 : 0;
		config->groups = number == 2 ? 1 : 0;
		config->start_timeout_ms = 3000;
		config->wake_timeout_ms = 3000;
		config->sleep_timeout_ms = 3000;
		config->stop_timeout_ms = 3000;
		config->drain_timeout_ms = 3000;
	}
}

static int search_case(struct search *search, int number, int requests, int faults)
{
	int status;

	for (int i = 0; i < DEPTH_MAX; i++) {
		set_case(&search->stack[i].world, number);
		if (!world_begin(&search->stack[i].world))
			return 2;
	}
	set_case(&search->finish, number);
	if (!world_begin(&search->finish))
		return 2;
	memset(search->seen, 0, 2 * search->room * sizeof(*search->seen));
	search->count = 0;
	search->steps = 0;
	search->depth_max = 0;
	search->stack[0].requests = requests;
	search->stack[0].faults = faults;
	search->stack[0].patience = 2;
	search->stack[0].move = 0;
	status = explore(search);
	printf("case %d, %d requests, %d faults: %zu states, %" PRIu64 " steps, depth %d%s\n", number,
		requests, faults, search->count, search->steps, search->depth_max,
		2 * search->count >= search->room ? ", TABLE FULL" : "");
	if (2 * search->count >= search->room)
		status = 1;
	for (int i = 0; i < DEPTH_MAX; i++)
		world_end(&search->stack[i].world);
	world_end(&search->finish);
	return status;
}

int main(int argc, char **argv)
{
	static struct search search;
	int requests = 2;
	int faults = 1;
	int fewer;
	int only = -1;
	int status = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		long value = strtol(argv[i + 1], NULL, 10);

		if (!strcmp(argv[i], "--requests"))
			requests = (int)value;
		else if (!strcmp(argv[i], "--faults"))
			faults = (int)value;
		else if (!strcmp(argv[i], "--case"))
			only = (int)value;
		else
			return 2;
	}
	fewer = requests;
	if (getenv("VGW_SIM_SECONDS"))
		requests = 3; /* the long run; the last case has more states by then than the table has room */
	search.room = (size_t)1 << 23;
	search.stack = calloc(DEPTH_MAX, sizeof(*search.stack));
	search.seen = calloc(2 * search.room, sizeof(*search.seen));
	if (!search.stack || !search.seen)
		return 2;
	for (int number = 0; number < CASES && !status; number++) {
		if (only < 0 || only == number)
			status = search_case(&search, number, number == CASES - 1 ? fewer : requests, faults);
	}
	free(search.stack);
	free(search.seen);
	return status;
}
