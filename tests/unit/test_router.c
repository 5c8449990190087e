/* SPDX-License-Identifier: Apache-2.0 */
/* Which model a name leads to. */
#include "testing.h"

#include "core/model.h"

#include <vllmgw/model.h>
#include <vllmgw/router.h>

#include <string.h>

static int small, big, any;

static void *find(const vgw_router *router, const char *name)
{
	return vgw_router_find(router, name, strlen(name));
}

static void exact_names_win_over_prefixes_and_long_prefixes_over_short_ones(void **state)
{
	vgw_router *router;
	vgw_error err;

	(void)state;
	assert_int_equal(vgw_router_new(&router, &err), VGW_OK);
	assert_int_equal(vgw_router_add(router, "qwen-*", &any, &err), VGW_OK);
	assert_int_equal(vgw_router_add(router, "qwen-coder-*", &big, &err), VGW_OK);
	assert_int_equal(vgw_router_add(router, "qwen-coder-7b", &small, &err), VGW_OK);
	assert_ptr_equal(find(router, "qwen-coder-7b"), &small);
	assert_ptr_equal(find(router, "qwen-coder-32b"), &big);
	assert_ptr_equal(find(router, "qwen-vl"), &any);
	assert_null(find(router, "qwen"));
	assert_null(find(router, ""));
	vgw_router_free(router);
}

static void a_default_serves_unknown_names_and_requests_without_one(void **state)
{
	vgw_router *router;
	vgw_error err;

	(void)state;
	assert_int_equal(vgw_router_new(&router, &err), VGW_OK);
	assert_null(find(router, "x"));
	vgw_router_set_default(router, &small);
	assert_ptr_equal(find(router, "x"), &small);
	assert_ptr_equal(vgw_router_find(router, NULL, 0), &small);
	vgw_router_free(router);
}

static void a_name_cannot_be_routed_twice_nor_a_star_stand_in_the_middle(void **state)
{
	vgw_router *router;
	vgw_error err;

	(void)state;
	assert_int_equal(vgw_router_new(&router, &err), VGW_OK);
	assert_int_equal(vgw_router_add(router, "a", &small, &err), VGW_OK);
	assert_int_equal(vgw_router_add(router, "a", &big, &err), VGW_EXISTS);
	assert_string_equal(err.text, "'a' is already routed");
	assert_int_equal(vgw_router_add(router, "a*b", &big, &err), VGW_INVALID);
	assert_int_equal(vgw_router_add(router, "", &big, &err), VGW_INVALID);
	assert_ptr_equal(find(router, "a"), &small);
	vgw_router_free(router);
}

static void a_thousand_names_are_found_each(void **state)
{
	static int targets[1000];
	vgw_router *router;
	vgw_error err;
	char name[32];

	(void)state;
	assert_int_equal(vgw_router_new(&router, &err), VGW_OK);
	for (size_t i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "model-%zu", (i * 37) % 1000);
		assert_int_equal(vgw_router_add(router, name, &targets[(i * 37) % 1000], &err), VGW_OK);
	}
	for (size_t i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "model-%zu", i);
		assert_ptr_equal(find(router, name), &targets[i]);
	}
	vgw_router_free(router);
}

static void a_registry_prepares_keys_defaults_and_aliases(void **state)
{
	const char *const aliases[] = { "tiny", "gpt-*" };
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	const vgw_model *model;
	vgw_registry *registry;
	vgw_error err;

	(void)state;
	options.name = "small";
	options.kind = "static";
	options.backend_json = "{\"urls\":[\"http://127.0.0.1:1\"],\"api_key\":\"s3cret\"}";
	options.defaults_json = "{\"temperature\":0.5}";
	options.aliases = aliases;
	options.alias_count = 2;
	assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
	assert_int_equal(vgw_registry_add(registry, &options, &err), VGW_OK);
	model = vgw_registry_find(registry, "gpt-4o", 6);
	assert_non_null(model);
	assert_string_equal(vgw_model_get_served_name(model), "small");
	assert_string_equal(model->upstream_auth, "Bearer s3cret");
	assert_string_equal(model->defaults[0].text, "\"temperature\":0.5");
	options.name = "other";
	assert_int_equal(vgw_registry_add(registry, &options, &err), VGW_EXISTS);
	assert_string_equal(err.text, "'tiny' is already routed");
	assert_int_equal(vgw_registry_set_default(registry, "smal", &err), VGW_NOT_FOUND);
	vgw_registry_unref(registry);
}

static vgw_status add(vgw_registry *registry, const char *name, const char *fallback)
{
	vgw_model_options options = VGW_MODEL_OPTIONS_INIT;
	vgw_error err = VGW_ERROR_INIT;

	options.name = name;
	options.kind = "static";
	options.fallback = fallback;
	return vgw_registry_add(registry, &options, &err);
}

static void chains_of_fallbacks_must_lead_to_an_end(void **state)
{
	static const struct {
		const char *of_a;
		const char *of_b;
		const char *why; /* "": it is good */
	} rows[] = {
		{ NULL, NULL, "" },
		{ "b", NULL, "" },
		{ "b", "a", "model 'a' falls back to itself over 1 others" },
		{ NULL, "b", "model 'b' falls back to itself over 0 others" },
		{ "c", NULL, "model 'a' falls back to 'c', which is no model" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vgw_error err = VGW_ERROR_INIT;
		vgw_registry *registry;

		assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
		assert_int_equal(add(registry, "a", rows[i].of_a), VGW_OK);
		assert_int_equal(add(registry, "b", rows[i].of_b), VGW_OK);
		assert_int_equal(vgw__registry_check_fallbacks(registry, &err), rows[i].why[0] ? VGW_INVALID : VGW_OK);
		assert_string_equal(err.text, rows[i].why);
		vgw_registry_unref(registry);
	}
}

static void a_chain_of_fallbacks_is_bounded(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", NULL };
	vgw_error err = VGW_ERROR_INIT;
	vgw_registry *registry;

	(void)state;
	assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
	for (size_t i = 0; names[i]; i++)
		assert_int_equal(add(registry, names[i], names[i + 1]), VGW_OK);
	assert_int_equal(vgw__registry_check_fallbacks(registry, &err), VGW_INVALID);
	assert_non_null(strstr(err.text, "more than 8"));
	vgw_registry_unref(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_of_fallbacks_must_lead_to_an_end),
		cmocka_unit_test(a_chain_of_fallbacks_is_bounded),
		cmocka_unit_test(exact_names_win_over_prefixes_and_long_prefixes_over_short_ones),
		cmocka_unit_test(a_default_serves_unknown_names_and_requests_without_one),
		cmocka_unit_test(a_name_cannot_be_routed_twice_nor_a_star_stand_in_the_middle),
		cmocka_unit_test(a_thousand_names_are_found_each),
		cmocka_unit_test(a_registry_prepares_keys_defaults_and_aliases),
	};

	return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
