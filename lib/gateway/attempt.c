/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt of a call on one replica: who it is, what it tells about that replica, and whether another may follow.
 *
 *   choose ──► in flight ──┬── head: below 500, 501 ─────► the circuit hears of a success
 *                          ├── head: 5xx, 408, 429 ──────┐
 *                          ├── no connection, lost, late ┴► the circuit hears of a failure
 *                          └── our own affair, client gone ► it hears nothing
 *
 * A request is repeated only when no engine can have run it. The first time that is free: nothing was sent to anybody.
 * More of it comes out of a budget, a fifth of the model's requests under way, so that a storm cannot feed itself. */
#include "balance/choose.h"
#include "balance/hash.h"
#include "gateway/call.h"
#include "util/alloc.h"
#include "util/log.h"

#include <stdio.h>

enum { BUDGET_SHARE = 5, BUDGET_LEAST = 3, SALT_MAX_BYTES = 4096 };

/* --- what a request is chosen by -------------------------------------------------------------------------------- */

static uint64_t hash_member(const struct vgw__scan *scan, enum vgw__body_key key, uint64_t hash)
{
	const struct vgw__json_span *span = &scan->body[key];
	size_t len = span->end - span->start;

	return span->kind ? vgw__hash_bytes(hash + key, scan->data + span->start, len < SALT_MAX_BYTES ? len : SALT_MAX_BYTES)
		: hash;
}

/* The headers' word goes before the body's. Every gateway comes to the same key. */
static void find_session(vgw_call *call, const struct vgw__scan *scan, const char *session)
{
	static const enum vgw__body_key keys[] = { VGW__BODY_SESSION_ID, VGW__BODY_USER, VGW__BODY_PROMPT_CACHE_KEY };

	call->has_key = session && session[0];
	if (call->has_key)
		call->key = vgw__hash_bytes(0, session, strlen(session));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !call->has_key; i++) {
		const struct vgw__json_span *span = &scan->body[keys[i]];

		if (span->kind != VGW__JSON_STRING || span->end - span->start <= 2)
			continue;
		call->has_key = true;
		call->key = vgw__hash_bytes(0, scan->data + span->start + 1, span->end - span->start - 2);
	}
}

/* What comes before the messages in an engine's prompt makes the salt: one with other tools shares nothing. */
static void find_prompt(vgw_call *call, const struct vgw__scan *scan)
{
	static const enum vgw__body_key before[] = { VGW__BODY_CACHE_SALT, VGW__BODY_TOOLS, VGW__BODY_SYSTEM,
		VGW__BODY_INSTRUCTIONS };
	static const enum vgw__body_key keys[] = { VGW__BODY_MESSAGES, VGW__BODY_PROMPT, VGW__BODY_INPUT };
	const char *name = call->seat->model->name;

	call->key = vgw__hash_bytes(0, name, strlen(name));
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
		call->key = hash_member(scan, before[i], call->key);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !call->prompt.len; i++) {
		const struct vgw__json_span *span = &scan->body[keys[i]];

		call->prompt = (struct vgw__span){ scan->data + span->start, span->end - span->start };
	}
}

void vgw__attempt_prepare(vgw_call *call, const struct vgw__scan *scan, const char *session)
{
	if (call->seat->model->balance == VGW_BALANCE_STICKY)
		find_session(call, scan, session);
	else if (call->seat->model->balance == VGW_BALANCE_PREFIX)
		find_prompt(call, scan);
}

/* It waits for no answer as a repeated one any more. */
static void give_budget_back(vgw_call *call)
{
	call->seat->repeated -= call->is_repeated;
	call->is_repeated = false;
}

/* --- choosing --------------------------------------------------------------------------------------------------- */

bool vgw__attempt_begin(vgw_call *call)
{
	struct vgw__prefix prefix;
	struct vgw__choice choice = {
		.balance = call->seat->model->balance,
		.has_key = call->has_key,
		.key = call->key,
		.tried = call->tried,
		.now_ms = vgw_loop_now_ms(call->worker->loop),
	};

	if (choice.balance == VGW_BALANCE_PREFIX && call->targets->count > 1)
		choice.table = atomic_load_explicit(&call->worker->gateway->prefixes, memory_order_acquire);
	if (choice.table) {
		choice.prefix = &prefix;
		vgw__prefix_hash(&prefix, choice.table, call->key, call->prompt.data, call->prompt.len);
	}
	if (call->seat->adapter && call->targets->count > 1)
		choice.preferred = vgw__adapters_find(call);
	call->target = vgw__balance_choose(call->targets, &choice);
	if (!call->target) {
		give_budget_back(call);
		return false;
	}
	call->tried |= UINT64_C(1) << choice.place;
	call->is_trial = choice.is_trial;
	call->is_dispatched = true;
	atomic_fetch_add_explicit(&call->target->in_flight, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&call->target->total, 1, memory_order_relaxed);
	call->attempts++;
	return true;
}

void vgw__attempt_end(vgw_call *call)
{
	if (!call->is_dispatched)
		return;
	call->is_dispatched = false; /* the target stays: it is told who failed */
	atomic_fetch_sub_explicit(&call->target->in_flight, 1, memory_order_relaxed);
	if (call->is_trial)
		vgw__circuit_abandon(&call->target->circuit);
	call->is_trial = false;
	give_budget_back(call);
}

/* --- what it tells ------------------------------------------------------------------------------------------------ */

static void tell_listeners(const vgw_call *call, enum vgw__circuit_state from, enum vgw__circuit_state to,
	const char *reason)
{
	char *replica = vgw__printf("%s/%u", call->seat->model->name, call->target->number);

	vgw__residency_tell(call->worker->gateway->residency, &(const vgw_event){
		.kind = VGW_EVENT_CIRCUIT, .percent = -1, .at_ms = vgw_loop_now_ms(call->worker->loop),
		.model = call->seat->model->name, .replica = replica, .from = vgw__circuit_state_name(from),
		.to = vgw__circuit_state_name(to), .text = reason,
	});
	vgw__free(replica);
}

static void tell(const vgw_call *call, bool was_trial, enum vgw__circuit_news news)
{
	char reason[VGW__CIRCUIT_REASON_SIZE];
	const struct vgw__target *target = call->target;

	if (news == VGW__CIRCUIT_SAME)
		return;
	vgw__circuit_get_reason(&call->target->circuit, reason);
	tell_listeners(call, was_trial ? VGW__CIRCUIT_HALF_OPEN : VGW__CIRCUIT_CLOSED,
		news == VGW__CIRCUIT_HAS_OPENED ? VGW__CIRCUIT_OPEN : VGW__CIRCUIT_CLOSED,
		news == VGW__CIRCUIT_HAS_OPENED ? reason : "");
	if (news == VGW__CIRCUIT_HAS_OPENED)
		vgw__log(&call->worker->gateway->options.logger, VGW_LOG_WARN, "balance", call->seat->model->name,
			"replica %u (%s) gets no requests for %lld s: %s", target->number, target->endpoint->url,
			(long long)(atomic_load(&target->circuit.until_ms) - vgw_loop_now_ms(call->worker->loop)) / 1000, reason);
	else
		vgw__log(&call->worker->gateway->options.logger, VGW_LOG_INFO, "balance", call->seat->model->name,
			"replica %u (%s) gets requests again", target->number, target->endpoint->url);
}

void vgw__attempt_fail(vgw_call *call, const char *why)
{
	struct vgw__target *target = call->target;
	struct vgw__circuit_failure failure = { .why = why, .is_trial = call->is_trial };
	uint64_t total, in_flight;

	if (!call->is_dispatched)
		return;
	total = atomic_load_explicit(&target->total, memory_order_relaxed);
	in_flight = atomic_load_explicit(&target->in_flight, memory_order_relaxed);
	failure.ended = total > in_flight ? total - in_flight : 0;
	failure.may_open = vgw__targets_has_other(call->targets, target);
	call->is_trial = false;
	tell(call, failure.is_trial, vgw__circuit_fail(&target->circuit, &failure, vgw_loop_now_ms(call->worker->loop)));
}

void vgw__attempt_judge(vgw_call *call, uint32_t status)
{
	bool was_trial = call->is_trial;
	char why[32];

	give_budget_back(call);
	if ((status >= 500 && status != 501) || status == 408 || status == 429) {
		(void)snprintf(why, sizeof(why), "it answered %u", (unsigned)status);
		vgw__attempt_fail(call, why);
		return;
	}
	call->is_trial = false;
	tell(call, was_trial, vgw__circuit_succeed(&call->target->circuit, was_trial, vgw_loop_now_ms(call->worker->loop)));
}

void vgw__attempt_conclude(vgw_call *call, const struct vgw__upstream_result *result)
{
	vgw__lora_doubt(atomic_load_explicit(&call->target->lora, memory_order_acquire)); /* it may have been restarted */
	switch (result->outcome) {
	case VGW__OUTCOME_CONNECT:
	case VGW__OUTCOME_TRUNCATED:
	case VGW__OUTCOME_BAD:
		vgw__attempt_fail(call, result->why ? result->why : "it failed");
		break;
	case VGW__OUTCOME_LOST:
		if (!result->is_reused) /* an idle connection may be closed at any moment: that is no illness */
			vgw__attempt_fail(call, result->why ? result->why : "the connection was lost");
		break;
	default:
		break;
	}
}

/* --- another one? ------------------------------------------------------------------------------------------------- */

/* Nothing of the request can have been executed: no connection, or the engine saw only a part of the body. */
static bool is_unexecuted(const vgw_call *call, const struct vgw__upstream_result *result)
{
	return call->outgoing && (result->outcome == VGW__OUTCOME_CONNECT ||
		(result->outcome == VGW__OUTCOME_LOST && !result->is_sent));
}

enum vgw__repeat vgw__attempt_may_repeat(vgw_call *call, const struct vgw__upstream_result *result)
{
	struct vgw__seat *seat = call->seat;
	int64_t budget = atomic_load_explicit(&seat->shard->in_flight, memory_order_relaxed) / BUDGET_SHARE;

	if (!is_unexecuted(call, result))
		return VGW__REPEAT_UNSAFE;
	if (result->outcome == VGW__OUTCOME_CONNECT && call->attempts == 1)
		return VGW__REPEAT_GO;
	if (seat->repeated >= (budget > BUDGET_LEAST ? budget : BUDGET_LEAST))
		return VGW__REPEAT_NO;
	call->is_repeated = true;
	seat->repeated++;
	return VGW__REPEAT_GO;
}
