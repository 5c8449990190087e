/* SPDX-License-Identifier: Apache-2.0 */
/* The requests under way, of all workers: one errand's message goes from worker to worker, each looks at its own
 * exchanges, and the last one answers. No worker waits for another.
 *
 *   desk ──► worker 0 ──► worker 1 ──► ... ──► answer */
#include "front/internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct census {
	vgw_message message;
	struct errand *errand;
	struct front *front;
	uint32_t place; /* whose turn it is */
	bool is_cancelling;
	bool is_found;
	json_t *list;
};

static const char *phase_of(const struct exchange *x)
{
	if (x->errand)
		return "admin";
	if (x->call && vgw_call_is_waiting(x->call))
		return "waiting";
	return x->status ? "streaming" : "sent";
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static void add_row(struct census *census, const struct exchange *x)
{
	int64_t age_ms = worker_now_ms(x->worker) - x->begun_us / 1000;
	vgw_call_report report = { .model = "", .replica = "" };

	if (x->call)
		vgw_call_get_report(x->call, &report);
	(void)json_array_append_new(census->list, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:I, s:I, s:i}", "id",
		x->request_id, "method", x->method, "path", x->path, "peer", x->peer, "model",
		text_or_null(report.model), "replica", text_or_null(report.replica), "phase", phase_of(x), "age_ms",
		(json_int_t)(age_ms > 0 ? age_ms : 0), "bytes_out", (json_int_t)report.bytes_out, "worker",
		(int)x->worker->place));
}

/* The client of a cancelled call is told so as if its engine had gone away. */
static void look_at(struct census *census, struct exchange *x)
{
	if (!census->is_cancelling) {
		add_row(census, x);
	} else if (x->call && strcmp(errand_get_request(census->errand)->name, x->request_id) == 0) {
		census->is_found = true;
		vgw_call_fail(x->call, VGW_FAULT_UPSTREAM_ABORTED, "cancelled by an administrator");
	}
}

static void look_through(struct census *census, struct link *ring)
{
	for (struct link *at = ring->next, *next = at->next; at != ring; at = next, next = at->next)
		look_at(census, LINK_OWNER(at, struct exchange, link));
}

static void finish(struct census *census)
{
	json_t *list = census->list;
	char *text;

	census->list = NULL;
	if (!census->is_cancelling) {
		text = list ? json_dumps(list, JSON_COMPACT) : NULL;
		json_decref(list);
		errand_answer(census->errand, 200, "application/json", text, free);
	} else if (census->is_found) {
		errand_answer(census->errand, 200, "application/json", strdup("{\"cancelled\":true}"), free);
	} else {
		errand_answer_fault(census->errand, VGW_FAULT_NOT_FOUND, "no such request is under way");
	}
}

static void on_turn(vgw_message *message)
{
	struct census *census = message->user;
	struct worker *worker = &census->front->workers[census->place];

	look_through(census, &worker->suspended);
	look_through(census, &worker->streams);
	if (++census->place < census->front->worker_count)
		vgw_loop_post(census->front->workers[census->place].loop, &census->message, on_turn);
	else
		finish(census);
}

static void begin(struct front *front, struct errand *errand, bool is_cancelling)
{
	struct census *census = errand_alloc(errand, sizeof(*census));

	if (!census) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	census->errand = errand;
	census->front = front;
	census->is_cancelling = is_cancelling;
	census->list = is_cancelling ? NULL : json_array();
	census->message.user = census;
	vgw_loop_post(front->workers[0].loop, &census->message, on_turn);
}

void front_answer_requests(struct front *front, struct errand *errand)
{
	begin(front, errand, false);
}

void front_answer_cancel(struct front *front, struct errand *errand)
{
	begin(front, errand, true);
}
