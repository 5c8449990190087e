/* SPDX-License-Identifier: Apache-2.0 */
/* Routes that take forms. The form is read forgivingly, by searching for a part's name, as another reader than the
 * gateway's; the answer says how much came, and of what hash. */
#include "model.h"
#include "stream.h"

#include <string.h>

enum { VALUE_BYTES = 600 };

/* The text of the first part of that name; "" without one. */
static void get_value(const struct buf *body, const char *name, char value[VALUE_BYTES])
{
	const char *data = body->data ? body->data : "";
	const char *end = data + body->len;
	struct buf mark = {0};
	const char *at;
	const char *stop;

	buf_printf(&mark, "name=\"%s\"", name);
	at = memmem(data, body->len, mark.data, mark.len);
	buf_free(&mark);
	value[0] = '\0';
	at = at ? memmem(at, (size_t)(end - at), "\r\n\r\n", 4) : NULL;
	stop = at ? memmem(at + 4, (size_t)(end - at - 4), "\r\n", 2) : NULL;
	if (stop && stop - at - 4 < VALUE_BYTES) {
		memcpy(value, at + 4, (size_t)(stop - at - 4));
		value[stop - at - 4] = '\0';
	}
}

static void send_stream(struct conn *conn, const char *model, const char *hex)
{
	struct buf events = {0};
	struct buf name = {0};
	const char *const words[] = {"received ", hex};
	size_t i;

	buf_json(&name, model, strlen(model));
	wire_stream_begin(conn);
	for (i = 0; i < 2; i++)
		buf_printf(&events,
			"data: {\"id\":\"trsc-1\",\"object\":\"transcription.chunk\",\"model\":\"%s\","
			"\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}\n\n",
			name.data, words[i]);
	buf_text(&events, "data: [DONE]\n\n");
	wire_events(conn, &events);
	wire_end(conn);
	buf_free(&events);
	buf_free(&name);
}

void infer_form(struct conn *conn)
{
	const struct buf *body = &conn->x.request.body;
	const char *type = http_header(&conn->x.request, "content-type");
	char model[VALUE_BYTES];
	char format[VALUE_BYTES];
	char stream[VALUE_BYTES];
	struct buf text = {0};
	char hex[65];

	if (!type || strncmp(type, "multipart/form-data", 19) != 0) {
		exchange_error(conn, 400, "BadRequestError", NULL, "multipart/form-data is needed");
		return;
	}
	get_value(body, "model", model);
	get_value(body, "response_format", format);
	get_value(body, "stream", stream);
	if (model[0] && !model_is_served(conn->engine, model)) {
		exchange_error(conn, 404, "NotFoundError", "model", "The model `%s` does not exist.", model);
		return;
	}
	if (!sleep_admits(conn, infer_form))
		return;
	sha256_hex(body->data ? body->data : "", body->len, hex);
	if (strcmp(stream, "true") == 0) {
		send_stream(conn, model, hex);
	} else if (strcmp(format, "text") == 0) {
		buf_printf(&text, "received %s\n", hex);
		exchange_reply(conn, 200, "text/plain; charset=utf-8", &text);
	} else {
		exchange_json(conn, 200,
			json_pack("{s:s, s:s, s:I, s:s, s:{s:s, s:i}}", "text", "received", "model", model, "bytes",
				(json_int_t)body->len, "sha256", hex, "usage", "type", "duration", "seconds", 1));
	}
}
