/* SPDX-License-Identifier: Apache-2.0 */
/* Only public entry points reset the caller's error; inside the library the first cause wins. */
#ifndef VGW_UTIL_ERROR_H
#define VGW_UTIL_ERROR_H

#include <vllmgw/status.h>

void vgw__error_reset(vgw_error *err); /* NULL is allowed */

#endif
