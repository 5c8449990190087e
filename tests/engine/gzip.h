/* SPDX-License-Identifier: Apache-2.0 */
/* A gzip stream of stored blocks: valid for every decoder, and no dependency. */
#ifndef VGW_ENGINE_GZIP_H
#define VGW_ENGINE_GZIP_H

#include "base.h"

void gzip_begin(struct buf *out);
void gzip_add(struct buf *out, uint32_t *crc, uint32_t *bytes, const void *data, size_t len);
void gzip_end(struct buf *out, uint32_t crc, uint32_t bytes);

#endif
