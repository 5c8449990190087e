/* SPDX-License-Identifier: Apache-2.0 */
/* The words of JSON. Most bytes of a request lie inside strings, so these are passed over sixteen at a time
 * where the processor can; UTF-8 is only checked where a byte is not ASCII. */
#include "json/lex.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* --- failing --- */

bool vgw__lex_fail(struct vgw__lex *lex, vgw_fault fault, const unsigned char *at, const char *reason)
{
	if (lex->fault == VGW_FAULT_NONE) {
		lex->fault = fault;
		lex->fault_at = (size_t)(at - lex->begin);
		lex->reason = reason;
	}
	return false;
}

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Length of the character whose first byte, not ASCII, is at p; 0: malformed, overlong, a surrogate or beyond
 * U+10FFFF. */
static inline size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
	size_t left = (size_t)(end - p);

	/* most of the world's scripts: no lead byte with further rules */
	if (left >= 3 && p[0] > 0xe0 && p[0] < 0xed)
		return ((p[1] ^ 0x80) | (p[2] ^ 0x80)) < 0x40 ? 3 : 0;
	if (p[0] < 0xc2 || p[0] > 0xf4 || left < 2 || !is_continuation(p[1]))
		return 0;
	if (p[0] < 0xe0)
		return 2;
	if (left < 3 || !is_continuation(p[2]))
		return 0;
	if (p[0] < 0xf0)
		return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ? 0 : 3;
	if (left < 4 || !is_continuation(p[3]))
		return 0;
	return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90) ? 0 : 4;
}

bool vgw__lex_is_utf8(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	const unsigned char *end = p + len;
	size_t step = 1;

	for (; p < end && step; p += step)
		step = *p < 0x80 ? 1 : utf8_length(p, end);
	return step != 0;
}

bool vgw__lex_unexpected(struct vgw__lex *lex, const char *reason)
{
	if (lex->at == lex->end)
		return vgw__lex_fail(lex, VGW_FAULT_INVALID_JSON, lex->at, "unexpected end");
	if (*lex->at >= 0x80 && utf8_length(lex->at, lex->end) == 0)
		return vgw__lex_fail(lex, VGW_FAULT_INVALID_ENCODING, lex->at, "malformed UTF-8");
	return vgw__lex_fail(lex, VGW_FAULT_INVALID_JSON, lex->at, reason);
}

/* --- strings --- */

static inline const unsigned char *find_special(const unsigned char *p, const unsigned char *end)
{
#if defined(__SSE2__)
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');
	const __m128i space = _mm_set1_epi8(' ');

	while (end - p >= 16) {
		__m128i text = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i found = _mm_or_si128(_mm_cmpeq_epi8(text, quote), _mm_cmpeq_epi8(text, backslash));
		int mask;

		/* the compare is signed: bytes of 0x80 and more are below the space, too */
		mask = _mm_movemask_epi8(_mm_or_si128(found, _mm_cmplt_epi8(text, space)));
		if (mask)
			return p + __builtin_ctz((unsigned)mask);
		p += 16;
	}
#endif
	while (p < end && *p >= ' ' && *p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

const unsigned char *vgw__lex_find_special(const unsigned char *p, const unsigned char *end)
{
	return find_special(p, end);
}

static int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Length of the escape sequence whose backslash is at p; 0: there is no such escape. */
static size_t escape_length(const unsigned char *p, const unsigned char *end)
{
	if (end - p < 2)
		return 0;
	switch (p[1]) {
	case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
		return 2;
	case 'u':
		break;
	default:
		return 0;
	}
	if (end - p < 6)
		return 0;
	for (size_t i = 2; i < 6; i++)
		if (hex_digit(p[i]) < 0)
			return 0;
	return 6;
}

bool vgw__lex_string(struct vgw__lex *lex)
{
	const unsigned char *end = lex->end;
	const unsigned char *p = lex->at + 1;
	size_t len;

	lex->escaped = false;
	for (;;) {
		p = find_special(p, end);
		if (p == end)
			return vgw__lex_fail(lex, VGW_FAULT_INVALID_JSON, p, "unterminated string");
		if (*p == '"') {
			lex->at = p + 1;
			return true;
		}
		if (*p == '\\') {
			len = escape_length(p, end);
			if (!len)
				return vgw__lex_fail(
					lex, VGW_FAULT_INVALID_JSON, p, "bad escape in a string");
			lex->escaped = true;
			p += len;
			continue;
		}
		if (*p < ' ')
			return vgw__lex_fail(lex, VGW_FAULT_INVALID_JSON, p, "control character in a string");
		while (p < end && *p >= 0x80) {
			len = utf8_length(p, end);
			if (!len)
				return vgw__lex_fail(lex, VGW_FAULT_INVALID_ENCODING, p, "malformed UTF-8");
			p += len;
		}
	}
}

/* --- unescaping --- */

static unsigned code_unit(const char *hex)
{
	unsigned value = 0;

	for (size_t i = 0; i < 4; i++)
		value = value << 4 | (unsigned)hex_digit((unsigned char)hex[i]);
	return value;
}

static size_t encode_utf8(unsigned code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* Decode the escape at p, one that escape_length() accepted, into a character; how many bytes it took, 0 for
 * half a surrogate pair. */
static size_t decode_escape(const char *p, const char *end, unsigned *code)
{
	static const char letters[] = "bfnrt";
	static const char meanings[] = "\b\f\n\r\t";
	const char *letter;
	unsigned low;

	if (p[1] != 'u') {
		letter = strchr(letters, p[1]);
		*code = (unsigned char)(letter ? meanings[letter - letters] : p[1]);
		return 2;
	}
	*code = code_unit(p + 2);
	if (*code < 0xd800 || *code > 0xdfff)
		return 6;
	if (*code > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0;
	low = code_unit(p + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
	return 12;
}

enum vgw__unescape vgw__lex_unescape(const char *inside, size_t len, char *out, size_t size, size_t *out_len)
{
	const char *end = inside + len;
	size_t used = 0;

	for (const char *p = inside; p < end;) {
		char bytes[4] = { *p };
		size_t wide = 1;
		size_t taken = 1;
		unsigned code;

		if (*p == '\\') {
			taken = decode_escape(p, end, &code);
			if (!taken)
				return VGW__UNESCAPE_LONE_SURROGATE;
			wide = encode_utf8(code, bytes);
		}
		if (wide > size - used)
			return VGW__UNESCAPE_TOO_LONG;
		memcpy(out + used, bytes, wide);
		used += wide;
		p += taken;
	}
	*out_len = used;
	return VGW__UNESCAPE_OK;
}

/* --- numbers and literals --- */

static const unsigned char *skip_digits(const unsigned char *p, const unsigned char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* One or more digits at lex->at. */
static bool lex_digits(struct vgw__lex *lex)
{
	const unsigned char *behind = skip_digits(lex->at, lex->end);

	if (behind == lex->at)
		return vgw__lex_unexpected(lex, "a digit is missing in a number");
	lex->at = behind;
	return true;
}

static bool lex_number(struct vgw__lex *lex)
{
	if (*lex->at == '-')
		lex->at++;
	if (lex->at < lex->end && *lex->at == '0')
		lex->at++; /* a digit behind it is then not what the caller wants */
	else if (!lex_digits(lex))
		return false;
	if (lex->at < lex->end && *lex->at == '.') {
		lex->at++;
		if (!lex_digits(lex))
			return false;
	}
	if (lex->at < lex->end && (*lex->at | 0x20) == 'e') {
		lex->at++;
		if (lex->at < lex->end && (*lex->at == '+' || *lex->at == '-'))
			lex->at++;
		return lex_digits(lex);
	}
	return true;
}

static bool lex_literal(struct vgw__lex *lex, const char *word, size_t len)
{
	if ((size_t)(lex->end - lex->at) < len || memcmp(lex->at, word, len) != 0)
		return vgw__lex_unexpected(lex, "expected a value");
	lex->at += len;
	return true;
}

/* --- values --- */

static bool open_bracket(struct vgw__lex *lex, bool is_object)
{
	if (lex->depth >= lex->max_depth)
		return vgw__lex_fail(lex, VGW_FAULT_JSON_TOO_DEEP, lex->at, "too many brackets are open");
	lex->nesting = lex->nesting << 1 | is_object;
	lex->depth++;
	lex->at++;
	return true;
}

static enum vgw__json_kind if_read(bool read, enum vgw__json_kind kind)
{
	return read ? kind : VGW__JSON_ABSENT;
}

/* A whole string, number or literal, or the opening bracket of an object or array. */
static enum vgw__json_kind begin_value(struct vgw__lex *lex)
{
	if (lex->at == lex->end)
		return if_read(vgw__lex_unexpected(lex, "expected a value"), VGW__JSON_ABSENT);
	if (lex->values_left == 0)
		return if_read(vgw__lex_fail(lex, VGW_FAULT_JSON_TOO_COMPLEX, lex->at, "too many values"),
			VGW__JSON_ABSENT);
	lex->values_left--;
	switch (*lex->at) {
	case '"':
		return if_read(vgw__lex_string(lex), VGW__JSON_STRING);
	case '{':
		return if_read(open_bracket(lex, true), VGW__JSON_OBJECT);
	case '[':
		return if_read(open_bracket(lex, false), VGW__JSON_ARRAY);
	case 't':
		return if_read(lex_literal(lex, "true", 4), VGW__JSON_TRUE);
	case 'f':
		return if_read(lex_literal(lex, "false", 5), VGW__JSON_FALSE);
	case 'n':
		return if_read(lex_literal(lex, "null", 4), VGW__JSON_NULL);
	case '-': case '0': case '1': case '2': case '3': case '4':
	case '5': case '6': case '7': case '8': case '9':
		return if_read(lex_number(lex), VGW__JSON_NUMBER);
	default:
		return if_read(vgw__lex_unexpected(lex, "expected a value"), VGW__JSON_ABSENT);
	}
}

bool vgw__lex_colon(struct vgw__lex *lex)
{
	vgw__lex_space(lex);
	if (lex->at == lex->end || *lex->at != ':')
		return vgw__lex_unexpected(lex, "expected ':'");
	lex->at++;
	vgw__lex_space(lex);
	return true;
}

/* Go on to the next value inside the brackets opened since `base`, closing those that end. `fresh`: a bracket
 * was opened just now, so that no comma comes first. */
static bool go_on(struct vgw__lex *lex, uint32_t base, bool fresh)
{
	while (lex->depth > base) {
		bool is_object = lex->nesting & 1;

		vgw__lex_space(lex);
		if (lex->at < lex->end && *lex->at == (is_object ? '}' : ']')) {
			lex->at++;
			lex->depth--;
			lex->nesting >>= 1;
			fresh = false;
			continue;
		}
		if (!fresh) {
			if (lex->at == lex->end || *lex->at != ',')
				return vgw__lex_unexpected(
					lex, is_object ? "expected ',' or '}'" : "expected ',' or ']'");
			lex->at++;
			vgw__lex_space(lex);
		}
		if (!is_object)
			return true;
		if (lex->at == lex->end || *lex->at != '"')
			return vgw__lex_unexpected(lex, "expected a key in quotes");
		return vgw__lex_string(lex) && vgw__lex_colon(lex);
	}
	return true;
}

enum vgw__json_kind vgw__lex_value(struct vgw__lex *lex)
{
	uint32_t base = lex->depth;
	enum vgw__json_kind outermost = begin_value(lex);
	enum vgw__json_kind kind = outermost;

	while (kind != VGW__JSON_ABSENT && lex->depth > base) {
		if (!go_on(lex, base, kind == VGW__JSON_OBJECT || kind == VGW__JSON_ARRAY))
			return VGW__JSON_ABSENT;
		if (lex->depth == base)
			break;
		kind = begin_value(lex);
	}
	return kind == VGW__JSON_ABSENT ? VGW__JSON_ABSENT : outermost;
}
