/* SPDX-License-Identifier: Apache-2.0 */
/* What an engine was made to tell although the client did not ask: seen by us, taken out of what is delivered.
 *
 *   engine ── cut: each event's running usage ── withhold: the last event with the whole ──► front */
#include "gateway/call.h"
#include "util/alloc.h"

bool vgw__call_begin_concealing(vgw_call *call)
{
	if (!call->hides_usage && !call->hides_running)
		return true;
	call->concealed = vgw__alloc(sizeof(*call->concealed));
	if (!call->concealed)
		return false;
	vgw__usage_cut_init(&call->concealed->cut);
	vgw__withhold_init(&call->concealed->withhold);
	return true;
}

void vgw__call_end_concealing(vgw_call *call)
{
	if (!call->concealed)
		return;
	vgw__usage_cut_fini(&call->concealed->cut);
	vgw__withhold_fini(&call->concealed->withhold);
	vgw__free(call->concealed);
	call->concealed = NULL;
}

static void emit(void *user, const void *data, size_t len)
{
	(void)vgw__call_deliver(user, data, len);
}

static void withhold(void *user, const void *data, size_t len)
{
	vgw_call *call = user;

	if (call->hides_usage)
		vgw__withhold_feed(&call->concealed->withhold, data, len, emit, call);
	else
		emit(call, data, len);
}

enum vgw__flow vgw__call_deliver_stream(vgw_call *call, const char *data, size_t len)
{
	if (!call->concealed)
		return vgw__call_deliver(call, data, len);
	if (call->hides_running)
		vgw__usage_cut_feed(&call->concealed->cut, data, len, withhold, call);
	else
		withhold(call, data, len);
	return call->is_paused ? VGW__FLOW_FULL : VGW__FLOW_GO;
}

void vgw__call_end_stream(vgw_call *call)
{
	if (!call->concealed)
		return;
	vgw__usage_cut_end(&call->concealed->cut, withhold, call);
	vgw__withhold_end(&call->concealed->withhold, emit, call);
}
