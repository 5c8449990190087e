/* SPDX-License-Identifier: Apache-2.0 */
/* What engines say is cut to fit, and cut within a character it would take the whole answer with it: JSON knows no
 * half of one. */
#include "testing.h"

#include "util/text.h"

#include <vllmgw/residency.h>

#include <jansson.h>
#include <string.h>

enum { CASES = 8, SOON_MS = 20000 };

/* Each ends elsewhere in a character, of two bytes or of three. */
static void add(vgw_registry *registry, int number, char name[8])
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	char backend[512];

	(void)snprintf(name, 8, "m%d", number);
	(void)snprintf(backend, sizeof(backend), "{\"kind\":\"process\",\"command\":[\"sh\",\"-c\",\"printf 'RuntimeError: "
		"%.*s'; for i in 1 2 3 4 5 6 7 8 9; do printf '%s'; done; exit 3\",\"${PORT}\"]}", number % 4, "xxxx",
		number < CASES / 2 ? "ééééééééééééé" : "──────────");
	options.name = name;
	options.kind = "process";
	options.backend_json = backend;
	assert_int_equal(vgw_registry_add(registry, &options, NULL), VGW_OK);
}

static void assert_is_text(const char *text)
{
	json_t *json = json_string(text);

	assert_non_null(json);
	json_decref(json);
}

static void assert_is_told(vgw_residency *residency, int number)
{
	char *text = vgw_residency_dup_state(residency);
	json_t *root = text ? json_loads(text, 0, NULL) : NULL;
	json_t *model = json_array_get(json_object_get(root, "models"), (size_t)number);
	json_t *replica = json_array_get(json_object_get(model, "replicas"), 0);
	const char *told = json_string_value(json_object_get(replica, "last_error"));

	assert_non_null(told);
	assert_non_null(strstr(told, "RuntimeError"));
	json_decref(root);
	vgw_free(text);
}

static void why_an_engine_failed_is_told_wherever_its_last_line_is_cut(void **state)
{
	const vgw_residency_options options = VGW_RESIDENCY_OPTIONS_INIT;
	vgw_residency *residency;
	vgw_registry *registry;
	char names[CASES][8];

	(void)state;
	assert_int_equal(vgw_residency_new(&residency, &options, NULL), VGW_OK);
	assert_int_equal(vgw_registry_new(&registry, NULL), VGW_OK);
	for (int i = 0; i < CASES; i++)
		add(registry, i, names[i]);
	assert_int_equal(vgw_residency_apply(residency, registry, NULL), VGW_OK);
	for (int i = 0; i < CASES; i++) {
		vgw_error err = VGW_ERROR_INIT;
		vgw_lease *lease;

		assert_int_not_equal(vgw_residency_acquire(&lease, residency, names[i], vgw_now_ms() + SOON_MS, &err),
			VGW_OK);
		assert_is_text(err.text);
		assert_is_told(residency, i);
	}
	vgw_registry_unref(registry);
	vgw_residency_free(residency);
}

static void what_is_no_character_becomes_question_marks_and_nothing_else_does(void **state)
{
	static const struct {
		const char *before;
		const char *after;
	} rows[] = {
		{ "", "" }, { "plain\ttext\n", "plain\ttext\n" }, { "é─😀", "é─😀" }, { "a\xc3", "a?" }, { "a\xe2\x94", "a??" },
		{ "\xe2\x94; b", "??; b" }, { "\xf0\x9f\x98", "???" }, { "\xc0\xaf", "??" }, { "\xed\xa0\x80", "???" },
		{ "\xf5\x80\x80\x80", "????" }, { "\x80é", "?é" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "%s", rows[i].before);
		vgw__text_mend(text);
		assert_string_equal(text, rows[i].after);
		assert_is_text(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(why_an_engine_failed_is_told_wherever_its_last_line_is_cut),
		cmocka_unit_test(what_is_no_character_becomes_question_marks_and_nothing_else_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
