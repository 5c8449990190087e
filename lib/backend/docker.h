/* SPDX-License-Identifier: Apache-2.0 */
/* Kind "docker" from the inside: what its files share.
 *
 *   docker.c           the operations, and the death nobody asked for
 *   docker_kind.c      what the instances share: daemons, who holds which container, which gateway we are
 *   docker_owned.c     containers of ours that nobody holds any more, and names that others have
 *   docker_create.c    create and start, under a free name
 *   docker_start.c     from the sweep to the probe: wait until it serves, say why it does not
 *   docker_adopt.c     find a container again after our restart
 *   docker_config.c    the configuration          docker_body.c    what is sent to create a container
 *   docker_client.c    calls to the Engine API    docker_problem.c what its errors mean
 *   docker_image.c     pull                       docker_logs.c    the log's thread
 *   docker_events.c    the events' thread
 *
 * Who may touch what: the operations come one at a time; between them, and only while `watched` is added, the
 * watcher's thread has the log, the classifier and `logs`. An operation takes the watch off first. `container` is
 * written under the kind's mutex, because others look who holds what; `facts` under its own. */
#ifndef VGW_BACKEND_DOCKER_H
#define VGW_BACKEND_DOCKER_H

#include "backend/classify.h"
#include "backend/docker_client.h"
#include "backend/docker_config.h"
#include "backend/docker_events.h"
#include "backend/docker_logs.h"
#include "backend/engine_log.h"
#include "backend/ports.h"
#include "backend/probe.h"
#include "backend/watcher.h"
#include "util/tree.h"

#include <pthread.h>

/* One Docker Engine. Lives as long as the kind. */
struct vgw__docker_daemon {
	struct vgw__list link;
	struct vgw__docker_client client;
	struct vgw__docker_events *events;
};

/* What all instances share. */
struct vgw__docker_kind {
	struct vgw__watcher *watcher;
	struct vgw__ports ports;
	pthread_mutex_t mutex;
	struct vgw__list daemons;          /* guarded by mutex, as all below */
	struct vgw__list instances;
	char instance[VGW__NONCE_SIZE];    /* which gateway we are; "" until first asked */
};

enum { VGW__DOCKER_URL = 192 };

struct vgw__docker {
	struct vgw__list link;             /* guarded by the kind's mutex */
	vgw_host *host;                    /* const after create, down to config */
	struct vgw__docker_kind *kind;
	struct vgw__docker_config config;
	struct vgw__docker_daemon *home;   /* the configured one */
	struct vgw__docker_daemon *daemon; /* that of the container, else home */
	char container[VGW__DOCKER_ID];    /* "": none; writes guarded by the kind's mutex */
	bool may_have_lost;                /* a container may have been made whose id never came back */
	char nonce[VGW__NONCE_SIZE];
	char url[VGW__DOCKER_URL];         /* where it listens */
	uint16_t port;                     /* inside */
	struct vgw__engine_log log;
	struct vgw__docker_logs *logs;
	struct vgw__docker_watch watch;
	struct vgw__classifier classifier;
	struct vgw__strings secrets;
	struct vgw__watched watched;
	int64_t started_ms;
	pthread_mutex_t mutex;
	vgw_replica_facts facts;           /* guarded by mutex */
};

/* docker.c */
vgw_status vgw__docker_serve(struct vgw__docker *docker, vgw_error *err); /* set the endpoint, begin to watch */
/* Stop it within `grace_ms` or at once when cancelled, remove it. On failure it is kept for another attempt. */
vgw_status vgw__docker_stop(struct vgw__docker *docker, int64_t grace_ms, int64_t deadline_ms,
	struct vgw__docker_problem *problem);
void vgw__docker_forget(struct vgw__docker *docker); /* the container is gone, or to be left alone */
void vgw__docker_set_facts(struct vgw__docker *docker);
void vgw__docker_take_line(void *user, const char *line, size_t len); /* a vgw__log_line_fn */
/* How it ended and the line of the log to show, in one; after its end. Also reads the log to its end. */
void vgw__docker_describe_end(struct vgw__docker *docker, const struct vgw__docker_state *state, char *out,
	size_t size);
enum vgw__probe_result vgw__docker_probe(struct vgw__docker *docker, int64_t deadline_ms, vgw_error *err);
/* The failure the residency goes by and the error a client is told. Returns the problem's status. */
vgw_status vgw__docker_fail(struct vgw__docker *docker, const struct vgw__docker_problem *problem,
	vgw_error *err);

/* docker_kind.c */
vgw_status vgw__docker_find_daemon(struct vgw__docker_kind *kind, const char *where, const vgw_logger *logger,
	struct vgw__docker_daemon **out, vgw_error *err);
/* A name kept in the state directory, so that we know our containers after a restart. */
vgw_status vgw__docker_get_instance(struct vgw__docker_kind *kind, const char *state_dir,
	char out[VGW__NONCE_SIZE], vgw_error *err);
void vgw__docker_hold(struct vgw__docker *docker, const char *container); /* "": none any more */
/* The model whose instance holds this container, copied; false: none does. */
bool vgw__docker_is_held(struct vgw__docker_kind *kind, const char *container, char *model, size_t size);

/* docker_owned.c */
/* Remove a container, whatever state it is in; one that is gone already is fine. Takes a few seconds at the least. */
vgw_status vgw__docker_remove(struct vgw__docker_daemon *daemon, const char *container, int64_t deadline_ms,
	struct vgw__docker_problem *problem);
/* Remove what earlier runs of this gateway have left of this replica. */
vgw_status vgw__docker_sweep(struct vgw__docker *docker, int64_t deadline_ms,
	struct vgw__docker_problem *problem);
/* The container's name is taken. If by a leftover of ours: remove it, VGW_OK. Else say whose it is. */
vgw_status vgw__docker_free_name(struct vgw__docker *docker, const char *name, int64_t deadline_ms,
	struct vgw__docker_problem *problem);

/* docker_create.c: also removes what it created and could not start */
vgw_status vgw__docker_create(struct vgw__docker *docker, const char *body, int64_t deadline_ms,
	struct vgw__docker_problem *problem);

/* docker_start.c */
vgw_status vgw__docker_launch(struct vgw__docker *docker, int64_t deadline_ms, vgw_error *err);
vgw_status vgw__docker_wait_ready(struct vgw__docker *docker, int64_t deadline_ms, vgw_error *err);
/* Begin to watch a running container, follow its log from `since` on, and find out where it listens. */
vgw_status vgw__docker_take_hold(struct vgw__docker *docker, double since, int64_t deadline_ms,
	struct vgw__docker_problem *problem);

/* docker_adopt.c: as the operation of that name */
vgw_status vgw__docker_adopt(void *self, const char *identity, int64_t deadline_ms, vgw_error *err);

#endif
