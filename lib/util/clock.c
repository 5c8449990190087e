/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock, and the version: the two functions of common.h that need no object. */
#include "util/clock.h"

#include <vllmgw/common.h>

#include <time.h>

const char *vgw_version(void)
{
	return VGW_VERSION;
}

int64_t vgw_now_ms(void)
{
	return vgw__now_ns() / 1000000;
}

int64_t vgw__now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock with a valid pointer */
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
