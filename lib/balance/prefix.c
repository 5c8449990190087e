/* SPDX-License-Identifier: Apache-2.0 */
/* The table of prompt blocks: sets of four entries, each set one line of the processor's cache. An entry is two words:
 * 48 bits of the hash with 16 bits of age, and the replicas' bits. In a full set the oldest entry makes room. */
#include "balance/prefix.h"

#include "balance/hash.h"
#include "util/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/random.h>

enum { WAYS = 4, LINE_BYTES = 64, AGE_SHIFT = 10 };

#define AGE_MASK UINT64_C(0xffff)

struct entry {
	atomic_uint_fast64_t tag;  /* hash but for its low 16 bits, which are the age; 0: free */
	atomic_uint_fast64_t bits; /* by replica number */
};

struct vgw__prefix_table {
	void *memory;
	struct entry *entries; /* in `memory`, at the beginning of a line */
	size_t sets;           /* a power of two */
	uint64_t seed;         /* nobody outside can choose prompts that share a set */
	atomic_uint_fast64_t clock; /* prompts learned */
};

struct vgw__prefix_table *vgw__prefix_table_new(size_t entries)
{
	struct vgw__prefix_table *table = vgw__alloc(sizeof(*table));

	if (!table)
		return NULL;
	table->sets = 1;
	while (table->sets * WAYS < entries)
		table->sets *= 2;
	table->memory = vgw__calloc(table->sets * WAYS + WAYS, sizeof(struct entry));
	if (!table->memory) {
		vgw__free(table);
		return NULL;
	}
	table->entries = (struct entry *)(((uintptr_t)table->memory + LINE_BYTES - 1) & ~(uintptr_t)(LINE_BYTES - 1));
	if (getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK) != (ssize_t)sizeof(table->seed))
		table->seed = (uintptr_t)table->memory; /* early at boot: guessable is good enough */
	return table;
}

void vgw__prefix_table_free(struct vgw__prefix_table *table)
{
	if (!table)
		return;
	vgw__free(table->memory);
	vgw__free(table);
}

static struct entry *set_of(const struct vgw__prefix_table *table, uint64_t hash)
{
	return &table->entries[((hash >> 16) & (table->sets - 1)) * WAYS];
}

/* Four products that do not wait for each other, one that does. */
static uint64_t hash_block(const unsigned char *data, uint64_t before)
{
	uint64_t a = vgw__mix(vgw__load64(data), vgw__load64(data + 8));
	uint64_t b = vgw__mix(vgw__load64(data + 16), ~vgw__load64(data + 24));
	uint64_t c = vgw__mix(~vgw__load64(data + 32), vgw__load64(data + 40));
	uint64_t d = vgw__mix(~vgw__load64(data + 48), ~vgw__load64(data + 56));

	return vgw__mix(a ^ (b << 1 | b >> 63) ^ before, c ^ (d << 1 | d >> 63));
}

void vgw__prefix_hash(struct vgw__prefix *prefix, const struct vgw__prefix_table *table, uint64_t salt,
	const void *data, size_t len)
{
	const unsigned char *at = data;
	uint64_t hash = vgw__mix(table->seed, salt);
	size_t count = len / VGW__PREFIX_BLOCK_BYTES;

	if (count > VGW__PREFIX_BLOCKS)
		count = VGW__PREFIX_BLOCKS;
	for (size_t i = 0; i < count; i++, at += VGW__PREFIX_BLOCK_BYTES) {
		hash = hash_block(at, hash);
		__builtin_prefetch(set_of(table, hash), 1);
		prefix->blocks[i] = hash;
	}
	prefix->count = (uint32_t)count;
}

static struct entry *find(const struct vgw__prefix_table *table, uint64_t hash)
{
	struct entry *set = set_of(table, hash);

	for (size_t way = 0; way < WAYS; way++) {
		uint64_t tag = atomic_load_explicit(&set[way].tag, memory_order_relaxed);

		if (((tag ^ hash) & ~AGE_MASK) == 0)
			return &set[way];
	}
	return NULL;
}

uint64_t vgw__prefix_find(const struct vgw__prefix_table *table, const struct vgw__prefix *prefix, uint64_t among,
	uint32_t *blocks)
{
	uint64_t left = among;

	*blocks = 0;
	for (uint32_t i = 0; i < prefix->count; i++) {
		const struct entry *entry = find(table, prefix->blocks[i]);
		uint64_t bits = entry ? left & atomic_load_explicit(&entry->bits, memory_order_relaxed) : 0;

		if (!bits)
			break;
		left = bits;
		*blocks = i + 1;
	}
	return *blocks ? left : 0;
}

/* An entry for the hash: its own, a free one, or the oldest of its set. */
static struct entry *take(struct vgw__prefix_table *table, uint64_t hash, uint64_t age)
{
	struct entry *set = set_of(table, hash), *oldest = set;
	uint64_t most = 0;

	for (size_t way = 0; way < WAYS; way++) {
		uint64_t tag = atomic_load_explicit(&set[way].tag, memory_order_relaxed);
		uint64_t since = tag ? ((age - tag) & AGE_MASK) + 1 : AGE_MASK + 2;

		if (((tag ^ hash) & ~AGE_MASK) == 0)
			return &set[way];
		if (since > most) {
			most = since;
			oldest = &set[way];
		}
	}
	atomic_store_explicit(&oldest->bits, 0, memory_order_relaxed);
	return oldest;
}

void vgw__prefix_learn(struct vgw__prefix_table *table, const struct vgw__prefix *prefix, uint32_t number)
{
	uint64_t clock = atomic_fetch_add_explicit(&table->clock, 1, memory_order_relaxed);
	uint64_t age = (clock >> AGE_SHIFT) & AGE_MASK;

	for (uint32_t i = 0; i < prefix->count; i++) {
		uint64_t hash = prefix->blocks[i];
		struct entry *entry = take(table, hash, age);
		uint64_t bits = atomic_load_explicit(&entry->bits, memory_order_relaxed);

		/* What is so already is not written: the line stays clean for the other workers. */
		if (atomic_load_explicit(&entry->tag, memory_order_relaxed) != ((hash & ~AGE_MASK) | age))
			atomic_store_explicit(&entry->tag, (hash & ~AGE_MASK) | age, memory_order_relaxed);
		if (!(bits >> number & 1))
			atomic_store_explicit(&entry->bits, bits | UINT64_C(1) << number, memory_order_relaxed);
	}
}
