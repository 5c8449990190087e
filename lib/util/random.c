/* SPDX-License-Identifier: Apache-2.0 */
/* Random digits from the kernel. */
#include "util/random.h"

#include <assert.h>
#include <stdio.h>
#include <sys/random.h>

enum { BYTES_MAX = 32 };

bool vgw__random_hex(char *out, size_t size)
{
	unsigned char bytes[BYTES_MAX];
	size_t count = (size - 1) / 2;

	assert(size % 2 == 1 && count <= BYTES_MAX);
	out[0] = '\0';
	if (getrandom(bytes, count, 0) != (ssize_t)count)
		return false;
	for (size_t i = 0; i < count; i++)
		(void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return true;
}
