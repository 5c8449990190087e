/* SPDX-License-Identifier: Apache-2.0 */
/* What every fuzz target includes: its entry point, and the way it says that something is wrong. */
#ifndef VGW_TESTS_FUZZ_H
#define VGW_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops the program, also in builds without assert(): the input that led here is a finding. */
#define FUZZ_CHECK(condition)                                                                        \
	do {                                                                                         \
		if (!(condition)) {                                                                  \
			(void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                     \
		}                                                                                    \
	} while (0)

#endif
