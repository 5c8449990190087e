/* SPDX-License-Identifier: Apache-2.0 */
/* What choosing a replica costs, and what it is good for: nanoseconds per choice, the best of several rounds, and how
 * much of the prompts of a made-up day of conversations the engines would have found in their caches. Not a test.
 *
 * The day: CONVERSATIONS of up to TURNS turns, 40 at a time, half of them with one of 4 system prompts of 4 KB. Each
 * engine remembers the last CACHE_BLOCKS blocks it has seen, of CACHE_BYTES each; a request keeps its replica busy for
 * the next 16. */
#include "balance/choose.h"
#include "balance/hash.h"
#include "util/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPLICAS = 8, ROUNDS = 15, CONVERSATIONS = 1500, TURNS = 12, ACTIVE = 40, BUSY = 16, TEXT_BYTES = 64 * 1024 };
enum { CACHE_BYTES = 64, CACHE_BLOCKS = 1 << 14, SYSTEMS = 4, SYSTEM_BYTES = 4096, TURN_BYTES = 900 };

static double now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static uint64_t lot(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return vgw__mix(*state, *state >> 7);
}

static void fill(char *text, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + lot(&seed) % 26);
}

static struct vgw__targets *make_targets(void)
{
	struct vgw__endpoint *endpoints[REPLICAS];
	struct vgw__targets *targets;
	char url[64];
	bool is_same;

	for (size_t i = 0; i < REPLICAS; i++) {
		(void)snprintf(url, sizeof(url), "http://127.0.0.%zu:8000", i + 1);
		if (vgw__endpoint_new(&endpoints[i], url, NULL) != VGW_OK)
			exit(1);
	}
	targets = vgw__targets_new(endpoints, REPLICAS, NULL, &is_same);
	if (!targets)
		exit(1);
	for (size_t i = 0; i < REPLICAS; i++)
		vgw__endpoint_unref(endpoints[i]);
	return targets;
}

/* --- cost ------------------------------------------------------------------------------------------------------- */

static void measure(const char *name, vgw_balance balance, size_t len, struct vgw__targets *targets,
	struct vgw__prefix_table *table)
{
	enum { TIMES = 20000, TEXTS = 64 };
	static char texts[TEXTS][16 * 1024];
	struct vgw__prefix prefix;
	double best = 1e18;

	for (size_t i = 0; i < TEXTS; i++)
		fill(texts[i], sizeof(texts[i]), i);
	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns(), each;

		for (size_t i = 0; i < TIMES; i++) {
			struct vgw__choice choice = { .balance = balance, .has_key = true, .now_ms = 1, .table = table,
				.prefix = &prefix };

			choice.key = vgw__hash_bytes(0, texts[i % TEXTS], 36);
			if (balance == VGW_BALANCE_PREFIX)
				vgw__prefix_hash(&prefix, table, 0, texts[i % TEXTS], len);
			if (!vgw__balance_choose(targets, &choice))
				exit(1);
		}
		each = (now_ns() - start) / TIMES;
		best = each < best ? each : best;
	}
	printf("%-20s %6zu bytes of prompt, %d replicas %10.1f ns\n", name, len, REPLICAS, best);
}

/* --- worth ------------------------------------------------------------------------------------------------------ */

/* An engine's own cache, exact: a hash table of blocks with the time of their last use. */
struct cache {
	uint64_t hash[CACHE_BLOCKS];
	uint64_t used[CACHE_BLOCKS];
};

static bool *find(struct cache *cache, uint64_t hash, uint64_t now)
{
	static bool yes = true, no;
	size_t set = hash % (CACHE_BLOCKS / 8) * 8, oldest = set;

	for (size_t i = set; i < set + 8; i++) {
		if (cache->hash[i] == hash) {
			cache->used[i] = now;
			return &yes;
		}
		oldest = cache->used[i] < cache->used[oldest] ? i : oldest;
	}
	cache->hash[oldest] = hash;
	cache->used[oldest] = now;
	return &no;
}

struct conversation {
	char *text;
	size_t len;
	int turns;
	uint64_t id;
};

static void begin(struct conversation *one, uint64_t id, uint64_t *seed)
{
	one->id = id;
	one->len = 0;
	one->turns = 1 + (int)(lot(seed) % TURNS);
	if (lot(seed) % 2) {
		fill(one->text, SYSTEM_BYTES, lot(seed) % SYSTEMS);
		one->len = SYSTEM_BYTES;
	}
}

static void run_day(const char *name, vgw_balance balance)
{
	struct vgw__targets *targets = make_targets();
	struct vgw__prefix_table *table = vgw__prefix_table_new(VGW__PREFIX_ENTRIES);
	struct cache *caches = calloc(REPLICAS, sizeof(*caches));
	struct conversation active[ACTIVE];
	struct vgw__target *busy[BUSY] = { 0 };
	uint64_t seed = 1, started = 0, asked = 0, hit = 0, requests = 0, most = 0;
	static struct vgw__prefix prefix;

	if (!table || !caches)
		exit(1);
	for (size_t i = 0; i < ACTIVE; i++) {
		active[i].text = malloc(TEXT_BYTES);
		if (!active[i].text)
			exit(1);
		begin(&active[i], started++, &seed);
	}
	while (started < CONVERSATIONS) {
		struct conversation *one = &active[lot(&seed) % ACTIVE];
		struct vgw__choice choice = { .balance = balance, .has_key = true, .now_ms = 1, .table = table,
			.prefix = &prefix };
		struct vgw__target *target;
		uint64_t hash = 0;
		bool is_cached = true;

		if (one->turns-- == 0)
			begin(one, started++, &seed);
		fill(one->text + one->len, TURN_BYTES, lot(&seed));
		one->len += TURN_BYTES;
		choice.key = vgw__hash_bytes(0, &one->id, sizeof(one->id));
		vgw__prefix_hash(&prefix, table, 0, one->text, one->len);
		target = vgw__balance_choose(targets, &choice);
		if (busy[requests % BUSY])
			atomic_fetch_sub(&busy[requests % BUSY]->in_flight, 1);
		busy[requests++ % BUSY] = target;
		if (atomic_fetch_add(&target->in_flight, 1) + 1 > most)
			most = atomic_load(&target->in_flight);
		atomic_fetch_add(&target->total, 1);
		for (size_t at = 0; at + CACHE_BYTES <= one->len; at += CACHE_BYTES) {
			hash = vgw__hash_bytes(hash, one->text + at, CACHE_BYTES);
			is_cached = *find(&caches[target->number], hash, requests) && is_cached;
			hit += is_cached;
			asked++;
		}
	}
	printf("%-20s %5.1f %% of prompt blocks found in the engine's cache; busiest moment of a replica: %llu requests\n",
		name, 100.0 * (double)hit / (double)asked, (unsigned long long)most);
	for (size_t i = 0; i < ACTIVE; i++)
		free(active[i].text);
	free(caches);
	vgw__prefix_table_free(table);
	vgw__targets_unref(targets);
}

int main(void)
{
	struct vgw__targets *targets = make_targets();
	struct vgw__prefix_table *table = vgw__prefix_table_new(VGW__PREFIX_ENTRIES);

	if (!table)
		return 1;
#define XX(name, text) measure(text, VGW_BALANCE_##name, 16 * 1024, targets, table);
	VGW_BALANCE_MAP(XX)
#undef XX
	measure("prefix", VGW_BALANCE_PREFIX, 1024, targets, table);
#define XX(name, text) run_day(text, VGW_BALANCE_##name);
	VGW_BALANCE_MAP(XX)
#undef XX
	vgw__prefix_table_free(table);
	vgw__targets_unref(targets);
	return 0;
}
