/* SPDX-License-Identifier: Apache-2.0 */
/* Who publishes and who reads: the main thread swaps rings, workers notice by the generation. */
#include "keys.h"

#include "file_watch.h"
#include "key_ring.h"
#include "keys_file.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_MAX_BYTES = 512 };

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
	struct file_watch watch;
};

/* --- building ------------------------------------------------------------------------------------------------- */

/* `file` may be empty. The admin's own key opens everything, but does not make others need one. */
static struct key_ring *build_ring(const struct keys *keys, const struct config *config, const struct keys_file *file,
	char *why, size_t size)
{
	const struct config_auth_key admin = { .name = "admin", .key = config->admin.key, .is_admin = true,
		.may_swap = true };
	struct key_ring *ring = key_ring_new(config->auth.keys.count + file->count + 1);
	int result = 0;

	(void)snprintf(why, size, "out of memory");
	if (!ring)
		return NULL;
	ring->is_required = config->auth.keys.count || config->auth.keys_file;
	if (config->admin.key)
		result = key_ring_add(ring, keys->gateway, keys->sha256, &admin, why, size);
	for (size_t i = 0; result == 0 && i < config->auth.keys.count; i++)
		result = key_ring_add(ring, keys->gateway, keys->sha256, &config->auth.keys.items[i], why, size);
	for (size_t i = 0; result == 0 && i < file->count; i++)
		result = key_ring_add(ring, keys->gateway, keys->sha256, &file->items[i], why, size);
	if (result == 0)
		return ring;
	key_ring_unref(ring);
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
	key_ring_unref(keys->staged);
	key_ring_unref(keys->ring);
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
	key_ring_unref(old);
}

int keys_stage(struct keys *keys, const struct config *config, char *why, size_t size)
{
	const char *path = config->auth.keys_file;
	struct keys_file file = { 0 };
	struct key_ring *ring;
	struct stat info = { 0 };

	if (path)
		file_watch_look(path, &info);
	if (path && keys_file_read(&file, path, why, size) != 0)
		return -1;
	ring = build_ring(keys, config, &file, why, size);
	keys_file_free(&file);
	if (!ring)
		return -1;
	key_ring_unref(keys->staged);
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
	file_watch_reset(&keys->watch, &keys->staged_info);
}

bool keys_have_file(const struct keys *keys)
{
	return keys->config && keys->config->auth.keys_file;
}

int keys_refresh(struct keys *keys, char *why, size_t size)
{
	if (!keys_have_file(keys) || !file_watch_has_changed(&keys->watch, keys->config->auth.keys_file))
		return 0;
	if (keys_stage(keys, keys->config, why, size) != 0)
		return -1;
	keys_commit(keys);
	return 1;
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
	key_ring_unref(reader->ring);
	EVP_MD_CTX_free(reader->hashing);
	*reader = (struct keys_reader){ 0 };
}

static struct key_ring *get_ring(struct keys_reader *reader)
{
	struct keys *keys = reader->keys;

	if (reader->ring && atomic_load_explicit(&keys->generation, memory_order_acquire) == reader->generation)
		return reader->ring;
	key_ring_unref(reader->ring);
	(void)pthread_mutex_lock(&keys->lock);
	reader->ring = key_ring_ref(keys->ring);
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

	if (!len || len > KEY_MAX_BYTES || !ring->count)
		return NULL;
	if (authorization && api_key && strcmp(text, api_key) != 0)
		return NULL; /* which of the two should count? */
	if (!key_hash(reader->keys->sha256, reader->hashing, text, len, digest))
		return NULL;
	return key_ring_find(ring, digest);
}
