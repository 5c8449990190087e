/* SPDX-License-Identifier: Apache-2.0 */
/* What a call that ended leaves behind: counters, the principal's account, the report to the front. */
#include "gateway/allowance.h"
#include "gateway/call.h"
#include "gateway/fallback.h"
#include "observe/genai.h"
#include "util/clock.h"

static int64_t since_us(const vgw_call *call, int64_t at_ns)
{
	return at_ns ? (at_ns - call->begun_ns) / 1000 : -1;
}

static void count_tokens(atomic_uint_fast64_t *counter, int64_t tokens)
{
	if (tokens > 0)
		vgw__count(counter, (uint64_t)tokens);
}

/* Events delivered: what was taken out is none. */
static uint64_t count_events(const vgw_call *call)
{
	if (!call->is_sse)
		return 0;
	return call->sse.events - (call->concealed ? call->concealed->withhold.dropped : 0);
}

/* What came in one piece shares the time since the piece before it. The end's mark is no token. */
void vgw__call_time_events(vgw_call *call, uint64_t count)
{
	int64_t now_ns;

	if (!count || call->sse.is_done)
		return;
	now_ns = vgw__now_ns();
	if (call->last_event_ns)
		vgw__observe_inter_token(call->seat->shard, (now_ns - call->last_event_ns) / 1000 / (int64_t)count, count);
	call->last_event_ns = now_ns;
}

static enum vgw__genai_operation get_operation(vgw_operation operation)
{
	switch (operation) {
	case VGW_OPERATION_CHAT_COMPLETIONS:
	case VGW_OPERATION_RESPONSES:
	case VGW_OPERATION_MESSAGES:
		return VGW__GENAI_CHAT;
	case VGW_OPERATION_COMPLETIONS:
		return VGW__GENAI_TEXT;
	case VGW_OPERATION_EMBEDDINGS:
		return VGW__GENAI_EMBEDDINGS;
	default:
		return VGW__GENAI_OTHER;
	}
}

static void record_genai(const vgw_call *call, uint32_t status, int64_t duration_us, const struct vgw__usage *usage)
{
	const struct vgw__genai_call genai = {
		.operation = get_operation(call->operation),
		.status = status,
		.duration_us = duration_us,
		.first_token_us = call->is_sse ? since_us(call, call->first_byte_ns) : -1,
		.input_tokens = usage->tokens[VGW__USAGE_PROMPT],
		.output_tokens = usage->tokens[VGW__USAGE_COMPLETION],
	};

	vgw__genai_record(call->seat->shard, &genai);
}

void vgw__call_record(vgw_call *call, vgw_fault fault, const struct vgw__usage *usage)
{
	struct vgw__shard *shard = call->seat->shard;
	uint32_t wrong = vgw_fault_get_info(fault)->http;
	uint32_t status = call->status && fault != VGW_FAULT_CLIENT_CLOSED ? call->status : wrong;
	int64_t waited_ns = call->leased_ns ? call->leased_ns - call->begun_ns : 0;
	int64_t duration_us = since_us(call, vgw__now_ns());

	vgw__count_code(shard, status);
	vgw__count(&shard->bytes_in, call->bytes_in);
	vgw__count(&shard->bytes_out, call->bytes_out);
	vgw__count(&shard->attempts, call->attempts);
	vgw__count(&shard->streams, call->is_counted);
	vgw__count(&shard->events, count_events(call));
	count_tokens(&shard->prompt_tokens, usage->tokens[VGW__USAGE_PROMPT]);
	count_tokens(&shard->completion_tokens, usage->tokens[VGW__USAGE_COMPLETION]);
	vgw__allowance_settle(call, usage);
	vgw__observe_duration(shard, duration_us, 1);
	vgw__observe_first_byte(shard, since_us(call, call->first_byte_ns), 1);
	if (call->is_sse)
		vgw__observe_first_token(shard, since_us(call, call->first_byte_ns), 1);
	vgw__observe_queue(shard, waited_ns / 1000, 1);
	if (call->sent_ns)
		vgw__observe_overhead(shard, (call->sent_ns - call->begun_ns - waited_ns) / 1000, 1);
	if (call->worker->gateway->options.metrics_naming != VGW_METRICS_VLLMGW)
		record_genai(call, fault == VGW_FAULT_NONE ? status : wrong, duration_us, usage);
}

static int64_t limit_us(const vgw_call *call)
{
	const struct vgw__allowance *allowance = call->allowance;

	if (!allowance || !allowance->answered_ns)
		return -1;
	return (allowance->answered_ns - allowance->asked_ns) / 1000;
}

vgw_call_report vgw__call_report(const vgw_call *call, vgw_fault fault, bool is_clean, const struct vgw__usage *usage)
{
	return (vgw_call_report){
		.size = sizeof(vgw_call_report),
		.fault = fault,
		.is_clean = is_clean,
		.status = call->status,
		.attempts = call->attempts,
		.model = call->seat->model->name,
		.replica = call->target ? call->target->endpoint->url : "",
		.request_id = call->request_id,
		.bytes_in = call->bytes_in,
		.bytes_out = call->bytes_out,
		.events = count_events(call),
		.queue_us = call->leased_ns ? since_us(call, call->leased_ns) : -1,
		.first_byte_us = since_us(call, call->first_byte_ns),
		.total_us = since_us(call, vgw__now_ns()),
		.prompt_tokens = usage->tokens[VGW__USAGE_PROMPT],
		.completion_tokens = usage->tokens[VGW__USAGE_COMPLETION],
		.is_estimated = call->is_estimated,
		.limited = call->limited,
		.limit_us = limit_us(call),
		.fallback_from = call->fallback && call->fallback->count ? call->fallback->left[0]->name : "",
	};
}

/* A stream of a principal that ended before its usage was told is counted by its events: engines send one a
 * token, and one more at the beginning of a chat. */
struct vgw__usage vgw__call_get_usage(vgw_call *call)
{
	struct vgw__usage usage = call->is_sse ? call->sse.usage : call->usage;
	uint64_t events = call->is_sse ? call->sse.events - call->sse.is_done : 0;

	if (!call->allowance || !events || usage.tokens[VGW__USAGE_COMPLETION] != VGW__USAGE_UNKNOWN)
		return usage;
	events -= call->operation == VGW_OPERATION_CHAT_COMPLETIONS;
	call->is_estimated = true;
	usage.tokens[VGW__USAGE_COMPLETION] = (int64_t)events;
	return usage;
}
