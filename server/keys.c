/* SPDX-License-Identifier: Apache-2.0 */
/* A key is looked up by its digest, and compared in constant time. That the look-up itself takes more or less time says
 * something about the digests' beginnings only, from which no key can be found. */
#include "keys.h"

#include "keys_file.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { KEY_MAX_BYTES = 512 };

struct key_ring {
	atomic_uint refs;
	bool is_required;
	bool has_admin;
	struct key *items;
	size_t count;
	uint32_t *slots; /* open addressing by the digest's first bytes: index + 1, 0 is free */
	size_t slot_count; /* a power of two, more than twice the keys */
};

struct keys {
	vgw_gateway *gateway;
	EVP_MD *sha256;
	pthread_mutex_t lock;
	struct key_ring *ring; /* guarded by lock */
	atomic_uint_fast64_t generation;
	atomic_uint_fast64_t refused;
	/* the main thread's */
	struct key_ring *staged;
	const struct config *staged_config;
	struct stat staged_info;
	const struct config *config;
	struct stat read_info; /* of the file as it was read last */
	struct stat seen_info; /* and as it was seen at the last look */
};

/* --- rings ---------------------------------------------------------------------------------------------------- */

static struct key_ring *ref_ring(struct key_ring *ring)
{
	atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
	return ring;
}

static void unref_ring(struct key_ring *ring)
{
	if (!ring || atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < ring->count; i++)
		vgw_principal_unref(ring->items[i].principal);
	free(ring->items);
	free(ring->slots);
	free(ring);
}

static struct key_ring *new_ring(size_t room)
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
	unref_ring(ring);
	return NULL;
}

/* The slot of a digest, or the free one where it belongs. */
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

static bool hash(const struct keys *keys, EVP_MD_CTX *context, const char *text, size_t len, unsigned char *digest)
{
	unsigned digest_len = KEYS_DIGEST_BYTES;

	return EVP_DigestInit_ex2(context, keys->sha256, NULL) == 1 && EVP_DigestUpdate(context, text, len) == 1 &&
	       EVP_DigestFinal_ex(context, digest, &digest_len) == 1;
}

static int unhex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static bool get_digest(const struct keys *keys, const struct config_auth_key *from, unsigned char *digest)
{
	EVP_MD_CTX *context;
	bool is_ok;

	for (size_t i = 0; from->sha256 && i < KEYS_DIGEST_BYTES; i++)
		digest[i] = (unsigned char)(unhex(from->sha256[2 * i]) << 4 | unhex(from->sha256[2 * i + 1]));
	if (from->sha256)
		return true;
	context = EVP_MD_CTX_new();
	is_ok = context && hash(keys, context, from->key, strlen(from->key), digest);
	EVP_MD_CTX_free(context);
	return is_ok;
}

static vgw_principal *make_principal(const struct keys *keys, const struct config_auth_key *from, vgw_error *err)
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
	return vgw_principal_new(&principal, keys->gateway, &options, err) == VGW_OK ? principal : NULL;
}

static int add(struct key_ring *ring, const struct keys *keys, const struct config_auth_key *from, char *why,
	size_t size)
{
	struct key *key = &ring->items[ring->count];
	vgw_error err = VGW_ERROR_INIT;
	uint32_t *slot;

	if (!get_digest(keys, from, key->digest)) {
		(void)snprintf(why, size, "the key of '%s' cannot be hashed", from->name);
		return -1;
	}
	slot = find_slot(ring, key->digest);
	if (*slot) {
		(void)snprintf(why, size, "'%s' and '%s' have the same key", from->name,
			vgw_principal_get_name(ring->items[*slot - 1].principal));
		return -1;
	}
	key->principal = make_principal(keys, from, &err);
	if (!key->principal) {
		(void)snprintf(why, size, "%s", err.text);
		return -1;
	}
	key->is_admin = from->is_admin;
	ring->has_admin = ring->has_admin || from->is_admin;
	*slot = (uint32_t)++ring->count;
	return 0;
}

/* `file` may be empty. The admin's own key opens everything, but does not make others need one. */
static struct key_ring *build_ring(const struct keys *keys, const struct config *config, const struct keys_file *file,
	char *why, size_t size)
{
	const struct config_auth_key admin = { .name = "admin", .key = config->admin.key, .is_admin = true,
		.may_swap = true };
	struct key_ring *ring = new_ring(config->auth.keys.count + file->count + 1);
	int result = 0;

	(void)snprintf(why, size, "out of memory");
	if (!ring)
		return NULL;
	ring->is_required = config->auth.keys.count || config->auth.keys_file;
	if (config->admin.key)
		result = add(ring, keys, &admin, why, size);
	for (size_t i = 0; result == 0 && i < config->auth.keys.count; i++)
		result = add(ring, keys, &config->auth.keys.items[i], why, size);
	for (size_t i = 0; result == 0 && i < file->count; i++)
		result = add(ring, keys, &file->items[i], why, size);
	if (result == 0)
		return ring;
	unref_ring(ring);
	return NULL;
}

/* --- the main thread ------------------------------------------------------------------------------------------ */

struct keys *keys_new(vgw_gateway *gateway)
{
	struct keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		return NULL;
	keys->gateway = gateway;
	keys->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (!keys->sha256 || pthread_mutex_init(&keys->lock, NULL) != 0) {
		EVP_MD_free(keys->sha256);
		free(keys);
		return NULL;
	}
	return keys;
}

void keys_free(struct keys *keys)
{
	if (!keys)
		return;
	unref_ring(keys->staged);
	unref_ring(keys->ring);
	EVP_MD_free(keys->sha256);
	(void)pthread_mutex_destroy(&keys->lock);
	free(keys);
}

static void publish(struct keys *keys, struct key_ring *ring)
{
	struct key_ring *old;

	(void)pthread_mutex_lock(&keys->lock);
	old = keys->ring;
	keys->ring = ring;
	atomic_fetch_add_explicit(&keys->generation, 1, memory_order_release);
	(void)pthread_mutex_unlock(&keys->lock);
	unref_ring(old);
}

/* The look comes before the reading: what is written in between shows at the next look. */
static void look_at_file(const char *path, struct stat *info)
{
	if (stat(path, info) != 0)
		*info = (struct stat){ 0 };
}

int keys_stage(struct keys *keys, const struct config *config, char *why, size_t size)
{
	const char *path = config->auth.keys_file;
	struct keys_file file = { 0 };
	struct key_ring *ring;
	struct stat info = { 0 };

	if (path)
		look_at_file(path, &info);
	if (path && keys_file_read(&file, path, why, size) != 0)
		return -1;
	ring = build_ring(keys, config, &file, why, size);
	keys_file_free(&file);
	if (!ring)
		return -1;
	unref_ring(keys->staged);
	keys->staged = ring;
	keys->staged_config = config;
	keys->staged_info = info;
	return 0;
}

void keys_commit(struct keys *keys)
{
	publish(keys, keys->staged);
	keys->staged = NULL;
	keys->config = keys->staged_config;
	keys->read_info = keys->staged_info;
	keys->seen_info = keys->staged_info;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_size == b->st_size && a->st_ino == b->st_ino;
}

bool keys_have_file(const struct keys *keys)
{
	return keys->config && keys->config->auth.keys_file;
}

/* A file that is just being written is left alone until it looks the same twice. */
int keys_refresh(struct keys *keys, char *why, size_t size)
{
	struct stat info;
	bool is_settled;

	if (!keys_have_file(keys))
		return 0;
	look_at_file(keys->config->auth.keys_file, &info);
	is_settled = is_same(&info, &keys->seen_info);
	keys->seen_info = info;
	if (!is_settled || is_same(&info, &keys->read_info))
		return 0;
	if (keys_stage(keys, keys->config, why, size) == 0) {
		keys_commit(keys);
		return 1;
	}
	keys->read_info = info;
	return -1;
}

size_t keys_count(const struct keys *keys)
{
	return keys->ring ? keys->ring->count : 0;
}

uint64_t keys_count_refused(const struct keys *keys)
{
	return atomic_load_explicit(&keys->refused, memory_order_relaxed);
}

void keys_refuse(struct keys *keys)
{
	atomic_fetch_add_explicit(&keys->refused, 1, memory_order_relaxed);
}

/* --- readers -------------------------------------------------------------------------------------------------- */

int keys_reader_open(struct keys_reader *reader, struct keys *keys)
{
	*reader = (struct keys_reader){ .keys = keys, .hashing = EVP_MD_CTX_new() };
	return reader->hashing ? 0 : -1;
}

void keys_reader_close(struct keys_reader *reader)
{
	unref_ring(reader->ring);
	EVP_MD_CTX_free(reader->hashing);
	*reader = (struct keys_reader){ 0 };
}

static struct key_ring *get_ring(struct keys_reader *reader)
{
	struct keys *keys = reader->keys;

	if (reader->ring && atomic_load_explicit(&keys->generation, memory_order_acquire) == reader->generation)
		return reader->ring;
	unref_ring(reader->ring);
	(void)pthread_mutex_lock(&keys->lock);
	reader->ring = ref_ring(keys->ring);
	reader->generation = atomic_load_explicit(&keys->generation, memory_order_relaxed);
	(void)pthread_mutex_unlock(&keys->lock);
	return reader->ring;
}

bool keys_are_required(struct keys_reader *reader)
{
	return get_ring(reader)->is_required;
}

bool keys_have_admin(struct keys_reader *reader)
{
	return get_ring(reader)->has_admin;
}

/* "Bearer KEY": one space, nothing else. */
static const char *get_bearer(const char *authorization)
{
	if (strncasecmp(authorization, "Bearer ", 7) != 0)
		return NULL;
	return authorization + 7;
}

const struct key *keys_check(struct keys_reader *reader, const char *authorization, const char *api_key)
{
	const struct key_ring *ring = get_ring(reader);
	const char *text = authorization ? get_bearer(authorization) : api_key;
	unsigned char digest[KEYS_DIGEST_BYTES];
	size_t len = text ? strlen(text) : 0;
	uint32_t slot;

	if (!len || len > KEY_MAX_BYTES || !ring->count)
		return NULL;
	if (authorization && api_key && strcmp(text, api_key) != 0)
		return NULL; /* which of the two should count? */
	if (!hash(reader->keys, reader->hashing, text, len, digest))
		return NULL;
	slot = *find_slot(ring, digest);
	return slot ? &ring->items[slot - 1] : NULL;
}
