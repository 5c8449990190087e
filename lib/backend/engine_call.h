/* SPDX-License-Identifier: Apache-2.0 */
/* One control call to an engine: an endpoint and a path instead of a URL. Blocks: for executor threads. */
#ifndef VGW_BACKEND_ENGINE_CALL_H
#define VGW_BACKEND_ENGINE_CALL_H

#include "net/control.h"
#include "net/endpoint.h"

struct vgw__engine_call {
	const struct vgw__endpoint *endpoint;
	const char *path;    /* with its query, "/sleep?level=1" */
	const char *method;  /* NULL: GET */
	const char *body;    /* NULL: none; JSON otherwise */
	const char *api_key; /* NULL or "": none */
	int64_t deadline_ms;
	size_t max_answer_bytes; /* 0: 1 MiB */
	int cancel_fd;           /* -1: none */
};

/* As vgw__control_call(): any status is an answer. */
vgw_status vgw__engine_call(const struct vgw__engine_call *call, struct vgw__control_answer *answer, vgw_error *err);

/* What an answer that is not the one hoped for says, fit for eyes: its first bytes, one line. */
const char *vgw__engine_call_excerpt(const struct vgw__control_answer *answer, char *out, size_t size);

#endif
