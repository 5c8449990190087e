/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: who a header stands for.
 *
 *   main: keys_stage(), keys_commit(), keys_refresh() ──► ring (immutable, counted), swapped
 *   worker: keys_check(header) ── generation moved? take the new ring ──► SHA-256, look up, compare ──► key
 *
 * Rings hold digests, never keys. A keys file is looked at again several times a second, so a key that was taken out
 * of it is refused within one. */
#ifndef VGW_SERVER_KEYS_H
#define VGW_SERVER_KEYS_H

#include "config.h"

#include <vllmgw/gateway.h>

#include <stdatomic.h>

enum { KEYS_TICK_MS = 250, KEYS_DIGEST_BYTES = 32 };

struct keys;
struct key_ring;

struct key {
	unsigned char digest[KEYS_DIGEST_BYTES];
	vgw_principal *principal;
	bool is_admin;
};

/* One thread's way to the newest ring, and its memory for hashing. */
struct keys_reader {
	struct keys *keys;
	struct key_ring *ring;
	uint64_t generation;
	void *hashing;
};

/* NULL without memory. */
struct keys *keys_new(vgw_gateway *gateway);
/* Readers are closed, requests have ended. NULL is allowed. */
void keys_free(struct keys *keys);

/* Build what the configuration and its file say, without publishing it. -1 with a sentence. *config must live until it
 * was replaced by a later commit, and that until keys_free(). Main thread, as the two below. */
int keys_stage(struct keys *keys, const struct config *config, char *why, size_t size);
void keys_commit(struct keys *keys); /* publish what was staged last */
/* Has the file changed? 1: it was read again; 0: no; -1: it cannot be used, the old keys stay (told once a change). */
int keys_refresh(struct keys *keys, char *why, size_t size);
bool keys_have_file(const struct keys *keys);

/* A number for logs and metrics. */
size_t keys_count(const struct keys *keys);
uint64_t keys_count_refused(const struct keys *keys);

int keys_reader_open(struct keys_reader *reader, struct keys *keys);
void keys_reader_close(struct keys_reader *reader);

/* What the headers stand for, NULL: none of the keys. The result lives until the reader's next call. Refusals are the
 * caller's to count: keys_refuse(). */
const struct key *keys_check(struct keys_reader *reader, const char *authorization, const char *api_key);
void keys_refuse(struct keys *keys);

/* Must a request show a key at all? Is there any admin's key? Of the reader's present ring. */
bool keys_are_required(struct keys_reader *reader);
bool keys_have_admin(struct keys_reader *reader);

#endif
