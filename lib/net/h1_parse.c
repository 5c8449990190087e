/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 answers, read strictly. A head is judged when it is complete; until then only its line ends and its first
 * bytes are looked at, so that something that is not HTTP at all is refused at once. */
#include "net/h1_parse.h"

#include <string.h>
#include <strings.h>

static const char version_prefix[] = "HTTP/1.";

/* --- characters -------------------------------------------------------------------------------------------------- */

/* RFC 9110 "tchar": one bit for each of the 128 ASCII characters. */
static bool is_token_char(unsigned char c)
{
	static const uint32_t bits[4] = { 0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff };

	return c < 128 && (bits[c >> 5] >> (c & 31) & 1);
}

/* What a value, a reason phrase or a chunk extension may hold: no control characters but the tab. */
static bool is_text_char(unsigned char c)
{
	return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_text(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_text_char((unsigned char)data[i]))
			return false;
	return true;
}

static struct vgw__span trim(const char *data, size_t len)
{
	while (len && is_blank(data[len - 1]))
		len--;
	while (len && is_blank(data[0])) {
		data++;
		len--;
	}
	return (struct vgw__span){ data, len };
}

static bool equals(struct vgw__span span, const char *text)
{
	return span.len == strlen(text) && strncasecmp(span.data, text, span.len) == 0;
}

/* --- the end of a head ------------------------------------------------------------------------------------------- */

enum vgw__h1_step vgw__h1_scan_head(const char *data, size_t len, size_t *scanned, const char **why)
{
	size_t end = len < VGW__H1_HEAD_BYTES ? len : VGW__H1_HEAD_BYTES;
	size_t prefix = len < strlen(version_prefix) ? len : strlen(version_prefix);

	if (*scanned < prefix && memcmp(data, version_prefix, prefix) != 0) {
		*why = "the answer does not begin with HTTP/1.";
		return VGW__H1_BAD;
	}
	while (*scanned < end) {
		const char *lf = memchr(data + *scanned, '\n', end - *scanned);
		size_t at;

		if (!lf)
			break;
		at = (size_t)(lf - data);
		if (data[at - 1] != '\r') {
			*why = "a line of the answer's head ends without CR";
			return VGW__H1_BAD;
		}
		*scanned = at + 1;
		if (data[at - 2] == '\n')
			return VGW__H1_DONE;
	}
	*scanned = end;
	if (len <= VGW__H1_HEAD_BYTES)
		return VGW__H1_MORE;
	*why = "the answer's head is too large";
	return VGW__H1_BAD;
}

/* --- one head ---------------------------------------------------------------------------------------------------- */

/* What the headers say about framing, gathered before it is judged. */
struct framing {
	bool is_http10;
	bool has_length;
	bool has_coding;
	bool wants_close;
	uint64_t length;
};

static const char *parse_status_line(const char *line, size_t len, uint32_t *status, bool *is_http10)
{
	uint32_t number = 0;

	/* "HTTP/1.1 200 OK"; the reason may be empty, the blank before it may not be missing */
	if (len < 13 || (line[7] != '1' && line[7] != '0') || line[8] != ' ' || line[12] != ' ')
		return "the answer's status line is malformed";
	for (size_t i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return "the answer's status is not a number";
		number = number * 10 + (uint32_t)(line[i] - '0');
	}
	if (number < 100 || number > 599)
		return "the answer's status is not between 100 and 599";
	if (!is_text(line + 13, len - 13))
		return "the answer's status line has control characters";
	*status = number;
	*is_http10 = line[7] == '0';
	return NULL;
}

static const char *parse_length(struct vgw__span value, struct framing *framing)
{
	uint64_t length = 0;

	if (framing->has_length)
		return "the answer has two Content-Length headers";
	if (!value.len)
		return "the answer's Content-Length is empty";
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return "the answer's Content-Length is not a number";
		if (__builtin_mul_overflow(length, 10u, &length) ||
			__builtin_add_overflow(length, (uint64_t)(value.data[i] - '0'), &length) || length > INT64_MAX)
			return "the answer's Content-Length is too large";
	}
	framing->has_length = true;
	framing->length = length;
	return NULL;
}

static const char *parse_coding(struct vgw__span value, struct framing *framing)
{
	if (framing->has_coding)
		return "the answer has two Transfer-Encoding headers";
	if (!equals(value, "chunked"))
		return "the answer's Transfer-Encoding is not 'chunked'";
	framing->has_coding = true;
	return NULL;
}

static void parse_connection(struct vgw__span value, struct framing *framing)
{
	while (value.len) {
		const char *comma = memchr(value.data, ',', value.len);
		size_t len = comma ? (size_t)(comma - value.data) : value.len;

		if (equals(trim(value.data, len), "close"))
			framing->wants_close = true;
		len += comma ? 1 : 0;
		value.data += len;
		value.len -= len;
	}
}

static const char *parse_line(char *line, size_t len, struct vgw__header *header, struct framing *framing)
{
	size_t name = 0;

	for (; name < len && is_token_char((unsigned char)line[name]); name++)
		if (line[name] >= 'A' && line[name] <= 'Z')
			line[name] = (char)(line[name] | 0x20);
	if (name && name < len && is_blank(line[name]))
		return "a header name of the answer is followed by a blank";
	if (name == 0 && is_blank(line[0]))
		return "the answer has a folded header line";
	if (name == 0 || name == len || line[name] != ':')
		return "a header name of the answer is malformed";
	if (!is_text(line + name + 1, len - name - 1))
		return "a header of the answer has control characters";
	header->name = (struct vgw__span){ line, name };
	header->value = trim(line + name + 1, len - name - 1);
	if (equals(header->name, "content-length"))
		return parse_length(header->value, framing);
	if (equals(header->name, "transfer-encoding"))
		return parse_coding(header->value, framing);
	if (equals(header->name, "connection"))
		parse_connection(header->value, framing);
	return NULL;
}

static const char *judge_framing(const struct framing *framing, bool is_head_request, struct vgw__h1_head *head)
{
	bool has_none = is_head_request || head->status == 204 || head->status == 304 || head->status < 200;

	if (head->status == 101)
		return "the answer switches protocols";
	if (framing->has_length && framing->has_coding)
		return "the answer has Content-Length and Transfer-Encoding";
	if (framing->has_coding && framing->is_http10)
		return "an HTTP/1.0 answer has Transfer-Encoding";
	if ((head->status == 204 || head->status < 200) && (framing->has_coding || framing->length))
		return "an answer that has no body announces one";
	head->announced = framing->has_length ? (int64_t)framing->length : -1;
	head->length = has_none ? 0 : framing->length;
	if (has_none)
		head->framing = VGW__H1_NO_BODY;
	else if (framing->has_coding)
		head->framing = VGW__H1_CHUNKED;
	else if (framing->has_length)
		head->framing = VGW__H1_LENGTH;
	else
		head->framing = VGW__H1_UNTIL_CLOSE;
	head->is_last = framing->wants_close || framing->is_http10 || head->framing == VGW__H1_UNTIL_CLOSE;
	return NULL;
}

enum vgw__h1_step vgw__h1_parse_head(char *data, size_t len, bool is_head_request, struct vgw__header *headers,
	struct vgw__h1_head *head, const char **why)
{
	struct framing framing = { 0 };
	char *line = data, *end = data + len - 2; /* the empty line */
	const char *wrong = NULL;

	memset(head, 0, sizeof(*head));
	for (size_t count = 0; line < end && !wrong; count++) {
		char *lf = memchr(line, '\n', (size_t)(end - line));
		size_t line_len = (size_t)(lf - line) - 1;

		if (count == 0)
			wrong = parse_status_line(line, line_len, &head->status, &framing.is_http10);
		else if (head->header_count == VGW__H1_HEADERS)
			wrong = "the answer has too many headers";
		else
			wrong = parse_line(line, line_len, &headers[head->header_count++], &framing);
		line = lf + 1;
	}
	if (!wrong)
		wrong = judge_framing(&framing, is_head_request, head);
	*why = wrong;
	return wrong ? VGW__H1_BAD : VGW__H1_DONE;
}

/* --- bodies ------------------------------------------------------------------------------------------------------ */

/* chunked-body = *( SIZE [EXTENSION] CRLF bytes CRLF ) 0 [EXTENSION] CRLF *( trailer CRLF ) CRLF */
enum chunk_state {
	SIZE, SIZE_BLANK, EXTENSION, SIZE_LF, BYTES, BYTES_CR, BYTES_LF, TRAILER_START, TRAILER, TRAILER_LF, END_LF, ENDED,
};

void vgw__h1_body_init(struct vgw__h1_body *body, const struct vgw__h1_head *head)
{
	memset(body, 0, sizeof(*body));
	body->framing = (uint8_t)head->framing;
	body->left = head->length;
	body->state = SIZE;
}

bool vgw__h1_body_may_end(const struct vgw__h1_body *body)
{
	return body->framing == VGW__H1_UNTIL_CLOSE;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool read_size(struct vgw__h1_body *body, char c)
{
	int value = hex_value(c);

	if (value >= 0) {
		if (++body->digits > 16 || body->left > INT64_MAX / 16)
			return false;
		body->left = body->left * 16 + (uint64_t)value;
		return true;
	}
	if (!body->digits)
		return false;
	body->skipped = 0;
	if (c == '\r')
		body->state = SIZE_LF;
	else if (c == ';')
		body->state = EXTENSION;
	else if (is_blank(c))
		body->state = SIZE_BLANK;
	else
		return false;
	return true;
}

static bool skip_extension(struct vgw__h1_body *body, char c)
{
	if (body->state == SIZE_BLANK && !is_blank(c) && c != ';')
		return false;
	if (c == '\r') {
		body->state = SIZE_LF;
		return true;
	}
	if (c == ';')
		body->state = EXTENSION;
	return is_text_char((unsigned char)c) && ++body->skipped <= VGW__H1_EXTENSION_BYTES;
}

static bool skip_trailer(struct vgw__h1_body *body, char c)
{
	if (++body->skipped > VGW__H1_TRAILER_BYTES)
		return false;
	if (c == '\r') {
		body->state = body->state == TRAILER_START ? END_LF : TRAILER_LF;
		return true;
	}
	body->state = TRAILER;
	return is_text_char((unsigned char)c);
}

/* One byte that is not payload. */
static bool read_framing(struct vgw__h1_body *body, char c)
{
	switch ((enum chunk_state)body->state) {
	case SIZE:
		return read_size(body, c);
	case SIZE_BLANK:
	case EXTENSION:
		return skip_extension(body, c);
	case SIZE_LF:
		body->state = body->left ? BYTES : TRAILER_START;
		body->skipped = 0;
		return c == '\n';
	case BYTES_CR:
		body->state = BYTES_LF;
		return c == '\r';
	case BYTES_LF:
		body->state = SIZE;
		body->digits = 0;
		return c == '\n';
	case TRAILER_START:
	case TRAILER:
		return skip_trailer(body, c);
	case TRAILER_LF:
		body->state = TRAILER_START;
		return c == '\n';
	case END_LF:
		body->state = ENDED;
		return c == '\n';
	case BYTES:
	case ENDED:
		break;
	}
	return false;
}

/* Bytes of the body, up to `body->left`. */
static enum vgw__h1_step take_bytes(struct vgw__h1_body *body, const char *data, size_t len, size_t *used,
	struct vgw__span *payload)
{
	size_t take = body->left < len ? (size_t)body->left : len;

	if (!take)
		return VGW__H1_MORE;
	*payload = (struct vgw__span){ data, take };
	*used += take;
	body->left -= take;
	return VGW__H1_DATA;
}

enum vgw__h1_step vgw__h1_body_next(struct vgw__h1_body *body, const char *data, size_t len, size_t *used,
	struct vgw__span *payload)
{
	*used = 0;
	*payload = (struct vgw__span){ data, 0 };
	if (body->framing == VGW__H1_UNTIL_CLOSE) {
		body->left = len;
		return take_bytes(body, data, len, used, payload);
	}
	if (body->framing != VGW__H1_CHUNKED)
		return body->left ? take_bytes(body, data, len, used, payload) : VGW__H1_DONE;
	while (*used < len && body->state != ENDED) {
		if (body->state == BYTES) {
			enum vgw__h1_step step = take_bytes(body, data + *used, len - *used, used, payload);

			if (!body->left)
				body->state = BYTES_CR;
			return step;
		}
		if (!read_framing(body, data[*used]))
			return VGW__H1_BAD;
		*used += 1;
	}
	return body->state == ENDED ? VGW__H1_DONE : VGW__H1_MORE;
}
