/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-load: runs phases one after the other against one port and prints one line of JSON for each.
 *
 *   bench-load --port P [options] PHASE...
 *     post:2s[,64]      small requests for two seconds on 64 connections, each sends the next when answered
 *     post:10000[,64]   the same, 10,000 of them
 *     start:2s[,64]     the same with streams that end at once
 *     open:5000[,2000]  open streams (2,000 a second) until 5,000 are open and have sent their first event
 *     hold:3s           leave the streams alone for three seconds
 *     wait              until the open streams have ended by themselves
 *     close             close the open streams
 *
 * Streams stay open across phases, so that post and start can be measured beside them. Each line has the CPU
 * time that the gateway (--gateway PIDS), the engine (--engine PIDS) and this program took during the phase.
 * Every byte of every answer is checked; the exit status is 1 when anything was wrong.
 */
#include "bench.h"
#include "bench_client.h"
#include "bench_watch.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STALL_NS ((int64_t)10 * 1000000000)

enum {
	CONNECTIONS_MAX = 1024,
	STREAMS_MAX = 20000,
};

struct load {
	struct bench_client client;
	struct bench_watch gateway;
	struct bench_watch engine;
	struct bench_conn *pool;        /* CONNECTIONS_MAX, for POST and START */
	struct bench_conn *streams;     /* STREAMS_MAX */
	size_t streams_begun;
	uint64_t port;
	uint64_t body_bytes;
	uint64_t event_bytes;
	uint64_t events;                /* of an open stream */
	uint64_t interval_ms;
	uint64_t start_events;          /* of a START */
	uint64_t stalls;
	int64_t seen_ns;                /* when progress was last seen, and how far it was */
	uint64_t seen_progress;
};

/* What follows the name of a phase: "2s,64". */
struct phase_args {
	int64_t duration_ns;            /* 0: `first` is a count */
	uint64_t first;
	uint64_t second;                /* 0: not given */
};

/* --- what is sent --- */

/* A chat request of exactly `bytes` bytes; the keys come in the order of the usual client libraries. */
static void make_request(struct bench_request *request, size_t bytes, const char *keys)
{
	static const char before[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"";
	static const char words[] = "Say what the benchmark measures, in a line a tired reader takes in.\\n";
	char after[256];
	size_t after_len = (size_t)snprintf(after, sizeof(after), "\"}],\"model\":\"bench\"%s}", keys);
	size_t filler;
	char *body;

	if (bytes < sizeof(before) - 1 + after_len)
		bytes = sizeof(before) - 1 + after_len;
	filler = bytes - (sizeof(before) - 1) - after_len;
	request->text = bench_alloc(bytes + 512);
	body = request->text + snprintf(request->text, 512,
		"POST /v1/chat/completions HTTP/1.1\r\nHost: bench.local\r\nAccept: application/json\r\n"
		"User-Agent: bench-load/1\r\nAuthorization: Bearer sk-bench\r\n"
		"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", bytes);
	memcpy(body, before, sizeof(before) - 1);
	body += sizeof(before) - 1;
	for (size_t i = 0; i < filler; i++)
		body[i] = words[i % (sizeof(words) - 1)];
	if (filler && body[filler - 1] == '\\')
		body[filler - 1] = '.'; /* no escape may be cut in two */
	memcpy(body + filler, after, after_len);
	request->len = (size_t)(body + filler + after_len - request->text);
}

static void make_stream_request(struct load *load, enum bench_kind kind, uint64_t events,
	uint64_t interval_ms)
{
	struct bench_request *request = &load->client.request[kind];
	char *event = bench_alloc(load->event_bytes);
	char keys[192];

	snprintf(keys, sizeof(keys),
		",\"stream\":true,\"bench_events\":%" PRIu64 ",\"bench_interval_ms\":%" PRIu64
		",\"bench_event_bytes\":%" PRIu64, events, interval_ms, load->event_bytes);
	make_request(request, load->body_bytes, keys);
	bench_make_event(event, load->event_bytes);
	request->expected = (struct bench_body){
		.unit = event, .unit_len = load->event_bytes, .times = events,
		.tail = BENCH_DONE, .tail_len = sizeof(BENCH_DONE) - 1,
	};
}

static void make_requests(struct load *load)
{
	struct bench_request *post = &load->client.request[BENCH_POST];

	make_request(post, load->body_bytes, "");
	post->expected = (struct bench_body){
		.unit = BENCH_ANSWER, .unit_len = sizeof(BENCH_ANSWER) - 1, .times = 1, .tail = "",
	};
	make_stream_request(load, BENCH_START, load->start_events, 1);
	make_stream_request(load, BENCH_STREAM, load->events, load->interval_ms);
}

/* --- phases --- */

/* One turn of the loop. False when nothing has moved for ten seconds and the phase is to be given up. */
static bool turn(struct load *load, int timeout_ms)
{
	int64_t now_ns = bench_now_ns();

	bench_client_turn(&load->client, timeout_ms);
	if (load->client.progress != load->seen_progress) {
		load->seen_progress = load->client.progress;
		load->seen_ns = now_ns;
	}
	if (now_ns - load->seen_ns < STALL_NS)
		return true;
	load->stalls++;
	return false;
}

static void run_closed_loop(struct load *load, enum bench_kind kind, const struct phase_args *args)
{
	struct bench_client *client = &load->client;
	size_t connections = args->second ? args->second : 64;

	if (connections > CONNECTIONS_MAX)
		bench_die("at most %d connections", CONNECTIONS_MAX);
	client->wanted = args->duration_ns ? 0 : args->first;
	client->until_ns = args->duration_ns ? bench_now_ns() + args->duration_ns : 0;
	for (size_t i = 0; i < connections && bench_client_may_begin(client); i++) {
		load->pool[i].kind = kind;
		bench_conn_begin(&load->pool[i]);
	}
	while (client->busy && turn(load, 100))
		continue;
	for (size_t i = 0; i < connections && client->busy; i++)
		if (load->pool[i].is_busy)
			bench_conn_drop(&load->pool[i]);
}

static void run_open(struct load *load, const struct phase_args *args)
{
	struct bench_client *client = &load->client;
	uint64_t rate = args->second ? args->second : 2000;
	int64_t begin_ns = bench_now_ns();
	size_t before = load->streams_begun;

	if (args->first > STREAMS_MAX)
		bench_die("at most %d streams", STREAMS_MAX);
	while (client->open + client->errors < args->first) {
		uint64_t due = before + (uint64_t)(bench_now_ns() - begin_ns) * rate / 1000000000 + 1;
		bool are_all_begun;

		while (load->streams_begun < args->first && load->streams_begun < due) {
			struct bench_conn *c = &load->streams[load->streams_begun++];

			c->kind = BENCH_STREAM;
			bench_conn_begin(c);
		}
		are_all_begun = load->streams_begun == args->first;
		if (!turn(load, are_all_begun ? 100 : 1))
			return;
	}
}

static void run_hold(struct load *load, int64_t duration_ns)
{
	int64_t until_ns = bench_now_ns() + duration_ns;
	int64_t left_ns;

	while ((left_ns = until_ns - bench_now_ns()) > 0) {
		bench_client_turn(&load->client, (int)(left_ns / 1000000) + 1);
		load->seen_ns = bench_now_ns(); /* silence is no stall here */
	}
}

static void run_close(struct load *load)
{
	for (size_t i = 0; i < load->streams_begun; i++)
		bench_conn_drop(&load->streams[i]);
	load->streams_begun = 0;
}

static struct phase_args parse_args(const char *phase, const char *text)
{
	struct phase_args args = {0};
	char first[32];
	size_t len = strcspn(text, ",");
	bool is_time = len && text[len - 1] == 's';
	char *end;

	if (!len || len >= sizeof(first))
		bench_die("'%s': a number is missing", phase);
	memcpy(first, text, len);
	first[len] = 0;
	if (is_time) {
		double seconds = strtod(first, &end);

		if (end != first + len - 1 || !(seconds > 0 && seconds < 3600))
			bench_die("'%s': '%s' is no time in seconds", phase, first);
		args.duration_ns = (int64_t)(seconds * 1e9);
	} else {
		args.first = bench_number(phase, first, UINT32_MAX);
	}
	if (text[len])
		args.second = bench_number(phase, text + len + 1, UINT32_MAX);
	return args;
}

static void run_phase(struct load *load, const char *phase)
{
	size_t name_len = strcspn(phase, ":");
	struct phase_args args = {0};

	if (phase[name_len])
		args = parse_args(phase, phase + name_len + 1);
	load->seen_ns = bench_now_ns();
	if (!strncmp(phase, "post:", 5))
		run_closed_loop(load, BENCH_POST, &args);
	else if (!strncmp(phase, "start:", 6))
		run_closed_loop(load, BENCH_START, &args);
	else if (!strncmp(phase, "open:", 5))
		run_open(load, &args);
	else if (!strncmp(phase, "hold:", 5) && args.duration_ns)
		run_hold(load, args.duration_ns);
	else if (!strcmp(phase, "close"))
		run_close(load);
	else if (!strcmp(phase, "wait"))
		while (load->client.open && turn(load, 100))
			continue;
	else
		bench_die("'%s' is no phase: post, start, open, hold:Ns, wait or close", phase);
}

/* --- figures --- */

static int64_t own_cpu_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts))
		bench_die("the CPU clock of this process cannot be read");
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Runs a phase and prints its line. True when nothing was wrong. */
static bool measure_phase(struct load *load, const char *phase)
{
	struct bench_client *client = &load->client;
	const char *first_error;
	int64_t gateway_ns, engine_ns, own_ns, begin_ns;

	bench_client_reset_counts(client);
	load->stalls = 0;
	gateway_ns = bench_watch_cpu_ns(&load->gateway);
	engine_ns = bench_watch_cpu_ns(&load->engine);
	own_ns = own_cpu_ns();
	begin_ns = bench_now_ns();
	run_phase(load, phase);
	printf("{\"phase\":\"%s\",\"seconds\":%.6f,\"gateway_cpu_ns\":%" PRId64 ",\"engine_cpu_ns\":%" PRId64
	       ",\"load_cpu_ns\":%" PRId64, phase, (double)(bench_now_ns() - begin_ns) / 1e9,
		bench_watch_cpu_ns(&load->gateway) - gateway_ns,
		bench_watch_cpu_ns(&load->engine) - engine_ns, own_cpu_ns() - own_ns);
	first_error = load->stalls ? "nothing came for ten seconds" : client->first_error;
	printf(",\"gateway_rss_kib\":%" PRId64 ",\"done\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"error\":\"%s\""
	       ",\"connects\":%" PRIu64 ",\"open\":%zu,\"events\":%" PRIu64 ",\"reads\":%" PRIu64,
		bench_watch_rss_kib(&load->gateway), client->done, client->errors + load->stalls,
		first_error ? first_error : "", client->connects, client->open, client->events,
		client->reads);
	printf(",\"latency_us\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}}\n",
		(double)bench_histogram_at(&client->latency, 50) / 1e3,
		(double)bench_histogram_at(&client->latency, 99) / 1e3, (double)client->latency.max_ns / 1e3);
	fflush(stdout);
	return !client->errors && !load->stalls;
}

/* --- the program --- */

static void read_options(struct load *load, int argc, char **argv)
{
	static const struct option options[] = {
		{"port", required_argument, NULL, 'p'},
		{"gateway", required_argument, NULL, 'g'},
		{"engine", required_argument, NULL, 'e'},
		{"body-bytes", required_argument, NULL, 'b'},
		{"event-bytes", required_argument, NULL, 'v'},
		{"events", required_argument, NULL, 'n'},
		{"interval-ms", required_argument, NULL, 'd'},
		{"start-events", required_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'p')
			load->port = bench_number("--port", optarg, UINT16_MAX);
		else if (opt == 'g')
			bench_watch_parse(&load->gateway, optarg);
		else if (opt == 'e')
			bench_watch_parse(&load->engine, optarg);
		else if (opt == 'b')
			load->body_bytes = bench_number("--body-bytes", optarg, 32 * 1024 * 1024);
		else if (opt == 'v')
			load->event_bytes = bench_number("--event-bytes", optarg, BENCH_EVENT_MAX_BYTES);
		else if (opt == 'n')
			load->events = bench_number("--events", optarg, UINT32_MAX);
		else if (opt == 'd')
			load->interval_ms = bench_number("--interval-ms", optarg, 3600000);
		else if (opt == 's')
			load->start_events = bench_number("--start-events", optarg, UINT32_MAX);
		else
			bench_die("usage: bench-load --port P [options] PHASE...; see bench_load.c");
	}
	if (!load->port || optind == argc)
		bench_die("--port and at least one phase are needed");
	if (load->event_bytes < BENCH_EVENT_MIN_BYTES)
		bench_die("--event-bytes: at least %d", BENCH_EVENT_MIN_BYTES);
}

static struct bench_conn *new_connections(struct bench_client *client, size_t count)
{
	struct bench_conn *conns = bench_alloc(count * sizeof(*conns));

	for (size_t i = 0; i < count; i++) {
		conns[i].client = client;
		conns[i].fd = -1;
	}
	return conns;
}

int main(int argc, char **argv)
{
	static struct load load = {
		.body_bytes = 600, .event_bytes = 220,
		.events = 1000000, .interval_ms = 20, .start_events = 1,
	};
	bool is_right = true;

	read_options(&load, argc, argv);
	bench_raise_files();
	bench_client_init(&load.client, (uint16_t)load.port);
	load.pool = new_connections(&load.client, CONNECTIONS_MAX);
	load.streams = new_connections(&load.client, STREAMS_MAX);
	make_requests(&load);
	for (int i = optind; i < argc; i++)
		is_right = measure_phase(&load, argv[i]) && is_right;
	return is_right ? 0 : 1;
}
