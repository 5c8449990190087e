/* SPDX-License-Identifier: Apache-2.0 */
/* Strict: one name, one disposition, no header over two lines, nothing encoded a second time. */
#include "json/form_head.h"
#include "json/form.h"

#include <string.h>
#include <strings.h>

bool vgw__text_is(struct vgw__text text, const char *word)
{
	return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_control(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static struct vgw__text trim(struct vgw__text text)
{
	while (text.len && (text.at[0] == ' ' || text.at[0] == '\t')) {
		text.at++;
		text.len--;
	}
	while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
		text.len--;
	return text;
}

static struct vgw__text skip(struct vgw__text text, size_t len)
{
	return (struct vgw__text){ text.at + len, text.len - len };
}

/* --- parameters ------------------------------------------------------------------------------------------------- */

struct vgw__text vgw__param_begin(struct vgw__text value, struct vgw__text *rest)
{
	const char *end = memchr(value.at, ';', value.len);
	size_t len = end ? (size_t)(end - value.at) : value.len;

	*rest = skip(value, len);
	return trim((struct vgw__text){ value.at, len });
}

/* Bytes of the quoted text at the beginning, its quotes included; 0: it does not end. */
static size_t quoted_length(struct vgw__text text)
{
	for (size_t i = 1; i < text.len; i++) {
		if (text.at[i] == '"')
			return i + 1;
		i += text.at[i] == '\\';
	}
	return 0;
}

int vgw__param_next(struct vgw__text *rest, struct vgw__text *name, struct vgw__text *value)
{
	struct vgw__text text = trim(*rest);
	size_t len = 0;

	if (!text.len)
		return 0;
	if (text.at[0] != ';')
		return -1;
	text = trim(skip(text, 1));
	if (!text.len)
		return 0; /* a semicolon at the end */
	while (len < text.len && is_token(text.at[len]))
		len++;
	if (!len || len == text.len || text.at[len] != '=')
		return -1;
	*name = (struct vgw__text){ text.at, len };
	text = skip(text, len + 1);
	if (text.len && text.at[0] == '"') {
		len = quoted_length(text);
		if (!len)
			return -1;
		*value = (struct vgw__text){ text.at + 1, len - 2 };
	} else {
		for (len = 0; len < text.len && is_token(text.at[len]);)
			len++;
		if (!len)
			return -1;
		*value = (struct vgw__text){ text.at, len };
	}
	*rest = skip(text, len);
	return 1;
}

/* --- a part ----------------------------------------------------------------------------------------------------- */

static const char *read_disposition(struct vgw__part_head *head, struct vgw__text value)
{
	struct vgw__text rest, name, text;
	int more;

	if (head->name.at)
		return "a part has two Content-Disposition headers";
	if (!vgw__text_is(vgw__param_begin(value, &rest), "form-data"))
		return "a part's Content-Disposition is not form-data";
	while ((more = vgw__param_next(&rest, &name, &text)) > 0) {
		if (vgw__text_is(name, "name*"))
			return "a part's name is encoded";
		if (vgw__text_is(name, "filename") || vgw__text_is(name, "filename*"))
			head->has_file_name = true;
		if (!vgw__text_is(name, "name"))
			continue;
		if (head->name.at)
			return "a part has two names";
		if (memchr(text.at, '\\', text.len))
			return "a part's name holds a backslash";
		head->name = text;
	}
	if (more < 0)
		return "a part's Content-Disposition is malformed";
	return head->name.at ? NULL : "a part has no name";
}

static const char *read_line(struct vgw__part_head *head, struct vgw__text line)
{
	struct vgw__text name = { line.at, 0 };
	struct vgw__text value;

	while (name.len < line.len && is_token(line.at[name.len]))
		name.len++;
	if (!name.len || name.len == line.len || line.at[name.len] != ':')
		return "a part's header is malformed";
	value = trim(skip(line, name.len + 1));
	for (size_t i = 0; i < value.len; i++) {
		if (is_control(value.at[i]))
			return "a part's header holds a control character";
	}
	if (vgw__text_is(name, "content-disposition"))
		return read_disposition(head, value);
	if (vgw__text_is(name, "content-transfer-encoding") && !vgw__text_is(value, "binary") &&
		!vgw__text_is(value, "8bit") && !vgw__text_is(value, "7bit"))
		return "a part has a Content-Transfer-Encoding";
	if (vgw__text_is(name, "content-type")) {
		if (head->type.len)
			return "a part has two Content-Type headers";
		head->type = value;
	}
	return NULL;
}

const char *vgw__part_head_read(struct vgw__part_head *head, const char *data, size_t size, size_t *len)
{
	size_t bound = size < VGW__FORM_HEAD_BYTES ? size : VGW__FORM_HEAD_BYTES;
	const char *why;

	*head = (struct vgw__part_head){ 0 };
	for (size_t at = 0;;) {
		const char *end = memmem(data + at, bound - at, "\r\n", 2);
		struct vgw__text line = { data + at, end ? (size_t)(end - data) - at : 0 };

		if (!end)
			return bound == size ? "a part's headers do not end" : "a part's headers are over 4096 bytes";
		at += line.len + 2;
		if (!line.len) {
			*len = at;
			return head->name.at ? NULL : "a part has no Content-Disposition";
		}
		why = read_line(head, line);
		if (why)
			return why;
	}
}
