/* SPDX-License-Identifier: Apache-2.0 */
/* FNV-1a, 64 bits: to see whether something has changed, never against an adversary. */
#ifndef VGW_UTIL_HASH_H
#define VGW_UTIL_HASH_H

#include <stdint.h>

#define VGW__HASH_INIT UINT64_C(14695981039346656037)

/* Over a text with its end, so that ["ab"] and ["a","b"] differ. */
static inline uint64_t vgw__hash_text(uint64_t hash, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	do {
		hash = (hash ^ *p) * UINT64_C(1099511628211);
	} while (*p++ != '\0');
	return hash;
}

#endif
