/* SPDX-License-Identifier: Apache-2.0 */
/* The table of adapters on one replica: places, pins, who leaves, failures, and what a new life of the engine changes. */
#include "testing.h"

#include "backend/lora.h"
#include "core/model.h"
#include "util/error.h"

#include <jansson.h>
#include <string.h>

static void nothing(struct vgw__lora *lora)
{
	(void)lora;
}

static void begin(struct vgw__lora *lora, uint32_t places)
{
	memset(lora, 0, sizeof(*lora));
	vgw__lora_init(lora);
	lora->free = nothing;
	lora->places = places;
	assert_false(vgw__lora_is_known(lora, 1));
	assert_true(vgw__lora_learn(lora, NULL, 0, 0));
	assert_true(vgw__lora_is_known(lora, 1));
}

static struct vgw__lora_slot *load(struct vgw__lora *lora, const char *name)
{
	struct vgw__lora_slot *victim, *slot;

	assert_int_equal(vgw__lora_make_way(lora, 0, &victim), VGW__LORA_FREE);
	slot = vgw__lora_begin(lora, name, name, 0);
	assert_non_null(slot);
	assert_false(vgw__lora_is_open(slot));
	vgw__lora_done(lora, slot, 0);
	assert_true(vgw__lora_is_open(slot));
	return slot;
}

static void the_least_recently_used_one_leaves_and_one_in_use_never(void **state)
{
	struct vgw__lora_slot *a, *b, *victim;
	struct vgw__lora lora;

	(void)state;
	begin(&lora, 2);
	a = load(&lora, "a");
	b = load(&lora, "b");
	vgw__lora_pin(&lora, b);
	assert_true(vgw__lora_unpin(&lora, b));
	vgw__lora_pin(&lora, a); /* used last, and in use */
	assert_int_equal(vgw__lora_make_way(&lora, 0, &victim), VGW__LORA_EVICT);
	assert_ptr_equal(victim, b);
	assert_int_equal(victim->state, VGW__LORA_LEAVING);
	assert_int_equal(vgw__lora_make_way(&lora, 0, &victim), VGW__LORA_FULL); /* its place is not free before it is gone */
	vgw__lora_gone(&lora, b);
	(void)load(&lora, "c");
	assert_null(vgw__lora_find(&lora, "b"));
	assert_int_equal(vgw__lora_make_way(&lora, 0, &victim), VGW__LORA_EVICT);
	assert_string_equal(victim->name, "c");
	assert_true(vgw__lora_unpin(&lora, a));
	vgw__lora_fini(&lora);
}

static void two_pins_are_two_uses(void **state)
{
	struct vgw__lora_slot *a, *victim;
	struct vgw__lora lora;

	(void)state;
	begin(&lora, 1);
	a = load(&lora, "a");
	vgw__lora_pin(&lora, a);
	vgw__lora_pin(&lora, a);
	assert_false(vgw__lora_unpin(&lora, a));
	assert_int_equal(vgw__lora_leave(a, 0), VGW_BUSY);
	assert_int_equal(vgw__lora_make_way(&lora, 0, &victim), VGW__LORA_FULL);
	assert_true(vgw__lora_unpin(&lora, a));
	assert_int_equal(vgw__lora_leave(a, 0), VGW_OK);
	vgw__lora_fini(&lora);
}

static void a_failed_one_holds_no_place_and_is_tried_ever_less_often(void **state)
{
	const int64_t waits_ms[] = { 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000 };
	struct vgw__lora_slot *bad;
	vgw_error why = VGW_ERROR_INIT;
	struct vgw__lora lora;
	int64_t now_ms = 5000;

	(void)state;
	begin(&lora, 1);
	(void)vgw_error_set(&why, VGW_BACKEND, 0, "no such path");
	for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
		bad = vgw__lora_begin(&lora, "bad", "bad", now_ms);
		vgw__lora_failed(bad, &why, now_ms);
		assert_int_equal(bad->retry_ms - now_ms, waits_ms[i]);
		now_ms = bad->retry_ms;
	}
	assert_string_equal(bad->why.text, "no such path");
	(void)load(&lora, "good");
	bad = vgw__lora_find(&lora, "bad");
	assert_non_null(bad);
	vgw__lora_gone(&lora, vgw__lora_find(&lora, "good"));
	bad = vgw__lora_begin(&lora, "bad", "bad", now_ms);
	vgw__lora_done(&lora, bad, now_ms);
	vgw__lora_failed(bad, &why, now_ms);
	assert_int_equal(bad->retry_ms - now_ms, 1000); /* a success in between is a new beginning */
	vgw__lora_fini(&lora);
}

static void after_a_new_life_the_engine_s_list_is_what_counts(void **state)
{
	char kept[] = "kept", stray[] = "stray";
	char *names[] = { kept, stray };
	struct vgw__lora_slot *lost, *victim;
	struct vgw__lora lora;

	(void)state;
	begin(&lora, 3);
	(void)load(&lora, "kept");
	lost = load(&lora, "lost");
	vgw__lora_pin(&lora, lost);
	assert_false(vgw__lora_is_known(&lora, 2));
	assert_true(vgw__lora_learn(&lora, names, 2, 0));
	assert_true(vgw__lora_is_known(&lora, 2));
	assert_true(vgw__lora_is_open(vgw__lora_find(&lora, "kept")));
	assert_null(vgw__lora_find(&lora, "lost"));
	assert_true(lost->is_lost);
	assert_true(vgw__lora_unpin(&lora, lost)); /* and with it the slot is freed */
	(void)load(&lora, "new");
	assert_int_equal(vgw__lora_make_way(&lora, 0, &victim), VGW__LORA_EVICT);
	assert_string_equal(victim->name, "stray");
	vgw__lora_fini(&lora);
}

static void what_outlived_a_sleep_in_name_only_is_not_used(void **state)
{
	char name[] = "a";
	char *names[] = { name };
	struct vgw__lora lora;

	(void)state;
	begin(&lora, 1);
	(void)load(&lora, "a");
	lora.is_forgetful = true;
	vgw__lora_doubt(&lora); /* without a new life the list is believed */
	assert_false(vgw__lora_is_known(&lora, 1));
	assert_true(vgw__lora_learn(&lora, names, 1, 0));
	assert_true(vgw__lora_is_open(vgw__lora_find(&lora, "a")));
	assert_false(vgw__lora_is_known(&lora, 2));
	assert_true(vgw__lora_learn(&lora, names, 1, 0));
	assert_false(vgw__lora_is_open(vgw__lora_find(&lora, "a")));
	assert_false(vgw__lora_has(&lora, "a"));
	vgw__lora_done(&lora, vgw__lora_begin(&lora, "a", "a", 0), 0);
	assert_true(vgw__lora_has(&lora, "a"));
	vgw__lora_fini(&lora);
}

static void the_one_loaded_first_is_closed_and_one_at_a_time(void **state)
{
	struct vgw__lora_slot *a, *b;
	struct vgw__lora lora;

	(void)state;
	begin(&lora, 2);
	a = load(&lora, "a");
	b = load(&lora, "b");
	a->since_ms = 20;
	b->since_ms = 10;
	vgw__lora_close_one(&lora);
	vgw__lora_close_one(&lora);
	assert_true(b->is_closed);
	assert_false(a->is_closed);
	assert_false(vgw__lora_is_open(b));
	vgw__lora_fini(&lora);
}

static void failures_of_names_that_come_and_go_are_not_kept_without_end(void **state)
{
	vgw_error why = VGW_ERROR_INIT;
	struct vgw__lora lora;
	char name[32];
	json_t *list;

	(void)state;
	begin(&lora, 1);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "bad-%d", i);
		vgw__lora_failed(vgw__lora_begin(&lora, name, name, i), &why, i);
	}
	list = vgw__lora_pack(&lora);
	assert_true(json_array_size(list) < 300);
	assert_null(vgw__lora_find(&lora, "bad-0"));
	assert_non_null(vgw__lora_find(&lora, "bad-999"));
	json_decref(list);
	vgw__lora_fini(&lora);
}

/* --- in the registry ---------------------------------------------------------------------------------------------- */

static vgw_status add(vgw_registry *registry, const char *name, const char *base, const char *path, vgw_error *err)
{
	vgw_adapter_options options = VGW_ADAPTER_OPTIONS_INIT;
	static const char *const aliases[] = { "text2sql-*" };

	options.name = name;
	options.base = base;
	options.path = path;
	options.aliases = aliases;
	options.alias_count = path ? 1 : 0;
	return vgw_registry_add_adapter(registry, &options, err);
}

static void an_adapter_is_found_by_its_names_and_has_its_base_s_lists(void **state)
{
	vgw_model_options model = VGW_MODEL_OPTIONS_INIT;
	const vgw_model *found;
	vgw_registry *registry;
	vgw_error err;

	(void)state;
	model.name = "big";
	model.kind = "static";
	model.backend_json = "{\"api_key\":\"k\"}";
	model.defaults_json = "{\"top_k\":1}";
	assert_int_equal(vgw_registry_new(&registry, &err), VGW_OK);
	assert_int_equal(add(registry, "sql", "big", "/a", &err), VGW_NOT_FOUND);
	assert_int_equal(vgw_registry_add(registry, &model, &err), VGW_OK);
	assert_int_equal(add(registry, "sql", "big", NULL, &err), VGW_INVALID);
	assert_int_equal(add(registry, "s*", "big", "/a", &err), VGW_INVALID);
	assert_int_equal(add(registry, "sql", "big", "/a", &err), VGW_OK);
	assert_int_equal(add(registry, "other", "sql", "/b", &err), VGW_INVALID);
	assert_int_equal(add(registry, "big", "big", "/b", &err), VGW_EXISTS);
	found = vgw_registry_find(registry, "text2sql-7", 10);
	assert_ptr_equal(found, vgw_registry_get_adapter(registry, 0));
	assert_string_equal(vgw_model_get_base(found), "big");
	assert_null(vgw_model_get_base(vgw_registry_get_model(registry, 0)));
	assert_string_equal(found->upstream_auth, "Bearer k");
	assert_int_equal(found->default_count, 1);
	assert_int_equal(vgw_registry_get_count(registry), 1);
	assert_int_equal(vgw_registry_set_default(registry, "sql", &err), VGW_OK);
	assert_ptr_equal(vgw_registry_find(registry, "anything", 8), found);
	vgw_registry_unref(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_recently_used_one_leaves_and_one_in_use_never),
		cmocka_unit_test(two_pins_are_two_uses),
		cmocka_unit_test(a_failed_one_holds_no_place_and_is_tried_ever_less_often),
		cmocka_unit_test(after_a_new_life_the_engine_s_list_is_what_counts),
		cmocka_unit_test(what_outlived_a_sleep_in_name_only_is_not_used),
		cmocka_unit_test(the_one_loaded_first_is_closed_and_one_at_a_time),
		cmocka_unit_test(failures_of_names_that_come_and_go_are_not_kept_without_end),
		cmocka_unit_test(an_adapter_is_found_by_its_names_and_has_its_base_s_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
