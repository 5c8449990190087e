/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body, read once: which model it names, and where the values are that the gateway replaces. */
#ifndef VGW_GATEWAY_READING_H
#define VGW_GATEWAY_READING_H

#include "gateway/call.h"
#include "json/form.h"
#include "json/scan.h"

enum { VGW__EXTRA_NAMES = 64 };

/* What was learned of a body; on the stack of vgw_worker_call(). */
struct vgw__reading {
	struct vgw__scan scan; /* of a form: empty */
	struct vgw__form form; /* of what is none: empty */
	bool is_form;
	struct vgw__json_name names[VGW__EXTRA_NAMES]; /* the model's defaults and stripped keys */
	struct vgw__json_span spans[VGW__EXTRA_NAMES];
	bool is_stream;
	size_t name_len;
	char name[VGW__NAME_MAX_BYTES + 1];
};

/* Too large, no JSON, a wrong type: an error with its fault. */
vgw_status vgw__reading_scan(struct vgw__reading *reading, const vgw_gateway_options *limits,
	const vgw_request *request, vgw_error *err);

/* The model that would run, if this principal may use it. */
vgw_status vgw__reading_find_model(struct vgw__reading *reading, struct vgw__view *view,
	const vgw_request *request, const vgw_model **model, vgw_error *err);

/* What the body calls its model, if it names one. */
vgw_status vgw__reading_take_name(struct vgw__reading *reading, vgw_error *err);

/* Looks for the keys of the model's own lists (defaults, stripped). */
vgw_status vgw__reading_scan_again(struct vgw__reading *reading, const vgw_gateway_options *limits,
	const vgw_model *model, vgw_error *err);

/* passthrough.c: instead of the three, for a body that nobody reads: is its path one for clients, and whose is it? */
vgw_status vgw__passthrough_read(struct vgw__reading *reading, const vgw_gateway_options *limits, struct vgw__view *view,
	const vgw_request *request, const vgw_model **model, vgw_error *err);

/* outgoing.c: call->outgoing, from the spliced body and the headers that go on. */
vgw_status vgw__outgoing_prepare(
	vgw_call *call, struct vgw__reading *reading, const vgw_request *request, vgw_error *err);

#endif
