/* SPDX-License-Identifier: Apache-2.0 */
/* A set of keys, immutable once published, and counted. */
#ifndef VGW_SERVER_KEY_RING_H
#define VGW_SERVER_KEY_RING_H

#include "keys.h"

#include <openssl/evp.h>

struct key_ring {
	atomic_uint refs;
	bool is_required;
	bool has_admin;
	struct key *items;
	size_t count;
	uint32_t *slots; /* open addressing by the digest's first bytes: index + 1, 0 is free */
	size_t slot_count; /* a power of two, more than twice the keys */
};

struct key_ring *key_ring_new(size_t room); /* NULL without memory */
struct key_ring *key_ring_ref(struct key_ring *ring);
void key_ring_unref(struct key_ring *ring); /* NULL is allowed */

/* One more key, while there is room. -1 with a sentence. */
int key_ring_add(struct key_ring *ring, vgw_gateway *gateway, const EVP_MD *sha256, const struct config_auth_key *from,
	char *why, size_t size);

/* NULL: none of them. */
const struct key *key_ring_find(const struct key_ring *ring, const unsigned char *digest);

bool key_hash(const EVP_MD *sha256, EVP_MD_CTX *context, const char *text, size_t len, unsigned char *digest);

#endif
