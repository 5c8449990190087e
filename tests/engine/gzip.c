/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 1952 around RFC 1951's stored blocks. */
#include "gzip.h"

static void add_little_endian(struct buf *out, uint32_t value, int bytes)
{
	while (bytes--) {
		char c = (char)(value & 0xff);

		buf_add(out, &c, 1);
		value >>= 8;
	}
}

void gzip_begin(struct buf *out)
{
	buf_add(out, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
}

void gzip_add(struct buf *out, uint32_t *crc, uint32_t *bytes, const void *data, size_t len)
{
	const char *p = data;

	*crc = crc32_add(*crc, data, len);
	*bytes += (uint32_t)len;
	while (len) {
		uint32_t n = len < 65535 ? (uint32_t)len : 65535;

		buf_add(out, "\0", 1);
		add_little_endian(out, n, 2);
		add_little_endian(out, ~n, 2);
		buf_add(out, p, n);
		p += n;
		len -= n;
	}
}

void gzip_end(struct buf *out, uint32_t crc, uint32_t bytes)
{
	buf_add(out, "\1\0\0\xff\xff", 5);
	add_little_endian(out, crc, 4);
	add_little_endian(out, bytes, 4);
}
