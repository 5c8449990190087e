/* SPDX-License-Identifier: Apache-2.0 */
/* One request as it was seen. */
#ifndef VGW_ENGINE_RECORD_H
#define VGW_ENGINE_RECORD_H

#include "base.h"

struct record {
	struct record *next;
	uint64_t number;
	uint64_t connection;
	uint64_t on_connection; /* the how-manyth on it */
	int64_t at_ms;          /* monotonic */
	int64_t took_ms;
	struct buf head;
	struct buf body;
	const char *outcome; /* NULL: still going on */
	const char *phase;   /* where it ended */
	uint64_t events;
	bool is_dropped; /* forgotten already, only its exchange still has it */
};

#endif
