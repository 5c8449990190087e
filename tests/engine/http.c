/* SPDX-License-Identifier: Apache-2.0 */
/* The request parser. It is content with what uvicorn is content with; it is no guard. */
#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	STAGE_HEAD,
	STAGE_BODY,
	STAGE_CHUNK_SIZE,
	STAGE_CHUNK_DATA,
	STAGE_CHUNK_END,
	STAGE_TRAILER,
	STAGE_DONE
};

enum { HEAD_MAX = 4 << 20, LINE_MAX_BYTES = 65536 };

void http_free(struct request *request)
{
	buf_free(&request->head);
	buf_free(&request->body);
	free(request->text);
	free(request->headers);
	*request = (struct request){0};
}

const char *http_header(const struct request *request, const char *name)
{
	size_t i;

	for (i = 0; i < request->header_count; i++) {
		if (strcasecmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	}
	return NULL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char *percent_decoded(const char *text, size_t len)
{
	char *out = xstrndup(text, len);
	size_t w = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (out[i] == '%' && i + 2 < len && hex_digit(out[i + 1]) >= 0 &&
			hex_digit(out[i + 2]) >= 0) {
			out[w++] = (char)(hex_digit(out[i + 1]) * 16 + hex_digit(out[i + 2]));
			i += 2;
		} else {
			out[w++] = out[i] == '+' ? ' ' : out[i];
		}
	}
	out[w] = '\0';
	return out;
}

char *http_query(const struct request *request, const char *name, size_t n)
{
	const char *p = request->query ? request->query : "";
	size_t name_len = strlen(name);

	while (*p) {
		size_t len = strcspn(p, "&");

		if (len > name_len && memcmp(p, name, name_len) == 0 && p[name_len] == '=' && n-- == 0)
			return percent_decoded(p + name_len + 1, len - name_len - 1);
		p += len;
		p += *p == '&';
	}
	return NULL;
}

/* --- the head --- */

static char *trimmed(char *text)
{
	char *end;

	text += strspn(text, " \t");
	end = text + strlen(text);
	while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	*end = '\0';
	return text;
}

static bool parse_request_line(struct request *r, char *line)
{
	char *version;

	r->method = strsep(&line, " ");
	r->path = strsep(&line, " ");
	version = strsep(&line, " \r");
	if (!version || strncmp(version, "HTTP/1.", 7) != 0)
		return false;
	r->is_http_1_0 = version[7] == '0';
	r->keep_alive = !r->is_http_1_0;
	r->query = strchr(r->path, '?');
	if (r->query)
		*r->query++ = '\0';
	else
		r->query = r->path + strlen(r->path);
	return true;
}

static bool parse_header(struct request *r, char *line)
{
	char *colon = strchr(line, ':');
	struct header *h;

	if (!colon || colon == line)
		return false;
	if (r->header_count % 16 == 0)
		r->headers = xrealloc(r->headers, (r->header_count + 16) * sizeof(*r->headers));
	h = &r->headers[r->header_count++];
	*colon = '\0';
	h->name = line;
	h->value = trimmed(colon + 1);
	return true;
}

static bool understand(struct request *r)
{
	const char *connection = http_header(r, "connection");
	const char *coding = http_header(r, "transfer-encoding");
	const char *length = http_header(r, "content-length");
	const char *expect = http_header(r, "expect");
	char *end;

	if (connection && strcasecmp(connection, "close") == 0)
		r->keep_alive = false;
	if (connection && strcasecmp(connection, "keep-alive") == 0)
		r->keep_alive = true;
	r->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
	r->is_chunked = coding && strcasecmp(coding, "chunked") == 0;
	if (coding && !r->is_chunked)
		return false;
	r->stage = STAGE_DONE;
	if (r->is_chunked) {
		r->stage = STAGE_CHUNK_SIZE;
	} else if (length) {
		r->left = strtoull(length, &end, 10);
		if (end == length || *end || *length < '0' || *length > '9')
			return false;
		if (r->left)
			r->stage = STAGE_BODY;
	}
	return true;
}

static bool parse_head(struct request *r)
{
	char *line;
	char *next;

	if (memchr(r->head.data, '\0', r->head.len))
		return false;
	r->text = xstrndup(r->head.data, r->head.len);
	for (line = r->text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (line == r->text) {
			if (!parse_request_line(r, line))
				return false;
		} else if (strcmp(line, "\r") != 0 && *line && !parse_header(r, line)) {
			return false;
		}
	}
	return r->method && understand(r);
}

/* The end of the head: an empty line, its CR optional. Returns its length, 0 when there is none yet. */
static size_t head_length(struct request *r, const struct buf *in)
{
	size_t i = r->scanned > 3 ? r->scanned - 3 : 0;
	const char *nl;

	while (i < in->len && (nl = memchr(in->data + i, '\n', in->len - i))) {
		size_t at = (size_t)(nl - in->data);

		if (at + 1 < in->len && in->data[at + 1] == '\n')
			return at + 2;
		if (at + 2 < in->len && in->data[at + 1] == '\r' && in->data[at + 2] == '\n')
			return at + 3;
		i = at + 1;
	}
	r->scanned = in->len;
	return 0;
}

static enum http_result feed_head(struct request *r, struct buf *in)
{
	size_t skip = 0;
	size_t len;

	while (skip < in->len && (in->data[skip] == '\r' || in->data[skip] == '\n'))
		skip++;
	buf_drop(in, skip);
	len = head_length(r, in);
	if (!len)
		return in->len > HEAD_MAX ? HTTP_BAD : HTTP_MORE;
	buf_add(&r->head, in->data, len);
	buf_drop(in, len);
	return parse_head(r) ? HTTP_HEAD : HTTP_BAD;
}

/* --- the body --- */

static void take_body(struct request *r, struct buf *in)
{
	size_t n = r->left < in->len ? (size_t)r->left : in->len;

	buf_add(&r->body, in->data, n);
	buf_drop(in, n);
	r->left -= n;
}

/* One line of the chunks' framing. */
static enum http_result feed_line(struct request *r, struct buf *in)
{
	char *nl = in->len ? memchr(in->data, '\n', in->len) : NULL;
	size_t len;
	char *end;

	if (!nl)
		return in->len > LINE_MAX_BYTES ? HTTP_BAD : HTTP_MORE;
	len = (size_t)(nl - in->data);
	if (r->stage == STAGE_CHUNK_SIZE) {
		if (hex_digit(in->data[0]) < 0)
			return HTTP_BAD;
		r->left = strtoull(in->data, &end, 16);
		if (!strchr(";\r\n ", *end))
			return HTTP_BAD;
		r->stage = r->left ? STAGE_CHUNK_DATA : STAGE_TRAILER;
	} else if (r->stage == STAGE_CHUNK_END) {
		if (len > 1 || (len == 1 && in->data[0] != '\r'))
			return HTTP_BAD;
		r->stage = STAGE_CHUNK_SIZE;
	} else if (len == 0 || (len == 1 && in->data[0] == '\r')) {
		r->stage = STAGE_DONE;
	}
	buf_drop(in, len + 1);
	return HTTP_DONE;
}

enum http_result http_feed(struct request *r, struct buf *in)
{
	enum http_result result;

	if (r->stage == STAGE_HEAD)
		return feed_head(r, in);
	while (r->stage != STAGE_DONE) {
		if (r->stage == STAGE_BODY || r->stage == STAGE_CHUNK_DATA) {
			if (!in->len)
				return HTTP_MORE;
			take_body(r, in);
			if (!r->left)
				r->stage = r->stage == STAGE_BODY ? STAGE_DONE : STAGE_CHUNK_END;
			continue;
		}
		result = feed_line(r, in);
		if (result != HTTP_DONE)
			return result;
	}
	return HTTP_DONE;
}
