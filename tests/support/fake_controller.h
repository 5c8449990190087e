/* SPDX-License-Identifier: Apache-2.0 */
/* A controller kind "fake" that starts nothing and does what the test says: operations wait at a barrier, fail as
 * told, and are counted. It insists on the contract: one operation at a time per instance. */
#ifndef VGW_TESTS_FAKE_CONTROLLER_H
#define VGW_TESTS_FAKE_CONTROLLER_H

#include <vllmgw/residency.h>

#include <pthread.h>

enum { FAKES_MAX = 16, FAKE_WAIT_MS = 20000 };

struct fake {
	char name[32];
	bool is_held;          /* the next activation waits until fakes_release() */
	bool is_stop_held;
	vgw_status status;     /* of the next activations, while failures > 0 */
	vgw_failure failure;
	int failures;
	const char *text;      /* of the failure */
	bool is_up;
	bool is_asleep;
	int waiting;           /* operations at the barrier */
	int activations;
	int stops;
	int sleeps;
	int destroyed;
	int created;
	int running;           /* operations under way: never above 1 */
	vgw_host *host;
};

struct fakes {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fake items[FAKES_MAX]; /* guarded by lock, as all that follows */
	int up;                       /* models awake now */
	int most_up;
	int broken_contracts;
	void (*on_up)(const char *model, bool is_up); /* const once models are applied; may be NULL */
};

extern const vgw_controller_ops fake_ops;       /* user: struct fakes */
extern const vgw_controller_ops fake_sleeper_ops; /* kind "sleeper": can sleep */

void fakes_init(struct fakes *fakes);
void fakes_fini(struct fakes *fakes);
struct fake *fakes_get(struct fakes *fakes, const char *model);
void fakes_hold(struct fakes *fakes, const char *model);
void fakes_hold_stop(struct fakes *fakes, const char *model);
void fakes_release(struct fakes *fakes, const char *model);
void fakes_fail(struct fakes *fakes, const char *model, int times, vgw_failure failure, const char *text);
void fakes_kill(struct fakes *fakes, const char *model, const char *reason);
/* Wait until an operation of the model stands at the barrier; false after FAKE_WAIT_MS. */
bool fakes_wait_held(struct fakes *fakes, const char *model);
bool fakes_wait_activations(struct fakes *fakes, const char *model, int count);
int fakes_read(struct fakes *fakes, const int *counter);

/* A residency with the kinds fake and sleeper, and models of kind `kind` named by a NULL-terminated list. */
vgw_residency *fakes_residency(struct fakes *fakes, const vgw_residency_options *options);
void fakes_apply(vgw_residency *residency, const char *kind, const char *const *names);

#endif
