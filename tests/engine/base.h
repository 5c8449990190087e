/* SPDX-License-Identifier: Apache-2.0 */
/* Small things every file of the simulator needs: memory, growing buffers, time, hashes, text. */
#ifndef VGW_ENGINE_BASE_H
#define VGW_ENGINE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes that grow. {0} is an empty one; the bytes are always followed by a NUL once anything was added. */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

/* Memory: the simulator is a program, so running out of it ends the program with a message. */
void *xalloc(size_t bytes); /* zeroed */
void *xrealloc(void *old, size_t bytes);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t len);

void buf_add(struct buf *b, const void *data, size_t len);
void buf_text(struct buf *b, const char *text);
void buf_fill(struct buf *b, char c, size_t count);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Text as the inside of a JSON string (no quotes), UTF-8 left as it is. */
void buf_json(struct buf *b, const char *text, size_t len);
void buf_drop(struct buf *b, size_t front); /* forget the first `front` bytes */
void buf_free(struct buf *b);               /* and make it empty again */

int64_t now_us(void); /* monotonic, the clock Python's time.monotonic() shows */

uint64_t hash64(const void *data, size_t len, uint64_t seed);
uint64_t mix64(uint64_t x);
uint32_t crc32_add(uint32_t crc, const void *data, size_t len);
void sha256_hex(const void *data, size_t len, char out[65]);
void base64_add(struct buf *b, const void *data, size_t len);
bool is_utf8(const void *data, size_t len);

/** "250ms" "15s" "2m" "500us" "1h"; a bare number is seconds. */
bool parse_duration(const char *text, int64_t *us);
/** "4096" "64k" "8MiB" "2G". */
bool parse_size(const char *text, int64_t *bytes);

#endif
