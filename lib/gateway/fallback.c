/* SPDX-License-Identifier: Apache-2.0 */
/* The body is read once more for the other model: it is still in the front's hands, because nothing was sent. */
#include "gateway/fallback.h"

#include "gateway/allowance.h"
#include "gateway/reading.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/error.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_LOOK_MS = 20 }; /* the residency has then said by when it expects the model */

vgw_status vgw__fallback_begin(vgw_call *call, const vgw_request *request, vgw_error *err)
{
	struct vgw__fallback *fallback;

	if (!call->seat->model->fallback || call->operation == VGW_OPERATION_PASSTHROUGH)
		return VGW_OK;
	fallback = vgw__alloc(sizeof(*fallback));
	call->fallback = fallback;
	if (fallback && request->session)
		fallback->session = vgw__strdup(request->session);
	if (!fallback || (request->session && !fallback->session))
		return vgw_error_set(err, VGW_NOMEM, 0, "call");
	fallback->request = *request;
	fallback->request.session = fallback->session;
	fallback->request.content_type = NULL;
	return VGW_OK;
}

void vgw__fallback_free(vgw_call *call)
{
	if (!call->fallback)
		return;
	vgw_timer_cancel(call->worker->loop, &call->fallback->look);
	vgw__free(call->fallback->session);
	vgw__free(call->fallback);
	call->fallback = NULL;
}

void vgw__fallback_print(const vgw_call *call, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	if (!call->fallback || !call->fallback->count)
		return;
	for (size_t i = 0; i < call->fallback->count && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s -> ", call->fallback->left[i]->name);
	if (at < size)
		(void)snprintf(out + at, size - at, "%s", call->seat->model->name);
}

/* --- when --------------------------------------------------------------------------------------------------------- */

static void on_look(vgw_timer *timer);

static void look_at(vgw_call *call, int64_t at_ms)
{
	struct vgw__fallback *fallback = call->fallback;

	fallback->look.user = call;
	if (vgw_timer_start(call->worker->loop, &fallback->look, at_ms, on_look) != VGW_OK)
		return; /* without memory it waits on: that is what it would do without a fallback */
}

static void on_look(vgw_timer *timer)
{
	vgw_call *call = timer->user;
	struct vgw__place_in_line place;
	int64_t left_ms = call->fallback->waits_since_ms + call->seat->model->fallback_after_ms -
		vgw_loop_now_ms(call->worker->loop);

	if (call->state != VGW__CALL_LEASE || !call->waiter)
		return;
	vgw__waiter_get_place(call->waiter, &place);
	if (left_ms > 0 && place.eta_ms <= left_ms)
		look_at(call, vgw_loop_now_ms(call->worker->loop) + left_ms);
	else
		(void)vgw__fallback_take(call);
}

void vgw__fallback_watch(vgw_call *call)
{
	int64_t after_ms, now_ms = vgw_loop_now_ms(call->worker->loop);

	if (!call->fallback || !call->seat->model->fallback)
		return;
	after_ms = call->seat->model->fallback_after_ms;
	call->fallback->waits_since_ms = now_ms;
	look_at(call, now_ms + (after_ms < FIRST_LOOK_MS ? after_ms : FIRST_LOOK_MS));
}

/* --- on to the next ----------------------------------------------------------------------------------------------- */

/* The next model that this principal may use; NULL: it ends here. */
static const vgw_model *find_next(const vgw_call *call)
{
	const vgw_principal *principal = call->allowance ? call->allowance->principal : NULL;
	const vgw_model *next = vgw__registry_get_fallback(call->view->snapshot->registry, call->seat->model);

	if (!next || call->fallback->count == VGW__FALLBACKS_MAX || !vgw_principal_may_use(principal, next->name))
		return NULL;
	return next;
}

static void leave(vgw_call *call)
{
	vgw__call_enter(call, VGW__CALL_LIMIT); /* it does not wait for this model any more */
	vgw_timer_cancel(call->worker->loop, &call->fallback->look);
	vgw_timer_cancel(call->worker->loop, &call->deadline);
	vgw__call_drop_upstream(call);
	vgw__call_release_lease(call);
	vgw__targets_unref(call->targets);
	call->targets = NULL;
	call->target = NULL;
	call->tried = 0;
	call->is_reloaded = false;
	call->prompt = (struct vgw__span){ 0 };
	call->has_key = false;
	call->key = 0;
	call->hides_usage = false;
	call->hides_running = false;
	vgw__free(call->outgoing);
	call->outgoing = NULL;
	vgw__buf_fini(&call->scratch);
	vgw__gauge(&call->seat->shard->in_flight, -1);
	vgw__count(&call->seat->shard->fallbacks, 1);
	call->fallback->left[call->fallback->count++] = call->seat->model;
}

/* The form's Content-Type is the front's; what we sent, or would have, says the same. */
static vgw_status splice_again(vgw_call *call, const char *content_type, vgw_error *err)
{
	const vgw_gateway_options *limits = &call->worker->gateway->options;
	vgw_request *request = &call->fallback->request;
	struct vgw__reading reading;
	vgw_status status;

	request->content_type = content_type;
	status = vgw__reading_scan(&reading, limits, request, err);
	request->content_type = NULL;
	if (status == VGW_OK)
		status = vgw__reading_take_name(&reading, err);
	if (status == VGW_OK)
		status = vgw__reading_scan_again(&reading, limits, call->seat->model, err);
	if (status == VGW_OK)
		status = vgw__outgoing_prepare(call, &reading, request, err);
	if (status == VGW_OK)
		vgw__attempt_prepare(call, &reading.scan, request->session);
	return status;
}

bool vgw__fallback_take(vgw_call *call)
{
	char content_type[VGW__FORM_TYPE_BYTES];
	vgw_error err = VGW_ERROR_INIT;
	const vgw_model *next;
	vgw_status status;

	if (!call->fallback || call->status || call->is_sent || !call->outgoing)
		return false;
	next = find_next(call);
	if (!next)
		return false;
	memcpy(content_type, call->outgoing->form_type, sizeof(content_type));
	leave(call);
	call->seat = &call->view->seats[next->place];
	vgw__gauge(&call->seat->shard->in_flight, 1);
	status = splice_again(call, content_type, &err);
	if (status == VGW_OK)
		status = vgw__call_ask_for_lease(call, &err);
	if (status != VGW_OK) {
		call->retry_after = err.retry_after;
		vgw__call_fail(call, vgw_error_get_fault(&err), err.text);
	}
	return true;
}
