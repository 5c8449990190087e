/* SPDX-License-Identifier: Apache-2.0 */
/* One request while MHD has it. MHD calls the handler several times for each; here that becomes steps:
 *
 *   1st call        begin: guard the head, find the route, refuse early or answer at once
 *   with bytes      exchange_gather(): body.c
 *   last call       exchange_call(): call.c
 *   after a resume  exchange_go_on(): take the connection over, or answer what ended meanwhile */
#include "front/internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- the end -------------------------------------------------------------------------------------------------- */

static void write_log(const struct exchange *x)
{
	struct access_entry entry = {
		.method = x->method,
		.path = x->path,
		.peer = x->peer,
		.request_id = x->request_id,
		.status = x->status,
		.is_client_gone = x->is_client_gone,
		.is_broken = x->is_broken,
		.total_us = now_us() - x->begun_us,
		.facts = x->facts,
	};

	access_log_write(x->worker->front->options.access_log, &entry);
}

/* A cancelled call reports no more: what it was must be kept before. */
void exchange_cancel(struct exchange *x)
{
	const char *fault = x->facts.fault;
	vgw_call_report report;

	if (!x->call)
		return;
	vgw_call_get_report(x->call, &report);
	access_facts_fill(&x->facts, &report);
	x->facts.fault = fault;
	vgw_call_cancel(x->call);
	x->call = NULL;
}

void exchange_free(struct exchange *x)
{
	exchange_cancel(x);
	if (x->errand)
		errand_leave(x->errand);
	if (x->is_suspended)
		x->worker->suspended_count--;
	vgw_watch_remove(x->worker->loop, &x->client);
	vgw_defer_cancel(x->worker->loop, &x->convert);
	link_remove(&x->link);
	if (x->connection)
		x->connection->exchange = NULL;
	exchange_forget_body(x);
	if (x->worker->front->options.access_log)
		write_log(x);
	atomic_fetch_sub(&x->worker->front->requests, 1);
	vgw_principal_unref(x->principal);
	free(x->texts);
	reply_free(x->worker, x->reply);
	free(x->answer);
	free(x);
}

void exchange_completed(void *user, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode code)
{
	struct exchange *x = *state;

	(void)user;
	(void)connection;
	if (!x)
		return;
	*state = NULL;
	x->is_client_gone = code != MHD_REQUEST_TERMINATED_COMPLETED_OK && !x->is_given_up;
	if (x->connection && code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		deadline_start_idle(x->connection);
	exchange_free(x);
}

/* --- the beginning -------------------------------------------------------------------------------------------- */

static struct exchange *new_exchange(struct listener *listener, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct exchange *x = malloc(sizeof(*x)); /* quicker than calloc(), which has no cache */

	if (!x)
		return NULL;
	*x = (struct exchange){ 0 };
	link_init(&x->link);
	x->worker = listener->worker;
	x->listen = listener->at;
	x->mhd = mhd;
	x->connection = info ? info->socket_context : NULL;
	x->begun_us = now_us();
	x->facts.prompt_tokens = -1;
	x->facts.completion_tokens = -1;
	x->facts.first_byte_us = -1;
	x->facts.queue_us = -1;
	atomic_fetch_add(&x->worker->front->requests, 1); /* before the connection is not fresh any more */
	if (x->connection) {
		memcpy(x->peer, x->connection->peer, sizeof(x->peer));
		x->connection->exchange = x;
		deadline_stop(x->connection);
	}
	worker_make_id(x->worker, x->request_id);
	return x;
}

static bool has_body(const struct exchange *x)
{
	return x->head.is_chunked || x->head.content_length > 0;
}

/* No to a request. If its body is on the way, the client must be able to read the answer all the same: closing with
 * unread bytes would reset the connection and destroy it. A client that waits for "100 Continue" sends none. */
static enum MHD_Result refuse(struct exchange *x, void **state, vgw_fault fault, const char *why, const char *allow)
{
	if (has_body(x) && !x->head.expects_continue)
		return stream_refuse(x, state, fault, why);
	return reply_fault(x, fault, why, allow);
}

static enum MHD_Result answer_options(struct exchange *x, const char *allow)
{
	struct reply *reply = reply_new(x, 204, NULL);

	if (reply) {
		reply_add(reply, "Allow", allow);
		cors_add_preflight(x, reply, allow);
	}
	return reply_queue(x, reply, NULL, 0, free);
}

/* Handlers are quick: they answer within the worker's turn. */
static enum MHD_Result answer_route(struct exchange *x, const char *url)
{
	const struct front *front = x->worker->front;
	char name[ROUTE_NAME_BYTES];
	struct route_view view = {
		.gateway = front->options.gateway,
		.name = name,
		.accept = x->head.accept,
		.catalogue = front->options.catalogue,
		.is_model_router = front->options.is_model_router,
		.principal = x->principal,
		.keys_refused = front->options.keys ? keys_count_refused(front->options.keys) : 0,
		.is_draining = atomic_load(&front->stage) != FRONT_SERVING,
		.uptime_ms = vgw_now_ms() - front->begun_ms,
		.connections = atomic_load(&front->requests),
	};
	struct route_answer answer = { 0 };
	struct reply *reply;

	if (route_get_name(x->route, url, strlen(url), name, sizeof(name), &view.name_len) != 0)
		return reply_fault(x, VGW_FAULT_NOT_FOUND, NULL, NULL);
	if (!exchange_read_query(x, view.query))
		return reply_fault(x, VGW_FAULT_BAD_REQUEST, "the query string is malformed", NULL);
	x->route->answer(&view, &answer);
	if (!answer.body)
		return reply_fault(x, VGW_FAULT_OUT_OF_MEMORY, NULL, NULL);
	reply = reply_new(x, answer.status, answer.type);
	return reply_queue(x, reply, answer.body, strlen(answer.body), answer.free_fn);
}

/* What can be told from the head of an inference request, before any of its body is read. */
static vgw_fault check_call(const struct exchange *x, const char **why)
{
	const struct front *front = x->worker->front;

	if (x->worker->is_draining)
		return VGW_FAULT_SHUTTING_DOWN;
	if (vgw_operation_is_form(x->route->operation)) {
		if (!guard_is_form(&x->head)) {
			*why = "send Content-Type: multipart/form-data with its boundary";
			return VGW_FAULT_UNSUPPORTED_MEDIA_TYPE;
		}
	} else if (!x->route->is_forward && !guard_is_json(&x->head)) {
		return VGW_FAULT_UNSUPPORTED_MEDIA_TYPE;
	}
	if (x->head.content_length > front->options.body_bytes)
		return VGW_FAULT_REQUEST_TOO_LARGE;
	if (atomic_load(&front->body_bytes) + x->head.content_length > front->options.queue_bytes) {
		*why = "too many request bodies are in memory";
		return VGW_FAULT_SERVER_OVERLOADED;
	}
	return VGW_FAULT_NONE;
}

/* Where it leads. A request without a body comes here in MHD's last call: an answer in the first one would make MHD
 * close the connection afterwards. */
static enum MHD_Result route(struct exchange *x, void **state, const char *url, const char *method)
{
	const char *why = NULL, *allow = "GET, HEAD, POST, OPTIONS";
	bool is_options = strcmp(method, "OPTIONS") == 0;
	enum route_miss miss;
	vgw_fault fault;

	x->is_routed = true;
	x->is_head = strcmp(method, "HEAD") == 0;
	if (is_options && strcmp(url, "*") == 0)
		return answer_options(x, allow);
	miss = routes_find(x->worker->front->options.routes, method, url, strlen(url), &x->route, &allow);
	if (miss == ROUTE_HIT && !admission_is_visible(x))
		miss = ROUTE_UNKNOWN_PATH;
	if (miss == ROUTE_UNKNOWN_PATH)
		return refuse(x, state, VGW_FAULT_NOT_FOUND, NULL, NULL);
	if (is_options)
		return answer_options(x, allow);
	if (miss == ROUTE_WRONG_METHOD)
		return refuse(x, state, VGW_FAULT_METHOD_NOT_ALLOWED, NULL, allow);
	fault = x->route->auth == ROUTE_ADMIN ? admission_check(x, &why) : auth_check(x);
	if (fault == VGW_FAULT_NONE && !x->route->answer)
		fault = x->route->errand ? exchange_check_errand(x, &why) : check_call(x, &why);
	if (fault != VGW_FAULT_NONE)
		return refuse(x, state, fault, why, NULL);
	if (x->route->answer)
		return answer_route(x, url);
	if (!has_body(x))
		return x->route->errand ? exchange_errand(x, state, url) : exchange_call(x, state, url);
	if (x->connection)
		deadline_start(x->connection, DEADLINE_BODY);
	return MHD_YES;
}

/* For the day the connection is taken over: what of its bytes are requests? */
static void count_bytes(const struct exchange *x)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

	if (!x->connection)
		return;
	if (!info || x->head.is_chunked)
		x->connection->is_uncounted = true;
	else
		x->connection->asked_bytes += info->header_size + x->head.content_length;
}

static enum MHD_Result begin(struct exchange *x, void **state, const char *url, const char *method,
	const char *version)
{
	const char *why = NULL;
	vgw_fault fault = guard_check(&x->head, x->mhd, method, version, &why);

	count_bytes(x);
	x->origin = cors_find(x->worker->front, x->head.origin);
	x->method = log_method(method);
	log_path(x->path, sizeof(x->path), url);
	if (fault != VGW_FAULT_NONE)
		return refuse(x, state, fault, why, NULL);
	if (x->worker->front->options.proxy_count || x->worker->front->options.trusts_unix)
		origin_find(x);
	return has_body(x) ? route(x, state, url, method) : MHD_YES;
}

/* --- MHD's callback ------------------------------------------------------------------------------------------- */

enum MHD_Result exchange_handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct listener *listener = user;
	struct exchange *x = *state;
	const char *why = NULL;
	vgw_fault fault;

	listener->barren = 0;
	if (!x) {
		x = new_exchange(listener, connection);
		if (!x)
			return MHD_NO;
		*state = x;
		return begin(x, state, url, method, version);
	}
	if (*upload_size)
		return exchange_gather(x, state, upload, upload_size);
	if (x->connection)
		deadline_stop(x->connection);
	if (!x->is_routed)
		return route(x, state, url, method);
	if (x->call || x->has_ended)
		return exchange_take_over_now(x, state);
	fault = exchange_end_body(x, &why);
	if (fault != VGW_FAULT_NONE)
		return reply_fault(x, fault, why, NULL);
	return x->route->errand ? exchange_errand(x, state, url) : exchange_call(x, state, url);
}
