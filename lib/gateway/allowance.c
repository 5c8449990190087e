/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as one call meets them. Tokens are not known beforehand, so an estimate is reserved: the prompt by its bytes,
 * the answer by the client's own bound. What it really was replaces the estimate when the call ends; an answer that
 * broke off is charged for the events that were delivered. */
#include "gateway/allowance.h"

#include "gateway/call.h"
#include "gateway/head.h"
#include "util/alloc.h"
#include "util/clock.h"

#include <string.h>

enum { BYTES_A_TOKEN = 4, COMPLETION_TOKENS = 512 /* of a request that sets no bound */ };

/* --- how much it may become ----------------------------------------------------------------------------------- */

static bool generates(vgw_operation operation)
{
	return operation == VGW_OPERATION_CHAT_COMPLETIONS || operation == VGW_OPERATION_COMPLETIONS ||
	       operation == VGW_OPERATION_RESPONSES || operation == VGW_OPERATION_MESSAGES;
}

static uint64_t estimate_completion(const struct vgw__scan *scan)
{
	static const enum vgw__body_key bounds[] = { VGW__BODY_MAX_COMPLETION_TOKENS, VGW__BODY_MAX_TOKENS,
		VGW__BODY_MAX_OUTPUT_TOKENS };
	int64_t tokens = COMPLETION_TOKENS, answers = 1;

	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		if (vgw__scan_get_count(scan, &scan->body[bounds[i]], &tokens))
			break;
	}
	(void)vgw__scan_get_count(scan, &scan->body[VGW__BODY_N], &answers);
	if (tokens > VGW_LIMIT_MAX || answers > VGW_LIMIT_MAX)
		return VGW_LIMIT_MAX;
	return (uint64_t)tokens * (uint64_t)answers;
}

vgw_status vgw__allowance_begin(vgw_call *call, const vgw_request *request, const struct vgw__scan *scan,
	vgw_error *err)
{
	vgw_principal *principal = request->principal;
	struct vgw__allowance *allowance;
	uint64_t tokens;

	if (!principal)
		return VGW_OK;
	allowance = vgw__alloc(sizeof(*allowance));
	if (!allowance)
		return vgw_error_set(err, VGW_NOMEM, 0, "call");
	call->allowance = allowance;
	allowance->principal = vgw_principal_ref(principal);
	if (!vgw_operation_is_form(request->operation)) /* files are no text */
		allowance->prompt_estimate = request->body_len / BYTES_A_TOKEN;
	tokens = allowance->prompt_estimate;
	if (generates(request->operation))
		tokens += estimate_completion(scan);
	allowance->ask = (vgw_limit_ask){
		.size = sizeof(vgw_limit_ask),
		.name = vgw_principal_get_name(principal),
		.requests_per_minute = principal->requests_per_minute,
		.tokens_per_minute = principal->tokens_per_minute,
		.tokens = tokens < principal->tokens_per_minute ? tokens : principal->tokens_per_minute,
		.concurrency = principal->concurrency,
		.max_ms = call->worker->gateway->options.total_timeout_ms,
	};
	return VGW_OK;
}

/* --- asking --------------------------------------------------------------------------------------------------- */

static void refuse(vgw_call *call, vgw_limit_reason reason, int64_t retry_ms)
{
	static const char *const texts[VGW_LIMIT_REASON_COUNT] = {
#define XX(name, label, text) [VGW_LIMIT_##name] = text,
		VGW_LIMIT_REASON_MAP(XX)
#undef XX
	};
	struct vgw__limits *limits = &call->worker->gateway->limits;
	struct vgw__key_stats *stats = call->allowance
		? vgw__account_get_stats(limits, call->allowance->principal->account) : NULL;

	vgw__stats_count_limited(limits->stats, stats, reason);
	call->limited = reason;
	call->retry_after_ms = retry_ms > 0 ? retry_ms : 1000; /* unknown: when one of its requests ends */
	vgw__call_fail(call, reason == VGW_LIMIT_STORE ? VGW_FAULT_SERVER_OVERLOADED : VGW_FAULT_RATE_LIMIT_EXCEEDED,
		texts[reason]);
}

/* Take note of an answer; false: the call was refused. */
static bool take_answer(vgw_call *call)
{
	struct vgw__allowance *allowance = call->allowance;
	const vgw_limit_answer *answer = &allowance->answer;
	bool is_unchecked = answer->reason == VGW_LIMIT_STORE;

	allowance->is_told = !is_unchecked;
	allowance->is_held = answer->is_allowed && !is_unchecked;
	if (answer->is_allowed && is_unchecked)
		vgw__stats_count_limited(call->worker->gateway->stats,
			vgw__account_get_stats(&call->worker->gateway->limits, allowance->principal->account),
			VGW_LIMIT_STORE);
	if (!answer->is_allowed)
		refuse(call, answer->reason, answer->retry_ms);
	return answer->is_allowed;
}

static void on_answer(void *user, const vgw_limit_answer *answer)
{
	vgw_call *call = user;
	struct vgw__allowance *allowance = call->allowance;

	allowance->ticket = NULL;
	allowance->answered_ns = vgw__now_ns();
	allowance->answer = *answer;
	if (take_answer(call))
		call->on_permit(call);
}

static enum vgw__permit ask_store(vgw_call *call, void (*go_on)(vgw_call *call))
{
	struct vgw__allowance *allowance = call->allowance;

	vgw__call_enter(call, VGW__CALL_LIMIT);
	call->on_permit = go_on;
	allowance->asked_ns = vgw__now_ns();
	allowance->ticket = vgw__mailbox_ask(call->worker->mailbox, allowance->principal, &allowance->ask, on_answer,
		call);
	if (!allowance->ticket) {
		vgw__call_fail(call, VGW_FAULT_OUT_OF_MEMORY, NULL);
		return VGW__PERMIT_REFUSED;
	}
	vgw__call_watch_deadline(call);
	return VGW__PERMIT_WAIT;
}

enum vgw__permit vgw__allowance_ask(vgw_call *call, const vgw_request *request, void (*go_on)(vgw_call *call))
{
	struct vgw__limits *limits = &call->worker->gateway->limits;
	struct vgw__allowance *allowance = call->allowance;
	int64_t wait_ns;

	if (!allowance) {
		wait_ns = limits->addresses && request->address
			? vgw__addresses_take(limits->addresses, request->address, call->begun_ns) : 0;
		if (wait_ns)
			refuse(call, VGW_LIMIT_ADDRESS, (wait_ns + 999999) / 1000000);
		return wait_ns ? VGW__PERMIT_REFUSED : VGW__PERMIT_GO;
	}
	if (!vgw__principal_is_limited(allowance->principal))
		return VGW__PERMIT_GO;
	if (limits->store)
		return ask_store(call, go_on);
	vgw__account_take(allowance->principal->account, &allowance->ask, call->begun_ns, &allowance->answer);
	return take_answer(call) ? VGW__PERMIT_GO : VGW__PERMIT_REFUSED;
}

/* --- the end -------------------------------------------------------------------------------------------------- */

static void settle(vgw_call *call, uint64_t tokens)
{
	struct vgw__allowance *allowance = call->allowance;
	struct vgw__limits *limits = &call->worker->gateway->limits;

	if (!allowance->is_held)
		return;
	allowance->is_held = false;
	if (limits->store)
		limits->store->settle(limits->store_user, &allowance->ask, allowance->answer.place, tokens);
	else
		vgw__account_settle(allowance->principal->account, &allowance->ask, tokens, vgw__now_ns());
}

/* What the limit is charged. A prompt that an engine has worked on counts even if the engine could not say so. */
static uint64_t get_charge(const vgw_call *call, const struct vgw__usage *usage)
{
	const struct vgw__allowance *allowance = call->allowance;
	int64_t prompt = usage->tokens[VGW__USAGE_PROMPT];
	int64_t completion = usage->tokens[VGW__USAGE_COMPLETION];
	int64_t total = vgw__usage_total(usage);

	if (prompt >= 0)
		return total > 0 ? (uint64_t)total : 0;
	if (!call->is_sent || (call->fault != VGW_FAULT_NONE && !call->status) || call->status >= 400)
		return 0;
	return allowance->prompt_estimate + (completion > 0 ? (uint64_t)completion : 0);
}

void vgw__allowance_settle(vgw_call *call, const struct vgw__usage *usage)
{
	struct vgw__allowance *allowance = call->allowance;
	struct vgw__limits *limits = &call->worker->gateway->limits;
	struct vgw__key_stats *stats;
	struct vgw__key_row *row;

	if (!allowance)
		return;
	settle(call, get_charge(call, usage));
	stats = vgw__account_get_stats(limits, allowance->principal->account);
	row = stats ? vgw__key_stats_get_row(limits->stats, stats, call->seat->model->name) : NULL;
	if (!row)
		return; /* no memory: the model's counters have it all the same */
	atomic_fetch_add_explicit(&row->requests, 1, memory_order_relaxed);
	if (usage->tokens[VGW__USAGE_PROMPT] > 0)
		atomic_fetch_add_explicit(&row->prompt_tokens, (uint64_t)usage->tokens[VGW__USAGE_PROMPT],
			memory_order_relaxed);
	if (usage->tokens[VGW__USAGE_COMPLETION] > 0)
		atomic_fetch_add_explicit(&row->completion_tokens, (uint64_t)usage->tokens[VGW__USAGE_COMPLETION],
			memory_order_relaxed);
}

void vgw__allowance_leave(vgw_call *call)
{
	struct vgw__allowance *allowance = call->allowance;

	if (!allowance || !allowance->ticket)
		return;
	vgw__ticket_cancel(allowance->ticket);
	allowance->ticket = NULL;
}

void vgw__allowance_free(vgw_call *call)
{
	struct vgw__allowance *allowance = call->allowance;

	if (!allowance)
		return;
	vgw__allowance_leave(call);
	settle(call, 0);
	vgw_principal_unref(allowance->principal);
	vgw__free(allowance);
	call->allowance = NULL;
}

/* --- headers -------------------------------------------------------------------------------------------------- */

static char *put_number(char *at, uint64_t number)
{
	char digits[24];
	size_t count = 0;

	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (count)
		*at++ = digits[--count];
	*at = '\0';
	return at;
}

/* As OpenAI writes it: "120ms", "1.5s", "1m30s". */
static void put_duration(char *at, int64_t ms)
{
	uint64_t left = ms > 0 ? (uint64_t)ms : 0;

	if (left >= 60000) {
		at = put_number(at, left / 60000);
		*at++ = 'm';
		at = put_number(at, (left % 60000 + 999) / 1000);
	} else if (left >= 1000) {
		at = put_number(at, left / 1000);
		left %= 1000;
		if (left) {
			*at++ = '.';
			*at++ = (char)('0' + left / 100);
			*at++ = (char)('0' + left / 10 % 10);
			*at++ = (char)('0' + left % 10);
			while (at[-1] == '0')
				at--;
		}
	} else {
		at = put_number(at, left);
		*at++ = 'm';
	}
	*at++ = 's';
	*at = '\0';
}

static void add_number(struct vgw__held_head *head, const char *name, uint64_t number)
{
	char text[24];

	(void)put_number(text, number);
	vgw__head_add(head, name, text);
}

static void add_duration(struct vgw__held_head *head, const char *name, int64_t ms)
{
	char text[48];

	put_duration(text, ms);
	vgw__head_add(head, name, text);
}

void vgw__allowance_add_headers(struct vgw__held_head *head, const vgw_call *call)
{
	const struct vgw__allowance *allowance = call->allowance;
	const vgw_limit_answer *answer;

	if (!allowance || !allowance->is_told)
		return;
	answer = &allowance->answer;
	if (allowance->ask.requests_per_minute) {
		add_number(head, "x-ratelimit-limit-requests", allowance->ask.requests_per_minute);
		add_number(head, "x-ratelimit-remaining-requests", answer->requests_left);
		add_duration(head, "x-ratelimit-reset-requests", answer->requests_reset_ms);
	}
	if (allowance->ask.tokens_per_minute) {
		add_number(head, "x-ratelimit-limit-tokens", allowance->ask.tokens_per_minute);
		add_number(head, "x-ratelimit-remaining-tokens", answer->tokens_left);
		add_duration(head, "x-ratelimit-reset-tokens", answer->tokens_reset_ms);
	}
}
