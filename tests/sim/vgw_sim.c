/* SPDX-License-Identifier: Apache-2.0 */
/* vgw_sim [--seed N] [--steps M] [--life L] [--mode safety|liveness] [--seconds S] [--quiet-reference]
 *
 * Lives seed N, N+1, ... of L choices each, M steps in all or S seconds long, and checks every step. A life
 * that breaks is printed with its seed and shrunk to the shortest list of choices that still breaks; exit
 * status 1. The environment variable VGW_SIM_SECONDS replaces --seconds and draws the first seed from the
 * clock, so that one build serves a quick run, the same each time, and a long one. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(clockid_t which)
{
	struct timespec now;

	clock_gettime(which, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int report(uint64_t seed, uint64_t *choices, size_t count, enum sim_mode mode, const char *what)
{
	char text[96];

	printf("seed %llu breaks: %s\n", (unsigned long long)seed, what);
	count = sim_shrink(seed, choices, count, mode);
	printf("shrunk to %zu choices: %s\n", count, sim_live(seed, choices, count, mode));
	for (size_t i = 0; i < count; i++) {
		sim_describe(choices[i], text, sizeof(text));
		printf("  %s\n", text);
	}
	return 1;
}

struct order {
	uint64_t seed;
	uint64_t steps;
	size_t life;
	double seconds; /* 0: count steps */
	bool is_unchecked;
	enum sim_mode mode;
};

static bool read_order(struct order *order, int argc, char **argv)
{
	const char *limit = getenv("VGW_SIM_SECONDS");

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quiet-reference"))
			order->is_unchecked = true;
		else if (i + 1 == argc)
			return false;
		else if (!strcmp(argv[i], "--seed"))
			order->seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--steps"))
			order->steps = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--life"))
			order->life = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--mode"))
			order->mode = strcmp(argv[++i], "safety") ? SIM_LIVENESS : SIM_SAFETY;
		else if (!strcmp(argv[i], "--seconds"))
			order->seconds = strtod(argv[++i], NULL);
		else
			return false;
	}
	if (limit) {
		order->seconds = strtod(limit, NULL);
		order->seed = (uint64_t)time(NULL) << 20;
		printf("first seed %llu\n", (unsigned long long)order->seed);
	}
	return order->life > 0;
}

/* One life; world.broken says how it went. */
static bool live(struct world *world, const struct order *order, uint64_t *choices)
{
	for (size_t i = 0; i < order->life; i++)
		choices[i] = sim_choice(order->seed, i);
	if (!sim_begin(world, order->seed))
		return false;
	world->is_unchecked = order->is_unchecked;
	for (size_t i = 0; i < order->life && !world->broken; i++)
		sim_step(world, choices[i]);
	if (order->mode == SIM_LIVENESS && !world->broken)
		sim_finish(world);
	world_end(world);
	return true;
}

int main(int argc, char **argv)
{
	static struct world world;
	struct order order = {.seed = 1, .steps = 2000000, .life = 400, .mode = SIM_LIVENESS};
	uint64_t steps = 0;
	uint64_t grants = 0;
	uint64_t refusals = 0;
	uint64_t lives = 0;
	double began = seconds(CLOCK_MONOTONIC);
	double cpu_began = seconds(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t *choices;

	if (!read_order(&order, argc, argv))
		return 2;
	choices = malloc(order.life * sizeof(*choices));
	if (!choices)
		return 2;
	while (order.seconds > 0 ? seconds(CLOCK_MONOTONIC) - began < order.seconds : steps < order.steps) {
		if (!live(&world, &order, choices))
			return 2;
		if (world.broken)
			return report(order.seed, choices, order.life, order.mode, world.broken);
		steps += world.steps;
		grants += world.grants;
		refusals += world.refusals;
		lives++;
		order.seed++;
	}
	printf("%llu steps of %llu lives, %.1f s, %.0f steps per second of processor; %llu grants, %llu "
	       "refusals;"
	       " nothing broke\n",
		(unsigned long long)steps, (unsigned long long)lives, seconds(CLOCK_MONOTONIC) - began,
		(double)steps / (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_began), (unsigned long long)grants,
		(unsigned long long)refusals);
	free(choices);
	return 0;
}
