/* SPDX-License-Identifier: Apache-2.0 */
/* Delimiters are searched for without their line breaks, so that one that stands elsewhere is seen and refused. */
#include "json/form.h"
#include "json/form_head.h"

#include <stdio.h>
#include <string.h>

enum { DELIMITER_BYTES = VGW__FORM_BOUNDARY_BYTES + 2 };

static vgw_status fail(vgw_error *err, const char *why)
{
	return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_INVALID_MULTIPART, "%s", why);
}

/* --- the boundary ----------------------------------------------------------------------------------------------- */

static bool is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("'+_-.", c));
}

static bool is_boundary(struct vgw__text text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!is_plain(text.at[i]) && (!text.at[i] || !strchr("(),/:=? ", text.at[i])))
			return false;
	}
	return text.len && text.len <= VGW__FORM_BOUNDARY_BYTES && text.at[text.len - 1] != ' ';
}

static vgw_status read_type(struct vgw__form *form, const char *type, vgw_error *err)
{
	struct vgw__text rest, name, value;
	int more;

	if (!vgw__text_is(vgw__param_begin((struct vgw__text){ type, strlen(type) }, &rest), "multipart/form-data"))
		return fail(err, "the Content-Type is not multipart/form-data");
	while ((more = vgw__param_next(&rest, &name, &value)) > 0) {
		if (!vgw__text_is(name, "boundary"))
			continue;
		if (form->boundary_len)
			return fail(err, "the Content-Type has two boundaries");
		if (!is_boundary(value))
			return fail(err, "the boundary is not 1 to 70 of the characters that RFC 2046 allows");
		memcpy(form->boundary, value.at, value.len);
		form->boundary_len = value.len;
	}
	if (more < 0)
		return fail(err, "the Content-Type is malformed");
	return form->boundary_len ? VGW_OK : fail(err, "the Content-Type has no boundary");
}

void vgw__form_print_type(const struct vgw__form *form, char out[VGW__FORM_TYPE_BYTES])
{
	const char *quote = "";

	for (size_t i = 0; i < form->boundary_len; i++) {
		if (!is_plain(form->boundary[i]))
			quote = "\"";
	}
	(void)snprintf(out, VGW__FORM_TYPE_BYTES, "multipart/form-data; boundary=%s%s%s", quote, form->boundary, quote);
}

/* --- parts ------------------------------------------------------------------------------------------------------ */

/* A value in another encoding than the rest would be read one way here and another way by the engine. */
static bool is_utf8_text(struct vgw__text type)
{
	struct vgw__text rest, name, value;
	int more;

	if (!type.len)
		return true;
	if (!vgw__text_is(vgw__param_begin(type, &rest), "text/plain"))
		return false;
	while ((more = vgw__param_next(&rest, &name, &value)) > 0) {
		if (vgw__text_is(name, "charset") && !vgw__text_is(value, "utf-8") && !vgw__text_is(value, "us-ascii"))
			return false;
	}
	return more == 0;
}

static bool is_true(struct vgw__text value)
{
	static const char *const words[] = { "true", "1", "yes", "y", "on", "t" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (vgw__text_is(value, words[i]))
			return true;
	}
	return false;
}

static const char *take_part(struct vgw__form *form, const struct vgw__part_head *head, size_t start, size_t end)
{
	struct vgw__text value = { form->data + start, end - start };

	if (head->name.len == 6 && memcmp(head->name.at, "stream", 6) == 0)
		form->is_stream = is_true(value);
	if (head->name.len != 5 || memcmp(head->name.at, "model", 5) != 0)
		return NULL;
	if (form->has_model)
		return "there are two model parts";
	if (head->has_file_name || !is_utf8_text(head->type))
		return "the model part is not plain text";
	form->has_model = true;
	form->model_start = start;
	form->model_end = end;
	return NULL;
}

/* What follows a delimiter: 1 another part, 0 the end of the body, -1 neither. */
static int read_delimiter_end(const struct vgw__form *form, size_t at)
{
	const char *rest = form->data + at;
	size_t left = form->len - at;

	if (left >= 2 && memcmp(rest, "\r\n", 2) == 0)
		return 1;
	if (left < 2 || memcmp(rest, "--", 2) != 0)
		return -1;
	return left == 2 || (left == 4 && memcmp(rest + 2, "\r\n", 2) == 0) ? 0 : -1;
}

/* One part from its first header on; *at is moved behind the delimiter that ends it. */
static const char *read_part(struct vgw__form *form, const char *delimiter, size_t *at)
{
	size_t delimiter_len = form->boundary_len + 2;
	struct vgw__part_head head;
	const char *found, *why;
	size_t start, end;

	if (++form->part_count > VGW__FORM_PARTS)
		return "there are more than 64 parts";
	why = vgw__part_head_read(&head, form->data + *at, form->len - *at, &start);
	if (why)
		return why;
	start += *at;
	found = memmem(form->data + start, form->len - start, delimiter, delimiter_len);
	if (!found)
		return "the final boundary is missing";
	end = (size_t)(found - form->data);
	if (end < start + 2 || memcmp(form->data + end - 2, "\r\n", 2) != 0)
		return "the boundary stands inside a part";
	*at = end + delimiter_len;
	return take_part(form, &head, start, end - 2);
}

vgw_status vgw__form_scan(struct vgw__form *form, const char *type, const char *data, size_t len, vgw_error *err)
{
	char delimiter[DELIMITER_BYTES + 1] = "--";
	const char *why = NULL;
	vgw_status status;
	size_t at;
	int more;

	*form = (struct vgw__form){ .data = data, .len = len };
	status = read_type(form, type, err);
	if (status != VGW_OK)
		return status;
	memcpy(delimiter + 2, form->boundary, form->boundary_len);
	at = form->boundary_len + 2;
	if (len < at || memcmp(data, delimiter, at) != 0)
		return fail(err, "the body does not begin with its boundary");
	while (!why && (more = read_delimiter_end(form, at)) != 0) {
		if (more < 0)
			return fail(err, "a boundary is followed by something else than a part or the end");
		at += 2;
		why = read_part(form, delimiter, &at);
	}
	if (!why && !form->part_count)
		why = "the body has no parts";
	return why ? fail(err, why) : VGW_OK;
}

/* --- the model -------------------------------------------------------------------------------------------------- */

vgw_status vgw__form_get_model(
	const struct vgw__form *form, char out[VGW__NAME_MAX_BYTES + 1], size_t *len, vgw_error *err)
{
	const char *value = form->data + form->model_start;

	if (!form->has_model)
		return vgw_error_set_fault(
			err, VGW_INVALID, VGW_FAULT_MISSING_MODEL, "the body has no part called \"model\"");
	*len = form->model_end - form->model_start;
	if (!*len || *len > VGW__NAME_MAX_BYTES)
		return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_INVALID_MODEL,
			"the model part must have 1 to %u bytes", VGW__NAME_MAX_BYTES);
	for (size_t i = 0; i < *len; i++) {
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return vgw_error_set_fault(err, VGW_INVALID, VGW_FAULT_INVALID_MODEL,
				"the model part must not hold control characters");
	}
	if (!vgw__lex_is_utf8(value, *len))
		return vgw_error_set_fault(
			err, VGW_INVALID, VGW_FAULT_INVALID_ENCODING, "the model part is not valid UTF-8");
	memcpy(out, value, *len);
	out[*len] = '\0';
	return VGW_OK;
}

vgw_status vgw__form_set_model(const struct vgw__form *form, const char *model, struct vgw__buf *scratch,
	struct vgw__segment segments[VGW__FORM_SEGMENTS], size_t *count, vgw_error *err)
{
	char delimiter[DELIMITER_BYTES + 1];
	size_t start = form->has_model ? form->model_start : 0;
	size_t end = form->has_model ? form->model_end : 0;

	*count = 0;
	(void)snprintf(delimiter, sizeof(delimiter), "--%s", form->boundary);
	if (model && strstr(model, delimiter))
		return fail(err, "the boundary stands in the name of the model");
	if (!model) {
		segments[(*count)++] = (struct vgw__segment){ form->data, form->len };
		return VGW_OK;
	}
	vgw__buf_reset(scratch);
	if (!form->has_model &&
		!vgw__buf_print(scratch, "--%s\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n", form->boundary))
		goto nomem;
	if (!vgw__buf_append(scratch, model, strlen(model)) ||
		(!form->has_model && !vgw__buf_append(scratch, "\r\n", 2)))
		goto nomem;
	if (start)
		segments[(*count)++] = (struct vgw__segment){ form->data, start };
	segments[(*count)++] = (struct vgw__segment){ scratch->data, scratch->len };
	segments[(*count)++] = (struct vgw__segment){ form->data + end, form->len - end };
	return VGW_OK;

nomem:
	return vgw_error_set_fault(err, VGW_NOMEM, VGW_FAULT_OUT_OF_MEMORY, "no memory to rewrite the body");
}
