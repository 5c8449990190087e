/* SPDX-License-Identifier: Apache-2.0 */
/* The engine, its connections, and the exchange (one request and its answer) that each of them carries.
 *
 *   server.c    sockets: accept, read, flush, close          (struct conn)
 *   exchange.c  a request is complete: faults, route, delay   (struct exchange)
 *   wire.c      the answer's bytes, as the faults want them
 *   stream.c    tokens in time                                (struct stream)
 *   record.c    what was seen, for the tests
 */
#ifndef VGW_ENGINE_ENGINE_H
#define VGW_ENGINE_ENGINE_H

#include "base.h"
#include "fault.h"
#include "http.h"
#include "loop.h"
#include "options.h"

#include <jansson.h>

struct conn;
struct engine;
struct stream;
struct record;
struct router;
struct adapter;

enum phase { PHASE_READING, PHASE_WAITING, PHASE_HEADERS, PHASE_STREAMING, PHASE_SENDING, PHASE_DONE };

/* What happens to the connection once everything written is out. */
enum ending { END_NONE, END_CLOSE, END_RESET, END_KILL };

enum pace { PACE_NONE, PACE_HEAD, PACE_BYTES, PACE_UTF8 };

enum framing { FRAME_LENGTH, FRAME_CHUNKED, FRAME_BOTH, FRAME_CLOSE };

struct reply {
	int status;
	const char *type;   /* of the body; NULL: none */
	struct buf headers; /* more of them, each with its CR LF */
	struct buf body;
};

struct route {
	const char *method;
	const char *path;
	void (*handle)(struct conn *conn);
	unsigned flags;
};

enum {
	ROUTE_INFERENCE = 1,
	ROUTE_JSON = 2,
	ROUTE_SLEEP = 4,
	ROUTE_LORA = 8,
	ROUTE_ROUTER = 16,
	ROUTE_OPEN = 32
};

struct exchange {
	struct request request;
	json_t *json;              /* the body of routes that take JSON */
	const struct route *route; /* NULL: none fits */
	struct fault_set faults;
	struct record *record;
	enum phase phase;
	bool is_running;  /* counted in counters.running */
	bool is_held;     /* waits until the engine is awake */
	bool is_cut;      /* a fault stopped the answer: what is still written is dropped */
	bool is_complete; /* nothing more will be written */
	const char *outcome;
	enum ending ending;
	int64_t began_us;
	uint64_t events;
	struct timer timer;
	void (*resume)(struct conn *conn); /* when the timer fires */
	void (*refill)(struct conn *conn); /* when the output has drained, until it is NULL */
	struct reply later;
	struct stream *stream;
	enum framing framing;
	bool is_gzip;
	uint32_t gzip_crc;
	uint32_t gzip_bytes;
	int64_t filler; /* bytes of a big body still to come; */
	const char *after_filler;
};

struct conn {
	struct source source; /* first: the loop hands this back */
	struct engine *engine;
	struct conn *previous;
	struct conn *next;
	int fd;
	uint64_t number; /* 0: control */
	uint64_t requests;
	bool is_control;
	bool is_admin; /* only /_engine/ requests so far: not counted */
	bool is_readable;
	bool is_writable;
	bool is_peer_closed;
	bool is_busy; /* an exchange is going on */
	bool is_lingering;
	bool is_dead;
	bool is_pumping;
	struct buf in;
	struct buf out;
	size_t out_sent;
	enum pace pace;
	int64_t pace_us;
	size_t pace_left; /* PACE_HEAD: bytes of the head still to go */
	struct timer pacer;
	struct timer idle;
	struct exchange x;
};

#define ENGINE_COUNTERS(C) \
	C(requests) C(inference_requests) C(connections) C(open) C(running) C(answered) C(faulted) \
	C(aborted) C(bad_requests) C(closed_by_client) C(last_close_ms) C(last_request_ms) C(events) \
	C(bytes_sent) C(prompt_tokens) C(generation_tokens) C(sigterms) C(sleeps) C(wakes) \
	C(peak_running) C(peak_open)

struct counters {
#define C(name) int64_t name;
	ENGINE_COUNTERS(C)
#undef C
};

struct injected {
	struct injected *next;
	struct fault_set faults;
	int64_t left; /* requests it is still for; -1: all until reset */
	char *where;  /* as --fault-on */
};

struct sleeper {
	int level;       /* 0: awake (or only paused) */
	bool is_paused;  /* takes no requests */
	bool has_weights;
	bool has_cache;
	bool is_garbage; /* weights were discarded and not loaded again */
};

struct engine {
	struct options options;
	struct loop loop;
	struct counters counters;
	struct conn *conns;      /* all that are open */
	struct conn *dead;       /* freed after the turn */
	struct injected *injected;
	struct record *records;  /* oldest first */
	struct record *last_record;
	size_t records_bytes;
	uint64_t records_dropped;
	int record_fd;
	uint64_t next_request;
	uint64_t next_connection;
	int64_t started_us;
	bool is_ready;
	bool is_stopping;
	struct sleeper sleeper;
	int64_t generating; /* answers made of tokens that are not finished */
	struct adapter *adapters;
	struct router *router;
	struct timer load_timer;
	struct timer stop_timer;
	struct timer crash_timer;
	struct timer flood_timer;
	int64_t flood_left;
	int load_step;
	struct source *listener;
	int signal_fd;
	long memory_keeper; /* its pid; 0: none */
	int port;
};

/* --- faults of the whole engine (inject.c) --- */
bool engine_has_fault(const struct engine *engine, enum fault fault);
/** false: the request names a fault there is none of; it was answered 400. */
bool engine_resolve_faults(struct conn *conn);
bool engine_add_spec(struct conn *conn, const char *spec);
void engine_inject(struct engine *engine, const struct fault_set *faults, int64_t times, const char *where);
void engine_clear_injected(struct engine *engine);

/* --- server.c --- */
void server_bind(struct engine *engine); /* exits with a message when it cannot */
void server_listen(struct engine *engine);
void server_unlisten(struct engine *engine);
void server_close(struct engine *engine);
void server_after_turn(void *engine);

/* --- connection.c --- */
void conn_open(struct engine *engine, int fd, bool is_control);
void conn_pump(struct conn *conn);
void conn_close(struct conn *conn, enum ending how, const char *by);
bool conn_has_output(const struct conn *conn);

/* --- exchange.c --- */
void exchange_begin(struct conn *conn);
void exchange_bad_request(struct conn *conn);
void exchange_finish(struct conn *conn, const char *outcome);
void exchange_clear(struct conn *conn);
void exchange_after(struct conn *conn, int64_t delay_us, void (*resume)(struct conn *conn));
void exchange_reply(struct conn *conn, int status, const char *type, struct buf *body); /* takes the bytes */
void exchange_reply_after(
	struct conn *conn, int64_t delay_us, int status, const char *type, struct buf *body);
void exchange_json(struct conn *conn, int status, json_t *json); /* takes it */
void exchange_error(struct conn *conn, int status, const char *type, const char *param, const char *format,
	...) __attribute__((format(printf, 5, 6)));
void exchange_count_running(struct conn *conn, bool is_running);

/* --- wire.c --- */
void wire_reply(struct conn *conn, const struct reply *reply);
void wire_stream_begin(struct conn *conn);
void wire_events(struct conn *conn, const struct buf *events); /* one or more, each with its empty line */
void wire_end(struct conn *conn);
void wire_cut(struct conn *conn, enum ending ending); /* a scripted end: the answer stops here */
bool wire_instead(struct conn *conn); /* true: a fault of phase REQUEST took the answer's place (instead.c) */

/* --- record.c --- */
void record_open(struct engine *engine);
void record_connection(struct conn *conn, const char *event, const char *by);
void record_request(struct conn *conn);
void record_end(struct conn *conn);
void record_partial(struct conn *conn);
void record_clear(struct engine *engine);
json_t *record_all(const struct engine *engine);

/* --- lifecycle.c --- */
void lifecycle_start(struct engine *engine);
void lifecycle_signal(struct engine *engine, int number);
void lifecycle_exit_now(struct engine *engine, int exit_code);

/* --- memory.c: the fake GPU --- */
void memory_hold(struct engine *engine, int64_t bytes);
void memory_release(struct engine *engine);
void memory_spawn_keeper(struct engine *engine);
void memory_spawn_grandchild(struct engine *engine);
int memory_print_used(const char *path);

/* --- routes --- */
const struct route *route_find(
	const struct engine *engine, const char *method, const char *path, int *status);

#endif
