/* SPDX-License-Identifier: Apache-2.0 */
/* Names that nobody else will choose. */
#ifndef VGW_UTIL_RANDOM_H
#define VGW_UTIL_RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/* Fills `out` with size - 1 (even, up to 64) random hexadecimal digits. False: the system has no random numbers. */
bool vgw__random_hex(char *out, size_t size);

#endif
