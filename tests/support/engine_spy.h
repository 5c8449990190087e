/* SPDX-License-Identifier: Apache-2.0 */
/* What a simulated engine was asked, and telling it to misbehave. */
#ifndef VGW_TESTS_ENGINE_SPY_H
#define VGW_TESTS_ENGINE_SPY_H

#include "testing.h"

enum { SPY_TEXT = 16384 };

/* The lines "METHOD TARGET" of the recorded requests whose method is `method`, in their order. */
void spy_list(const char *url, const char *method, char out[SPY_TEXT]);
/* The body of the last request to this target; fails when there was none. */
void spy_last_body(const char *url, const char *target, char out[SPY_TEXT]);
void spy_forget(const char *url);
/* From now on: a fault of the simulator's list, everywhere. */
void spy_inject(const char *url, const char *fault);
int64_t spy_count(const char *url, const char *counter);
/* POST; returns the status of the answer. */
uint32_t spy_post(const char *url, const char *path, const char *body);

#endif
