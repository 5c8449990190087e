/* SPDX-License-Identifier: Apache-2.0 */
/* Monotonic nanoseconds, for measuring the gateway's own overhead; deadlines use vgw_now_ms(). */
#ifndef VGW_UTIL_CLOCK_H
#define VGW_UTIL_CLOCK_H

#include <stdint.h>

int64_t vgw__now_ns(void);

#endif
