/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies that arrive compressed. Decoded as they come, never beyond what the receiver takes, and not at all
 * beyond a ratio that no text reaches.
 *
 *   pieces ── decoder_feed() ──► put(piece), put(piece) ...   each checked before it is kept */
#ifndef VGW_SERVER_FRONT_DECODE_H
#define VGW_SERVER_FRONT_DECODE_H

#include <vllmgw/status.h>

/* XX(NAME, name): what Content-Encoding may say besides identity. */
#define DECODE_CODINGS(XX) XX(GZIP, "gzip") XX(GZIP, "x-gzip") XX(ZSTD, "zstd")
#define DECODE_ACCEPTED "gzip, zstd" /* for Accept-Encoding */

enum decode_coding { DECODE_IDENTITY, DECODE_GZIP, DECODE_ZSTD };

/* False: a coding, or a stack of them, that is not decoded here. */
bool decode_find(const char *value, enum decode_coding *coding);

struct decoder;

/* Takes a decoded piece: NONE, or why it takes no more. */
typedef vgw_fault (*decode_put_fn)(void *user, const char *data, size_t len);

struct decoder *decoder_new(enum decode_coding coding); /* NULL without memory */
void decoder_free(struct decoder *decoder);             /* NULL is allowed */

/* NONE, or what to answer, with a sentence in *why where the fault's own says too little. No more after a fault. */
vgw_fault decoder_feed(struct decoder *decoder, const char *data, size_t len, decode_put_fn put, void *user,
	const char **why);

/* Did the last piece end what is encoded? False: it was cut off. */
bool decoder_is_complete(const struct decoder *decoder);

/* Memory that it takes itself, which a sender can drive up to some megabytes. */
size_t decoder_get_bytes(const struct decoder *decoder);

#endif
