/* SPDX-License-Identifier: Apache-2.0 */
/* gzip by zlib, zstd by libzstd. Both formats allow several streams one behind the other (members, frames), which
 * decode to one text; anything else behind the end is no body that two readers would read alike. */
#define ZLIB_CONST
#include "front/decode.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
	PIECE_BYTES = 32 * 1024,
	FREE_BYTES = 1024 * 1024, /* so much may come of any number of bytes; beyond, the ratio counts */
	RATIO = 200,              /* text shrinks tenfold, monotonous text fiftyfold */
	ZSTD_WINDOW_LOG = 23,     /* 8 MiB: what a sender of Content-Encoding: zstd may ask for (RFC 9659) */
	GZIP_WINDOW_BITS = 15 + 16, /* 16: gzip's header and trailer, no other */
	GZIP_BYTES = 48 * 1024,   /* what inflate takes */
};

struct decoder {
	enum decode_coding coding;
	z_stream gzip;
	ZSTD_DCtx *zstd;
	uint64_t taken; /* bytes of the encoded body */
	uint64_t made;  /* bytes decoded */
	bool is_between; /* a stream has ended, none has begun since */
};

bool decode_find(const char *value, enum decode_coding *coding)
{
	static const struct {
		const char *name;
		enum decode_coding coding;
	} known[] = {
		{ "identity", DECODE_IDENTITY },
#define XX(id, name) { name, DECODE_##id },
		DECODE_CODINGS(XX)
#undef XX
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcasecmp(value, known[i].name) == 0) {
			*coding = known[i].coding;
			return true;
		}
	}
	return false;
}

struct decoder *decoder_new(enum decode_coding coding)
{
	struct decoder *decoder = calloc(1, sizeof(*decoder));
	bool is_ok;

	if (!decoder)
		return NULL;
	decoder->coding = coding;
	if (coding == DECODE_GZIP) {
		is_ok = inflateInit2(&decoder->gzip, GZIP_WINDOW_BITS) == Z_OK;
	} else {
		decoder->zstd = ZSTD_createDCtx();
		is_ok = decoder->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(decoder->zstd, ZSTD_d_windowLogMax,
						 ZSTD_WINDOW_LOG));
	}
	if (is_ok)
		return decoder;
	ZSTD_freeDCtx(decoder->zstd);
	free(decoder);
	return NULL;
}

void decoder_free(struct decoder *decoder)
{
	if (!decoder)
		return;
	if (decoder->coding == DECODE_GZIP)
		(void)inflateEnd(&decoder->gzip);
	ZSTD_freeDCtx(decoder->zstd);
	free(decoder);
}

bool decoder_is_complete(const struct decoder *decoder)
{
	return decoder->is_between;
}

size_t decoder_get_bytes(const struct decoder *decoder)
{
	return decoder->coding == DECODE_GZIP ? GZIP_BYTES : ZSTD_sizeof_DCtx(decoder->zstd);
}

/* One step: some of `in` is taken, some of `out` is filled. */
static vgw_fault step_gzip(struct decoder *decoder, ZSTD_inBuffer *in, ZSTD_outBuffer *out, const char **why)
{
	z_stream *gzip = &decoder->gzip;
	int result = decoder->is_between ? inflateReset(gzip) : Z_OK;

	gzip->next_in = (const Bytef *)in->src + in->pos;
	gzip->avail_in = (uInt)(in->size - in->pos);
	gzip->next_out = out->dst;
	gzip->avail_out = (uInt)out->size;
	if (result == Z_OK)
		result = inflate(gzip, Z_NO_FLUSH);
	in->pos = in->size - gzip->avail_in;
	out->pos = out->size - gzip->avail_out;
	decoder->is_between = result == Z_STREAM_END;
	if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR)
		return VGW_FAULT_NONE;
	if (result == Z_MEM_ERROR)
		return VGW_FAULT_OUT_OF_MEMORY;
	*why = "the body is not what Content-Encoding: gzip says";
	return VGW_FAULT_BAD_REQUEST;
}

static vgw_fault step_zstd(struct decoder *decoder, ZSTD_inBuffer *in, ZSTD_outBuffer *out, const char **why)
{
	size_t result = ZSTD_decompressStream(decoder->zstd, out, in);

	decoder->is_between = result == 0;
	if (!ZSTD_isError(result))
		return VGW_FAULT_NONE;
	switch (ZSTD_getErrorCode(result)) {
	case ZSTD_error_memory_allocation:
		return VGW_FAULT_OUT_OF_MEMORY;
	case ZSTD_error_frameParameter_windowTooLarge:
		*why = "the body is compressed with a window of more than 8 MiB";
		return VGW_FAULT_REQUEST_TOO_LARGE;
	default:
		*why = "the body is not what Content-Encoding: zstd says";
		return VGW_FAULT_BAD_REQUEST;
	}
}

vgw_fault decoder_feed(struct decoder *decoder, const char *data, size_t len, decode_put_fn put, void *user,
	const char **why)
{
	char piece[PIECE_BYTES];
	ZSTD_inBuffer in = { data, len, 0 };
	ZSTD_outBuffer out = { piece, sizeof(piece), 0 };
	vgw_fault fault = VGW_FAULT_NONE;
	bool is_full = false; /* a full piece: there may be more where nothing is left to take */

	while (fault == VGW_FAULT_NONE && (in.pos < in.size || is_full)) {
		size_t before = in.pos;

		if (in.pos == in.size && decoder->is_between)
			break;
		out.pos = 0;
		fault = decoder->coding == DECODE_GZIP ? step_gzip(decoder, &in, &out, why)
						       : step_zstd(decoder, &in, &out, why);
		is_full = out.pos == out.size;
		decoder->taken += in.pos - before;
		decoder->made += out.pos;
		if (fault == VGW_FAULT_NONE && decoder->made > FREE_BYTES && decoder->made / RATIO > decoder->taken) {
			*why = "the body expands to more than 200 times its size";
			fault = VGW_FAULT_REQUEST_TOO_LARGE;
		}
		if (fault == VGW_FAULT_NONE && out.pos)
			fault = put(user, piece, out.pos);
	}
	return fault;
}
