/* SPDX-License-Identifier: Apache-2.0 */
/* Which keys of one object have been seen. A short list on the stack for bodies as they are, a table on the
 * heap for odd ones, and an end for hostile ones: VGW__KEYS_MAX keys of at most VGW__KEY_MAX_BYTES each bound
 * the work even when somebody makes all hashes collide, so the hash needs no secret. */
#ifndef VGW_JSON_KEYS_H
#define VGW_JSON_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VGW__KEYS_SHORT 48u
#define VGW__KEYS_MAX 1024u
#define VGW__KEY_MAX_BYTES 256u /* as written, without the quotes */

struct vgw__key {
	uint32_t hash;
	uint32_t start; /* offset of the first byte inside the quotes */
	uint16_t len;   /* as written */
	bool escaped;   /* holds a backslash: compare what it stands for */
	bool used;      /* this slot of the table is taken */
};

struct vgw__keys {
	const char *data;       /* what the offsets count from */
	struct vgw__key *table; /* NULL while the short list is enough */
	size_t count;
	struct vgw__key brief[VGW__KEYS_SHORT]; /* the first `count` are valid; not zeroed, for speed */
};

enum vgw__keys_result { VGW__KEYS_NEW, VGW__KEYS_SEEN, VGW__KEYS_FULL, VGW__KEYS_NOMEM };

void vgw__keys_init(struct vgw__keys *keys, const char *data);
void vgw__keys_fini(struct vgw__keys *keys);

/* `text` is what the key at data + start stands for: the same bytes, or the unescaped ones. */
enum vgw__keys_result vgw__keys_add(
	struct vgw__keys *keys, size_t start, size_t len, bool escaped, const char *text, size_t text_len);

#endif
