/* SPDX-License-Identifier: Apache-2.0 */
/* The only place that starts programs. A child gets its own session, an empty signal mask, default signal actions,
 * /dev/null as stdin, one file as stdout and stderr, and no other descriptor. Never a shell. It is addressed by a
 * pidfd, so that no signal ever reaches another process that got the same pid. */
#ifndef VGW_UTIL_SUBPROCESS_H
#define VGW_UTIL_SUBPROCESS_H

#include <vllmgw/status.h>

#include "util/proc.h"

struct vgw__spawn_request {
	const char *const *argv; /* ended by NULL; argv[0] is looked up in the PATH of `env` */
	const char *const *env;  /* the whole environment, NAME=value, ended by NULL */
	const char *cwd;         /* NULL: ours */
	int output_fd;           /* becomes stdout and stderr; stays the caller's */
};

/* A running or ended process. A child stays a zombie, its pid not to be used again, until
 * vgw__subprocess_close(). */
struct vgw__subprocess {
	int pidfd; /* -1: closed */
	bool is_child;
	struct vgw__process_identity identity;
};

#define VGW__SUBPROCESS_INIT { .pidfd = -1 }

struct vgw__exit {
	bool is_known; /* only of children */
	int code;      /* valid when signal is 0 */
	int signal;
};

enum vgw__wait { VGW__WAIT_EXITED, VGW__WAIT_TIMEOUT, VGW__WAIT_CANCELLED };

/* INVALID: there is no such program or it cannot be run, the same next time. BACKEND: not now (too many processes
 * or descriptors). *out is closed on failure. */
vgw_status vgw__subprocess_spawn(struct vgw__subprocess *out, const struct vgw__spawn_request *request,
	vgw_error *err);
/* Take hold of a process that may not be our child. NOT_FOUND unless it is that very process, alive. */
vgw_status vgw__subprocess_open(struct vgw__subprocess *out, const struct vgw__process_identity *identity,
	vgw_error *err);
/* Reap it if it is a child that ended, and let go of it. A running process is left alone. Idempotent. */
void vgw__subprocess_close(struct vgw__subprocess *process);

void vgw__subprocess_signal(const struct vgw__subprocess *process, int signal); /* one that ended is let be */
/* Returns at once when `cancel_fd` (-1: none) becomes readable. Does not reap. */
enum vgw__wait vgw__subprocess_wait(const struct vgw__subprocess *process, int64_t deadline_ms, int cancel_fd);
bool vgw__subprocess_has_ended(const struct vgw__subprocess *process);
void vgw__subprocess_get_exit(const struct vgw__subprocess *process, struct vgw__exit *out);

enum { VGW__EXIT_TEXT = 64 };

/* "exit code 1", "killed by signal 9 (SIGKILL)", "ended". Returns `text`. */
const char *vgw__exit_describe(char text[VGW__EXIT_TEXT], const struct vgw__exit *end);

#endif
