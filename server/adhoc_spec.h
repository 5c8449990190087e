/* SPDX-License-Identifier: Apache-2.0 */
/* What a spec holds; private to the two files of adhoc.h. */
#ifndef VGW_SERVER_ADHOC_SPEC_H
#define VGW_SERVER_ADHOC_SPEC_H

#include "adhoc.h"

struct adhoc_spec {
	char *text; /* as it was given */
	char *room; /* the words, each ends with a NUL */
	char **words;
	size_t count;
	char *name;
};

#endif
