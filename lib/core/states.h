/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of the residency core. Each is written once and gives the enum, the name and the sentence.
 *
 *   ABSENT -> STARTING -> READY -> DRAINING -> LEAVING -> ASLEEP -> WAKING -> READY
 *     ^                                           |
 *     +------- BACKOFF <--------------------------+-> ABSENT, or STUCK when the memory does not come back
 */
#ifndef VGW_CORE_STATES_H
#define VGW_CORE_STATES_H

#include <vllmgw/status.h>

/* XX(NAME, name in logs and JSON, what being in it means) */
#define VGW__STATE_MAP(XX)                                                                                   \
	XX(ABSENT, "absent", "nothing runs and no memory is held")                                           \
	XX(STARTING, "starting", "a cold start is under way")                                                \
	XX(READY, "ready", "probed; the gate is open and leases are granted")                                \
	XX(DRAINING, "draining", "chosen to leave; the gate is closed, leases are being given back")         \
	XX(LEAVING, "leaving", "waits for its device, stops or sleeps, then waits for the memory")           \
	XX(ASLEEP, "asleep", "the engine lives, its weights are off the device")                             \
	XX(WAKING, "waking", "a wake is under way")                                                          \
	XX(BACKOFF, "backoff", "failed; nothing is tried until a time or a reset")                           \
	XX(STUCK, "stuck", "an operation or its memory did not come back; the budget stays held")

/* XX(NAME, name, what it says) */
#define VGW__INPUT_MAP(XX)                                                                                   \
	XX(START, "start", "room and device are ours: start cold")                                           \
	XX(WAKE, "wake", "room and device are ours: wake the sleeper")                                       \
	XX(ACTIVATED, "activated", "start or wake succeeded and was probed")                                 \
	XX(FAILED, "failed", "start or wake failed, its operation has returned")                             \
	XX(CANCEL, "cancel", "nobody wants this activation any more")                                        \
	XX(EVICT, "evict", "leave the device, as deep as asked")                                             \
	XX(REVOKE, "revoke", "stay after all")                                                               \
	XX(IDLE, "idle", "the closed gate has no lease left")                                                \
	XX(LEAVE, "leave", "the device is ours: stop or sleep now")                                          \
	XX(DEACTIVATED, "deactivated", "stop or sleep returned with success")                                \
	XX(KEPT, "kept", "stop or sleep returned with a failure")                                            \
	XX(SETTLED, "settled", "the device reports the memory free")                                         \
	XX(UNSETTLED, "unsettled", "the memory did not come back in time")                                   \
	XX(DIED, "died", "the engine exited")                                                                \
	XX(DEADLINE, "deadline", "the state's own deadline passed")                                          \
	XX(RESET, "reset", "the operator forgives the failures")                                             \
	XX(FORGET, "forget", "the operator says that nothing is left of it")                                 \
	XX(ADOPT, "adopt", "a running engine of an earlier life was found")                                  \
	XX(ADOPT_ASLEEP, "adopt_asleep", "a sleeping engine of an earlier life was found")

/* XX(NAME, name): why a replica changes its state. */
#define VGW__CAUSE_MAP(XX)                                                                                   \
	XX(NONE, "none")                                                                                     \
	XX(REQUEST, "request")                                                                               \
	XX(ADMIN, "admin")                                                                                   \
	XX(PRELOAD, "preload")                                                                               \
	XX(SWAP, "swap")                                                                                     \
	XX(IDLE_TTL, "idle_ttl")                                                                             \
	XX(SLEEPER_LRU, "sleeper_lru")                                                                       \
	XX(CONFIG, "config")                                                                                 \
	XX(SHUTDOWN, "shutdown")                                                                             \
	XX(ADOPTED, "adopted")                                                                               \
	XX(COMPLETED, "completed")                                                                           \
	XX(LAST_LEASE, "last_lease")                                                                         \
	XX(DRAIN_DEADLINE, "drain_deadline")                                                                 \
	XX(FORCED, "forced")                                                                                 \
	XX(UNWANTED, "unwanted")                                                                             \
	XX(REVOKED, "revoked")                                                                               \
	XX(FAILED, "failed")                                                                                 \
	XX(TIMED_OUT, "timed_out")                                                                           \
	XX(CRASHED, "crashed")                                                                               \
	XX(RETRY, "retry")                                                                                   \
	XX(BACKOFF_OVER, "backoff_over")                                                                     \
	XX(NO_MEMORY_BACK, "memory_not_back")

/* XX(NAME, name): what kind of failure an activation or an engine suffered. */
#define VGW__FAILURE_MAP(XX)                                                                                 \
	XX(NONE, "none")           /* asked for, or none */                                                  \
	XX(OOM, "out_of_memory")   /* evict what can be evicted, retry once after the settle gate */         \
	XX(USER, "user_error")     /* permanent until the configuration changes or a reset */                \
	XX(DISTURBED, "disturbed") /* a neighbour disturbed its profiling: retry once, alone */              \
	XX(UNKNOWN, "unknown")     /* exponential back-off, breaker */                                       \
	XX(CANCELLED, "cancelled") /* the operation obeyed CANCEL_ACTIVATION */

/* XX(NAME, name, fault the client is told, sentence): why a waiter or a command is refused. */
#define VGW__REASON_MAP(XX)                                                                                  \
	XX(NONE, "none", NONE, "accepted")                                                                   \
	XX(NO_SUCH_MODEL, "no_such_model", MODEL_NOT_FOUND, "no such model")                                 \
	XX(TIMEOUT, "timeout", QUEUE_TIMEOUT, "the deadline passed before the model could serve")            \
	XX(MAX_WAIT, "max_wait", MODEL_LOADING, "the model could not be brought up within max_wait")         \
	XX(TOO_LATE, "too_late", MODEL_LOADING, "by all estimates the model comes up after the deadline")    \
	XX(NO_ROOM, "no_room", NO_CAPACITY, "no room: everything resident is pinned or cannot leave")        \
	XX(TOO_BIG, "too_big", INSUFFICIENT_MEMORY, "the model is larger than its device's memory budget")   \
	XX(SWAP_DENIED, "swap_denied", MODEL_NOT_ALLOWED,                                                    \
		"the model is not loaded and this key may not load it")                                      \
	XX(START_FAILED, "start_failed", MODEL_START_FAILED, "the model could not be started")               \
	XX(START_TIMEOUT, "start_timeout", MODEL_START_TIMEOUT, "the model did not start in time")           \
	XX(BACKOFF, "backoff", MODEL_START_FAILED, "the model failed lately and is not tried again yet")     \
	XX(BROKEN, "broken", MODEL_START_FAILED,                                                             \
		"the model failed for good until it is reset or its configuration changes")                  \
	XX(UNLOADED, "unloaded", MODEL_LOADING, "the model was unloaded while it was loading")               \
	XX(STUCK, "stuck", NO_CAPACITY, "the engine did not give its memory back")                           \
	XX(CANNOT_SLEEP, "cannot_sleep", BAD_REQUEST,                                                        \
		"the model cannot sleep or there is no room for a sleeper")                                  \
	XX(BUSY, "busy", MODEL_BUSY, "the model is in a state that does not allow this")                     \
	XX(FULL, "full", SERVER_OVERLOADED, "too many requests wait")                                        \
	XX(SHUTDOWN, "shutdown", SHUTTING_DOWN, "the gateway is shutting down")

/* XX(NAME, name): kinds of journal entries. */
#define VGW__DECISION_MAP(XX)                                                                                \
	XX(LOAD, "load")                                                                                     \
	XX(EVICT, "evict")                                                                                   \
	XX(DEMOTE, "demote")                                                                                 \
	XX(REVOKE, "revoke")                                                                                 \
	XX(REFUSE, "refuse")                                                                                 \
	XX(RETRY, "retry")                                                                                   \
	XX(BACKOFF, "backoff")                                                                               \
	XX(CANCEL, "cancel")                                                                                 \
	XX(LEARN, "learn")

enum vgw__state {
#define XX(name, text, meaning) VGW__STATE_##name,
	VGW__STATE_MAP(XX)
#undef XX
		VGW__STATE_COUNT
};

enum vgw__input {
#define XX(name, text, meaning) VGW__INPUT_##name,
	VGW__INPUT_MAP(XX)
#undef XX
		VGW__INPUT_COUNT
};

enum vgw__cause {
#define XX(name, text) VGW__CAUSE_##name,
	VGW__CAUSE_MAP(XX)
#undef XX
		VGW__CAUSE_COUNT
};

enum vgw__failure {
#define XX(name, text) VGW__FAILURE_##name,
	VGW__FAILURE_MAP(XX)
#undef XX
		VGW__FAILURE_COUNT
};

enum vgw__reason {
#define XX(name, text, fault, sentence) VGW__REASON_##name,
	VGW__REASON_MAP(XX)
#undef XX
		VGW__REASON_COUNT
};

enum vgw__decision_kind {
#define XX(name, text) VGW__DECISION_##name,
	VGW__DECISION_MAP(XX)
#undef XX
		VGW__DECISION_COUNT
};

enum vgw__depth {
	VGW__DEPTH_SLEEP,
	VGW__DEPTH_STOP,
};

/* Names as logs, events and the admin API spell them; "?" for a number that is none. */
const char *vgw__state_name(enum vgw__state state);
const char *vgw__input_name(enum vgw__input input);
const char *vgw__cause_name(enum vgw__cause cause);
const char *vgw__failure_name(enum vgw__failure failure);
const char *vgw__reason_name(enum vgw__reason reason);
const char *vgw__reason_text(enum vgw__reason reason); /* a sentence without a period */
vgw_fault vgw__reason_fault(enum vgw__reason reason);  /* what the waiting client is told */
const char *vgw__decision_name(enum vgw__decision_kind kind);

#endif
