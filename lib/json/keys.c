/* SPDX-License-Identifier: Apache-2.0 */
/* A set of keys that finds the second one of a name, however the two are written. */
#include "json/keys.h"

#include "json/lex.h"
#include "util/alloc.h"

#include <string.h>

#define TABLE_SLOTS (2u * VGW__KEYS_MAX) /* a power of two, at most half full */

_Static_assert((TABLE_SLOTS & (TABLE_SLOTS - 1)) == 0, "slots are found with a mask");

void vgw__keys_init(struct vgw__keys *keys, const char *data)
{
	keys->data = data;
	keys->table = NULL;
	keys->count = 0;
}

void vgw__keys_fini(struct vgw__keys *keys)
{
	vgw__free(keys->table);
	keys->table = NULL;
}

static uint32_t hash_text(const char *text, size_t len)
{
	uint64_t hash = len;

	while (len) {
		size_t step = len < sizeof(uint64_t) ? len : sizeof(uint64_t);
		uint64_t word = 0;

		for (size_t i = 0; i < step; i++)
			word = word << 8 | (unsigned char)text[i];
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 32;
		text += step;
		len -= step;
	}
	return (uint32_t)hash;
}

static bool is_same(const struct vgw__keys *keys, const struct vgw__key *key, uint32_t hash, const char *text,
	size_t text_len)
{
	char plain[VGW__KEY_MAX_BYTES];
	const char *old = keys->data + key->start;
	size_t old_len = key->len;

	if (key->hash != hash)
		return false;
	if (key->escaped) {
		if (vgw__lex_unescape(old, key->len, plain, sizeof(plain), &old_len) != VGW__UNESCAPE_OK)
			return false; /* cannot be: it was unescaped when it was added */
		old = plain;
	}
	return old_len == text_len && memcmp(old, text, text_len) == 0;
}

/* The slot of a key: where it is, or where it would go. */
static struct vgw__key *find_slot(
	const struct vgw__keys *keys, uint32_t hash, const char *text, size_t text_len)
{
	size_t slot = hash & (TABLE_SLOTS - 1);

	while (keys->table[slot].used && !is_same(keys, &keys->table[slot], hash, text, text_len))
		slot = (slot + 1) & (TABLE_SLOTS - 1);
	return &keys->table[slot];
}

/* Leave the short list: its keys, all different, go into a table. */
static bool make_table(struct vgw__keys *keys)
{
	keys->table = vgw__calloc(TABLE_SLOTS, sizeof(*keys->table));
	if (!keys->table)
		return false;
	for (size_t i = 0; i < keys->count; i++) {
		size_t slot = keys->brief[i].hash & (TABLE_SLOTS - 1);

		while (keys->table[slot].used)
			slot = (slot + 1) & (TABLE_SLOTS - 1);
		keys->table[slot] = keys->brief[i];
	}
	return true;
}

enum vgw__keys_result vgw__keys_add(
	struct vgw__keys *keys, size_t start, size_t len, bool escaped, const char *text, size_t text_len)
{
	uint32_t hash = hash_text(text, text_len);
	struct vgw__key *slot;

	if (!keys->table) {
		for (size_t i = 0; i < keys->count; i++)
			if (is_same(keys, &keys->brief[i], hash, text, text_len))
				return VGW__KEYS_SEEN;
		if (keys->count == VGW__KEYS_SHORT && !make_table(keys))
			return VGW__KEYS_NOMEM;
	}
	slot = keys->table ? find_slot(keys, hash, text, text_len) : &keys->brief[keys->count];
	if (keys->table && slot->used)
		return VGW__KEYS_SEEN;
	if (keys->count == VGW__KEYS_MAX)
		return VGW__KEYS_FULL;
	*slot = (struct vgw__key){
		.hash = hash, .start = (uint32_t)start, .len = (uint16_t)len, .escaped = escaped, .used = true
	};
	keys->count++;
	return VGW__KEYS_NEW;
}
