/* SPDX-License-Identifier: Apache-2.0 */
/* What a call that ended leaves behind: counters, the principal's account, the report to the front. */
#include "gateway/allowance.h"
#include "gateway/call.h"
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
	return call->sse.events - (call->withhold ? call->withhold->dropped : 0);
}

void vgw__call_record(vgw_call *call, uint32_t status, const struct vgw__usage *usage)
{
	struct vgw__shard *shard = call->seat->shard;
	int64_t waited_ns = call->leased_ns ? call->leased_ns - call->begun_ns : 0;

	vgw__count_code(shard, status);
	vgw__count(&shard->bytes_in, call->bytes_in);
	vgw__count(&shard->bytes_out, call->bytes_out);
	vgw__count(&shard->attempts, call->attempts);
	vgw__count(&shard->streams, call->is_counted);
	vgw__count(&shard->events, count_events(call));
	count_tokens(&shard->prompt_tokens, usage->tokens[VGW__USAGE_PROMPT]);
	count_tokens(&shard->completion_tokens, usage->tokens[VGW__USAGE_COMPLETION]);
	vgw__allowance_settle(call, usage);
	vgw__observe_duration(shard, since_us(call, vgw__now_ns()));
	vgw__observe_first_byte(shard, since_us(call, call->first_byte_ns));
	vgw__observe_queue(shard, waited_ns / 1000);
	if (call->sent_ns)
		vgw__observe_overhead(shard, (call->sent_ns - call->begun_ns - waited_ns) / 1000);
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
