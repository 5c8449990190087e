/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at the gateway: state, decisions, events, requests; reading the configuration again. All of it on the
 * desk's thread. */
#include "routes/admin.h"

#include "front/front.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void admin_answer_json(struct errand *errand, uint32_t status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	errand_answer(errand, status, "application/json", text, free);
}

vgw_residency *admin_get_residency(struct errand *errand)
{
	return desk_get_residency(errand_get_desk(errand));
}

/* From the body {"model": "..."}, or from the query. The reference keeps the text. */
const char *admin_read_model(struct errand *errand, json_t **body)
{
	const struct errand_request *request = errand_get_request(errand);
	const char *model;

	*body = request->body_len ? json_loadb(request->body, request->body_len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (request->body_len && !*body) {
		errand_answer_fault(errand, VGW_FAULT_INVALID_JSON, NULL);
		return NULL;
	}
	model = *body ? json_string_value(json_object_get(*body, "model")) : request->query[ROUTE_QUERY_MODEL];
	if (model && *model)
		return model;
	json_decref(*body);
	errand_answer_fault(errand, VGW_FAULT_MISSING_MODEL, "send {\"model\": \"NAME\"}");
	return NULL;
}

void admin_state(struct errand *errand)
{
	errand_answer(errand, 200, "application/json", vgw_residency_dup_state(admin_get_residency(errand)), vgw_free);
}

void admin_decisions(struct errand *errand)
{
	errand_answer(errand, 200, "application/json", vgw_residency_dup_decisions(admin_get_residency(errand)),
		vgw_free);
}

void admin_explain(struct errand *errand)
{
	vgw_error err = VGW_ERROR_INIT;
	json_t *body;
	const char *model = admin_read_model(errand, &body);
	char *text;

	if (!model)
		return;
	text = vgw_residency_dup_explanation(admin_get_residency(errand), model, &err);
	if (text)
		errand_answer(errand, 200, "application/json", text, vgw_free);
	else
		admin_answer_error(errand, &err);
	json_decref(body);
}

void admin_reload(struct errand *errand)
{
	char why[1024] = "";

	if (desk_reload(errand_get_desk(errand), why, sizeof(why)) == 0)
		admin_answer_json(errand, 200, json_pack("{s:b}", "reloaded", 1));
	else
		errand_answer_fault(errand, VGW_FAULT_BAD_REQUEST, why);
}

/* --- requests ------------------------------------------------------------------------------------------------- */

void admin_requests(struct errand *errand)
{
	front_answer_requests(errand_get_request(errand)->front, errand);
}

void admin_cancel(struct errand *errand)
{
	front_answer_cancel(errand_get_request(errand)->front, errand);
}

/* --- events --------------------------------------------------------------------------------------------------- */

enum { HEARTBEAT_MS = 15000 };

struct stream {
	struct vigil vigil;
	uint64_t lost; /* the client was too slow for so many */
	int64_t written_ms;
};

static bool write_event(struct stream *stream, const char *kind, const char *json)
{
	char *text = NULL;
	int len = asprintf(&text, "event: %s\ndata: %s\n\n", kind, json);
	bool is_taken = len > 0 && errand_write(stream->vigil.errand, text, (size_t)len);

	if (len > 0)
		free(text);
	stream->written_ms = vgw_now_ms();
	return is_taken;
}

static bool hear(struct vigil *vigil, const struct desk_event *event)
{
	struct stream *stream = (struct stream *)vigil;
	char lost[96];

	if (stream->lost) {
		(void)snprintf(lost, sizeof(lost), "{\"kind\":\"lost\",\"lost\":%llu}", (unsigned long long)stream->lost);
		if (write_event(stream, "lost", lost))
			stream->lost = 0;
	}
	if (stream->lost || !event->json ||
		!write_event(stream, vgw_event_kind_get_name(event->event->kind), event->json))
		stream->lost++;
	return true;
}

static bool tick(struct vigil *vigil, int64_t now_ms)
{
	struct stream *stream = (struct stream *)vigil;

	if (now_ms - stream->written_ms >= HEARTBEAT_MS) {
		(void)errand_write(vigil->errand, ": keepalive\n\n", 13);
		stream->written_ms = now_ms;
	}
	return true;
}

void admin_events(struct errand *errand)
{
	struct stream *stream = errand_alloc(errand, sizeof(*stream));

	if (!stream) {
		errand_answer_fault(errand, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return;
	}
	stream->vigil = (struct vigil){ .errand = errand, .hear = hear, .tick = tick };
	stream->written_ms = vgw_now_ms();
	if (!desk_keep(errand_get_desk(errand), &stream->vigil))
		return;
	errand_begin(errand, "text/event-stream");
	/* Something to read at once tells the client that it is heard from here on. */
	(void)errand_write(errand, ": listening\n\n", 13);
}
