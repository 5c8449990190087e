/* SPDX-License-Identifier: Apache-2.0 */
/* The words of JSON: strings, numbers, literals, and whole values passed over without building anything.
 * Strict: RFC 8259 syntax and well-formed UTF-8. No recursion: the brackets that are open are bits of one
 * word. */
#ifndef VGW_JSON_LEX_H
#define VGW_JSON_LEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vllmgw/status.h>

#define VGW__JSON_MAX_DEPTH 64u /* bits of vgw__lex.nesting */

enum vgw__json_kind {
	VGW__JSON_ABSENT, /* also: the value is no value */
	VGW__JSON_STRING,
	VGW__JSON_NUMBER,
	VGW__JSON_OBJECT,
	VGW__JSON_ARRAY,
	VGW__JSON_TRUE,
	VGW__JSON_FALSE,
	VGW__JSON_NULL
};

struct vgw__lex {
	const unsigned char *begin;
	const unsigned char *at; /* the next byte to read */
	const unsigned char *end;
	uint64_t nesting; /* the innermost open bracket is bit 0; 1 = '{' */
	uint32_t depth;   /* brackets open */
	uint32_t max_depth;
	uint64_t values_left; /* how many more values may come */
	bool escaped;         /* the last string held a backslash */
	vgw_fault fault;      /* after a failure: what is wrong, ... */
	const char *reason;   /* ... in words, a constant ... */
	size_t fault_at;      /* ... and where */
};

/* Whitespace is passed over. */
static inline void vgw__lex_space(struct vgw__lex *lex)
{
	while (lex->at < lex->end && *lex->at <= ' ' &&
		(*lex->at == ' ' || *lex->at == '\n' || *lex->at == '\r' || *lex->at == '\t'))
		lex->at++;
}

/* First byte in [p, end) that ends a run of plain text inside a string: a quote, a backslash, a control
 * character or a byte of 0x80 or more; `end` if there is none. */
const unsigned char *vgw__lex_find_special(const unsigned char *p, const unsigned char *end);

bool vgw__lex_is_utf8(const char *text, size_t len);

/* Each of these starts at lex->at and leaves it behind what was read; false or ABSENT: see lex->fault. */
bool vgw__lex_string(struct vgw__lex *lex); /* lex->at is at the opening quote */
bool vgw__lex_colon(struct vgw__lex *lex);  /* with the whitespace on both sides */
enum vgw__json_kind vgw__lex_value(struct vgw__lex *lex);

/* Note the first failure; returns false, so that failing is one line. */
bool vgw__lex_fail(struct vgw__lex *lex, vgw_fault fault, const unsigned char *at, const char *reason);
/* The byte at lex->at (or the end) is not what the syntax wants: `reason` says what it wants. */
bool vgw__lex_unexpected(struct vgw__lex *lex, const char *reason);

enum vgw__unescape { VGW__UNESCAPE_OK, VGW__UNESCAPE_TOO_LONG, VGW__UNESCAPE_LONE_SURROGATE };

/* What the inside of a string that vgw__lex_string() accepted stands for, in UTF-8. Not terminated;
 * "\u0000" gives a NUL byte. */
enum vgw__unescape vgw__lex_unescape(const char *inside, size_t len, char *out, size_t size, size_t *out_len);

#endif
