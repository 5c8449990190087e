/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a worker, for front.c. Init, listen and fini on the main thread, before and after the worker's own. */
#ifndef VGW_SERVER_FRONT_WORKER_H
#define VGW_SERVER_FRONT_WORKER_H

#include "front/internal.h"

int worker_init(struct worker *worker, struct front *front, uint32_t place, char *why, size_t size);
int worker_listen(struct worker *worker, int fd, char *why, size_t size); /* takes the descriptor */
int worker_start(struct worker *worker); /* 0 or an errno */
int64_t worker_get_silence_ms(struct worker *worker); /* see front_get_silence_ms() */
void worker_order(struct worker *worker); /* look at front->stage; any thread */
void worker_fini(struct worker *worker); /* also of one half made; after the order to stop */

#endif
