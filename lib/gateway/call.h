/* SPDX-License-Identifier: Apache-2.0 */
/* One request from its bytes to its report. The states say who is being waited for:
 *
 *   LIMIT ──► LEASE ──► (ADAPTER) ──► HEAD ──► HOLD ──► RELAY ──► (freed)
 *     │         │           │ ▲       │ ▲│       │        │
 *     │         │           │ └───────┴─┘│       │        └─ broken ──► error event, unclean end
 *     │         │           │      other │    truncated
 *     │         │           │     replica└──► DIGEST (an answer not to be forwarded: its beginning is read for the
 *     │         │           │            │       │     message)
 *     └─────────┴─ refused ─┴────────────┴───────┴──────► ANSWER ──► (freed)  the gateway's own answer
 *
 * HOLD keeps an answer that is no stream until it is complete or grows large, so that a truncated one becomes an
 * honest error, and a small one reaches the front in one piece. */
#ifndef VGW_GATEWAY_CALL_H
#define VGW_GATEWAY_CALL_H

#include "gateway/worker.h"
#include "json/form.h"
#include "json/splice.h"
#include "json/sse.h"
#include "json/usage_cut.h"
#include "json/withhold.h"
#include "util/buf.h"

enum vgw__call_state {
	VGW__CALL_LIMIT,  /* for the limits' store; skipped where limits count in this process */
	VGW__CALL_LEASE,  /* for the model to be up */
	VGW__CALL_ADAPTER, /* for its adapter to be on the replica; skipped by models that are none */
	VGW__CALL_HEAD,   /* for the engine's status line */
	VGW__CALL_HOLD,   /* for the whole of a short answer */
	VGW__CALL_RELAY,  /* for the rest of an answer that is being delivered */
	VGW__CALL_DIGEST, /* for the beginning of an answer that will not be forwarded */
	VGW__CALL_ANSWER, /* for the end of the turn, to give an answer of our own */
};

enum {
	VGW__REQUEST_ID_BYTES = 65,
	VGW__HOLD_MAX_BYTES = 256 * 1024,
	VGW__DIGEST_MAX_BYTES = 4096,
	VGW__UPSTREAM_HEADERS = 6,
};

/* What the transport borrows; freed when the request went out. */
struct vgw__outgoing {
	const char *method;
	const char *path;
	bool has_body;
	struct vgw__header headers[VGW__UPSTREAM_HEADERS];
	size_t header_count;
	size_t body_count;
	char form_type[VGW__FORM_TYPE_BYTES]; /* Content-Type of a form */
	struct vgw__span body[];
};

/* The engine's bytes pass both, in this order. */
struct vgw__concealed {
	struct vgw__usage_cut cut;
	struct vgw__withhold withhold;
};

struct vgw__allowance;
struct vgw__fallback;

struct vgw_call {
	struct vgw__list link; /* in worker->calls */
	vgw_worker *worker;
	vgw_call_events events;
	void *user;

	struct vgw__view *view;
	struct vgw__seat *seat;
	struct vgw__targets *targets; /* reference */
	struct vgw__target *target;   /* in it, the last that was tried; NULL: none */
	uint64_t cuts;                /* of the resident, when the lease began */
	struct vgw__waiter *waiter;   /* while LEASE */
	struct vgw__hold adapter;     /* of an adapter's call, from ADAPTER to its end */
	struct vgw__upstream_call *upstream;
	struct vgw__allowance *allowance; /* NULL: nobody in particular asks */
	void (*on_permit)(vgw_call *call); /* after LIMIT */
	struct vgw__fallback *fallback; /* NULL: its model has none */
	struct vgw__concealed *concealed; /* of a stream whose usage the client did not ask for; NULL: all passes */
	uint64_t tried;               /* bit per place in the set */
	struct vgw__span prompt;      /* of the body, until it was sent; only when PREFIX goes by it */
	uint64_t key;                 /* STICKY: the session's; PREFIX: what comes before the prompt */

	vgw_operation operation;
	enum vgw__call_state state;
	bool has_lease;
	bool is_dispatched; /* counted in the target's flight */
	bool is_trial;      /* decides over the target's circuit */
	bool is_repeated;   /* counted among the seat's repeated ones */
	bool is_reloaded;   /* the engine did not know its adapter: it was sent back to have it loaded, once */
	bool has_key;       /* STICKY: `key` is a session's */
	bool is_stream;  /* the request asks for one */
	bool is_sse;     /* the answer is one */
	bool is_sent;    /* the request went out completely */
	bool is_paused;  /* the front is full */
	bool is_counted; /* among the open streams */
	bool is_telling; /* the front's callback is below us on the stack */
	bool is_cancelled; /* by the front, in a callback: not another word */
	bool is_head;     /* PASSTHROUGH: the answer has no body, whatever length it tells */
	bool hides_usage;   /* at the end of a stream: we made the engine tell it, the client did not ask */
	bool hides_running; /* the same of what each event has cost so far */

	vgw_timer deadline;
	vgw_defer answer;
	int64_t begun_ns;
	int64_t leased_ns;
	int64_t sent_ns;       /* handed to the transport */
	int64_t head_ns;       /* 0: no head yet */
	int64_t first_byte_ns; /* of the body, delivered; 0: none */
	int64_t last_event_ns; /* of a stream; 0: none, or the front was full since */
	int64_t last_data_ms;

	struct vgw__outgoing *outgoing;
	struct vgw__buf scratch;    /* spliced pieces of the request */
	struct vgw__buf held;       /* HOLD, DIGEST: the body so far */
	struct vgw__held_head *head; /* of the answer, until it is given */

	vgw_fault fault;
	char *fault_text; /* of ANSWER; NULL: the fault's own sentence */
	uint32_t retry_after;
	int64_t retry_after_ms; /* 0: only retry_after is known */
	vgw_limit_reason limited;
	uint32_t status;  /* of the head given; 0: none */
	uint32_t digested_status; /* of the engine's head, in DIGEST */
	uint32_t attempts;
	struct vgw__sse sse;
	struct vgw__usage usage; /* of an answer that was no stream */
	bool is_estimated;       /* the answer broke off; its events were counted */
	uint64_t bytes_in;
	uint64_t bytes_out;
	char request_id[VGW__REQUEST_ID_BYTES];
};

/* The only writer of the state. */
void vgw__call_enter(vgw_call *call, enum vgw__call_state state);

vgw_call *vgw__call_of_link(struct vgw__list *link);

/* Wait for the model's lease, or go on at once. */
vgw_status vgw__call_ask_for_lease(vgw_call *call, vgw_error *err);
void vgw__call_release_lease(vgw_call *call);

/* Send it to a target not tried yet; without one the call fails for `why`. */
void vgw__call_send(vgw_call *call, const char *why);

/* It has a target, and its adapter is there. */
void vgw__call_start(vgw_call *call);

/* --- attempt.c --- */

/* What the model's way to balance goes by; `session` of the request may be NULL. */
void vgw__attempt_prepare(vgw_call *call, const struct vgw__scan *scan, const char *session);
bool vgw__attempt_begin(vgw_call *call); /* takes a target not tried yet; false: there is none */
void vgw__attempt_end(vgw_call *call);   /* it is off the target; idempotent */
/* What the attempt tells of its target. */
void vgw__attempt_judge(vgw_call *call, uint32_t status);
void vgw__attempt_fail(vgw_call *call, const char *why);
void vgw__attempt_conclude(vgw_call *call, const struct vgw__upstream_result *result);

enum vgw__repeat {
	VGW__REPEAT_GO,     /* on another target */
	VGW__REPEAT_NO,     /* it would be safe, but too many are repeated already */
	VGW__REPEAT_UNSAFE, /* an engine may have it */
};

enum vgw__repeat vgw__attempt_may_repeat(vgw_call *call, const struct vgw__upstream_result *result);

/* Let go of the upstream connection and its target. */
void vgw__call_drop_upstream(vgw_call *call);

/* Answer ourselves at the end of this turn, or break off what has begun. `text` is copied; NULL: the fault's own
 * sentence. */
void vgw__call_fail(vgw_call *call, vgw_fault fault, const char *text);

/* Free without a word. */
void vgw__call_discard(vgw_call *call);

/* Report and free. */
void vgw__call_finish(vgw_call *call, vgw_fault fault, bool is_clean);

/* report.c: the time since an earlier event of its stream; what the answer cost; counting it, once; telling it. */
void vgw__call_time_events(vgw_call *call, uint64_t count);
struct vgw__usage vgw__call_get_usage(vgw_call *call);
void vgw__call_record(vgw_call *call, vgw_fault fault, const struct vgw__usage *usage);
vgw_call_report vgw__call_report(const vgw_call *call, vgw_fault fault, bool is_clean, const struct vgw__usage *usage);

/* conceal.c: false: no memory. */
bool vgw__call_begin_concealing(vgw_call *call);
void vgw__call_end_concealing(vgw_call *call); /* idempotent */

/* Bytes of a stream, less what the client did not ask for. */
enum vgw__flow vgw__call_deliver_stream(vgw_call *call, const char *data, size_t len);
void vgw__call_end_stream(vgw_call *call);

/* Give the answer's head and body to the front. After deliver the call may be gone: false. */
void vgw__call_give_head(vgw_call *call);
enum vgw__flow vgw__call_deliver(vgw_call *call, const void *data, size_t len);

/* Watch the deadline of the present state. */
void vgw__call_watch_deadline(vgw_call *call);

/* Path of an operation, here and upstream. */
const char *vgw__operation_path(vgw_operation operation);

/* The callbacks given to the transport: relay.c. */
extern const struct vgw__upstream_events vgw__call_upstream_events;

#endif
