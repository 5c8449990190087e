/* SPDX-License-Identifier: Apache-2.0 */
/* What an error of the Docker Engine means: what to do about it, and what to tell people. The engine tells errors
 * apart by their texts only, and the statuses differ between versions and Podman, so both are looked at. */
#ifndef VGW_BACKEND_DOCKER_PROBLEM_H
#define VGW_BACKEND_DOCKER_PROBLEM_H

#include <vllmgw/controller.h>

/* What our code goes by; everything else is OTHER. */
enum vgw__docker_trouble {
	VGW__DOCKER_NO_TROUBLE,
	VGW__DOCKER_OTHER,
	VGW__DOCKER_NO_ANSWER,    /* not reachable, hung, cut, cancelled */
	VGW__DOCKER_NO_IMAGE,
	VGW__DOCKER_NO_CONTAINER,
	VGW__DOCKER_NAME_TAKEN,
	VGW__DOCKER_PORT_TAKEN,
	VGW__DOCKER_BEING_REMOVED,
	VGW__DOCKER_WRONG_VERSION,
};

struct vgw__docker_problem {
	vgw_status status; /* VGW_OK: none */
	uint32_t http;     /* status of the answer, 0: there was none */
	enum vgw__docker_trouble trouble;
	vgw_failure failure;
	char text[240];
};

/* From an answer that is an error. `doing` is what was tried: "create its container". */
void vgw__docker_problem_read(struct vgw__docker_problem *problem, const char *doing, uint32_t http,
	const char *body, size_t len);
/* The same for an error that came as a text, inside a stream of status 200. */
void vgw__docker_problem_explain(struct vgw__docker_problem *problem, const char *doing, uint32_t http,
	const char *message);
/* One of our own making. */
vgw_status vgw__docker_problem_set(struct vgw__docker_problem *problem, vgw_status status, vgw_failure failure,
	const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
