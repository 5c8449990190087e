/* SPDX-License-Identifier: Apache-2.0 */
/* What comes instead of an answer: resets, silence, garbage, and answers that no engine should give. */
#include "engine.h"

static bool has(const struct conn *conn, enum fault fault)
{
	return fault_is_on(&conn->x.faults, fault);
}

static void reply_text(struct conn *conn, int status, const char *type, const char *headers, const char *text)
{
	struct reply reply = {.status = status, .type = type};

	buf_text(&reply.headers, headers);
	buf_text(&reply.body, text);
	wire_reply(conn, &reply);
	conn->x.outcome = "faulted";
	buf_free(&reply.headers);
	buf_free(&reply.body);
}

static const struct {
	enum fault fault;
	int status;
	const char *type;
	const char *headers;
	const char *body;
} canned[] = {
	{FAULT_STATUS_500_HTML, 500, "text/html", "",
		"<html><head><title>500</title></head><body><h1>Internal Server Error</h1></body></html>\n"},
	{FAULT_STATUS_422_JSON, 422, "application/json", "",
		"{\"error\":{\"message\":\"[{'type': 'missing', 'loc': ('body', 'messages')}]\","
		"\"type\":\"UnprocessableEntityError\",\"param\":null,\"code\":422}}"},
	{FAULT_STATUS_501, 501, "application/json", "",
		"{\"error\":{\"message\":\"This server does not support embeddings\",\"type\":\"not_supported_error\","
		"\"code\":501}}"},
	{FAULT_STATUS_503, 503, "application/json", "",
		"{\"error\":{\"message\":\"The engine is overloaded\",\"type\":\"ServiceUnavailableError\","
		"\"param\":null,\"code\":503}}"},
	{FAULT_HTML_200, 200, "text/html", "", "<html><body>It works!</body></html>\n"},
	{FAULT_REDIRECT_307, 307, NULL, "location: http://127.0.0.1:1/elsewhere\r\n", ""},
	{FAULT_SWITCHING_101, 101, NULL, "upgrade: websocket\r\nconnection: upgrade\r\n", ""},
	{FAULT_NO_CONTENT_204_WITH_BODY, 204, "application/json", "", "{\"never\":\"allowed here\"}"},
};

bool wire_instead(struct conn *conn)
{
	static const char garbage[] = "\x16\x03\x01 \0\xff\xfe*SSH-2.0-nothing\r\n<<<\r\n\r\n";
	struct buf retry = {0};
	size_t i;

	if (has(conn, FAULT_RESET_BEFORE_HEADERS) || has(conn, FAULT_REFUSE)) {
		wire_cut(conn, END_RESET);
		return true;
	}
	if (has(conn, FAULT_CLOSE_BEFORE_HEADERS)) {
		wire_cut(conn, END_CLOSE);
		return true;
	}
	if (has(conn, FAULT_GARBAGE)) {
		buf_add(&conn->out, garbage, sizeof(garbage) - 1);
		wire_cut(conn, END_CLOSE);
		return true;
	}
	if (has(conn, FAULT_STALL_BEFORE_HEADERS))
		return true;
	if (has(conn, FAULT_STATUS_429)) {
		buf_printf(&retry, "retry-after: %lld\r\n",
			(long long)conn->x.faults.argument[FAULT_STATUS_429]);
		reply_text(conn, 429, "application/json", retry.data,
			"{\"error\":{\"message\":\"Too many requests\",\"type\":\"TooManyRequestsError\","
			"\"param\":null,\"code\":429}}");
		buf_free(&retry);
		return true;
	}
	for (i = 0; i < sizeof(canned) / sizeof(canned[0]); i++) {
		if (!has(conn, canned[i].fault))
			continue;
		reply_text(conn, canned[i].status, canned[i].type, canned[i].headers, canned[i].body);
		return true;
	}
	return false;
}
