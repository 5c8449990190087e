/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a Content-Type and a form: the type up to the first NUL, then the body. What is taken must still be a
 * form when another model was put in, with that model, the same number of parts and every other byte in its place. */
#include "fuzz.h"

#include "json/form.h"

#include <string.h>

enum { SCRATCH_BYTES = 4096 };

static void check_rewritten(const struct vgw__form *form, const char *bytes, size_t len, const char *model)
{
	char type[VGW__FORM_TYPE_BYTES], name[VGW__NAME_MAX_BYTES + 1];
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__form again;
	size_t name_len;

	vgw__form_print_type(form, type);
	FUZZ_CHECK(vgw__form_scan(&again, type, bytes, len, &err) == VGW_OK);
	FUZZ_CHECK(again.boundary_len == form->boundary_len);
	FUZZ_CHECK(again.part_count == form->part_count + !form->has_model);
	FUZZ_CHECK(vgw__form_get_model(&again, name, &name_len, &err) == VGW_OK);
	FUZZ_CHECK(strcmp(name, model) == 0);
	FUZZ_CHECK(again.is_stream == form->is_stream);
}

static void rewrite(const struct vgw__form *form, const char *model)
{
	struct vgw__segment segments[VGW__FORM_SEGMENTS];
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__buf scratch;
	size_t count, len = 0;
	char *bytes;

	vgw__buf_init(&scratch, SCRATCH_BYTES);
	if (vgw__form_set_model(form, model, &scratch, segments, &count, &err) != VGW_OK) {
		FUZZ_CHECK(err.fault == VGW_FAULT_INVALID_MULTIPART);
	} else {
		bytes = malloc(vgw__segments_length(segments, count) + 1);
		FUZZ_CHECK(bytes);
		for (size_t i = 0; i < count; i++) {
			memcpy(bytes + len, segments[i].data, segments[i].len);
			len += segments[i].len;
		}
		FUZZ_CHECK(form->model_start == 0 || memcmp(bytes, form->data, form->model_start) == 0);
		FUZZ_CHECK(memcmp(bytes + len - (form->len - form->model_end), form->data + form->model_end,
				   form->len - form->model_end) == 0);
		check_rewritten(form, bytes, len, model);
		free(bytes);
	}
	vgw__buf_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *type = (const char *)data;
	size_t type_len = size ? strnlen(type, size) : 0;
	char name[VGW__NAME_MAX_BYTES + 1];
	vgw_error err = VGW_ERROR_INIT;
	struct vgw__form form;
	size_t name_len;

	if (type_len == size)
		return 0;
	if (vgw__form_scan(&form, type, type + type_len + 1, size - type_len - 1, &err) != VGW_OK) {
		FUZZ_CHECK(err.fault == VGW_FAULT_INVALID_MULTIPART && err.text[0]);
		return 0;
	}
	FUZZ_CHECK(form.part_count > 0 && form.boundary_len > 0);
	if (vgw__form_get_model(&form, name, &name_len, &err) == VGW_OK)
		FUZZ_CHECK(strlen(name) == name_len);
	rewrite(&form, "org/model");
	rewrite(&form, "B--B");
	return 0;
}
