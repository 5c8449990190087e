/* SPDX-License-Identifier: Apache-2.0 */
/* One replica of kind "process" or "docker" with a host that remembers what it was told, and the words the tests of
 * those kinds use. The engine is the simulator of this build. */
#ifndef VGW_TESTS_PROCESS_RIG_H
#define VGW_TESTS_PROCESS_RIG_H

#include "testing.h"

#include "backend/host.h"
#include "backend/registry.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

enum { PATIENCE_MS = 20000 };

/* One replica with its host, and what the host was told. */
struct rig {
	struct vgw__controllers *controllers;
	const struct vgw__controller_kind *kind;
	vgw_host *host;
	void *self;
	uint32_t sleep_level; /* of the instances made from here on */
	char state_dir[64];
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	char url[128];       /* guarded by mutex */
	char death[256];     /* guarded by mutex */
	int deaths;          /* guarded by mutex */
	int progress_count;  /* guarded by mutex */
	int last_percent;    /* guarded by mutex */
	char last_progress[128]; /* guarded by mutex */
	char logged[8192];   /* guarded by mutex */
};

int rig_set_up(void **state);
int rig_set_up_kind(void **state, const char *kind);
int rig_tear_down(void **state);

/* As after a restart of the gateway: everything of it anew but its folder. Engines go on. */
void rig_renew(struct rig *rig);

const char *rig_get_engine(void); /* the simulator's path */
vgw_status rig_create(struct rig *rig, const char *json, vgw_error *err);
/* The simulator with more arguments (", \"--x\"") and more configuration (", \"stop_timeout\": 1"). */
void rig_make_engine(struct rig *rig, const char *arguments, const char *more);
void rig_make_shell(struct rig *rig, const char *script, const char *more);

vgw_status rig_activate(struct rig *rig, vgw_error *err);
void rig_activate_well(struct rig *rig);
void rig_stop_well(struct rig *rig);

vgw_replica_facts rig_describe(struct rig *rig);
struct vgw__host_report rig_report_of(struct rig *rig);
bool rig_lives(pid_t pid);
size_t rig_count_of_engine(const char *identity); /* living processes that carry the nonce of this identity */
int64_t rig_await_death(struct rig *rig);         /* how long until a death was reported, in ms */
int rig_count_deaths(struct rig *rig, bool is_reset); /* so far; reset: count from here */
void rig_read_log(struct rig *rig, char *text, size_t size);

#define assert_says(text, wanted)                                                                                \
	do {                                                                                                     \
		if (!strstr(text, wanted))                                                                       \
			fail_msg("\"%s\" does not say \"%s\"", text, wanted);                                    \
	} while (0)

#endif
