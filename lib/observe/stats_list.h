/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted, once: field, metric, type, help. Everything carries the label `model`.
 *
 * The last column says whether OpenTelemetry's GenAI conventions have a name for the same: those rows are left out when
 * the metrics are to bear those names (observe/genai.h). */
#ifndef VGW_OBSERVE_STATS_LIST_H
#define VGW_OBSERVE_STATS_LIST_H

enum vgw__metric_twin { VGW__OWN, VGW__GENAI };

/* XX(field, metric name, twin, help) */
#define VGW__COUNTERS(XX)                                                                                       \
	XX(streams, "vllmgw_streams_total", OWN, "Answers that were event streams.")                            \
	XX(events, "vllmgw_stream_events_total", OWN, "Server-sent events delivered.")                          \
	XX(bytes_in, "vllmgw_request_bytes_total", OWN, "Bytes of request bodies received.")                    \
	XX(bytes_out, "vllmgw_response_bytes_total", OWN, "Bytes of response bodies delivered.")                \
	XX(fallbacks, "vllmgw_fallbacks_total", OWN, "Requests that another model answered instead of this one.") \
	XX(attempts, "vllmgw_upstream_attempts_total", OWN, "Requests sent to engines, repeated ones included.") \
	XX(prompt_tokens, "vllmgw_prompt_tokens_total", GENAI, "Prompt tokens the engines reported.")           \
	XX(completion_tokens, "vllmgw_completion_tokens_total", GENAI, "Completion tokens the engines reported.")

#define VGW__GAUGES(XX)                                                                                         \
	XX(in_flight, "vllmgw_requests_in_flight", OWN, "Requests under way.")                                  \
	XX(waiting, "vllmgw_requests_waiting", OWN, "Requests that wait for the model to be up.")               \
	XX(open_streams, "vllmgw_streams_open", OWN, "Event streams open to clients.")

/* XX(field, metric name, scale, twin, help); the scales are lists below, in microseconds. */
#define VGW__HISTOGRAMS(XX)                                                                                     \
	XX(duration, "vllmgw_request_duration_seconds", LONG, GENAI,                                            \
		"From the request to the end of its answer.")                                                   \
	XX(first_byte, "vllmgw_first_byte_seconds", LONG, OWN, "From the request to the first byte of the body.") \
	XX(first_token, "vllmgw_time_to_first_token_seconds", FIRST, GENAI,                                     \
		"From the request to the first event of a stream, waiting for the model included.")             \
	XX(inter_token, "vllmgw_inter_token_seconds", TOKEN, GENAI,                                             \
		"Between two events of a stream; engines send one a token.")                                    \
	XX(queue, "vllmgw_queue_seconds", LONG, OWN, "Waiting for the model.")                                  \
	XX(overhead, "vllmgw_overhead_seconds", SHORT, OWN,                                                     \
		"The gateway's own time before the engine had the request.")

#define VGW__BOUNDS_LONG { 1000, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,  \
	10000000, 30000000, 60000000, 300000000, 1200000000 }
#define VGW__BOUNDS_FIRST { 1000, 5000, 10000, 20000, 40000, 80000, 160000, 250000, 500000, 750000, 1000000,    \
	2500000, 5000000, 10000000, 30000000, 120000000 }
#define VGW__BOUNDS_TOKEN { 1000, 2500, 5000, 7500, 10000, 15000, 20000, 30000, 40000, 50000, 75000, 100000,    \
	150000, 250000, 500000, 2500000 }
#define VGW__BOUNDS_SHORT { 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000,        \
	1000000, 10000000 }
enum { VGW__BOUND_COUNT = 16 };

/* Status codes that get a label of their own; others count as "other". */
#define VGW__CODES(XX)                                                                                          \
	XX(200) XX(400) XX(401) XX(403) XX(404) XX(405) XX(408) XX(409) XX(413) XX(415) XX(417) XX(422) XX(429) \
	XX(499) XX(500) XX(502) XX(503) XX(504)

#endif
