/* SPDX-License-Identifier: Apache-2.0 */
/* Does an engine serve? GET /health says 200 (or that there is no such route), /is_sleeping does not say true, and
 * /v1/models names the model. All three, because /health may lie while it loads, a sleeping engine says 200 to
 * everything, and another engine's port may have come to be ours. */
#ifndef VGW_BACKEND_PROBE_H
#define VGW_BACKEND_PROBE_H

#include <vllmgw/status.h>

#include "net/endpoint.h"

struct vgw__probe {
	struct vgw__endpoint *endpoint;
	const char *served_name;
	const char *api_key; /* NULL or "": none */
	int64_t deadline_ms; /* of the whole probe */
	int cancel_fd;       /* readable: give up; -1: none */
};

/* READY gives VGW_OK; the others an error whose text says what is missing. */
enum vgw__probe_result {
	VGW__PROBE_READY,
	VGW__PROBE_NOT_YET, /* no connection, no answer, or /health says no */
	VGW__PROBE_ASLEEP,
	VGW__PROBE_WRONG_MODEL, /* it lists models, and ours is not among them */
};

enum vgw__probe_result vgw__probe_run(const struct vgw__probe *probe, vgw_error *err);

#endif
