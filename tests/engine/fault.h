/* SPDX-License-Identifier: Apache-2.0 */
/* Every way the simulator can misbehave, in one list: parser, --help and the README's table come from it. */
#ifndef VGW_ENGINE_FAULT_H
#define VGW_ENGINE_FAULT_H

#include "base.h"

/* F(ID, name, phase, argument, default argument, help)
 * phase: START (before ready), PROCESS (the whole program), REQUEST (instead of an answer), HEAD, BODY
 * (any answer), STREAM (streamed answers), SLEEP. Argument: NONE, COUNT, TIME (us), BYTES, CODE. */
#define ENGINE_FAULTS(F) \
	F(START_EXIT, "start-exit", START, CODE, 1, "exit with this code halfway through loading") \
	F(START_EXIT0, "start-exit0", START, NONE, 0, "exit 0 halfway through loading") \
	F(START_OOM, "start-oom", START, NONE, 0, "print vLLM's out-of-memory text while loading, exit 1") \
	F(START_UNKNOWN_ARG, "start-unknown-arg", START, NONE, 0, \
		"print 'unrecognized arguments: --foo', exit 2") \
	F(UNKNOWN_ARG, "unknown-arg", START, NONE, 0, "refuse unknown arguments instead of ignoring them") \
	F(START_NEVER_READY, "start-never-ready", START, NONE, 0, "load for ever") \
	F(HEALTH_LIES, "health-lies", START, NONE, 0, "/health says 200 while loading, all else 503") \
	F(WRONG_MODEL, "wrong-model", START, NONE, 0, "serve another name than the one asked for") \
	F(GRANDCHILD, "grandchild", START, TIME, 600000000, \
		"leave a process of another session that keeps log and memory for this long") \
	F(IGNORE_SIGTERM, "ignore-sigterm", PROCESS, NONE, 0, "SIGTERM is counted and ignored") \
	F(REFUSE, "refuse", PROCESS, NONE, 0, "do not listen: connections are refused (by header: reset)") \
	F(CRASH_AFTER, "crash-after", PROCESS, TIME, 1000000, "kill itself this long after becoming ready") \
	F(EXIT_ON_REQUEST, "exit-on-request", PROCESS, CODE, 1, "exit with this code at a request") \
	F(HANG, "hang", PROCESS, NONE, 0, "from the next request on nothing is read or answered any more") \
	F(RESET_BEFORE_HEADERS, "reset-before-headers", REQUEST, NONE, 0, "RST instead of an answer") \
	F(CLOSE_BEFORE_HEADERS, "close-before-headers", REQUEST, NONE, 0, "FIN instead of an answer") \
	F(STALL_BEFORE_HEADERS, "stall-before-headers", REQUEST, NONE, 0, "never answer") \
	F(GARBAGE, "garbage", REQUEST, NONE, 0, "bytes that are not HTTP, then FIN") \
	F(STATUS_500_HTML, "status-500-html", REQUEST, NONE, 0, "500 with an HTML page") \
	F(STATUS_422_JSON, "status-422-json", REQUEST, NONE, 0, "422 with a JSON error") \
	F(STATUS_501, "status-501", REQUEST, NONE, 0, "501 with a JSON error") \
	F(STATUS_503, "status-503", REQUEST, NONE, 0, "503 with a JSON error") \
	F(STATUS_429, "status-429", REQUEST, COUNT, 2, "429 with Retry-After of N seconds") \
	F(HTML_200, "html-200", REQUEST, NONE, 0, "200 with an HTML page") \
	F(REDIRECT_307, "redirect-307", REQUEST, NONE, 0, "307 to another place") \
	F(SWITCHING_101, "switching-101", REQUEST, NONE, 0, "101 Switching Protocols") \
	F(NO_CONTENT_204_WITH_BODY, "no-content-204-with-body", REQUEST, NONE, 0, "204 that has a body") \
	F(RESET_AFTER_HEADERS, "reset-after-headers", HEAD, NONE, 0, "the head, then RST") \
	F(EARLY_103, "early-103", HEAD, NONE, 0, "103 Early Hints before the answer") \
	F(GIANT_HEADER, "giant-header", HEAD, BYTES, 1048576, "one header this long") \
	F(MANY_HEADERS, "many-headers", HEAD, COUNT, 100000, "this many headers") \
	F(CR_IN_HEADER, "cr-in-header", HEAD, NONE, 0, "a bare CR inside a header's value") \
	F(SLOW_HEADERS, "slow-headers", HEAD, TIME, 50000, "the head byte by byte, this long between two") \
	F(LENGTH_TOO_LONG, "length-too-long", BODY, NONE, 0, "Content-Length says more than comes; FIN") \
	F(LENGTH_TOO_SHORT, "length-too-short", BODY, NONE, 0, "more body than Content-Length says") \
	F(LENGTH_AND_CHUNKED, "length-and-chunked", BODY, NONE, 0, "both Content-Length and chunked") \
	F(TWO_RESPONSES, "two-responses", BODY, NONE, 0, "a second answer right behind the first") \
	F(GZIP, "gzip", BODY, NONE, 0, "Content-Encoding: gzip though nobody asked") \
	F(CLOSE_DELIMITED, "close-delimited", BODY, NONE, 0, "HTTP/1.0: the body ends with the connection") \
	F(CHUNK_EXTENSIONS, "chunk-extensions", BODY, NONE, 0, "chunked, with extensions") \
	F(TRAILERS, "trailers", BODY, NONE, 0, "chunked, with trailers") \
	F(BIG_BODY, "big-body", BODY, BYTES, 10485760, "an answer (not streamed) of exactly this size") \
	F(SPLIT_UTF8, "split-utf8", BODY, NONE, 0, "each byte of a multi-byte character in its own packet") \
	F(SPLIT_EVERY_BYTE, "split-every-byte", BODY, TIME, 0, "one send per byte, this long between two") \
	F(DIE_MID_STREAM, "die-mid-stream", STREAM, COUNT, 3, "FIN after N events, the stream unfinished") \
	F(RESET_MID_STREAM, "reset-mid-stream", STREAM, COUNT, 3, "RST after N events") \
	F(KILL_MID_STREAM, "kill-mid-stream", STREAM, COUNT, 3, "the process kills itself after N events") \
	F(STALL_MID_STREAM, "stall-mid-stream", STREAM, COUNT, 3, "nothing more after N events") \
	F(END_MID_LINE, "end-mid-line", STREAM, COUNT, 3, "after N events words that are none, and a proper end") \
	F(EVENT_8MB, "event-8mb", STREAM, BYTES, 8388608, "one event of this size amid the others") \
	F(ENDLESS_LINE, "endless-line", STREAM, NONE, 0, "an event whose line never ends") \
	F(CRLF, "crlf", STREAM, NONE, 0, "lines end in CR LF") \
	F(CR, "cr", STREAM, NONE, 0, "lines end in CR") \
	F(MIXED_NEWLINES, "mixed-newlines", STREAM, NONE, 0, "lines end in LF, CR LF and CR by turns") \
	F(NO_DONE, "no-done", STREAM, NONE, 0, "no data: [DONE]") \
	F(SLEEP_LIES, "sleep-lies", SLEEP, NONE, 0, "/sleep says 200 and keeps the memory") \
	F(SLEEP_HANGS, "sleep-hangs", SLEEP, NONE, 0, "/sleep is never answered") \
	F(WAKE_HANGS, "wake-hangs", SLEEP, NONE, 0, "/wake_up is never answered")

enum fault {
#define F(id, name, phase, argument, value, help) FAULT_##id,
	ENGINE_FAULTS(F)
#undef F
	FAULT_COUNT
};

_Static_assert(FAULT_COUNT <= 64, "a fault set is one word");

/** Which faults are on, and their arguments. {0} is none. */
struct fault_set {
	uint64_t on;
	int64_t argument[FAULT_COUNT];
};

/** Add the faults of "name,name:argument". false: *why says what is wrong; the set is as it was. */
bool fault_parse(struct fault_set *set, const char *spec, struct buf *why);
void fault_join(struct fault_set *into, const struct fault_set *more);
void fault_help(struct buf *out, bool is_markdown);

static inline bool fault_is_on(const struct fault_set *set, enum fault fault)
{
	return set->on >> fault & 1;
}

/** Does the set change the bytes of an answer? */
static inline bool fault_touches_answer(const struct fault_set *set)
{
	uint64_t before_sleep = (UINT64_C(1) << FAULT_SLEEP_LIES) - 1;

	return (set->on & before_sleep) >> FAULT_RESET_BEFORE_HEADERS != 0;
}

#endif
