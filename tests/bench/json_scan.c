/* SPDX-License-Identifier: Apache-2.0 */
/* How long the JSON code takes: nanoseconds per call, the best of several rounds. Not a test. */
#include "json/scan.h"
#include "json/splice.h"
#include "json/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 15

static const char head[] = "{\"model\":\"qwen2.5-7b-instruct\",\"temperature\":0.7,\"top_p\":0.95,\"max_"
			   "tokens\":256,\"stream\":true,"
			   "\"stop\":[\"</s>\"],\"messages\":[{\"role\":\"system\",\"content\":\"You are a "
			   "helpful assistant.\"},"
			   "{\"role\":\"user\",\"content\":\"";
static const char tail[] = "\"}]}";

static const char event[] =
	"data: {\"id\":\"chatcmpl-7f9c2ba4e88f827d616045507605853e\",\"object\":\"chat.completion.chunk\","
	"\"created\":1718000000,\"model\":\"qwen2.5-7b\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "
	"token\"},"
	"\"logprobs\":null,\"finish_reason\":null}]}\n\n";
static const char usage_event[] =
	"data: {\"id\":\"chatcmpl-7f9c2ba4e88f827d616045507605853e\",\"object\":\"chat.completion.chunk\","
	"\"created\":1718000000,\"model\":\"qwen2.5-7b\",\"choices\":[],\"usage\":{\"prompt_tokens\":31,"
	"\"total_tokens\":287,\"completion_tokens\":256}}\n\n";

static double now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

/* A chat body of about `size` bytes whose long text repeats `unit`. */
static char *make_body(size_t size, const char *unit, size_t *len)
{
	char *body = malloc(size + sizeof(head) + sizeof(tail) + strlen(unit));

	if (!body)
		exit(1);
	memcpy(body, head, sizeof(head) - 1);
	for (*len = sizeof(head) - 1; *len + sizeof(tail) < size; *len += strlen(unit))
		memcpy(body + *len, unit, strlen(unit));
	memcpy(body + *len, tail, sizeof(tail) - 1);
	*len += sizeof(tail) - 1;
	return body;
}

static void run_scan(const char *data, size_t len)
{
	struct vgw__scan scan;

	if (vgw__scan_body(&scan, data, len, NULL, NULL) != VGW_OK)
		exit(1);
}

static void run_splice(const char *data, size_t len)
{
	static struct vgw__buf scratch = { .ceiling = 4096 };
	struct vgw__segment segments[VGW__SPLICE_MAX_SEGMENTS];
	struct vgw__scan scan;
	struct vgw__splice splice;
	struct vgw__usage_asked asked;
	size_t count;

	if (vgw__scan_body(&scan, data, len, NULL, NULL) != VGW_OK)
		exit(1);
	vgw__splice_init(&splice, &scan, &scratch);
	if (vgw__splice_set_string(&splice, "model", "served", 6, NULL) != VGW_OK ||
		vgw__splice_include_usage(&splice, true, &asked, NULL) != VGW_OK ||
		vgw__splice_finish(&splice, segments, &count, NULL) != VGW_OK)
		exit(1);
}

static void run_sse(const char *data, size_t len)
{
	static struct vgw__sse sse;

	if (!sse.max_event)
		vgw__sse_init(&sse, 0);
	vgw__sse_feed(&sse, data, len);
}

static void run_sse_halves(const char *data, size_t len)
{
	run_sse(data, len / 2);
	run_sse(data + len / 2, len - len / 2);
}

static void measure(const char *name, void (*run)(const char *, size_t), const char *data, size_t len)
{
	size_t times = 20000000 / (len + 100) + 10;
	double best = 1e18;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns();
		double each;

		for (size_t i = 0; i < times; i++)
			run(data, len);
		each = (now_ns() - start) / (double)times;
		best = each < best ? each : best;
	}
	printf("%-28s %8zu bytes %12.1f ns\n", name, len, best);
}

static void measure_body(const char *name, void (*run)(const char *, size_t), size_t size, const char *unit)
{
	size_t len;
	char *body = make_body(size, unit, &len);

	measure(name, run, body, len);
	free(body);
}

int main(void)
{
	measure_body("scan, chat", run_scan, 600, "The quick brown fox jumps. ");
	measure_body("scan and splice, chat", run_splice, 600, "The quick brown fox jumps. ");
	measure_body("scan, ASCII", run_scan, 100000, "The quick brown fox jumps over the lazy dog. ");
	measure_body("scan, code with escapes", run_scan, 100000,
		"\\tint main(void)\\n\\t{ return \\\"x\\\"; }\\n");
	measure_body("scan, Chinese", run_scan, 100000, "\xe6\xa8\xa1\xe5\x9e\x8b");
	measure_body("scan, many small values", run_scan, 100000, "\"},{\"role\":\"user\",\"content\":\"hi");
	measure("sse, event", run_sse, event, sizeof(event) - 1);
	measure("sse, event with usage", run_sse, usage_event, sizeof(usage_event) - 1);
	measure("sse, event in two halves", run_sse_halves, event, sizeof(event) - 1);
	return 0;
}
