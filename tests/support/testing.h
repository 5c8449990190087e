/* SPDX-License-Identifier: Apache-2.0 */
/* What every cmocka program includes first: cmocka wants these headers before its own. */
#ifndef VGW_TESTS_TESTING_H
#define VGW_TESTS_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#endif
