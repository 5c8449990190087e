/* SPDX-License-Identifier: Apache-2.0 */
/* What a lease costs while its model is up: nanoseconds for taking and giving back, the best of several rounds, by
 * one thread and by two at once. The gate is what a worker pays per request; acquire and release are what a program
 * pays. Not a test. */
#include "residency/residency.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 7, PAIRS = 1000000, MOST_THREADS = 2 };

struct runner {
	void (*pair)(struct runner *runner);
	vgw_residency *residency;
	struct vgw__resident *resident;
	atomic_int *waiting; /* to begin together */
	pthread_t thread;
	double ns;
};

static double now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static void gate_pair(struct runner *runner)
{
	if (!vgw__gate_enter(runner->resident))
		exit(1);
	vgw__gate_leave(runner->resident);
}

static void lease_pair(struct runner *runner)
{
	vgw_lease *lease;

	if (vgw_residency_try_acquire(&lease, runner->residency, "m", NULL) != VGW_OK)
		exit(1);
	vgw_lease_release(lease);
}

static void *run(void *user)
{
	struct runner *runner = user;
	double began;

	atomic_fetch_sub(runner->waiting, 1);
	while (atomic_load(runner->waiting) > 0)
		;
	began = now_ns();
	for (int i = 0; i < PAIRS; i++)
		runner->pair(runner);
	runner->ns = (now_ns() - began) / PAIRS;
	return NULL;
}

static double measure(const struct runner *like, int threads)
{
	struct runner runners[MOST_THREADS];
	double best = 1e18;

	for (int round = 0; round < ROUNDS; round++) {
		atomic_int waiting = threads;
		double worst = 0;

		for (int i = 0; i < threads; i++) {
			runners[i] = *like;
			runners[i].waiting = &waiting;
			if (pthread_create(&runners[i].thread, NULL, run, &runners[i]) != 0)
				exit(1);
		}
		for (int i = 0; i < threads; i++) {
			pthread_join(runners[i].thread, NULL);
			worst = runners[i].ns > worst ? runners[i].ns : worst;
		}
		best = worst < best ? worst : best;
	}
	return best;
}

static vgw_residency *make_residency(void)
{
	const vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	vgw_residency *residency;
	vgw_registry *registry;

	model.name = "m";
	model.kind = "static";
	model.backend_json = "{\"kind\":\"static\",\"url\":\"http://127.0.0.1:1\"}";
	if (vgw_residency_new(&residency, &options, NULL) != VGW_OK || vgw_registry_new(&registry, NULL) != VGW_OK ||
		vgw_registry_add(registry, &model, NULL) != VGW_OK ||
		vgw_residency_apply(residency, registry, NULL) != VGW_OK)
		exit(1);
	vgw_registry_unref(registry);
	return residency;
}

int main(void)
{
	struct runner runner = { .residency = make_residency() };

	runner.resident = vgw__residency_find(runner.residency, "m");
	for (int threads = 1; threads <= MOST_THREADS; threads++) {
		runner.pair = gate_pair;
		printf("gate enter + leave,      %d thread(s): %6.1f ns\n", threads, measure(&runner, threads));
		runner.pair = lease_pair;
		printf("lease acquire + release, %d thread(s): %6.1f ns\n", threads, measure(&runner, threads));
	}
	vgw__resident_unref(runner.resident);
	vgw_residency_free(runner.residency);
	return 0;
}
