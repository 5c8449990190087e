/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says about processes. A pid alone names nobody: it is used again. Pid, start time and boot together do. */
#ifndef VGW_UTIL_PROC_H
#define VGW_UTIL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { VGW__BOOT_ID_SIZE = 40 };

/* Who a process is, across restarts of ours and of the machine. */
struct vgw__process_identity {
	pid_t pid;
	uint64_t start_time; /* clock ticks since boot: field 22 of /proc/PID/stat */
	char boot_id[VGW__BOOT_ID_SIZE];
};

/* The fields of /proc/PID/stat we go by. */
struct vgw__proc_stat {
	pid_t pid;
	pid_t parent;
	pid_t group;
	pid_t session;
	char state; /* R S D T Z X ... */
	uint64_t start_time;
};

enum vgw__proc_env {
	VGW__PROC_ENV_SAME,    /* the variable is there with that value */
	VGW__PROC_ENV_OTHER,   /* it is there with another value */
	VGW__PROC_ENV_ABSENT,  /* it is not there, or the process has written over its environment */
	VGW__PROC_ENV_UNKNOWN, /* not ours to read, gone, or stuck in the kernel */
};

bool vgw__proc_read_stat(pid_t pid, struct vgw__proc_stat *out); /* false: there is none */
bool vgw__proc_is_dead(const struct vgw__proc_stat *stat);       /* a zombie has done with everything */
bool vgw__proc_identify(pid_t pid, struct vgw__process_identity *out);
bool vgw__proc_read_boot_id(char out[VGW__BOOT_ID_SIZE]);
/* True while that very process lives; zombies do not. */
bool vgw__process_is_same(const struct vgw__process_identity *identity);

/* Does the environment the process was started with hold name=value? */
enum vgw__proc_env vgw__proc_match_env(pid_t pid, const char *name, const char *value);

/* Every process of the machine, in one list from util/alloc. False: no /proc or no memory. */
bool vgw__proc_list(struct vgw__proc_stat **out, size_t *count);

/* Now, on the clock of start_time. */
uint64_t vgw__proc_now_ticks(void);

#endif
