/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted, once: field, metric, type, help. Everything carries the label `model`. */
#ifndef VGW_OBSERVE_STATS_LIST_H
#define VGW_OBSERVE_STATS_LIST_H

/* XX(field, metric name, help) */
#define VGW__COUNTERS(XX)                                                                                       \
	XX(streams, "vllmgw_streams_total", "Answers that were event streams.")                                 \
	XX(events, "vllmgw_stream_events_total", "Server-sent events delivered.")                               \
	XX(bytes_in, "vllmgw_request_bytes_total", "Bytes of request bodies received.")                         \
	XX(bytes_out, "vllmgw_response_bytes_total", "Bytes of response bodies delivered.")                     \
	XX(attempts, "vllmgw_upstream_attempts_total", "Requests sent to engines, repeated ones included.")     \
	XX(prompt_tokens, "vllmgw_prompt_tokens_total", "Prompt tokens the engines reported.")                  \
	XX(completion_tokens, "vllmgw_completion_tokens_total", "Completion tokens the engines reported.")

#define VGW__GAUGES(XX)                                                                                         \
	XX(in_flight, "vllmgw_requests_in_flight", "Requests under way.")                                       \
	XX(open_streams, "vllmgw_streams_open", "Event streams open to clients.")

/* XX(field, metric name, bounds, help); the bounds are lists below, in microseconds. */
#define VGW__HISTOGRAMS(XX)                                                                                     \
	XX(duration, "vllmgw_request_duration_seconds", LONG, "From the request to the end of its answer.")     \
	XX(first_byte, "vllmgw_first_byte_seconds", LONG, "From the request to the first byte of the body.")    \
	XX(queue, "vllmgw_queue_seconds", LONG, "Waiting for the model.")                                       \
	XX(overhead, "vllmgw_overhead_seconds", SHORT, "The gateway's own time before the engine had the request.")

#define VGW__BOUNDS_LONG { 1000, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,  \
	10000000, 30000000, 60000000, 300000000, 1200000000 }
#define VGW__BOUNDS_SHORT { 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000,        \
	1000000, 10000000 }
enum { VGW__BOUND_COUNT = 16 };

/* Status codes that get a label of their own; others count as "other". */
#define VGW__CODES(XX)                                                                                          \
	XX(200) XX(400) XX(401) XX(403) XX(404) XX(405) XX(408) XX(409) XX(413) XX(415) XX(417) XX(422) XX(429) \
	XX(499) XX(500) XX(502) XX(503) XX(504)

#endif
