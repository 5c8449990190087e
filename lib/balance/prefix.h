/* SPDX-License-Identifier: Apache-2.0 */
/* Which replica has seen the beginning of a prompt before: it has it in its cache still, perhaps.
 *
 *   prompt bytes: [ 64 ][ 64 ][ 64 ] ...      h(i) = hash(block i, h(i-1)): equal only if all before is equal
 *                   h0    h1    h2            table: h ─► bits of the replicas that were sent it, and when
 *
 * The table has a fixed size, is shared by all models and workers of a gateway and needs no lock: an entry that is
 * torn or lost costs a cache hit, never an answer. */
#ifndef VGW_BALANCE_PREFIX_H
#define VGW_BALANCE_PREFIX_H

#include <stddef.h>
#include <stdint.h>

enum {
	VGW__PREFIX_BLOCK_BYTES = 64,
	VGW__PREFIX_BLOCKS = 256,                 /* of a prompt: what comes behind 16 KiB does not count */
	VGW__PREFIX_ENTRIES = 1 << 19,            /* 8 MiB: 32 MiB of prompts */
};

/* The beginning of one prompt. */
struct vgw__prefix {
	uint32_t count;
	uint64_t blocks[VGW__PREFIX_BLOCKS];
};

struct vgw__prefix_table;

/* `entries` is rounded up to a power of two; NULL without memory. */
struct vgw__prefix_table *vgw__prefix_table_new(size_t entries);
void vgw__prefix_table_free(struct vgw__prefix_table *table); /* NULL is allowed */

/* `salt` keeps models, and tenants with a cache salt of their own, apart. Fetches the table's lines on the way. */
void vgw__prefix_hash(struct vgw__prefix *prefix, const struct vgw__prefix_table *table, uint64_t salt,
	const void *data, size_t len);

/* The replicas of `among` (bits by number) that have seen most of it; *blocks: how much. 0: nobody any. */
uint64_t vgw__prefix_find(const struct vgw__prefix_table *table, const struct vgw__prefix *prefix, uint64_t among,
	uint32_t *blocks);

/* The replica of that number is about to see it. */
void vgw__prefix_learn(struct vgw__prefix_table *table, const struct vgw__prefix *prefix, uint32_t number);

#endif
