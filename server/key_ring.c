/* SPDX-License-Identifier: Apache-2.0 */
/* Keys by their digests. */
#include "key_ring.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct key_ring *key_ring_ref(struct key_ring *ring)
{
	atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
	return ring;
}

void key_ring_unref(struct key_ring *ring)
{
	if (!ring || atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < ring->count; i++)
		vgw_principal_unref(ring->items[i].principal);
	free(ring->items);
	free(ring->slots);
	free(ring);
}

struct key_ring *key_ring_new(size_t room)
{
	struct key_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return NULL;
	atomic_init(&ring->refs, 1);
	ring->slot_count = 8;
	while (ring->slot_count < 2 * room + 2)
		ring->slot_count *= 2;
	ring->items = calloc(room + 1, sizeof(*ring->items));
	ring->slots = calloc(ring->slot_count, sizeof(*ring->slots));
	if (ring->items && ring->slots)
		return ring;
	key_ring_unref(ring);
	return NULL;
}

/* The slot of a digest, or the free one where it belongs. Found by its beginning, compared in constant time: how long
 * the look-up takes tells something about digests' beginnings only, from which no key can be found. */
static uint32_t *find_slot(const struct key_ring *ring, const unsigned char *digest)
{
	uint32_t start;
	size_t at;

	memcpy(&start, digest, sizeof(start));
	for (at = start & (ring->slot_count - 1); ring->slots[at]; at = (at + 1) & (ring->slot_count - 1)) {
		if (CRYPTO_memcmp(ring->items[ring->slots[at] - 1].digest, digest, KEYS_DIGEST_BYTES) == 0)
			break;
	}
	return &ring->slots[at];
}

bool key_hash(const EVP_MD *sha256, EVP_MD_CTX *context, const char *text, size_t len, unsigned char *digest)
{
	unsigned digest_len = KEYS_DIGEST_BYTES;

	return EVP_DigestInit_ex2(context, sha256, NULL) == 1 && EVP_DigestUpdate(context, text, len) == 1 &&
	       EVP_DigestFinal_ex(context, digest, &digest_len) == 1;
}

static int unhex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static bool get_digest(const EVP_MD *sha256, const struct config_auth_key *from, unsigned char *digest)
{
	EVP_MD_CTX *context;
	bool is_ok;

	for (size_t i = 0; from->sha256 && i < KEYS_DIGEST_BYTES; i++)
		digest[i] = (unsigned char)(unhex(from->sha256[2 * i]) << 4 | unhex(from->sha256[2 * i + 1]));
	if (from->sha256)
		return true;
	context = EVP_MD_CTX_new();
	is_ok = context && key_hash(sha256, context, from->key, strlen(from->key), digest);
	EVP_MD_CTX_free(context);
	return is_ok;
}

static vgw_principal *make_principal(vgw_gateway *gateway, const struct config_auth_key *from, vgw_error *err)
{
	static const vgw_priority priorities[] = {
		[CONFIG_PRIORITY_NORMAL] = VGW_PRIORITY_NORMAL,
		[CONFIG_PRIORITY_BATCH] = VGW_PRIORITY_BATCH,
		[CONFIG_PRIORITY_INTERACTIVE] = VGW_PRIORITY_INTERACTIVE,
	};
	vgw_principal_options options = VGW_PRINCIPAL_OPTIONS_INIT;
	vgw_principal *principal;

	options.name = from->name;
	options.models = from->models.items;
	options.model_count = from->models.count;
	options.requests_per_minute = (uint64_t)from->rpm;
	options.tokens_per_minute = (uint64_t)from->tpm;
	options.concurrency = (uint32_t)from->concurrency;
	options.priority = priorities[from->priority];
	options.may_not_swap = !from->may_swap;
	return vgw_principal_new(&principal, gateway, &options, err) == VGW_OK ? principal : NULL;
}

int key_ring_add(struct key_ring *ring, vgw_gateway *gateway, const EVP_MD *sha256, const struct config_auth_key *from,
	char *why, size_t size)
{
	struct key *key = &ring->items[ring->count];
	vgw_error err = VGW_ERROR_INIT;
	uint32_t *slot;

	if (!get_digest(sha256, from, key->digest)) {
		(void)snprintf(why, size, "the key of '%s' cannot be hashed", from->name);
		return -1;
	}
	slot = find_slot(ring, key->digest);
	if (*slot) {
		(void)snprintf(why, size, "'%s' and '%s' have the same key", from->name,
			vgw_principal_get_name(ring->items[*slot - 1].principal));
		return -1;
	}
	key->principal = make_principal(gateway, from, &err);
	if (!key->principal) {
		(void)snprintf(why, size, "%s", err.text);
		return -1;
	}
	key->is_admin = from->is_admin;
	ring->has_admin = ring->has_admin || from->is_admin;
	*slot = (uint32_t)++ring->count;
	return 0;
}

const struct key *key_ring_find(const struct key_ring *ring, const unsigned char *digest)
{
	uint32_t slot = *find_slot(ring, digest);

	return slot ? &ring->items[slot - 1] : NULL;
}
