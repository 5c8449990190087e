/* SPDX-License-Identifier: Apache-2.0 */
/* The curl transport: libcurl's socket interface on our loop.
 *
 *   loop ──► ready socket, due timer ──► curl_multi_socket_action() ──► callbacks of curl_call.c ──► on_head, on_data
 *                                                    │
 *   libcurl ──► "watch this socket", "call me then" ◄┘──► finished transfers ──► on_end
 *
 * Dearer than h1, and linear in an engine's connections: it is for https. One thread: that of the loop. */
#include "net/curl.h"

#include "util/alloc.h"

#include <sys/epoll.h>

enum {
	TIMER_MS = 250,            /* at the most, while calls are under way: libcurl's own timers were late before */
	MAX_CONNECTIONS = 65536,   /* libcurl's cache; it must hold every open stream */
};

/* A socket libcurl is interested in. */
struct socket_watch {
	vgw_watch watch;
	struct vgw__curl *curl;
	curl_socket_t fd;
};

/* --- the end of calls -------------------------------------------------------------------------------------------- */

static void take_out(struct vgw__curl *curl, struct vgw__curl_call *call)
{
	bool was_inside = curl->is_inside;

	vgw__list_remove(&call->link);
	if (!call->is_added)
		return;
	curl->is_inside = true;
	(void)curl_multi_remove_handle(curl->multi, call->easy);
	curl->is_inside = was_inside;
	call->is_added = false;
	curl->added_count--;
}

static void finish(struct vgw__curl *curl, struct vgw__curl_call *call, const struct vgw__upstream_result *result)
{
	const struct vgw__upstream_events *events = call->events;
	void *user = call->user;
	bool is_dead = call->is_dead;

	take_out(curl, call);
	vgw__curl_call_free(call);
	if (!is_dead)
		events->on_end(user, result);
}

static void collect(struct vgw__curl *curl)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(curl->multi, &left)) != NULL) {
		struct vgw__upstream_result result;
		char *private = NULL;

		if (message->msg != CURLMSG_DONE ||
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private) != CURLE_OK)
			continue;
		result = vgw__curl_call_judge((struct vgw__curl_call *)(void *)private, message->data.result);
		finish(curl, (struct vgw__curl_call *)(void *)private, &result);
	}
}

static void act(struct vgw__curl *curl, curl_socket_t fd, int what)
{
	int running;

	curl->is_inside = true;
	(void)curl_multi_socket_action(curl->multi, fd, what, &running);
	curl->is_inside = false;
	collect(curl);
}

/* --- what libcurl wants to know ---------------------------------------------------------------------------------- */

static void on_socket_event(vgw_watch *watch, uint32_t events)
{
	struct socket_watch *entry = watch->user;
	int what = 0;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		what |= CURL_CSELECT_ERR;
	act(entry->curl, entry->fd, what); /* may free the entry */
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *socket_user)
{
	struct vgw__curl *curl = user;
	struct socket_watch *entry = socket_user;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (entry)
			vgw_watch_remove(curl->loop, &entry->watch);
		vgw__free(entry);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (entry)
		return vgw_watch_set(curl->loop, &entry->watch, events) == VGW_OK ? 0 : -1;
	entry = vgw__alloc(sizeof(*entry));
	if (!entry)
		return -1;
	entry->curl = curl;
	entry->fd = fd;
	entry->watch.user = entry;
	if (vgw_watch_add(curl->loop, &entry->watch, fd, events, on_socket_event, NULL) != VGW_OK ||
		curl_multi_assign(curl->multi, fd, entry) != CURLM_OK) {
		vgw_watch_remove(curl->loop, &entry->watch);
		vgw__free(entry);
		return -1;
	}
	return 0;
}

static void on_timer(vgw_timer *timer);

static int on_timeout_change(CURLM *multi, long timeout_ms, void *user)
{
	struct vgw__curl *curl = user;

	(void)multi;
	if (timeout_ms < 0 && !curl->added_count) {
		vgw_timer_cancel(curl->loop, &curl->timer);
		return 0;
	}
	if (timeout_ms < 0 || timeout_ms > TIMER_MS)
		timeout_ms = TIMER_MS;
	return vgw_timer_start(curl->loop, &curl->timer, vgw_now_ms() + timeout_ms, on_timer) == VGW_OK ? 0 : -1;
}

static void on_timer(vgw_timer *timer)
{
	struct vgw__curl *curl = timer->user;

	act(curl, CURL_SOCKET_TIMEOUT, 0);
	if (curl->added_count && !vgw_timer_is_armed(&curl->timer))
		(void)on_timeout_change(curl->multi, -1, curl);
}

/* --- what was asked for while libcurl was running ---------------------------------------------------------------- */

static struct vgw__curl_call *take_first(struct vgw__list *list)
{
	struct vgw__list *first = vgw__list_first(list);

	if (!first)
		return NULL;
	vgw__list_remove(first);
	return VGW__CONTAINER(first, struct vgw__curl_call, link);
}

static void add(struct vgw__curl *curl, struct vgw__curl_call *call)
{
	struct vgw__upstream_result result = { .outcome = VGW__OUTCOME_FAILED, .why = "out of memory" };
	CURLMcode rc;

	if (!call->endpoint->address_count) {
		result.outcome = VGW__OUTCOME_CONNECT;
		result.why = "the engine's name could not be resolved";
		finish(curl, call, &result);
		return;
	}
	curl->is_inside = true;
	rc = curl_multi_add_handle(curl->multi, call->easy);
	curl->is_inside = false;
	if (rc != CURLM_OK) {
		finish(curl, call, &result);
		return;
	}
	call->is_added = true;
	curl->added_count++;
}

static void work(vgw_defer *defer)
{
	struct vgw__curl *curl = defer->user;
	struct vgw__curl_call *call;

	while ((call = take_first(&curl->dead)) != NULL) {
		take_out(curl, call);
		vgw__curl_call_free(call);
	}
	while ((call = take_first(&curl->resumed)) != NULL) {
		call->is_held = false;
		curl->is_inside = true;
		(void)curl_easy_pause(call->easy, CURLPAUSE_CONT); /* a failure ends the transfer: collect() sees it */
		curl->is_inside = false;
	}
	while ((call = take_first(&curl->pending)) != NULL)
		add(curl, call);
	act(curl, CURL_SOCKET_TIMEOUT, 0); /* libcurl only sets a timer for now: this saves a turn */
}

/* --- the interface ----------------------------------------------------------------------------------------------- */

static vgw_status curl_start(struct vgw__transport *transport, struct vgw__upstream_call **out,
	const struct vgw__upstream_request *request, const struct vgw__upstream_events *events, void *user,
	vgw_error *err)
{
	struct vgw__curl *curl = (struct vgw__curl *)(void *)transport;
	struct vgw__curl_call *call;

	*out = NULL;
	call = vgw__curl_call_new(curl, request, events, user, err);
	if (!call)
		return VGW_NOMEM;
	vgw__list_append(&curl->pending, &call->link);
	vgw_defer_call(curl->loop, &curl->defer, work);
	*out = &call->call;
	return VGW_OK;
}

static void curl_resume(struct vgw__upstream_call *handle)
{
	struct vgw__curl_call *call = (struct vgw__curl_call *)(void *)handle;
	struct vgw__curl *curl = vgw__curl_of(call);

	call->is_paused = false;
	if (!call->is_held || !vgw__list_is_empty(&call->link))
		return;
	vgw__list_append(&curl->resumed, &call->link);
	vgw_defer_call(curl->loop, &curl->defer, work);
}

static void curl_cancel(struct vgw__upstream_call *handle)
{
	struct vgw__curl_call *call = (struct vgw__curl_call *)(void *)handle;
	struct vgw__curl *curl = vgw__curl_of(call);

	call->is_dead = true;
	vgw__list_remove(&call->link);
	if (curl->is_inside) {
		vgw__list_append(&curl->dead, &call->link);
		vgw_defer_call(curl->loop, &curl->defer, work);
		return;
	}
	take_out(curl, call);
	vgw__curl_call_free(call);
}

static void curl_destroy(struct vgw__transport *transport)
{
	struct vgw__curl *curl = (struct vgw__curl *)(void *)transport;
	struct vgw__curl_call *call;

	while ((call = take_first(&curl->dead)) != NULL) {
		take_out(curl, call);
		vgw__curl_call_free(call);
	}
	vgw_defer_cancel(curl->loop, &curl->defer);
	if (curl->multi)
		(void)curl_multi_cleanup(curl->multi);
	vgw_timer_cancel(curl->loop, &curl->timer);
	vgw__free(curl);
}

static bool set_up_multi(struct vgw__curl *curl)
{
	curl->multi = curl_multi_init();
	return curl->multi &&
		curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_SOCKETDATA, curl) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, on_timeout_change) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_TIMERDATA, curl) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK &&
		curl_multi_setopt(curl->multi, CURLMOPT_MAXCONNECTS, (long)MAX_CONNECTIONS) == CURLM_OK;
}

vgw_status vgw__curl_new(struct vgw__transport **out, vgw_loop *loop, vgw_error *err)
{
	static const struct vgw__transport_ops ops = {
		.name = "curl",
		.start = curl_start,
		.resume = curl_resume,
		.cancel = curl_cancel,
		.destroy = curl_destroy,
	};
	struct vgw__curl *curl;
	vgw_status status;

	*out = NULL;
	status = vgw__curl_global(err);
	if (status != VGW_OK)
		return status;
	curl = vgw__alloc(sizeof(*curl));
	if (!curl)
		return vgw_error_set(err, VGW_NOMEM, 0, "curl transport");
	curl->transport.ops = &ops;
	curl->loop = loop;
	curl->timer.user = curl;
	curl->defer.user = curl;
	vgw__list_init(&curl->pending);
	vgw__list_init(&curl->resumed);
	vgw__list_init(&curl->dead);
	if (!set_up_multi(curl)) {
		curl_destroy(&curl->transport);
		return vgw_error_set(err, VGW_NOMEM, 0, "curl transport");
	}
	*out = &curl->transport;
	return VGW_OK;
}
