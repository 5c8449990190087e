/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics of the process itself, under the names Prometheus' own client libraries use. */
#ifndef VGW_SERVER_PROCESS_METRICS_H
#define VGW_SERVER_PROCESS_METRICS_H

#include <stdint.h>

/* `text` with the process' metrics behind it, from malloc(); NULL without memory. */
char *process_metrics_append(const char *text, uint64_t connections, uint64_t keys_refused);

/* When this process began, in seconds of the wall clock; called once at start. */
void process_metrics_begin(void);

#endif
