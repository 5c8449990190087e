/* SPDX-License-Identifier: Apache-2.0 */
/* vgw_sim [--seed N] [--steps M] [--life L] [--mode safety|liveness] [--seconds S] [--quiet-reference]
 *
 * Lives seed N, N+1, ... of L choices each, M steps in all or S seconds long, and checks every step. A life that
 * breaks is printed with its seed and shrunk to the shortest list of choices that still breaks; exit status 1.
 * The environment variable VGW_SIM_SECONDS replaces --seconds, so that one build serves a quick and a long run. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
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

int main(int argc, char **argv)
{
	static struct world world;
	uint64_t seed = 1;
	uint64_t steps_wanted = 2000000;
	uint64_t steps = 0;
	uint64_t grants = 0;
	uint64_t refusals = 0;
	uint64_t lives = 0;
	size_t life = 400;
	double limit_s = 0;
	double began;
	bool is_unchecked = false;
	enum sim_mode mode = SIM_LIVENESS;
	const char *limit = getenv("VGW_SIM_SECONDS");
	uint64_t *choices;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quiet-reference"))
			is_unchecked = true;
		else if (i + 1 == argc)
			return 2;
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--steps"))
			steps_wanted = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--life"))
			life = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--mode"))
			mode = strcmp(argv[++i], "safety") ? SIM_LIVENESS : SIM_SAFETY;
		else if (!strcmp(argv[i], "--seconds"))
			limit_s = strtod(argv[++i], NULL);
		else
			return 2;
	}
	if (limit)
		limit_s = strtod(limit, NULL);
	choices = malloc(life * sizeof(*choices));
	if (!choices || !life)
		return 2;
	began = seconds();
	for (; limit_s > 0 ? seconds() - began < limit_s : steps < steps_wanted; seed++) {
		for (size_t i = 0; i < life; i++)
			choices[i] = sim_choice(seed, i);
		if (!sim_begin(&world, seed))
			return 2;
		world.is_unchecked = is_unchecked;
		for (size_t i = 0; i < life && !world.broken; i++)
			sim_step(&world, choices[i]);
		if (mode == SIM_LIVENESS && !world.broken)
			sim_finish(&world);
		world_end(&world);
		if (world.broken)
			return report(seed, choices, life, mode, world.broken);
		steps += world.steps;
		grants += world.grants;
		refusals += world.refusals;
		lives++;
	}
	began = seconds() - began;
	printf("%llu steps of %llu lives in %.1f s: %.0f steps/s; %llu grants, %llu refusals; nothing broke\n",
		(unsigned long long)steps, (unsigned long long)lives, began, (double)steps / began,
		(unsigned long long)grants, (unsigned long long)refusals);
	free(choices);
	return 0;
}
