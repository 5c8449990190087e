/* SPDX-License-Identifier: Apache-2.0 */
/* A random life of the planner: a list of choices, each a number, interpreted against the world as it is
 * then. Any sublist is a valid life too, which is what makes shrinking by deletion work. */
#ifndef VGW_TESTS_SIM_H
#define VGW_TESTS_SIM_H

#include "world.h"

#include <stddef.h>

enum sim_mode {
	SIM_SAFETY,   /* faults until the end */
	SIM_LIVENESS, /* then faults stop and everything must come to an end */
};

/* The i-th choice of a seed. */
uint64_t sim_choice(uint64_t seed, uint64_t i);
/* A configuration drawn from the seed. false: no memory. */
bool sim_begin(struct world *world, uint64_t seed);
void sim_step(struct world *world, uint64_t choice);
/* Faults stop: all operations succeed, all leases come back, time goes on. Sets world->broken if something or
 * somebody is left. */
void sim_finish(struct world *world);
/* Lives the choices; NULL, or what broke. */
const char *sim_live(uint64_t seed, const uint64_t *choices, size_t count, enum sim_mode mode);
/* ddmin: the shortest sublist it finds that still breaks; returns its length. */
size_t sim_shrink(uint64_t seed, uint64_t *choices, size_t count, enum sim_mode mode);
void sim_describe(uint64_t choice, char *text, size_t room);

#endif
