/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the tests against a real Docker Engine: its API without our client, and what may be done to it. The
 * engine is started by tests/support/docker_engine, once for a program. */
#ifndef VGW_TESTS_DOCKER_RIG_H
#define VGW_TESTS_DOCKER_RIG_H

#include "process_rig.h"

#include <jansson.h>

int docker_set_up(void **state);
int docker_tear_down(void **state); /* also removes every container and network that a test has left */

/* The simulator in a container: more arguments (", \"--x\"") and more configuration (", \"gpus\": \"all\""). */
void docker_make_engine(struct rig *rig, const char *arguments, const char *more);
/* A shell in place of it. */
void docker_make_shell(struct rig *rig, const char *script, const char *more);
/* Activate; it must fail. The report is what the host was told. */
struct vgw__host_report docker_fail_to_activate(struct rig *rig, vgw_error *err);

/* One call to the Engine API, as anybody may make it; the answer's status, its JSON in *out (may be NULL). */
uint32_t docker_api(const char *method, const char *path, const char *body, json_t **out);
json_t *docker_inspect(const char *container);
/* An own container of the test's, created and perhaps started: its id. */
void docker_make_foreign(const char *name, const char *labels, bool is_started, char id[72]);
size_t docker_count(void); /* containers there are */
bool docker_lives(const char *container);

void docker_control(const char *verb, bool has_gpus); /* start, stop, kill, pause, resume */

uint32_t docker_get(const char *url, const char *path); /* GET an engine */

#endif
