/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "process" from the inside: what its files share.
 *
 *   process.c        the operations, and the death nobody asked for
 *   process_start.c  launch, wait until it serves, say why it does not
 *   process_adopt.c  find an engine again after our restart, and tell ours from others
 *
 * Who may touch what: the operations come one at a time; between them, and only while `watched` is added, the
 * watcher's thread has the log, the classifier and the tree. An operation takes the watch off first, and from then
 * on has everything to itself. `facts` is guarded by the mutex, because anybody may ask for it at any time. */
#ifndef VGW_BACKEND_PROCESS_H
#define VGW_BACKEND_PROCESS_H

#include <vllmgw/controller.h>

#include "backend/classify.h"
#include "backend/engine_log.h"
#include "backend/ports.h"
#include "backend/probe.h"
#include "backend/process_config.h"
#include "backend/watcher.h"
#include "util/subprocess.h"
#include "util/tree.h"

#include <pthread.h>

/* What all instances share. */
struct vgw__process_kind {
	struct vgw__watcher *watcher;
	struct vgw__ports ports;
};

struct vgw__process {
	vgw_host *host;                    /* const after create, down to config */
	struct vgw__process_kind *kind;
	struct vgw__process_config config;
	bool has_engine;                   /* started or adopted, and not yet swept away; the fields below are its */
	struct vgw__subprocess child;
	struct vgw__tree tree;
	struct vgw__engine_log log;
	struct vgw__classifier classifier;
	struct vgw__strings secrets;
	struct vgw__watched watched;
	int64_t started_ms;
	uint16_t port;
	pthread_mutex_t mutex;
	vgw_replica_facts facts;           /* guarded by mutex */
};

/* process.c */
vgw_status vgw__process_serve(struct vgw__process *process, vgw_error *err); /* set the endpoint, begin to watch */
/* SIGTERM, wait `grace_ms` or until cancelled, then sweep. On failure the engine is kept for another attempt. */
vgw_status vgw__process_stop(struct vgw__process *process, int64_t grace_ms, int64_t deadline_ms, vgw_error *err);
void vgw__process_forget(struct vgw__process *process);     /* the engine is gone, or to be left alone */
void vgw__process_set_facts(struct vgw__process *process);  /* from the engine's fields */
void vgw__process_take_line(void *user, const char *line, size_t len); /* a vgw__log_line_fn */
/* The line of the log to show, fit for eyes. */
void vgw__process_get_line(const struct vgw__process *process, char *out, size_t size);
enum vgw__probe_result vgw__process_probe(struct vgw__process *process, int64_t deadline_ms, vgw_error *err);

/* process_start.c */
vgw_status vgw__process_launch(struct vgw__process *process, vgw_error *err);
vgw_status vgw__process_wait_ready(struct vgw__process *process, int64_t deadline_ms, vgw_error *err);

/* process_adopt.c: as the operation of that name */
vgw_status vgw__process_adopt(void *self, const char *identity, int64_t deadline_ms, vgw_error *err);

#endif
