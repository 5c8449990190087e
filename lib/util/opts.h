/* SPDX-License-Identifier: Apache-2.0 */
/* Option structs that can grow: a caller compiled against an older header passes a shorter struct, and gets the
 * defaults for the rest; one compiled against a newer header may not use what this library does not know. */
#ifndef VGW_UTIL_OPTS_H
#define VGW_UTIL_OPTS_H

#include <vllmgw/status.h>

#include <string.h>

/* Copy what both sides know into *mine (zeroed first). `given` begins with its size. */
static inline vgw_status vgw__opts_copy(void *mine, size_t mine_size, const void *given, const char *what,
	vgw_error *err)
{
	size_t given_size = 0;

	memset(mine, 0, mine_size);
	if (given)
		memcpy(&given_size, given, sizeof(given_size));
	if (given_size < sizeof(size_t))
		return vgw_error_set(err, VGW_INVALID, 0, "%s: size is not set, use the _INIT macro", what);
	for (size_t i = mine_size; i < given_size; i++) {
		if (((const unsigned char *)given)[i])
			return vgw_error_set(err, VGW_INVALID, 0, "%s uses fields this library does not know", what);
	}
	memcpy(mine, given, given_size < mine_size ? given_size : mine_size);
	return VGW_OK;
}

#endif
