/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of the residency planner, chosen by the input: eight bytes for the configuration, then a choice per
 * four. The oracle: the naive account of world.c and the planner's invariants at every step, and rest at the
 * end. */
#include "fuzz.h"

#include "../sim/sim.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	uint64_t seed = 0;
	uint32_t word;
	bool is_begun;

	if (size < sizeof(seed) || size > 8192)
		return 0;
	memcpy(&seed, data, sizeof(seed));
	is_begun = sim_begin(&world, seed);
	FUZZ_CHECK(is_begun);
	for (size_t at = sizeof(seed); at + sizeof(word) <= size && !world.broken; at += sizeof(word)) {
		memcpy(&word, data + at, sizeof(word));
		sim_step(&world, (uint64_t)word | (uint64_t)(word >> 16) << 32);
	}
	if (!world.broken)
		sim_finish(&world);
	if (world.broken)
		(void)fprintf(stderr, "%s\n", world.broken);
	world_end(&world);
	FUZZ_CHECK(!world.broken);
	return 0;
}
