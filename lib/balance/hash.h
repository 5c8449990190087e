/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing by 64 x 64 -> 128 bit products, folded: quick, well mixed, and seeded where strangers choose the input. */
#ifndef VGW_BALANCE_HASH_H
#define VGW_BALANCE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 vgw__wide;

static inline uint64_t vgw__fold(uint64_t a, uint64_t b)
{
	vgw__wide product = (vgw__wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t vgw__mix(uint64_t a, uint64_t b)
{
	return vgw__fold(a ^ UINT64_C(0x9e3779b97f4a7c15), b ^ UINT64_C(0xd1b54a32d192ed03));
}

static inline uint64_t vgw__load64(const unsigned char *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof(word));
	return word;
}

/* Any bytes, 16 at a time; the rest is padded with zeros, the length tells it apart. */
static inline uint64_t vgw__hash_bytes(uint64_t seed, const void *data, size_t len)
{
	const unsigned char *at = data;
	uint64_t hash = vgw__mix(seed, len);
	unsigned char rest[16] = { 0 };

	for (; len >= 16; at += 16, len -= 16)
		hash = vgw__mix(vgw__load64(at) ^ hash, vgw__load64(at + 8));
	if (len)
		memcpy(rest, at, len);
	return vgw__mix(vgw__load64(rest) ^ hash, vgw__load64(rest + 8));
}

#endif
