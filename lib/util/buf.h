/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with a ceiling: it cannot be made without one, and says so when it is reached. */
#ifndef VGW_UTIL_BUF_H
#define VGW_UTIL_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgw__buf {
	char *data;
	size_t len;
	size_t capacity;
	size_t ceiling; /* len never exceeds it */
};

void vgw__buf_init(struct vgw__buf *buf, size_t ceiling);
void vgw__buf_fini(struct vgw__buf *buf);   /* also of a zeroed one */
void vgw__buf_reset(struct vgw__buf *buf);  /* len = 0, memory kept */
bool vgw__buf_reserve(struct vgw__buf *buf, size_t more); /* room for `more` bytes; false: ceiling or no memory */
bool vgw__buf_append(struct vgw__buf *buf, const void *data, size_t len); /* all or nothing */
bool vgw__buf_append_count(struct vgw__buf *buf, uint64_t count); /* in decimal; where printf's price shows */
bool vgw__buf_print(struct vgw__buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void vgw__buf_consume(struct vgw__buf *buf, size_t len); /* drop `len` bytes from the front */

#endif
