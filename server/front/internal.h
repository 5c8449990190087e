/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the front share. One worker's objects belong to its thread; what is shared is atomic.
 *
 *   connection  one TCP connection while MHD has it: its deadline between and inside requests
 *   exchange    one request: head checked, body gathered, call made, answer given
 *   stream      the writer of an exchange whose connection we have taken over from MHD */
#ifndef VGW_SERVER_FRONT_INTERNAL_H
#define VGW_SERVER_FRONT_INTERNAL_H

#include "front/front.h"
#include "front/guard.h"
#include "front/link.h"

#include <vllmgw/loop.h>

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
	PEER_BYTES = 64,
	ADDRESS_BYTES = 128,
	REQUEST_ID_BYTES = 21,
	REPLY_HEADERS = 26,
	SUSPENDED_MAX = 64, /* more waiting answers than this leave MHD: its list of them is walked at each resume */
};

struct tls_client;
struct worker;

/* A listener of one worker: its own socket (TCP) or a share of one (unix, handed in), and its daemon. */
struct listener {
	struct worker *worker;
	const struct front_listen *at;
	struct MHD_Daemon *daemon;
	vgw_watch watch; /* the daemon's epoll descriptor */
	bool is_tls;     /* we accept, not MHD: accept.c, tls_client.c, tls_pipe.c */
	bool is_accept_paused;
	int accept_fd;   /* -1: closed */
	vgw_watch accept_watch;
	vgw_timer accept_again;
	struct link tls_clients;
	struct link tls_waiting; /* those MHD has not begun with */
	uint32_t tls_count;
	uint32_t barren; /* turns that left work behind since MHD last had none, or called our handler */
	uint32_t restless; /* turns that left work behind since MHD last had none */
};

enum deadline_kind {
	DEADLINE_HEAD, /* accepted, no request yet */
	DEADLINE_IDLE, /* between two requests: when it is looked at again */
	DEADLINE_BODY, /* a request's body is arriving */
	DEADLINE_GONE, /* given up, and soon closed by MHD */
	DEADLINE_COUNT
};

/* MHD's socket context. */
struct connection {
	struct link link; /* in worker->deadlines[kind], oldest first, or in none */
	struct worker *worker;
	struct exchange *exchange; /* its request under way, if any */
	struct tls_client *tls; /* reference; NULL: in the clear */
	bool is_local; /* the peer's address is a loopback one */
	int fd;
	int64_t since_ms;
	int64_t idle_ms; /* when its last request ended */
	bool is_fresh; /* accepted, and nothing has been asked yet */
	bool is_suspect; /* bytes of a body were waiting when it was last looked at, and */
	uint64_t suspect_at; /* so many had been read */
	char peer[PEER_BYTES];
	char *query; /* of its request, from its '?' on, as it came; NULL: there is none */
	bool is_query_lost; /* there was no memory for it */
	uint64_t asked_bytes; /* of all its requests so far */
	bool is_uncounted;    /* one of them was of unknown length */
};

/* A connection on its way back to MHD. */
struct returning {
	int fd;
	uint64_t asked_bytes;
	struct tls_client *tls; /* NULL: in the clear */
};

struct worker {
	struct front *front;
	uint32_t place;
	pthread_t thread;
	bool is_started;
	vgw_loop *loop;
	vgw_worker *gateway_worker;
	struct keys_reader keys; /* open if the front has keys */
	struct listener *listeners;
	size_t listener_count;
	vgw_defer pump;    /* run MHD at the end of the turn: something was resumed */
	vgw_timer again;   /* MHD has more to do than fits one turn: go on in the next */
	vgw_timer beat;    /* heartbeats of event streams */
	vgw_timer sweep;   /* deadlines of connections, clients that left while suspended */
	int64_t sweep_at_ms;
	vgw_message drain_order; /* the stage changed */
	vgw_message stop_order;
	vgw_message pulse;              /* is it alive? */
	_Atomic int64_t pulse_asked_ms; /* when the one under way was posted; 0: none is */
	struct link deadlines[DEADLINE_COUNT];
	struct link suspended; /* exchanges, oldest first */
	struct link streams;
	struct link lingering;
	const struct returning *returning; /* while MHD is told; else NULL */
	size_t suspended_count;
	size_t stream_count;
	struct reply *spare_reply;
	char id_prefix[9];
	uint32_t id_next;
	bool is_draining;
	bool is_stopping;
};

struct front {
	struct front_options options;
	struct worker *workers;
	uint32_t worker_count;
	char (*addresses)[ADDRESS_BYTES];
	int *shared_fds; /* by listener; -1: each worker has a socket of its own */
	uint32_t connections_each;
	int64_t begun_ms;
	atomic_uint_fast64_t requests;   /* under way */
	atomic_uint_fast64_t fresh;      /* connections on which nothing has been asked yet */
	atomic_uint_fast64_t body_bytes; /* in memory */
	atomic_uint stage;               /* enum front_stage */
};

enum front_stage { FRONT_SERVING, FRONT_DRAINING, FRONT_STOPPING };

/* The head of an answer, copied, because what it is made of lives only during a callback. */
struct reply {
	uint32_t status;
	bool is_stream;
	bool must_close;
	int64_t content_length; /* -1: unknown */
	size_t header_count;
	vgw_header headers[REPLY_HEADERS];
	size_t text_len;
	char text[3584];
};

struct stream;

struct exchange {
	struct link link; /* in worker->suspended or worker->streams */
	struct worker *worker;
	const struct front_listen *listen;
	struct connection *connection; /* NULL once taken over */
	struct MHD_Connection *mhd;    /* NULL once taken over */
	const struct route *route;
	struct request_head head;
	vgw_principal *principal; /* reference; NULL: nobody in particular */
	bool is_routed;
	bool is_head; /* the answer has no body */
	bool is_suspended;
	bool wants_takeover; /* resumed so that the handler can take the connection over */
	bool has_ended;      /* on_end came */
	bool is_given_up;    /* told so, past MHD, while its body was arriving */
	bool is_client_gone;
	bool is_broken; /* the answer broke off */
	bool is_proxied;   /* a trusted proxy told who `peer` is */
	bool is_committed; /* 200 was said before the model was there */
	bool is_told_late; /* and what came then is no stream: it becomes an event */
	uint32_t late_status;
	struct stream *stream; /* NULL while MHD has the connection */
	vgw_call *call;
	struct errand *errand; /* instead of a call */
	vgw_watch client;  /* while suspended for longer: is the client still there? */
	vgw_defer convert; /* the answer did not end in the turn it began */
	char *body;
	size_t body_len;
	size_t body_capacity;
	size_t accounted; /* of front->body_bytes */
	uint64_t uploaded; /* bytes of the body as they came */
	struct decoder *decoder; /* of a compressed body while it arrives */
	char *texts;      /* header values that must outlive MHD's connection */
	struct reply *reply;
	char *answer;     /* body gathered for MHD */
	size_t answer_len;
	size_t answer_capacity;
	struct access_facts facts;
	int64_t begun_us;
	uint32_t status;  /* answered */
	int64_t retry_after_ms; /* of an answer of our own; 0: nothing is known */
	const char *method;
	const char *origin; /* that of the page, if it may read the answer; lives as long as the front */
	char request_id[REQUEST_ID_BYTES];
	char peer[PEER_BYTES];
	char address[PEER_BYTES]; /* whom a limit per address counts */
	char path[96]; /* for the log and the list of requests: a constant of the table, or the beginning of an unknown one */
};

/* worker.c */
void worker_pump(struct worker *worker); /* MHD has something to do: run it before this turn ends */
int64_t worker_now_ms(const struct worker *worker);
void worker_make_id(struct worker *worker, char id[REQUEST_ID_BYTES]);

/* deadlines.c */
void deadline_start(struct connection *connection, enum deadline_kind kind);
void deadline_start_idle(struct connection *connection); /* a request has ended */
void deadline_stop(struct connection *connection);
void bodies_drop_stuck(const struct listener *listener); /* those MHD has not read on since the last look */
void sweep_arm(struct worker *worker);

/* listen.c: the descriptor, or -1 with a sentence. *port: 0, or the port a sibling got; the kernel's choice after. */
int listen_open(const struct front_listen *listen, uint16_t *port, char *address, char *why, size_t size);

/* exchange.c: MHD's callbacks, and what they need */
enum MHD_Result exchange_handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
	const char *version, const char *upload, size_t *upload_size, void **state);
void exchange_completed(void *user, struct MHD_Connection *connection, void **state,
	enum MHD_RequestTerminationCode code);
void exchange_cancel(struct exchange *x); /* the call, if there is one */
void exchange_free(struct exchange *x); /* logs it */
void exchanges_watch_clients(struct worker *worker);

/* cors.c: the origin if it may use the API; what its browser must be told */
const char *cors_find(const struct front *front, const char *origin);
void cors_add(const struct exchange *x, struct reply *reply);
void cors_add_preflight(const struct exchange *x, struct reply *reply, const char *allow);

/* auth.c: NONE, or what to answer; takes the principal. The address to count a request by, NULL: none. */
vgw_fault auth_check(struct exchange *x);
const char *auth_get_address(const struct exchange *x, char *out, size_t size);

/* origin.c: x->peer becomes the client that trusted proxies name */
void origin_find(struct exchange *x);

/* call.c: from a complete body to the answer */
enum MHD_Result exchange_call(struct exchange *x, void **state, const char *url);
enum MHD_Result exchange_take_over_now(struct exchange *x, void **state); /* the handler, after a resume */
void exchange_resume(struct exchange *x);

/* body.c: a piece of the body; the end of it: NONE, or what is wrong with it */
enum MHD_Result exchange_gather(struct exchange *x, void **state, const char *upload, size_t *upload_size);
vgw_fault exchange_end_body(struct exchange *x, const char **why);
void exchange_forget_body(struct exchange *x);

/* forward.c: requests for a path of an engine's own */
struct forward {
	char model[ROUTE_NAME_BYTES];
	char *path; /* from malloc() */
};
/* Whose it is and what its path is there; fills the request with texts of *forward. NONE, or what to answer. */
vgw_fault forward_prepare(const struct exchange *x, const char *url, struct forward *forward, vgw_request *request);

/* admission.c: may this request use its route, which is one for administrators? */
vgw_fault admission_check(struct exchange *x, const char **why);
/* Is the route to be seen on the listener it came by? */
bool admission_is_visible(const struct exchange *x);

/* errands.c: requests that the desk answers */
vgw_fault exchange_check_errand(const struct exchange *x, const char **why); /* from its head */
enum MHD_Result exchange_errand(struct exchange *x, void **state, const char *url);
/* The values of the query string that routes look at, decoded where they lie. False: malformed. */
bool exchange_read_query(const struct exchange *x, const char *query[ROUTE_QUERY_COUNT]);

/* reply.c */
struct reply *reply_new(const struct exchange *x, uint32_t status, const char *type);
struct reply *reply_of_head(const struct exchange *x, const vgw_answer_head *head);
void reply_free(struct worker *worker, struct reply *reply); /* NULL is allowed */
void reply_add(struct reply *reply, const char *name, const char *value);
/* Queue it with MHD; takes over the reply, and the body, which free_fn frees. MHD_NO: MHD closes the connection. */
enum MHD_Result reply_queue(struct exchange *x, struct reply *reply, char *body, size_t len,
	void (*free_fn)(void *body));
/* An error in OpenAI's shape. */
enum MHD_Result reply_fault(struct exchange *x, vgw_fault fault, const char *why, const char *allow);
/* The same as bytes of an HTTP/1.1 answer for a connection we write ourselves; from malloc(). */
char *reply_print_fault(const struct exchange *x, vgw_fault fault, const char *why, size_t *len);
/* The head as it goes over the wire. */
char *reply_print_head(const struct reply *reply, bool is_chunked, bool is_close, size_t *len);

/* takeover.c */
/* Take the connection over: returns what the handler must return to MHD. The exchange belongs to the stream then. */
enum MHD_Result stream_take_over(struct exchange *x, void **state);
void stream_head(struct exchange *x, const vgw_answer_head *head);
vgw_flow stream_data(struct exchange *x, const void *data, size_t len);
void stream_end(struct exchange *x, bool is_clean);
/* Say no to a request whose body is still arriving: answer, then read the rest for a while, then close. */
enum MHD_Result stream_refuse(struct exchange *x, void **state, vgw_fault fault, const char *why);
void streams_stop(struct worker *worker); /* tell clients why, then cut */
void streams_cut(struct worker *worker);
/* Write it to the event streams of engines that have said nothing since. */
void streams_beat(struct worker *worker, const char *text, int64_t before_ms);

/* early.c: answers that begin while their model loads */
void early_arm(struct exchange *x); /* it was taken over */
void early_tell_wait(struct exchange *x);
void early_head(struct exchange *x, const vgw_answer_head *head); /* of a committed one: it is not written */
void early_end(struct exchange *x, bool is_clean); /* of one that is told late: its gathered body becomes an event */

/* heartbeat.c: from now on, while there are streams */
void heartbeat_arm(struct worker *worker);

#endif
