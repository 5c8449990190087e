/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of answers. Engines answer errors in many shapes; a client of ours sees one. What is forwarded goes by
 * allow-list: framing, cookies, servers' names and redirects of an engine are not the client's business. */
#include "gateway/head.h"

#include "gateway/allowance.h"
#include "gateway/fallback.h"
#include "util/alloc.h"
#include "util/clock.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { FALLBACK_BYTES = 256 };

/* Response headers that go on to the client. */
static const char *const allowed[] = {
	"content-type",
	"retry-after",
	"retry-after-ms",
	"x-should-retry",
	"openai-processing-ms",
	"openai-version",
	"content-disposition",
};

/* Of an answer passed through, too. */
static const char *const passed[] = { "cache-control", "etag", "last-modified", "allow", "content-language" };

static bool is_name(const struct vgw__header *header, const char *name)
{
	return header->name.len == strlen(name) && memcmp(header->name.data, name, header->name.len) == 0;
}

static const struct vgw__header *find(const struct vgw__response_head *head, const char *name)
{
	for (size_t i = 0; i < head->header_count; i++) {
		if (is_name(&head->headers[i], name))
			return &head->headers[i];
	}
	return NULL;
}

static bool begins_with(const struct vgw__header *header, const char *text)
{
	return header && header->value.len >= strlen(text) &&
	       strncasecmp(header->value.data, text, strlen(text)) == 0;
}

static void add(struct vgw__held_head *head, const char *name, const char *value, size_t len)
{
	vgw_header *header;
	char *copy = head->text + head->text_len;

	if (head->header_count == VGW__HEAD_HEADERS || len > sizeof(head->text) - head->text_len)
		return; /* an oversized optional header is left out rather than cut */
	memcpy(copy, value, len);
	head->text_len += len;
	header = &head->headers[head->header_count++];
	*header = (vgw_header){ name, strlen(name), copy, len };
}

static void add_text(struct vgw__held_head *head, const char *name, const char *value)
{
	add(head, name, value, strlen(value));
}

static void add_these(struct vgw__held_head *out, const struct vgw__response_head *head, const char *const *names,
	size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct vgw__header *header = find(head, names[i]);

		if (header)
			add(out, names[i], header->value.data, header->value.len);
	}
}

static enum vgw__verdict judge(const struct vgw__response_head *head, bool is_passthrough, const char **why)
{
	const struct vgw__header *type = find(head, "content-type");
	const struct vgw__header *encoding = find(head, "content-encoding");
	bool is_json = begins_with(type, "application/json");

	if (head->status >= 300 && head->status < 400 && !(is_passthrough && head->status == 304)) {
		*why = "the engine answered with a redirect";
		return VGW__VERDICT_REFUSE;
	}
	if (encoding && !(encoding->value.len == 8 && begins_with(encoding, "identity"))) {
		*why = "the engine compressed its answer without being asked to";
		return VGW__VERDICT_REFUSE;
	}
	if (is_passthrough)
		return VGW__VERDICT_FORWARD;
	if (begins_with(type, "text/html")) {
		*why = "the engine answered with a page instead of an API answer";
		return VGW__VERDICT_DIGEST;
	}
	if (head->status >= 400 && !is_json) {
		*why = "the engine failed";
		return VGW__VERDICT_DIGEST;
	}
	/* 501: it does not do that, 503: it does not now; the others are no answers for clients */
	if (head->status >= 500 && head->status != 501 && head->status != 503) {
		*why = "the engine failed";
		return VGW__VERDICT_DIGEST;
	}
	return VGW__VERDICT_FORWARD;
}

/* Not zeroed: most of it is room for text. A worker keeps one for the next answer: they are larger than what
 * malloc() is quick with. */
static struct vgw__held_head *new_head(vgw_worker *worker, uint32_t status, int64_t content_length)
{
	struct vgw__held_head *head = worker->spare_head ? worker->spare_head : vgw__realloc(NULL, sizeof(*head));

	worker->spare_head = NULL;
	if (!head)
		return NULL;
	head->status = status;
	head->is_sse = false;
	head->content_length = content_length;
	head->header_count = 0;
	head->text_len = 0;
	return head;
}

void vgw__head_free(vgw_worker *worker, struct vgw__held_head *head)
{
	if (!head)
		return;
	vgw__free(worker->spare_head);
	worker->spare_head = head;
}

enum vgw__verdict vgw__head_judge(struct vgw__held_head **out, vgw_call *call, const struct vgw__response_head *head,
	const char **why)
{
	bool is_passthrough = call->operation == VGW_OPERATION_PASSTHROUGH;
	enum vgw__verdict verdict = judge(head, is_passthrough, why);
	struct vgw__held_head *held;

	*out = NULL;
	if (verdict != VGW__VERDICT_FORWARD)
		return verdict;
	held = new_head(call->worker, head->status, head->content_length);
	if (!held)
		return VGW__VERDICT_NOMEM;
	held->is_sse = head->status == 200 && begins_with(find(head, "content-type"), "text/event-stream");
	add_these(held, head, allowed, sizeof(allowed) / sizeof(allowed[0]));
	if (is_passthrough && !held->is_sse)
		add_these(held, head, passed, sizeof(passed) / sizeof(passed[0]));
	if (held->is_sse) {
		held->content_length = -1;
		add_text(held, "cache-control", "no-cache");
		add_text(held, "x-accel-buffering", "no");
	}
	vgw__head_add_ours(held, call);
	*out = held;
	return VGW__VERDICT_FORWARD;
}

struct vgw__held_head *vgw__head_new_own(vgw_call *call, uint32_t status, size_t len)
{
	struct vgw__held_head *head = new_head(call->worker, status, (int64_t)len);

	if (!head)
		return NULL;
	add_text(head, "content-type", "application/json");
	vgw__head_add_ours(head, call);
	return head;
}

/* --- our own headers ------------------------------------------------------------------------------------------ */

/* "12.345": milliseconds with three decimals, without the cost of printf's doubles. */
static char *put_ms(char *at, int64_t ns)
{
	char digits[24];
	int64_t us = ns > 0 ? ns / 1000 : 0;
	size_t count = 0;

	for (; us || count < 5; us /= 10) {
		digits[count++] = (char)('0' + us % 10);
		if (count == 3)
			digits[count++] = '.';
	}
	while (count)
		*at++ = digits[--count];
	return at;
}

static char *put_text(char *at, const char *text)
{
	size_t len = strlen(text);

	memcpy(at, text, len);
	return at + len;
}

static void add_timing(struct vgw__held_head *head, const vgw_call *call)
{
	char text[160];
	char *at = put_text(text, "queue;dur=");
	int64_t waited_ns = call->leased_ns ? call->leased_ns - call->begun_ns : 0;

	at = put_ms(at, waited_ns);
	if (call->sent_ns) {
		at = put_text(at, ", upstream;dur=");
		at = put_ms(at, (call->head_ns ? call->head_ns : vgw__now_ns()) - call->sent_ns);
		at = put_text(at, ", gateway;dur=");
		at = put_ms(at, call->sent_ns - call->begun_ns - waited_ns);
	}
	add(head, "server-timing", text, (size_t)(at - text));
}

static void add_replica(struct vgw__held_head *head, const vgw_call *call)
{
	char text[16];
	char *at = text + sizeof(text);
	const char *name = call->seat->model->name;
	char *room = head->text + head->text_len;
	size_t len = strlen(name);

	for (uint32_t place = call->target->number, first = 1; place || first;
		place /= 10, first = 0)
		*--at = (char)('0' + place % 10);
	*--at = '/';
	if (len + sizeof(text) > sizeof(head->text) - head->text_len)
		return;
	add(head, "x-vllmgw-replica", name, len);
	memcpy(room + len, at, (size_t)(text + sizeof(text) - at));
	head->text_len += (size_t)(text + sizeof(text) - at);
	head->headers[head->header_count - 1].value_len += (size_t)(text + sizeof(text) - at);
}

void vgw__head_add_ours(struct vgw__held_head *head, const vgw_call *call)
{
	char fallback[FALLBACK_BYTES];

	add_text(head, "x-request-id", call->request_id);
	add_text(head, "x-vllmgw-model", call->seat->model->name);
	if (call->target && head->header_count < VGW__HEAD_HEADERS)
		add_replica(head, call);
	vgw__fallback_print(call, fallback, sizeof(fallback));
	if (*fallback)
		add_text(head, "x-vllmgw-fallback", fallback);
	add_timing(head, call);
	vgw__allowance_add_headers(head, call);
}

void vgw__head_add(struct vgw__held_head *head, const char *name, const char *value)
{
	add_text(head, name, value);
}

void vgw__head_add_retry_after(struct vgw__held_head *head, uint32_t seconds, int64_t ms)
{
	char text[24];

	if (ms > 0) {
		seconds = (uint32_t)((ms + 999) / 1000);
		(void)snprintf(text, sizeof(text), "%" PRId64, ms);
		add_text(head, "retry-after-ms", text);
	}

	(void)snprintf(text, sizeof(text), "%" PRIu32, seconds);
	add_text(head, "retry-after", text);
}

/* --- an engine's error page ----------------------------------------------------------------------------------- */

static size_t strip_markup(char *out, size_t size, const char *page, size_t len)
{
	bool is_tag = false, is_gap = true;
	size_t at = 0;

	for (size_t i = 0; i < len && at + 1 < size; i++) {
		unsigned char c = (unsigned char)page[i];

		if (c == '<' || (is_tag && c != '>')) {
			is_tag = true;
			continue;
		}
		if (is_tag || c <= ' ' || c >= 0x7f) {
			is_tag = false;
			if (!is_gap)
				out[at++] = ' ';
			is_gap = true;
			continue;
		}
		out[at++] = (char)c;
		is_gap = false;
	}
	while (at && out[at - 1] == ' ')
		at--;
	out[at] = '\0';
	return at;
}

void vgw__head_digest(char *out, size_t size, const char *page, size_t len, uint32_t status)
{
	json_t *json = len ? json_loadb(page, len, 0, NULL) : NULL;
	json_t *error = json_object_get(json, "error");
	const char *message = json_string_value(json_object_get(json_is_object(error) ? error : json, "message"));
	char text[200];

	if (message)
		(void)strip_markup(text, sizeof(text), message, strlen(message));
	else
		(void)strip_markup(text, sizeof(text), page, len);
	(void)snprintf(out, size, "the engine answered %" PRIu32 "%s%s", status, *text ? ": " : "", text);
	json_decref(json);
}
